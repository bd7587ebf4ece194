//! What the queries give by their definitions: slow and obvious, over small inputs. Jobs and loops by hand are compared
//! with it, with several seeds and on several shards.
//!
//! ```text
//!   generator ─▶ all events in vectors ─▶ a definition ─▶ out, sum  ==  those of the job, and of the loop by hand
//! ```
//!
//! # What is always true
//!
//! A definition shares nothing with what it is compared with but the generator and the `x` of an output.

mod auctions;
mod bids;
mod joins;
mod sessions;
mod windows;

use crate::{
    bare,
    generator::{Bid, Check, Event, Generator, PersonText, SEED},
    measure::{Mode, Run},
    peers::Peer,
    wiesel,
    workload::Workload,
};

/// A run over so many events, at so many a second of event time.
fn run_of(workload: Workload, events: u64, event_rate: u64) -> Run {
    Run {
        workload,
        events,
        event_rate,
        parallelism: 1,
        slides: 10,
        disorder: 0,
        rate: 1,
        mode: Mode::Spin,
        seed: SEED,
        profile: false,
        state: Default::default(),
    }
}

/// Compares what `expected` says with everybody who runs the workload here.
#[track_caller]
fn check(of: &Run, expected: impl Fn(&Run, Generator) -> Check) {
    for seed in SEEDS {
        let run = Run { seed, ..of.clone() };
        check_run(&run, expected(&run, Generator::new(seed, run.event_rate)));
    }
}

/// What a workload is checked with.
const SEEDS: [u64; 3] = [SEED, 7, 0x5eed_0000_0001];

/// Compares what is right of one input with everybody who runs the workload here.
#[track_caller]
fn check_run(of: &Run, expected: Check) {
    assert!(expected.out > 0, "{} over nothing shows nothing", of.workload);
    for parallelism in [1, 2, 3, 5] {
        let run = Run { parallelism, ..of.clone() };
        let said = format!("{}, seed {}, {parallelism} shards", run.workload, run.seed);
        assert_eq!(wiesel::run(&run).expect("the job runs").check, expected, "{said}");
        if Peer::Bare.can_run(run.workload) {
            let by_hand = bare::run(&run).expect("there is a loop by hand");
            assert_eq!(by_hand.check, expected, "{said}, by hand");
        }
    }
}

/// Shows every event, in order.
fn each_event(run: &Run, generator: Generator, mut see: impl FnMut(Event<'_>)) {
    let mut text = PersonText::default();
    (0..run.events).for_each(|number| see(generator.event(number, &mut text)));
}

/// All bids.
fn bids(run: &Run, generator: Generator) -> Vec<Bid> {
    let mut bids = Vec::new();
    each_event(run, generator, |event| {
        if let Event::Bid(bid) = event {
            bids.push(bid);
        }
    });
    bids
}
