//! Windows that overlap give the same at every parallelism: what their definition says.

use std::collections::BTreeMap;

use wiesel_connectors::DataGen;
use wiesel_core::{Timestamp, millis, seconds};
use wiesel_datastream::Environment;
use wiesel_operators::{
    Folding, Session, Sliding, TimeWindow, Tumbling, bounded_out_of_orderness,
    monotonous_timestamps,
};
use wiesel_record::{Key, Out, Record};

use crate::{assert_sound, config, run, watched};

const RECORDS: u64 = 60_000;
const SIZE_MS: i64 = 10_000;
const SLIDE_MS: i64 = 500;

/// A key of ten thousand, and a time that goes forth by 1 ms and up to 900 back.
fn key_and_time(number: u64) -> (u64, i64) {
    let random = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    (random % 10_000, number as i64 - (random / 10_000 % 900) as i64)
}

/// Counts, and says of which window. `MERGES` and `RETRACTS` choose how windows share their work.
#[derive(Clone)]
struct CountOf<const MERGES: bool, const RETRACTS: bool>;

impl<K: Key, T: Record, const MERGES: bool, const RETRACTS: bool> Folding<K, T>
    for CountOf<MERGES, RETRACTS>
{
    type Acc = u64;
    type Out = (K, i64, u64);
    const MERGES: bool = MERGES;
    const RETRACTS: bool = RETRACTS;

    fn first(&self, _: T::View<'_>) -> Result<u64, wiesel_operators::FunctionError> {
        Ok(1)
    }

    fn add(&self, acc: &mut u64, _: T::View<'_>) -> Result<(), wiesel_operators::FunctionError> {
        *acc += 1;
        Ok(())
    }

    fn merge(&self, acc: &mut u64, other: u64) -> Result<(), wiesel_operators::FunctionError> {
        *acc += other;
        Ok(())
    }

    fn retract(&self, acc: &mut u64, other: u64) {
        *acc -= other;
    }

    fn emit(&self, key: K::View<'_>, window: TimeWindow, acc: u64, out: &mut dyn Out<Self::Out>) {
        out.emit((K::shrink(key), window.end.as_millis(), acc));
    }
}

/// The definition.
fn expected() -> BTreeMap<(u64, i64), u64> {
    let mut counts = BTreeMap::new();
    for number in 0..RECORDS {
        let (key, at) = key_and_time(number);
        let mut start = at.div_euclid(SLIDE_MS) * SLIDE_MS;
        while start > at - SIZE_MS {
            *counts.entry((key, start + SIZE_MS)).or_default() += 1;
            start -= SLIDE_MS;
        }
    }
    counts
}

fn check<const MERGES: bool, const RETRACTS: bool>(expected: &BTreeMap<(u64, i64), u64>) {
    for parallelism in [1, 2, 3] {
        let environment = Environment::new();
        let results = environment
            .source(DataGen::new(|tick| tick.number).count(RECORDS))
            .map(key_and_time_of)
            .watermarks(bounded_out_of_orderness(seconds(1)), |(_, at)| Timestamp::from_millis(at))
            .key_by::<u64>(|(key, _)| key)
            .window(Sliding::event_time(
                millis(SIZE_MS.unsigned_abs()),
                millis(SLIDE_MS.unsigned_abs()),
            ))
            .fold_with(CountOf::<MERGES, RETRACTS>)
            .collect();
        assert_sound(&run(&environment, parallelism, &config(&[])));
        let results = results.take();
        assert_eq!(results.len(), expected.len(), "each key and window once, at {parallelism}");
        for (key, end, count) in results {
            assert_eq!(expected.get(&(key, end)), Some(&count), "key {key}, window to {end}");
        }
    }
}

fn key_and_time_of(number: u64) -> (u64, i64) {
    key_and_time(number)
}

#[test]
fn sliding_windows_share_their_slices_and_give_what_windows_of_their_own_give() {
    watched(|| {
        let expected = expected();
        check::<true, true>(&expected);
        check::<true, false>(&expected);
        check::<false, false>(&expected);
    });
}

#[test]
fn all_records_of_a_window_are_folded() {
    type Seen = (u64, i64);
    watched(|| {
        let add = |seen: &mut Seen, at: i64| *seen = (seen.0 + 1, seen.1.max(at));
        for parallelism in [1, 2, 3] {
            // Half of the second pauses: 500 records, half a second of nothing.
            let times = |environment: &Environment| {
                environment
                    .source(DataGen::new(|tick| tick.number as i64).count(5_000))
                    .map(|number| number / 500 * 1_000 + number % 500)
                    .watermarks(monotonous_timestamps(), Timestamp::from_millis)
            };
            let environment = Environment::new();
            let windows = times(&environment)
                .window_all(Tumbling::event_time(seconds(1)))
                .fold((0, i64::MIN), add)
                .collect();
            let sessions = times(&environment)
                .window_all(Session::with_gap(millis(300)))
                .fold_merging((0, i64::MIN), add, |seen: &mut Seen, later: Seen| {
                    *seen = (seen.0 + later.0, seen.1.max(later.1));
                })
                .collect();
            assert_sound(&run(&environment, parallelism, &config(&[])));
            let expected: Vec<Seen> = (0..10).map(|second| (500, second * 1_000 + 499)).collect();
            for found in [windows.take(), sessions.take()] {
                let mut found: Vec<_> = found.into_iter().map(|folded| folded.value).collect();
                found.sort_unstable_by_key(|(_, at)| *at);
                assert_eq!(found, expected, "at {parallelism}");
            }
        }
    });
}
