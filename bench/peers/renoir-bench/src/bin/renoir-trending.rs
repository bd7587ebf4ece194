//! trending: the ten most frequent hashtags of each second; with renoir's windows per key.

use std::process::ExitCode;

use peer::generator::{TREND_WINDOW_MS, TRENDS, hashtags, trend_x};
use renoir_peer::{Aligned, best_of_each_window, watermarks};

/// Room for the longest tweet: eight words of nine letters, two marks and the spaces between.
const TWEET_BYTES: usize = 82;

fn main() -> ExitCode {
    renoir_peer::run("trending", [1_024, 4_096], |input, sink| {
        let generator = input.generator;
        let windows = Aligned { size: TREND_WINDOW_MS as i64, slide: TREND_WINDOW_MS as i64 };
        let counts = input
            .numbers()
            .map(move |number| {
                let mut tweet = String::with_capacity(TWEET_BYTES);
                generator.tweet_into(number, &mut tweet);
                (tweet, generator.time_ms(number))
            })
            .add_timestamps(|(_, time)| *time as i64, watermarks())
            .flat_map(|(tweet, _)| hashtags(&tweet).map(str::to_owned).collect::<Vec<_>>())
            .group_by(String::clone)
            .map(|_| ())
            .window(windows)
            .count()
            .unkey();
        let trends = best_of_each_window(counts, Vec::push, |mut counts| {
            counts.sort_unstable_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
            counts.truncate(TRENDS);
            counts
        });
        sink.end(trends, |((tag, count), end)| trend_x(tag.as_bytes(), count as u64, end));
    })
}
