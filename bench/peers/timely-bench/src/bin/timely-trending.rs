//! trending: the ten most frequent hashtags of each second: first of each worker, then of all.

use std::{collections::HashMap, hash::BuildHasher, process::ExitCode};

use peer::generator::{TREND_WINDOW_MS, TRENDS, hashtags, trend_x, window_end_ms};
use rustc_hash::{FxBuildHasher, FxHashMap};
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{
        StreamVec,
        channels::pact::Exchange,
        operators::{Operator, vec::Map},
    },
};
use timely_peer::{Input, Sink};

/// Room for the longest tweet: eight words of nine letters, two marks and the spaces between.
const TWEET_BYTES: usize = 82;

/// A hashtag and how often it came.
type Counted = (String, u64);

fn first(mut counts: Vec<Counted>) -> Vec<Counted> {
    counts.sort_unstable_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
    counts.truncate(TRENDS);
    counts
}

/// The first of this worker's hashtags.
fn first_of_each(tags: StreamVec<'_, u64, String>) -> StreamVec<'_, u64, Counted> {
    let by_tag = Exchange::new(|tag: &String| FxBuildHasher.hash_one(tag));
    tags.unary_notify::<CapacityContainerBuilder<Vec<Counted>>, _, _>(by_tag, "Count", None, {
        let mut windows = HashMap::<u64, FxHashMap<String, u64>>::new();
        move |input, output, notificator| {
            input.for_each(|time, tags| {
                let counts = windows.entry(*time.time()).or_insert_with(|| {
                    notificator.notify_at(time.retain(0));
                    FxHashMap::default()
                });
                for tag in tags.drain(..) {
                    *counts.entry(tag).or_default() += 1;
                }
            });
            notificator.for_each(|time, _, _| {
                if let Some(counts) = windows.remove(time.time()) {
                    let first = first(counts.into_iter().collect());
                    output.session(&time).give_iterator(first.into_iter());
                }
            });
        }
    })
}

/// The first of all hashtags, and the end of their window.
fn first_of_all(counts: StreamVec<'_, u64, Counted>) -> StreamVec<'_, u64, (Counted, u64)> {
    let to_one = Exchange::new(|_: &Counted| 0);
    counts.unary_notify::<CapacityContainerBuilder<Vec<_>>, _, _>(to_one, "First", None, {
        let mut windows = HashMap::<u64, Vec<Counted>>::new();
        move |input, output, notificator| {
            input.for_each(|time, counts| {
                let all = windows.entry(*time.time()).or_insert_with(|| {
                    notificator.notify_at(time.retain(0));
                    Vec::new()
                });
                all.append(counts);
            });
            notificator.for_each(|time, _, _| {
                let end = *time.time();
                let first = first(windows.remove(&end).unwrap_or_default());
                output.session(&time).give_iterator(first.into_iter().map(|tag| (tag, end)));
            });
        }
    })
}

fn trending(input: &Input<'_>, sink: Sink) {
    let tags = input
        .timed_records(
            |generator, number| window_end_ms(generator.time_ms(number), TREND_WINDOW_MS),
            |generator, number| {
                let mut tweet = String::with_capacity(TWEET_BYTES);
                generator.tweet_into(number, &mut tweet);
                tweet
            },
        )
        .flat_map(|tweet| hashtags(&tweet).map(str::to_owned).collect::<Vec<_>>());
    sink.end(first_of_all(first_of_each(tags)), |((tag, count), end)| {
        trend_x(tag.as_bytes(), count, end)
    });
}

fn main() -> ExitCode {
    timely_peer::run("trending", [1_024, 16_384], trending)
}
