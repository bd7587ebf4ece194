//! q11, session.

use std::collections::{BTreeMap, BTreeSet};

use super::{SEEDS, check_run, each_event, run_of};
use crate::{
    generator::{Check, Event, Generator, WINDOWED_KEYS, window_x},
    measure::Run,
    workload::Workload,
};

/// What ends a session, in milliseconds.
const GAP: u64 = 10_000;

/// Keys with the times of their records, in any order: their sessions. None if two records of a key are exactly a gap
/// apart: whether the later one makes the session longer depends on when the watermark comes.
fn sessions(records: Vec<(u64, u64)>) -> Option<Check> {
    let mut times = BTreeMap::<u64, Vec<u64>>::new();
    records.into_iter().for_each(|(key, at)| times.entry(key).or_default().push(at));
    let mut check = Check::default();
    for (key, mut times) in times {
        times.sort_unstable();
        if times.windows(2).any(|pair| pair[1] - pair[0] == GAP) {
            return None;
        }
        for session in times.chunk_by(|before, at| at - before < GAP) {
            let last = session[session.len() - 1];
            check.add(window_x(key, session.len() as u64, last + GAP));
        }
    }
    Some(check)
}

/// With events in order and out of order, at the first event rate at which the result is certain.
fn check(of: &Run, records: impl Fn(&Run, Generator) -> Vec<(u64, u64)>) {
    for disorder in [0, 5, 60] {
        for seed in SEEDS {
            let (run, expected) = (of.event_rate..)
                .find_map(|event_rate| {
                    let run = Run { disorder, seed, event_rate, ..of.clone() };
                    let records = records(&run, Generator::new(seed, event_rate));
                    let keys = records.iter().map(|(key, _)| key).collect::<BTreeSet<_>>().len();
                    let expected = sessions(records)?;
                    assert!(expected.out > keys as u64 + 100, "no key has two sessions");
                    Some((run, expected))
                })
                .expect("rates do not end");
            check_run(&run, expected);
        }
    }
}

#[test]
fn session_is_counts_between_silences() {
    // A key has a record in 14 s on average.
    check(&run_of(Workload::Session, 30_000, 701), |run, generator| {
        let record = |number| {
            let at = generator.time_ms(number) - generator.delay_ms(number, run.disorder);
            (generator.key(number, WINDOWED_KEYS), at)
        };
        (0..run.events).map(record).collect()
    });
}

#[test]
fn q11_is_bids_between_silences() {
    check(&run_of(Workload::Q11, 20_000, 97), |run, generator| {
        let (mut records, mut number) = (Vec::new(), 0);
        each_event(run, generator, |event| {
            if let Event::Bid(bid) = event {
                let at = bid.date_time - generator.delay_ms(number, run.disorder);
                records.push((bid.bidder, at));
            }
            number += 1;
        });
        records
    });
}

#[test]
fn some_events_are_late() {
    let generator = Generator::new(SEEDS[0], 97);
    let late = |percent| (0..20_000).filter(|at| generator.delay_ms(*at, percent) > 0).count();
    assert_eq!((late(0), late(100)), (0, 20_000));
    assert!((900..1_100).contains(&late(5)), "{}", late(5));
}
