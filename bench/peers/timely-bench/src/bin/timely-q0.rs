//! q0: every bid.

use std::process::ExitCode;

use peer::event::{Event, x_of};
use timely::dataflow::operators::vec::Map;

fn main() -> ExitCode {
    timely_peer::run("q0", [4_096, 4_096], |input, sink| {
        sink.end(input.events().flat_map(Event::bid), |bid| x_of(&bid));
    })
}
