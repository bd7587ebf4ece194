//! q7: the highest price of ten seconds: first of each subtask, then of all.

use std::process::ExitCode;

use peer::generator::{Q7_WINDOW_MS, price_x, window_end_ms};
use renoir_peer::{Aligned, timed_bids};

fn main() -> ExitCode {
    renoir_peer::run("q7", [4_096, 4_096], |input, sink| {
        let windows = || Aligned { size: Q7_WINDOW_MS as i64, slide: Q7_WINDOW_MS as i64 };
        let highest =
            timed_bids(input, |bid| (bid.price, window_end_ms(bid.date_time, Q7_WINDOW_MS)))
                .key_by(|_| ())
                .window(windows())
                .max()
                .drop_key()
                .window_all(windows())
                .max()
                .drop_key();
        sink.end(highest, |(price, end)| price_x(price, end));
    })
}
