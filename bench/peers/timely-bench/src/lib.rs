//! What the workloads on timely share. Each is a program in `src/bin`.
//!
//! ```text
//!   q0 q1 q2          events ─▶ filter, map ─▶ check
//!   q0shuffle[_ptr]   events ─▶ bids ══ by auction ══▶ check
//!   keyed[_skew]      keys ══ by key ══▶ count ─▶ check              one thread per worker runs all of it
//!   wordcount         lines ─▶ words ══ by word ══▶ count ─▶ check
//!   q5                bids ══ by auction ══▶ counts, the most ══▶ the most ─▶ check
//!   q7                bids ─▶ highest ══▶ highest ─▶ check           their timestamp is the end of their window
//!   q3, q8            people, auctions ══ by person ══▶ join (q8: of windows) ─▶ check
//!   trending          tweets ─▶ tags ══ by tag ══▶ counts, ten first ══▶ ten first ─▶ check
//!   latency           keys, when due ══ by key ══▶ count ─▶ latencies
//! ```
//!
//! # What is always true
//!
//! 1. Worker `i` is pinned to the `i`-th core the process may use, unless there is but one.
//! 2. A source makes a number of records each time it is scheduled, the one that was best for its workload
//!    (README.md); `--batch` tries another.
//! 3. A timestamp is the end of the smallest pane of event time that a workload needs. One without windows has no time: all
//!    its records are at timestamp 0, the cheapest for timely.
//! 4. What is here is generic or `inline`: it is compiled in the program of the workload.

mod input;
mod keyed;
mod shuffle;

use std::process::ExitCode;

use peer::{
    Args, Error, Outcome,
    cores::Cores,
    cost::Cost,
    generator::{Check, Generator},
    total::Total,
};
use timely::{Config, worker::Worker};

pub use input::{Input, Sink};
pub use keyed::count;
pub use shuffle::shuffle;

/// The `main` of a workload. `build` puts its operators between an input and a sink; `best` says how many records its
/// source makes each time, alone and with other workers.
pub fn run(
    workload: &'static str,
    best: [usize; 2],
    build: impl Fn(&Input<'_>, Sink) + Send + Sync + 'static,
) -> ExitCode {
    peer::run("timely", workload, |args| {
        let (events, batch) = (args.events, args.batch_or(best));
        let generator = Generator::new(args.seed, args.event_rate);
        let total = Total::<Check>::new();
        let part = total.part();
        let (ended, cost) = Cost::of(|| {
            execute(args, move |worker| {
                worker.dataflow(|scope| {
                    build(&Input { scope, events, batch, generator }, Sink(part.clone()));
                });
            })
        });
        ended?;
        Ok(Outcome { events, check: total.take(), cost, timing: None })
    })
}

/// Runs `work` on every worker, each on a core of its own, until all of them have ended.
pub fn execute(
    args: &Args,
    work: impl Fn(&mut Worker) + Send + Sync + 'static,
) -> Result<(), Error> {
    let cores = Cores::allowed()?;
    let config = match args.parallelism {
        1 => Config::thread(),
        workers => Config::process(workers),
    };
    let workers = timely::execute(config, move |worker| {
        cores.pin(worker.index());
        work(worker);
    });
    workers.and_then(|workers| workers.join().into_iter().collect()).map_err(Error::Engine)
}
