//! The most frequent hashtags, by hand: a map of short words per window, the ten first of each thread, and of those.

use std::{cmp::Reverse, collections::BTreeMap, hint::black_box};

use super::{
    threads::{self, Work},
    windows::Windows,
    words::{Word, thread_of},
};
use crate::{
    generator::{Check, Generator, TREND_WINDOW_MS, TRENDS, hashtags, trend_x},
    measure::Run,
};

/// How many, then which: the first is the least.
type Trend = (Reverse<u64>, Word);

/// Counts hashtags, and keeps the ten first of each window.
struct Trends {
    windows: Windows<Word>,
    generator: Generator,
    best: Vec<(u64, Vec<Trend>)>,
}

impl Work<(Word, u64)> for Trends {
    #[inline(always)]
    fn take(&mut self, (tag, time_ms): (Word, u64)) {
        self.windows.add(tag, time_ms);
    }

    fn passed(&mut self, number: u64) {
        self.windows.close(self.generator.time_before(number), |end_ms, counts| {
            let mut best: Vec<Trend> = Vec::with_capacity(TRENDS + 1);
            for (tag, count) in counts {
                let trend = (Reverse(*count), *tag);
                if best.len() < TRENDS || best.last().is_some_and(|last| trend < *last) {
                    best.insert(best.partition_point(|other| *other < trend), trend);
                    best.truncate(TRENDS);
                }
            }
            self.best.push((end_ms, best));
        });
    }

    fn check(self) -> Check {
        Check::default() // Only all threads together know which are the first.
    }
}

/// Makes the tweets and drops them.
pub fn gen_only(run: &Run, generator: Generator) -> Check {
    let mut tweet = String::new();
    let work = || Trends { windows: Windows::new(1, 1), generator, best: Vec::new() };
    threads::run_works(run, work, move |number, _| {
        generator.tweet_into(number, &mut tweet);
        black_box(&tweet);
    });
    Check::default()
}

/// The ten most frequent hashtags of each second.
pub fn top_ten(run: &Run, generator: Generator) -> Check {
    let threads = run.parallelism;
    let mut tweet = String::new();
    let windows = || Windows::new(TREND_WINDOW_MS, TREND_WINDOW_MS);
    let work = || Trends { windows: windows(), generator, best: Vec::new() };
    let works = threads::run_works(run, work, move |number, router| {
        generator.tweet_into(number, &mut tweet);
        let time_ms = generator.time_ms(number);
        for tag in hashtags(black_box(&tweet)) {
            router.send(thread_of(tag, threads), (Word::new(tag), time_ms));
        }
    });
    let mut windows = BTreeMap::<u64, Vec<Trend>>::new();
    for (end_ms, best) in works.into_iter().flat_map(|work| work.best) {
        windows.entry(end_ms).or_default().extend(best);
    }
    let mut check = Check::default();
    for (end_ms, mut best) in windows {
        best.sort_unstable();
        for (Reverse(count), tag) in best.into_iter().take(TRENDS) {
            check.add(trend_x(tag.as_str().as_bytes(), count, end_ms));
        }
    }
    check
}
