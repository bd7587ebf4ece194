//! wordcount: a running count per word, as timely's own example splits and exchanges: words are strings.

use std::{hash::BuildHasher, process::ExitCode};

use peer::generator::{word_x, words};
use rustc_hash::{FxBuildHasher, FxHashMap};
use timely::dataflow::{
    channels::pact::Exchange,
    operators::{Operator, vec::Map},
};
use timely_peer::{Input, Sink};

/// Room for the longest line: eight words of nine letters and the spaces between.
const LINE_BYTES: usize = 80;

fn main() -> ExitCode {
    timely_peer::run("wordcount", [256, 4_096], wordcount)
}

fn wordcount(input: &Input<'_>, sink: Sink) {
    let words = input
        .records(|generator, number| {
            let mut line = String::with_capacity(LINE_BYTES);
            generator.line_into(number, &mut line);
            line
        })
        .flat_map(|line| words(&line).map(str::to_owned).collect::<Vec<_>>());
    let by_word = Exchange::new(|word: &String| FxBuildHasher.hash_one(word));
    let counts = words.unary(by_word, "Count", |_, _| {
        let mut counts = FxHashMap::<String, u64>::default();
        move |input, output| {
            input.for_each(|time, words| {
                let mut session = output.session(&time);
                for word in words.drain(..) {
                    let count = match counts.get_mut(&word) {
                        Some(count) => count,
                        None => counts.entry(word.clone()).or_default(),
                    };
                    *count += 1;
                    session.give((word, *count));
                }
            });
        }
    });
    sink.end(counts, |(word, count)| word_x(word.as_bytes(), count));
}
