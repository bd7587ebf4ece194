//! keyed: a running count of uniform keys.

use std::process::ExitCode;

use peer::generator::KEYS;

fn main() -> ExitCode {
    renoir_peer::run("keyed", [4_096, 4_096], |input, sink| {
        renoir_peer::count(input, sink, |generator, number| generator.key(number, KEYS));
    })
}
