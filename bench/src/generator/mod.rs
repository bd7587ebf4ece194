//! The input of every workload: each event is a pure function of its number.
//!
//! ```text
//!   seed, number ──R──▶ random words ──▶ Person │ Auction │ Bid │ line of words │ key
//!   seed ──T──▶ tables of channels, URLs, words …   (made once, outside of what is measured)
//! ```
//!
//! # What is always true
//!
//! 1. The same number gives the same event, in any order, on any engine; so sources can be split freely.
//! 2. Nothing is allocated per event: texts are parts of the tables, or written into a buffer of the caller.
//! 3. The constants are a specification that other engines' generators follow bit for bit; the test values at the end
//!    of each file hold it.
//!
//! The peers include this folder as it is, so it depends on nothing but the standard library.

mod nexmark;
mod tables;
mod words;

use std::hint::select_unpredictable;

pub use nexmark::{Auction, Bid, Event, Person, PersonText};
pub use tables::Tables;
pub use words::{fnv1a64, hashtags, words};

/// What the specification calls SEED; `--seed` replaces it.
pub const SEED: u64 = 0x5DEE_CE66_D123_4567;

/// Event time of number 0, in milliseconds since the epoch.
pub const BASE_MS: u64 = 1_700_000_000_000;

/// Keys of the keyed workloads.
pub const KEYS: u64 = 1 << 20;

/// Keys of the windowed workloads.
pub const WINDOWED_KEYS: u64 = 10_000;

/// What their windows cover, in milliseconds of event time.
pub const WINDOW_MS: u64 = 60_000;

/// What the windows of q5 cover, in milliseconds of event time.
pub const Q5_WINDOW_MS: u64 = 10_000;

/// How far they are apart.
pub const Q5_SLIDE_MS: u64 = 2_000;

/// What the windows of q7 cover.
pub const Q7_WINDOW_MS: u64 = 10_000;

/// What the windows of q8 cover.
pub const Q8_WINDOW_MS: u64 = 10_000;

/// What the windows of trending cover.
pub const TREND_WINDOW_MS: u64 = 1_000;

/// Hashtags that trend in each of them.
pub const TRENDS: usize = 10;

/// What ends a session of q11 and `session`.
pub const SESSION_GAP_MS: u64 = 10_000;

/// How late the events of a disordered input are at most, in milliseconds.
pub const DISORDER_MS: u64 = 5_000;

/// Milliseconds of a day.
pub const DAY_MS: u64 = 86_400_000;

/// Rows of the side table of q13.
pub const SIDE_ROWS: u64 = 10_000;

/// What the side table has for a key.
pub fn side_value(key: u64) -> u64 {
    mix(key)
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The finaliser of SplitMix64.
#[inline(always)]
pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A number below `n`, which is at most 2^31.
#[inline(always)]
pub(crate) fn below(random: u64, n: u64) -> u64 {
    ((random >> 32).wrapping_mul(n)) >> 32
}

/// Makes the events of one seed and one pace of event time. A few words; its tables are made once per seed and live as
/// long as the process.
#[derive(Clone, Copy, Debug)]
pub struct Generator {
    seed: u64,
    /// Events per second of event time.
    event_rate: u64,
    tables: &'static Tables,
}

impl Generator {
    /// The generator of `seed` whose event time goes on by a second every `event_rate` events (at least 1).
    pub fn new(seed: u64, event_rate: u64) -> Self {
        Self { seed, event_rate: event_rate.max(1), tables: Tables::of(seed) }
    }

    /// Random word `k` (below 8) of event `number`.
    #[inline(always)]
    pub fn random(&self, number: u64, k: u64) -> u64 {
        let at = number.wrapping_mul(8).wrapping_add(k + 1);
        mix(self.seed.wrapping_add(at.wrapping_mul(GOLDEN)))
    }

    /// Event time of event `number`, in milliseconds since the epoch.
    #[inline(always)]
    pub fn time_ms(&self, number: u64) -> u64 {
        BASE_MS + (number * 1_000) / self.event_rate
    }

    /// No event from `number` on is earlier than this; `u64::MAX` behind the last one.
    #[inline(always)]
    pub fn time_before(&self, number: u64) -> u64 {
        if number == u64::MAX { u64::MAX } else { self.time_ms(number) }
    }

    /// By how much event `number` is late where so many events of a hundred are: at most [`DISORDER_MS`]. Its event time is
    /// that much before [`Generator::time_ms`].
    #[inline(always)]
    pub fn delay_ms(&self, number: u64, percent: u64) -> u64 {
        if percent == 0 || below(self.random(number, 6), 100) >= percent {
            return 0;
        }
        1 + below(self.random(number, 7), DISORDER_MS)
    }

    /// The key of record `number`, uniform below `keys`.
    #[inline(always)]
    pub fn key(&self, number: u64, keys: u64) -> u64 {
        below(self.random(number, 0), keys)
    }

    /// As [`Generator::key`], but every second record, at random, has key 0.
    #[inline(always)]
    pub fn skewed_key(&self, number: u64, keys: u64) -> u64 {
        // A branch would go wrong every other time.
        select_unpredictable(self.random(number, 1) & 1 == 1, 0, self.key(number, keys))
    }
}

/// The outputs of a run: how many, and their order-independent check sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// Output records.
    pub out: u64,
    /// Wrapping sum over the outputs of `mix(x)`.
    pub sum: u64,
}

