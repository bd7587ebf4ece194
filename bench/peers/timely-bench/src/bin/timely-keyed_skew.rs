//! keyed_skew: a running count of keys, half of which are the same.

use std::process::ExitCode;

use peer::generator::KEYS;

fn main() -> ExitCode {
    timely_peer::run("keyed_skew", [16_384, 4_096], |input, sink| {
        timely_peer::count(input, sink, |generator, number| generator.skewed_key(number, KEYS));
    })
}
