//! Latency of a keyed count at a steady rate, in an open loop.
//!
//! A worker that spins is scheduled again at once; one that parks sleeps until shortly before its next record is due, or
//! until another worker has sent it some.

use std::process::ExitCode;

use peer::{
    Args, Error, Outcome,
    cost::Cost,
    generator::{Generator, KEYS, mix},
    schedule::{Schedule, Wait},
    seen::Seen,
    total::{Part, Total},
};
use rustc_hash::FxHashMap;
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{
        Scope, StreamVec,
        channels::pact::{Exchange, Pipeline},
        operators::{Operator, generic::operator::source},
    },
};
use timely_peer::execute;

/// Records a source makes at most each time it is scheduled, so that one that is behind lets others run.
const BATCH: usize = 1_024;

/// A key, its number and when it is due.
type Key = (u64, u64, u64);

fn run(args: &Args) -> Result<Outcome, Error> {
    let wait = Wait::of(args)?;
    let batch = args.batch.unwrap_or(BATCH);
    let generator = Generator::new(args.seed, args.event_rate);
    let total = Total::<Seen>::new();
    let part = total.part();
    let schedule = Schedule::new(args)?;
    let (ended, cost) = Cost::of(|| {
        execute(args, move |worker| {
            worker.dataflow(|scope| {
                let keys = keys_when_due(scope, schedule, generator, wait, batch);
                count(keys, schedule, part.clone());
            });
        })
    });
    ended?;
    let seen = total.take();
    let (events, check) = (schedule.records(), seen.check);
    let timing = Some(schedule.timing(wait.name().to_owned(), seen));
    Ok(Outcome { events, check, cost, timing })
}

fn keys_when_due<'s>(
    scope: Scope<'s, u64>,
    schedule: Schedule,
    generator: Generator,
    wait: Wait,
    batch: usize,
) -> StreamVec<'s, u64, Key> {
    let (mut number, step) = (scope.index() as u64, scope.peers() as u64);
    source::<_, CapacityContainerBuilder<Vec<Key>>, _, _>(scope, "Source", |capability, info| {
        let activator = scope.activator_for(info.address);
        let mut capability = Some(capability);
        move |output| {
            let Some(open) = &capability else { return };
            let now_ns = schedule.now_ns();
            let mut session = output.session(open);
            let mut left = batch;
            let due_ns = loop {
                if number >= schedule.records() {
                    drop(session);
                    capability = None;
                    return;
                }
                let due_ns = schedule.due_ns(number);
                if due_ns > now_ns || left == 0 {
                    break due_ns;
                }
                session.give((generator.key(number, KEYS), number, due_ns));
                number += step;
                left -= 1;
            };
            match wait.sleep(due_ns.saturating_sub(now_ns)) {
                Some(sleep) => activator.activate_after(sleep),
                None => activator.activate(),
            }
        }
    })
}

fn count(keys: StreamVec<'_, u64, Key>, schedule: Schedule, mut part: Part<Seen>) {
    let by_key = Exchange::new(|(key, ..): &Key| mix(*key));
    let counts = keys.unary(by_key, "Count", |_, _| {
        let mut counts = FxHashMap::<u64, u64>::default();
        move |input, output| {
            input.for_each(|time, keys| {
                let mut session = output.session(&time);
                for (key, number, due_ns) in keys.drain(..) {
                    let count = counts.entry(key).or_default();
                    *count += 1;
                    session.give((key, *count, number, due_ns));
                }
            });
        }
    });
    counts.sink(Pipeline, "Latency", move |(input, _)| {
        let seen = part.own();
        input.for_each(|_, counts: &mut Vec<(u64, u64, u64, u64)>| {
            for (key, count, number, due_ns) in counts.drain(..) {
                seen.add(&schedule, key, count, number, due_ns);
            }
        });
    });
}

fn main() -> ExitCode {
    peer::run("timely", "latency", run)
}
