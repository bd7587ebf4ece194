//! `gen`: every event is made and dropped, in plain threads. No engine: what making the input costs all of them.

use std::thread;

use crate::{
    Args, Error, Outcome,
    cores::Cores,
    cost::Cost,
    event::Event,
    generator::{Check, Generator, PersonText},
};

/// Runs it.
pub fn run(args: &Args) -> Result<Outcome, Error> {
    let cores = Cores::allowed()?;
    let generator = Generator::new(args.seed, args.event_rate);
    let part = |worker: usize| {
        cores.pin(worker);
        let mut text = PersonText::default();
        for number in (worker as u64..args.events).step_by(args.parallelism) {
            drop(Event::make(&generator, number, &mut text));
        }
    };
    let ((), cost) = Cost::of(|| {
        thread::scope(|scope| {
            for worker in 0..args.parallelism {
                scope.spawn(move || part(worker));
            }
        });
    });
    Ok(Outcome { events: args.events, check: Check::default(), cost, timing: None })
}
