//! keyed_skew: a running count of keys, half of which are the same.

use std::process::ExitCode;

use peer::generator::KEYS;

fn main() -> ExitCode {
    renoir_peer::run("keyed_skew", [4_096, 8_192], |input, sink| {
        renoir_peer::count(input, sink, |generator, number| generator.skewed_key(number, KEYS));
    })
}
