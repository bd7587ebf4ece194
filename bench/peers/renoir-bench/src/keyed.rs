//! A running count per key.

use peer::generator::{Generator, keyed_x};

use crate::{Input, Sink};

/// Counts the keys of the records. renoir keeps a closure per key: its state is the count.
pub fn count(
    input: &Input<'_>,
    sink: Sink,
    key_of: impl Fn(&Generator, u64) -> u64 + Send + Clone + 'static,
) {
    let generator = input.generator;
    let counts = input
        .numbers()
        .map(move |number| (key_of(&generator, number), 1_u64))
        .group_by(|(key, _)| *key)
        .rich_map({
            let mut count = 0;
            move |(_, (_, value))| {
                count += value;
                count
            }
        })
        .unkey();
    sink.end(counts, |(key, count)| keyed_x(key, count));
}
