//! The same programs on both machines: parking, more shards than cores, panics, timers.
//!
//! Nothing here sleeps: programs poll, and give up when the shard's clock passes a limit far beyond need. Under
//! `--cfg sim` each test runs under a hundred seeds.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests of the seam")]
#![cfg(not(loom))]

mod common;

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use common::{Limit, parked, run};
use wiesel_core::{ShardId, millis};
use wiesel_shard::{
    Door, Launch, Next, Program, Shard, ShardSpec, available_cores,
    ring::{Consumer, Producer, ring},
};

/// Takes numbers from one ring and passes them on, one more each, until `last`.
struct Relay {
    from: Consumer<u64>,
    to: Producer<u64>,
    next: Door,
    last: u64,
    limit: Limit,
}

impl Program for Relay {
    fn turn(&mut self, shard: &Shard) -> Next {
        self.limit.check(shard);
        match self.from.pop() {
            Some(number) if number >= self.last => Next::Done,
            Some(number) => {
                assert!(self.to.push(number + 1).is_ok(), "one number goes round a ring with room");
                self.next.knock();
                Next::Again
            }
            None if self.from.is_closed() => Next::Done,
            None => Next::IDLE,
        }
    }
}

/// A number goes round all shards until it is `last`.
fn go_round(specs: &[ShardSpec], last: u64) {
    run(|| round(Launch::new(specs.to_vec()).expect("descriptors"), last))
        .outcome()
        .expect("no panic");
}

fn round(mut launch: Launch, last: u64) -> Launch {
    let ids = launch.ids();
    let (producers, mut consumers): (Vec<_>, Vec<_>) = ids.iter().map(|_| ring(2)).unzip();
    consumers.rotate_right(1);
    for ((id, to), from) in ids.iter().zip(producers).zip(consumers) {
        let next = launch.door(ids[(id.index() + 1) % ids.len()]);
        let starts = id.index() == 0;
        launch.program(*id, move |_| {
            let mut relay = Relay { from, to, next, last, limit: Limit(None) };
            if starts {
                assert!(relay.to.push(0).is_ok());
                relay.next.knock();
            }
            Box::new(relay)
        });
    }
    launch
}

#[test]
fn shards_that_park_wake_each_other() {
    go_round(&ShardSpec::spread(2, &[]), 2_000);
}

#[test]
fn pinned_shards_that_spin_pass_numbers_on() {
    let cores = available_cores();
    let specs = ShardSpec::spread(cores.len().min(2), &cores);
    assert!(specs.iter().all(|spec| spec.core.is_some() && !spec.spin.is_zero()));
    go_round(&specs, 2_000);
}

#[test]
fn more_shards_than_cores_work() {
    go_round(&ShardSpec::spread(available_cores().len().max(2) * 2 + 3, &[]), 2_000);
}

#[test]
fn a_panic_ends_one_program_and_closes_its_rings() {
    let report = run(|| {
        let mut launch = parked(3);
        let ids = launch.ids();
        let (mut to, mut from) = ring::<u64>(1);
        launch.program(ids[0], move |_| {
            let mut turns = 0;
            Box::new(move |_: &Shard| {
                turns += 1;
                assert!(turns < 3, "three is too many, {}", to.push(7).is_ok());
                Next::Again
            })
        });
        launch.program(ids[1], move |_| {
            let mut limit = Limit(None);
            Box::new(move |shard: &Shard| {
                limit.check(shard);
                match from.pop() {
                    Some(7) => Next::Again,
                    Some(other) => panic!("{other}"),
                    None if from.is_closed() => Next::Done,
                    None => Next::IDLE,
                }
            })
        });
        launch.program(ids[2], |_| -> Box<dyn Program> { panic!("cannot be made") });
        launch
    });
    let panicked = report.shards[0].as_ref().expect_err("it panicked");
    assert_eq!(panicked.to_string(), "shard-0 panicked: three is too many, true");
    assert_eq!(panicked.shard, Some(ShardId(0)));
    assert!(report.shards[1].is_ok() && report.control.is_ok());
    assert_eq!(report.shards[2].as_ref().expect_err("no program").message, "cannot be made");
}

#[test]
fn timers_come_in_time_and_not_before() {
    let counters = Cell::new(None);
    let report = run(|| {
        let mut launch = parked(1);
        counters.set(Some(launch.counters(ShardId(0))));
        let timer = move || {
            let (mut due, mut fired) = (None, 0);
            Box::new(move |shard: &Shard| {
                let at = *due.get_or_insert(shard.now() + millis(3));
                if shard.now() < at {
                    return Next::Idle { until: Some(at) };
                }
                due = None;
                fired += 1;
                if fired == 20 { Next::Done } else { Next::Again }
            }) as Box<dyn Program>
        };
        let other = timer;
        launch.program(ShardId(0), move |_| timer());
        launch.control(move |_| other());
        launch
    });
    report.outcome().expect("no panic");
    let parks = counters.take().expect("it was launched").parks.get();
    assert!(parks >= 20, "it sleeps until the timer, {parks} times");
}

#[test]
fn the_control_program_and_a_shard_talk() {
    let report = run(|| {
        let mut launch = parked(1);
        let (mut ask, mut asked) = ring::<u64>(1);
        let (mut answer, mut answered) = ring::<u64>(1);
        let (control, shard) = (launch.control_door(), launch.door(ShardId(0)));
        launch.program(ShardId(0), move |_| {
            Box::new(move |_: &Shard| match asked.pop() {
                Some(number) => {
                    assert!(answer.push(number * 2).is_ok());
                    control.knock();
                    Next::Again
                }
                None if asked.is_closed() => Next::Done,
                None => Next::IDLE,
            })
        });
        launch.control(move |_| {
            let (mut number, mut waits) = (0, false);
            Box::new(move |_: &Shard| {
                if waits {
                    let Some(doubled) = answered.pop() else { return Next::IDLE };
                    assert_eq!(doubled, number * 2);
                    number += 1;
                }
                if number == 500 {
                    return Next::Done;
                }
                assert!(ask.push(number).is_ok());
                waits = true;
                shard.knock();
                Next::Again
            })
        });
        launch
    });
    report.outcome().expect("no panic");
}

#[test]
fn a_turn_keeps_its_quantum() {
    let longest = Arc::new(AtomicU64::new(0));
    let report = run(|| {
        let mut launch = parked(1);
        let seen = Arc::clone(&longest);
        launch.program(ShardId(0), move |_| {
            let mut turns = 0;
            Box::new(move |shard: &Shard| {
                let started = shard.read_clock(); // Before the quantum: whatever comes between counts for it.
                let mut quantum = shard.quantum(Duration::from_micros(50));
                let mut records = 0_u64;
                while !quantum.spent() {
                    records += 1;
                }
                let spent = shard.read_clock().since(started);
                assert!(cfg!(sim) || spent >= Duration::from_micros(50), "{spent:?}");
                seen.fetch_max(records, Ordering::Relaxed);
                turns += 1;
                if turns == 100 { Next::Done } else { Next::Again }
            })
        });
        launch
    });
    report.outcome().expect("no panic");
    assert!(longest.load(Ordering::Relaxed) > if cfg!(sim) { 30 } else { 1_000 });
}
