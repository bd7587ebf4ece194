//! A running count per key, by hand: the better of two ways, as measured.

use std::hint::black_box;

use rustc_hash::FxHashMap;

use super::threads::{self, Work};
use crate::{
    generator::{Check, keyed_x, mix},
    measure::Run,
};

/// Counts in a hash map.
#[derive(Default)]
struct Counts {
    counts: FxHashMap<u64, u64>,
    check: Check,
}

impl Work<(u64, u64)> for Counts {
    #[inline(always)]
    fn take(&mut self, (key, value): (u64, u64)) {
        let count = self.counts.entry(key).or_insert(0);
        *count += value;
        self.check.add(keyed_x(key, *count));
    }

    fn check(self) -> Check {
        self.check
    }
}

/// Makes the keys and drops them.
pub fn gen_only(run: &Run, key_of: impl Fn(u64) -> u64 + Clone + Send) -> Check {
    threads::run::<(u64, u64), Counts, _>(run, move |number, _| {
        black_box((key_of(number), 1_u64));
    })
}

/// Counts the keys that `key_of` makes.
pub fn count(run: &Run, key_of: impl Fn(u64) -> u64 + Clone + Send) -> Check {
    let threads = u64::from(run.parallelism);
    threads::run::<_, Counts, _>(run, move |number, router| {
        let key = key_of(number);
        router.send(((mix(key) >> 32) % threads) as u32, (key, 1));
    })
}
