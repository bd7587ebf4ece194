//! q0shuffle, but the bids point at their texts in the tables of the generator.

use std::process::ExitCode;

use peer::event::PointingBid;

fn main() -> ExitCode {
    timely_peer::run("q0shuffle_ptr", [4_096, 4_096], timely_peer::shuffle::<PointingBid>)
}