impl Check {
    /// Takes an output in; `x` says which by the rules of its workload.
    #[inline(always)]
    pub fn add(&mut self, x: u64) {
        self.out += 1;
        self.sum = self.sum.wrapping_add(mix(x));
    }

    /// Takes an output in as if it came so many times.
    #[inline(always)]
    pub fn add_times(&mut self, x: u64, times: u64) {
        self.out = self.out.wrapping_add(times);
        self.sum = self.sum.wrapping_add(mix(x).wrapping_mul(times));
    }

    /// Takes an output back: what is left is the check of those that stay. (One subtask may be the one that takes back
    /// what another has said: the difference counts, and may wrap on the way.)
    #[inline(always)]
    pub fn remove(&mut self, x: u64) {
        self.out = self.out.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(mix(x));
    }

    /// Adds the outputs of another subtask.
    pub fn merge(&mut self, other: Self) {
        self.out = self.out.wrapping_add(other.out);
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// The sum as reports print it.
    pub fn sum_text(&self) -> String {
        format!("{:016x}", self.sum)
    }
}

/// `x` of q0, q1 and q0shuffle.
#[inline(always)]
pub fn bid_x(auction: u64, bidder: u64, price: u64, time_ms: u64) -> u64 {
    let x = auction.wrapping_mul(3).wrapping_add(bidder.wrapping_mul(5));
    x.wrapping_add(price.wrapping_mul(7)).wrapping_add(time_ms)
}

/// `x` of q2.
#[inline(always)]
pub fn auction_price_x(auction: u64, price: u64) -> u64 {
    auction.wrapping_mul(3).wrapping_add(price.wrapping_mul(7))
}

/// `x` of a running count per key.
#[inline(always)]
pub fn keyed_x(key: u64, count: u64) -> u64 {
    key.wrapping_mul(3).wrapping_add(count.wrapping_mul(5))
}

/// `x` of a count per key and window, which ends at `end_ms`.
#[inline(always)]
pub fn window_x(key: u64, count: u64, end_ms: u64) -> u64 {
    keyed_x(key, count).wrapping_add(end_ms.wrapping_mul(7))
}

/// `x` of a winning bid.
#[inline(always)]
pub fn category_x(auction: u64, price: u64, category: u64) -> u64 {
    auction_price_x(auction, price).wrapping_add(category.wrapping_mul(11))
}

/// `x` of the highest price in a window, which ends at `end_ms`.
#[inline(always)]
pub fn price_x(price: u64, end_ms: u64) -> u64 {
    price.wrapping_mul(3).wrapping_add(end_ms.wrapping_mul(7))
}

/// `x` of a hashtag that is among the first of a window, which ends at `end_ms`.
#[inline(always)]
pub fn trend_x(tag: &[u8], count: u64, end_ms: u64) -> u64 {
    fnv1a64(tag).wrapping_add(count.wrapping_mul(5)).wrapping_add(end_ms.wrapping_mul(7))
}

/// The end of the window of `size_ms` that `time_ms` is in.
#[inline(always)]
pub fn window_end_ms(time_ms: u64, size_ms: u64) -> u64 {
    time_ms - time_ms % size_ms + size_ms
}

/// `x` of outputs that the specification has no rule for: its fields, each times a prime of its own.
#[inline(always)]
pub fn fields_x<const N: usize>(fields: [u64; N]) -> u64 {
    const PRIMES: [u64; 14] = [3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47];
    const { assert!(N <= PRIMES.len()) };
    let terms = fields.iter().zip(PRIMES).map(|(field, prime)| field.wrapping_mul(prime));
    terms.fold(0, u64::wrapping_add)
}

/// `x` of a running count per word.
#[inline(always)]
pub fn word_x(word: &[u8], count: u64) -> u64 {
    fnv1a64(word).wrapping_add(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_words_are_those_of_the_specification() {
        let generator = Generator::new(SEED, 1_000_000);
        for (number, k, expected) in [
            (0, 0, 0x1696_BF28_F9F8_C064),
            (0, 3, 0xEF33_CCC1_8DFE_B2A0),
            (1, 0, 0x7018_B8B1_CE21_C07B),
            (1, 3, 0x2332_7C73_2363_B612),
            (12_345_678_901, 0, 0x1AF9_9423_05F6_CEB4),
            (12_345_678_901, 3, 0x1E73_C77A_FDD2_2F71),
        ] {
            assert_eq!(generator.random(number, k), expected, "R({number}, {k})");
        }
        assert_eq!(mix(1), 0x5692_161D_100B_05E5);
    }

    #[test]
    fn keys_follow_the_seed_and_half_of_the_skewed_ones_are_zero() {
        let (a, b) = (Generator::new(SEED, 1), Generator::new(7, 1));
        assert!((0..100).any(|number| a.key(number, KEYS) != b.key(number, KEYS)));
        let zeroes = (0..10_000).filter(|number| a.skewed_key(*number, KEYS) == 0).count();
        assert!((4_800..5_200).contains(&zeroes), "{zeroes} of 10000");
    }
}
