//! Latency of a keyed count at a steady rate, in an open loop.
//!
//! Only sources wait for a clock, so only they can spin; renoir's other threads sleep whenever they have nothing to do.

use std::process::ExitCode;

use peer::{
    Args, Error, Outcome,
    cost::Cost,
    generator::{Generator, KEYS},
    schedule::{Schedule, Wait},
    seen::Seen,
    total::Total,
};
use renoir::prelude::*;
use renoir_peer::context;
use rustc_hash::FxHashMap;

/// The batch size that had the lowest median of those that kept up with a rate (README.md).
fn best_batch(rate: u64) -> usize {
    match rate {
        0..=150_000 => 1,
        150_001..=500_000 => 2,
        500_001..=1_000_000 => 16,
        1_000_001..=2_000_000 => 32,
        2_000_001.. => 128,
    }
}

fn run(args: &Args) -> Result<Outcome, Error> {
    let wait = Wait::of(args)?;
    let batch = args.batch.unwrap_or_else(|| best_batch(args.rate));
    let (batch_mode, batch_name) = match batch {
        1 => (BatchMode::single(), "single".to_owned()),
        batch => (BatchMode::fixed(batch), format!("fixed{batch}")),
    };
    let mode = format!("{} {batch_name}", wait.name());
    let generator = Generator::new(args.seed, args.event_rate);
    let context = context(args)?;
    let total = Total::<Seen>::new();
    let mut part = total.part();
    let schedule = Schedule::new(args)?;
    context
        .stream_par_iter(move |i: u64, p: u64| {
            (i..schedule.records()).step_by(p as usize).map(move |number| {
                let due_ns = schedule.due_ns(number);
                schedule.wait_until(due_ns, wait);
                (generator.key(number, KEYS), number, due_ns)
            })
        })
        .batch_mode(batch_mode)
        .group_by(|(key, ..)| *key)
        .drop_key()
        .rich_map({
            let mut counts = FxHashMap::<u64, u64>::default();
            move |(key, number, due_ns)| {
                let count = counts.entry(key).or_default();
                *count += 1;
                (key, *count, number, due_ns)
            }
        })
        .for_each(move |(key, count, number, due_ns)| {
            part.own().add(&schedule, key, count, number, due_ns);
        });
    let ((), cost) = Cost::of(|| context.execute_blocking());
    let seen = total.take();
    let (events, check) = (schedule.records(), seen.check);
    Ok(Outcome { events, check, cost, timing: Some(schedule.timing(mode, seen)) })
}

fn main() -> ExitCode {
    peer::run("renoir", "latency", run)
}
