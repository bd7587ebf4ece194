//! The words of all lines.

use renoir::{Stream, operator::Operator};

use peer::generator;

use crate::Input;

/// Room for the longest line: eight words of nine letters and the spaces between.
const LINE_BYTES: usize = 80;

/// Words as strings, split as renoir's own examples do.
#[inline]
pub fn words(input: &Input<'_>) -> Stream<impl Operator<Out = String> + use<>> {
    let generator = input.generator;
    input
        .numbers()
        .map(move |number| {
            let mut line = String::with_capacity(LINE_BYTES);
            generator.line_into(number, &mut line);
            line
        })
        .flat_map(|line| generator::words(&line).map(str::to_owned).collect::<Vec<_>>())
}
