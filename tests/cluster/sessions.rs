//! Sessions give the same at every parallelism: what their definition says.

use std::collections::BTreeMap;

use wiesel_connectors::DataGen;
use wiesel_core::{Timestamp, millis, seconds};
use wiesel_datastream::Environment;
use wiesel_operators::{
    Folding, FunctionError, Session, SessionGap, TimeWindow, bounded_out_of_orderness,
};
use wiesel_record::{Key, Out, Record};

use crate::{assert_sound, config, run, watched};

const RECORDS: u64 = 60_000;
const KEYS: u64 = 1_000;
const GAP_MS: i64 = 1_500;

/// A key of a thousand, and a time that goes forth by 1 ms and up to 900 back.
fn key_and_time(number: u64) -> (u64, i64) {
    let random = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    (random % KEYS, number as i64 - (random / KEYS % 900) as i64)
}

/// The gap behind a record.
fn gap_ms(key: u64, at: i64) -> i64 {
    1 + (at + key as i64).rem_euclid(2 * GAP_MS)
}

/// Counts, and says of which session.
#[derive(Clone)]
struct Sessions;

impl<K: Key, T: Record> Folding<K, T> for Sessions {
    type Acc = u64;
    type Out = (K, i64, i64, u64);
    const CAN_MERGE: bool = true;

    fn first(&self, _: T::View<'_>) -> Result<u64, FunctionError> {
        Ok(1)
    }

    fn add(&self, acc: &mut u64, _: T::View<'_>) -> Result<(), FunctionError> {
        *acc += 1;
        Ok(())
    }

    fn merge(&self, acc: &mut u64, other: u64) -> Result<(), FunctionError> {
        *acc += other;
        Ok(())
    }

    fn emit(&self, key: K::View<'_>, window: TimeWindow, acc: u64, out: &mut dyn Out<Self::Out>) {
        out.emit((K::shrink(key), window.start.as_millis(), window.end.as_millis(), acc));
    }
}

/// The definition: key, start, end, count.
fn expected(key_of: fn(u64) -> u64, gap_of: fn(u64, i64) -> i64) -> Vec<(u64, i64, i64, u64)> {
    let mut records = BTreeMap::<u64, Vec<(i64, i64)>>::new();
    for number in 0..RECORDS {
        let (key, at) = key_and_time(number);
        records.entry(key_of(key)).or_default().push((at, at + gap_of(key, at)));
    }
    let mut sessions = Vec::<(u64, i64, i64, u64)>::new();
    for (key, mut windows) in records {
        windows.sort_unstable();
        let first = sessions.len();
        for (start, end) in windows {
            match sessions[first..].last_mut() {
                Some(last) if start <= last.2 => *last = (key, last.1, last.2.max(end), last.3 + 1),
                _ => sessions.push((key, start, end, 1)),
            }
        }
    }
    sessions
}

fn check<G: SessionGap<(u64, i64)>>(sessions: &Session<G>, expected: &[(u64, i64, i64, u64)]) {
    for parallelism in [1, 2, 3] {
        let environment = Environment::new();
        let results = environment
            .source(DataGen::new(|tick| tick.number).count(RECORDS))
            .map(key_and_time)
            .watermarks(bounded_out_of_orderness(seconds(1)), |(_, at)| Timestamp::from_millis(at))
            .key_by::<u64>(|(key, _)| key)
            .window(sessions.clone())
            .fold_with(Sessions)
            .collect();
        assert_sound(&run(&environment, parallelism, &config(&[])));
        let mut results = results.take();
        results.sort_unstable();
        assert!(results == expected, "{} sessions at {parallelism}", results.len());
    }
}

#[test]
fn sessions_are_the_same_at_every_parallelism() {
    watched(|| {
        let fixed = expected(|key| key, |_, _| GAP_MS);
        assert!(fixed.len() > 2 * KEYS as usize, "{} sessions", fixed.len());
        check(&Session::with_gap(millis(GAP_MS.unsigned_abs())), &fixed);
        let dynamic = expected(|key| key, gap_ms);
        assert_ne!(dynamic, fixed);
        let gap = |(key, at)| millis(gap_ms(key, at).unsigned_abs());
        check(&Session::with_dynamic_gap::<(u64, i64), _>(gap), &dynamic);
    });
}

#[test]
fn a_whole_stream_has_sessions() {
    watched(|| {
        // One record of two hundred: so there are gaps between them.
        let is_kept = |number: u64| key_and_time(number).0 < 5;
        let mut times: Vec<i64> =
            (0..RECORDS).filter(|n| is_kept(*n)).map(|number| key_and_time(number).1).collect();
        times.sort_unstable();
        let sessions = times.chunk_by(|a, b| b - a <= 300);
        let expected: Vec<_> = sessions
            .map(|times| ((), times[0], times[times.len() - 1] + 300, times.len() as u64))
            .collect();
        assert!(expected.len() > 20, "{} sessions", expected.len());
        for parallelism in [1, 2, 3] {
            let environment = Environment::new();
            let results = environment
                .source(DataGen::new(|tick| tick.number).count(RECORDS))
                .map(key_and_time)
                .watermarks(bounded_out_of_orderness(seconds(1)), |(_, at)| {
                    Timestamp::from_millis(at)
                })
                .filter(|(key, _)| key < 5)
                .window_all(Session::with_gap(millis(300)))
                .fold_with(Sessions)
                .collect();
            assert_sound(&run(&environment, parallelism, &config(&[])));
            assert_eq!(results.take(), expected, "at {parallelism}");
        }
    });
}
