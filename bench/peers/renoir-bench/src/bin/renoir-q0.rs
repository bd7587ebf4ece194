//! q0: every bid.

use std::process::ExitCode;

use peer::event::{Event, x_of};

fn main() -> ExitCode {
    renoir_peer::run("q0", [4_096, 4_096], |input, sink| {
        sink.end(input.events().filter_map(Event::bid), |bid| x_of(&bid));
    })
}
