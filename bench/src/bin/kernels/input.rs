//! What the kernels work on: the same records in every run, and what they should add up to.
//!
//! ```text
//!   n operations over an input of 4:    0 1 2 3   0 1 2 3   0 1        each the value of its record
//!                                       └ whole ┘ └ whole ┘ └ part     = the expected sum
//! ```

use std::ops::RangeInclusive;

use wiesel_record::Record;

/// Records of an input: several frames of them, and all in the second level of a cache.
pub const RECORDS: usize = 1 << 12;

/// A bid with all that Nexmark gives it: four numbers, three strings.
#[derive(Record)]
#[record(crate = wiesel_record)]
pub struct Bid {
    pub auction: u64,
    pub bidder: u64,
    pub price: u64,
    pub at: u64,
    pub channel: String,
    pub url: String,
    pub extra: String,
}

/// The finaliser of splitmix64.
pub fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z ^ (z >> 31)
}

/// Pairs of numbers.
pub fn pairs() -> Vec<(u64, u64)> {
    (0..RECORDS as u64).map(|at| (mix(at), at)).collect()
}

/// Distinct words of mixed lengths, the shortest of at least four letters.
pub fn words(count: usize, lengths: RangeInclusive<usize>) -> Vec<String> {
    assert!(count <= 26_usize.pow(4) && *lengths.start() >= 4, "four letters tell words apart");
    let span = (lengths.end() - lengths.start() + 1) as u64;
    let word = |at: usize| {
        let letters = (0..4).map(|place| at / 26_usize.pow(place) % 26);
        let mut word: String = letters.map(|letter| char::from(b'a' + letter as u8)).collect();
        let length = *lengths.start() + (mix(at as u64) % span) as usize;
        word.extend((4..length).map(|place| char::from(b'a' + (place % 26) as u8)));
        word
    };
    (0..count).map(word).collect()
}

/// Bids of 150 to 250 bytes.
pub fn bids() -> Vec<Bid> {
    let extra = "late bid on a weasel at the auction tonight, sold as seen and not returned";
    let bid = |at: u64| {
        let random = mix(at);
        Bid {
            auction: random % 1_000,
            bidder: (random >> 20) % 5_000,
            price: (random >> 40) % 10_007,
            at,
            channel: format!("channel-{}", random % 100),
            url: format!("https://www.nexmark.com/item.htm?query=1&channel_id={}", random >> 44),
            extra: extra[..(random >> 8) as usize % extra.len()].to_owned(),
        }
    };
    (0..RECORDS as u64 / 4).map(bid).collect()
}

/// Calls `each` for `n` records, from the first of `items` again when they are at an end. The loop inside costs
/// nothing but its counter: what is counted is `each`.
#[inline(always)]
pub fn rounds<T>(items: &[T], n: u64, mut each: impl FnMut(&T)) {
    let mut left = n as usize;
    while left > 0 {
        let round = &items[..left.min(items.len())];
        round.iter().for_each(&mut each);
        left -= round.len();
    }
}

/// The sum over `n` operations of which each gives the value of its record.
pub fn expected(values: impl Iterator<Item = u64> + Clone, n: u64) -> u64 {
    let count = values.clone().count() as u64;
    let sum = |values: &mut dyn Iterator<Item = u64>| values.fold(0, u64::wrapping_add);
    let whole = sum(&mut values.clone()).wrapping_mul(n / count);
    whole.wrapping_add(sum(&mut values.take((n % count) as usize)))
}

#[test]
fn words_are_distinct_and_of_all_lengths() {
    let mut words = words(1 << 16, 4..=12);
    let lengths: std::collections::BTreeSet<usize> = words.iter().map(String::len).collect();
    assert!(lengths.into_iter().eq(4..=12));
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), 1 << 16);
}

#[test]
fn sums_are_those_of_the_rounds() {
    for n in [0, 1, 3, 4, 5, 11] {
        let (values, mut sum) = ([1, 10, 100, 1_000], 0);
        rounds(&values, n, |value| sum += value);
        assert_eq!(sum, expected(values.into_iter(), n), "{n}");
    }
}
