//! q5: the auctions with the most bids of ten seconds, every two seconds; with renoir's windows per key.

use std::process::ExitCode;

use peer::generator::{Q5_SLIDE_MS, Q5_WINDOW_MS, window_x};
use renoir_peer::{Aligned, best_of_each_window, keep_most, timed_bids};

fn main() -> ExitCode {
    renoir_peer::run("q5", [1_024, 4_096], |input, sink| {
        let windows = Aligned { size: Q5_WINDOW_MS as i64, slide: Q5_SLIDE_MS as i64 };
        let counts = timed_bids(input, |bid| bid.auction)
            .group_by(|auction| *auction)
            .map(|_| ())
            .window(windows)
            .count()
            .unkey();
        let best = best_of_each_window(counts, keep_most, |best| best);
        sink.end(best, |((auction, count), end)| window_x(auction, count as u64, end));
    })
}
