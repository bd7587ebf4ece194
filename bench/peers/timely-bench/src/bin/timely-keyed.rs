//! keyed: a running count of uniform keys.

use std::process::ExitCode;

use peer::generator::KEYS;

fn main() -> ExitCode {
    timely_peer::run("keyed", [4_096, 16_384], |input, sink| {
        timely_peer::count(input, sink, |generator, number| generator.key(number, KEYS));
    })
}
