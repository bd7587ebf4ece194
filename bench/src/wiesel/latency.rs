//! `latency`: the keyed count at a steady rate, as a job.
//!
//! ```text
//!   (key, number, due) ─key_by─▶ running count per key, with number and due of the record ─▶ now - due
//! ```

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;
use wiesel::{
    Configuration, Owned,
    connectors::{DataGen, Generate, Sink, SourceOutput, Tick, WriterContext},
    operators::{Aggregated, AggregatedView},
    prelude::*,
    shard::Shard,
};

use super::observer::{Observe, Observer};
use crate::{
    generator::{Check, Generator, KEYS, keyed_x},
    measure::{
        Mode, Outcome, Run,
        latency::{Latencies, Watch, hiccups, watch},
        measured,
    },
};

/// Of all records, the first that do not count.
const WARM_UP_SHARE: u64 = 2;

/// Key, number, and when it was due.
type Sent = (u64, u64, u64);

/// How often the key has come, and number and due of the record that came last.
type Counted = Aggregated<u64, (u64, u64, u64)>;

/// Makes the records, each when it is due.
#[derive(Clone)]
struct Due {
    generator: Generator,
    is_watched: bool,
}

impl Generate<Sent> for Due {
    #[inline(always)]
    fn generate<S: SourceOutput<Sent>>(&mut self, tick: Tick, out: &mut S) -> bool {
        if self.is_watched {
            watch(|watch| watch.sent(tick.due.0, tick.now.0));
        }
        let key = self.generator.key(tick.number, KEYS);
        out.collect(Owned((key, tick.number, tick.due.0)), None)
    }
}

/// Looks at the clock for every record.
#[derive(Clone)]
struct Clocked {
    warm_up: u64,
    events: u64,
    result: Arc<Mutex<Seen>>,
}

/// What all writers saw, by shard.
#[derive(Default)]
struct Seen {
    watches: Vec<(u32, Watch)>,
    check: Check,
}

impl Sink for Clocked {
    type Record = Counted;
    type Writer = Observer<Part>;

    fn writer(&self, context: &WriterContext) -> Observer<Part> {
        watch(|watch| watch.start((self.events / u64::from(context.parallelism)) as usize));
        let (sink, context) = (self.clone(), context.clone());
        Observer::new(Part { sink, context, check: Check::default() })
    }

    fn describe(&self) -> String {
        "clock".to_owned()
    }
}

/// One subtask's part.
struct Part {
    sink: Clocked,
    context: WriterContext,
    check: Check,
}

impl Observe<Counted> for Part {
    #[inline(always)]
    fn see(&mut self, counted: AggregatedView<'_, u64, (u64, u64, u64)>) {
        let AggregatedView { key, value: (count, number, due_ns) } = counted;
        self.check.add(keyed_x(key, count));
        if number >= self.sink.warm_up {
            let now_ns = self.context.shard.read_clock().0;
            let sender = (number % u64::from(self.context.parallelism)) as u32;
            watch(|watch| watch.seen(due_ns, now_ns, sender));
        }
    }

    fn end(&mut self) {
        let mut seen = self.sink.result.lock().unwrap_or_else(PoisonError::into_inner);
        seen.check.merge(self.check);
        seen.watches.push((self.context.subtask.0, watch(Watch::take)));
    }
}

/// Runs the job at the rate of `run`.
///
/// # Errors
///
/// If the job cannot run here, or fails.
pub fn run(run: &Run) -> Result<Outcome, String> {
    let said = |error: wiesel::Error| error.to_string();
    let mut env = StreamExecutionEnvironment::new(Configuration::new());
    env.set_parallelism(run.parallelism).map_err(said)?;
    if run.mode == Mode::Spin {
        env.set("shard.spin", "3600 s").map_err(said)?;
    }
    let generator = Generator::new(run.seed, run.rate);
    let due = Due { generator, is_watched: run.mode == Mode::Spin };
    let source = DataGen::by(due).count(run.events).per_second(run.rate);
    let result = Arc::<Mutex<Seen>>::default();
    env.source(source)
        .uid("due")
        .key_by::<u64>(|(key, _, _)| key)
        .fold((0, 0, 0), |(count, number, due): &mut (u64, u64, u64), record| {
            (*count, *number, *due) = (*count + 1, record.1, record.2);
        })
        .uid("counts")
        .sink_to(Clocked {
            warm_up: run.events / WARM_UP_SHARE,
            events: run.events,
            result: Arc::clone(&result),
        });
    let rate = (run.rate / u64::from(run.parallelism)).max(1);
    let shard = Shard::detached();
    let hiccup = hiccups(rate, rate, || shard.read_clock().0); // One second.
    let (ended, usage) = measured(|| env.execute("latency"));
    ended.map_err(said)?;
    let Seen { mut watches, check } =
        std::mem::take(&mut *result.lock().unwrap_or_else(PoisonError::into_inner));
    watches.sort_by_key(|(subtask, _)| *subtask);
    let watches: Vec<Watch> = watches.into_iter().map(|(_, watch)| watch).collect();
    let latencies = Latencies::of(&watches);
    let shard_ns = usage.elapsed.as_nanos() as u64 * u64::from(run.parallelism);
    let mut outcome = usage.outcome(run, "wiesel", check);
    outcome.extra = vec![("rate", json!(run.rate)), ("mode", json!(run.mode.name()))];
    outcome.extra.extend(match run.mode {
        Mode::Spin => latencies.fields_attributed(shard_ns),
        Mode::Park => latencies.fields(),
    });
    outcome.extra.push(("hiccup_p99_ns", json!(hiccup.value_at_quantile(0.99))));
    outcome.extra.push(("hiccup_p999_ns", json!(hiccup.value_at_quantile(0.999))));
    outcome
        .extra
        .push(("achieved_per_second", json!(run.events as f64 / usage.elapsed.as_secs_f64())));
    if latencies.len() == 0 {
        return Err("no record was seen after the warm-up: use more events".to_owned());
    }
    Ok(outcome)
}
