//! q0shuffle, but the bids point at their texts in the tables of the generator.

use std::process::ExitCode;

use peer::event::PointingBid;

fn main() -> ExitCode {
    renoir_peer::run("q0shuffle_ptr", [2_048, 8_192], renoir_peer::shuffle::<PointingBid>)
}
