//! A running count per key.

use peer::generator::{Generator, keyed_x, mix};
use rustc_hash::FxHashMap;
use timely::dataflow::{channels::pact::Exchange, operators::Operator};

use crate::{Input, Sink};

/// Counts the keys of the records.
pub fn count(input: &Input<'_>, sink: Sink, key_of: impl Fn(&Generator, u64) -> u64 + 'static) {
    let records = input.records(move |generator, number| (key_of(generator, number), 1));
    let by_key = Exchange::new(|(key, _): &(u64, u64)| mix(*key));
    let counts = records.unary(by_key, "Count", |_, _| {
        let mut counts = FxHashMap::<u64, u64>::default();
        move |input, output| {
            input.for_each(|time, records| {
                let mut session = output.session(&time);
                for (key, value) in records.drain(..) {
                    let count = counts.entry(key).or_default();
                    *count += value;
                    session.give((key, *count));
                }
            });
        }
    });
    sink.end(counts, |(key, count)| keyed_x(key, count));
}
