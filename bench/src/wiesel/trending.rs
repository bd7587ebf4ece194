//! `trending`: the ten most frequent hashtags of each second, as `examples/trending_hashtags.rs` finds them.
//!
//! ```text
//!   tweets ─ hashtags ══ by tag ══▶ counts in windows ─ combined ─══▶ ten first
//! ```

use std::hint::black_box;

use wiesel::{
    ViewRef,
    connectors::{DataGen, Generate, SourceOutput, Tick},
    prelude::*,
};

use super::{check_sink::Total, jobs::check};
use crate::{
    generator::{Generator, TREND_WINDOW_MS, TRENDS, hashtags, trend_x},
    measure::Run,
};

/// A tweet.
#[derive(Record)]
pub struct Tweet {
    /// In milliseconds since the epoch.
    pub at: u64,
    pub text: String,
}

/// Makes tweets.
#[derive(Clone)]
struct Tweets {
    generator: Generator,
    text: String,
}

impl Generate<Tweet> for Tweets {
    #[inline]
    fn generate<S: SourceOutput<Tweet>>(&mut self, tick: Tick, out: &mut S) -> bool {
        self.generator.tweet_into(tick.number, &mut self.text);
        let tweet = TweetView { at: self.generator.time_ms(tick.number), text: &self.text };
        out.collect(ViewRef::<Tweet>(black_box(&tweet)), None)
    }
}

fn tweets(run: &Run) -> DataGen<Tweet, Tweets> {
    let generator = Generator::new(run.seed, run.event_rate);
    DataGen::by(Tweets { generator, text: String::new() }).count(run.events)
}

/// Makes the tweets and drops them.
pub fn gen_only(env: &StreamExecutionEnvironment, run: &Run) -> Total {
    check(env.source(tweets(run)).filter(|_| false), |_| 0)
}

/// The ten first of each second.
pub fn top_ten(env: &StreamExecutionEnvironment, run: &Run) -> Total {
    let windows = Tumbling::event_time(millis(TREND_WINDOW_MS));
    let trends = env
        .source(tweets(run))
        .uid("tweets")
        .watermarks(monotonous_timestamps(), |tweet| Timestamp::from_millis(tweet.at as i64))
        .flat_map::<String>(|tweet, out| hashtags(tweet.text).for_each(|tag| out.emit(tag)))
        .key_by::<String>(|tag| tag)
        .window(windows)
        .count()
        .uid("counts")
        .window_all(windows)
        .top_n_by(TRENDS, by_count::<String>)
        .uid("trends");
    check(trends, |trend| {
        let CountedView { key: tag, count } = trend.item;
        trend_x(tag.as_bytes(), count, trend.window_end.as_millis() as u64)
    })
}
