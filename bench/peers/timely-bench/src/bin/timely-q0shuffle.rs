//! q0shuffle: every bid, with the texts it owns, to the worker of its auction.

use std::process::ExitCode;

use peer::event::OwnedBid;

fn main() -> ExitCode {
    timely_peer::run("q0shuffle", [1_024, 16_384], timely_peer::shuffle::<OwnedBid>)
}
