//! q0shuffle: every bid, with the texts it owns, to the subtask of its auction.

use std::process::ExitCode;

use peer::event::OwnedBid;

fn main() -> ExitCode {
    renoir_peer::run("q0shuffle", [1_024, 8_192], renoir_peer::shuffle::<OwnedBid>)
}
