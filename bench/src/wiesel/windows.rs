//! `tumbling`, `sliding`, `session`: counts of ten thousand keys in windows of a minute of event time, or in sessions.
//!
//! ```text
//!   key, time ─▶ watermarks ─▶ key_by ─▶ window ─▶ count ─▶ key, count, end ─▶ CheckSink
//! ```

use std::hint::black_box;

use serde_json::{Value, json};
use wiesel::{
    JobResult, Out, Owned, Record, Windowing,
    connectors::{DataGen, Generate, SourceOutput, Tick},
    operators::Folding,
    prelude::*,
};

use super::check_sink::Total;
use crate::{
    generator::{DISORDER_MS, Generator, SESSION_GAP_MS, WINDOW_MS, WINDOWED_KEYS, window_x},
    measure::{Outcome, Run},
    workload::Workload,
};

/// A count in windows of a minute, one every minute or as often as the run says; or in sessions.
pub fn build(env: &StreamExecutionEnvironment, run: &Run) -> Total {
    let size = millis(WINDOW_MS);
    match run.workload {
        Workload::Sliding => {
            counts(env, run, Sliding::event_time(size, millis(WINDOW_MS / run.slides)))
        }
        Workload::Session => counts(env, run, Session::with_gap(millis(SESSION_GAP_MS))),
        _ => counts(env, run, Tumbling::event_time(size)),
    }
}

fn counts<W: Windowing<(u64, u64)>>(
    env: &StreamExecutionEnvironment,
    run: &Run,
    windows: W,
) -> Total {
    let generator = Generator::new(run.seed, run.event_rate);
    let disorder = millis(if run.disorder == 0 { 0 } else { DISORDER_MS });
    let counts = env
        .source(DataGen::by(Keys { generator, late: run.disorder }).count(run.events))
        .uid("keys")
        .watermarks(bounded_out_of_orderness(disorder), |(_, at)| Timestamp::from_millis(at as i64))
        .key_by::<u64>(|(key, _)| key)
        .window(windows)
        .fold_with(Count)
        .uid("counts");
    super::jobs::check(counts, |(key, count, end)| window_x(key, count, end))
}

/// What an update and a result of windows cost, of the busy time of all tasks: what is spent on watermarks, which fire
/// windows, is that of results; all else, from the source on, is that of updates.
pub fn costs(result: &JobResult, outcome: &Outcome) -> Vec<(&'static str, Value)> {
    let metrics = || result.progress.tasks.iter().filter_map(|task| task.metrics.as_ref());
    let busy_ns: u64 = metrics().map(|metrics| metrics.busy_ns).sum();
    let firing_ns: u64 = metrics().map(|metrics| metrics.watermark_ns).sum();
    let per = |ns: u64, count: u64| rounded(ns as f64 / count.max(1) as f64);
    vec![
        ("update_ns_per_event", per(busy_ns.saturating_sub(firing_ns), outcome.run.events)),
        ("emission_ns_per_result", per(firing_ns, outcome.check.out)),
    ]
}

/// To a tenth.
fn rounded(ns: f64) -> Value {
    json!((ns * 10.0).round() / 10.0)
}

/// Makes keys with their event times.
#[derive(Clone)]
struct Keys {
    generator: Generator,
    /// Of a hundred.
    late: u64,
}

impl Generate<(u64, u64)> for Keys {
    #[inline(always)]
    fn generate<S: SourceOutput<(u64, u64)>>(&mut self, tick: Tick, out: &mut S) -> bool {
        let Self { generator, late } = self;
        let at = generator.time_ms(tick.number) - generator.delay_ms(tick.number, *late);
        let record = (generator.key(tick.number, WINDOWED_KEYS), at);
        out.collect(Owned(*black_box(&record)), None)
    }
}

/// `count()`, with the end of the window.
#[derive(Clone)]
pub struct Count;

impl<T: Record> Folding<u64, T> for Count {
    type Acc = u64;
    type Out = (u64, u64, u64);
    const MERGES: bool = true;
    const RETRACTS: bool = true;

    #[inline]
    fn first(&self, _: T::View<'_>) -> Result<u64, FunctionError> {
        Ok(1)
    }

    #[inline]
    fn add(&self, acc: &mut u64, _: T::View<'_>) -> Result<(), FunctionError> {
        *acc += 1;
        Ok(())
    }

    #[inline]
    fn merge(&self, acc: &mut u64, other: u64) -> Result<(), FunctionError> {
        *acc += other;
        Ok(())
    }

    #[inline]
    fn retract(&self, acc: &mut u64, other: u64) {
        *acc -= other;
    }

    #[inline]
    fn emit(&self, key: u64, window: TimeWindow, count: u64, out: &mut dyn Out<Self::Out>) {
        out.emit((key, count, window.end.as_millis() as u64));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        generator::{Check, SEED},
        measure::Mode,
    };

    /// The definition.
    fn expected(run: &Run, slide_ms: u64) -> Check {
        let generator = Generator::new(run.seed, run.event_rate);
        let mut counts = BTreeMap::<(u64, u64), u64>::new();
        for number in 0..run.events {
            let (key, at) = (generator.key(number, WINDOWED_KEYS), generator.time_ms(number));
            let mut start = at / slide_ms * slide_ms;
            while start + WINDOW_MS > at {
                *counts.entry((key, start + WINDOW_MS)).or_default() += 1;
                start -= slide_ms;
            }
        }
        let mut check = Check::default();
        counts.into_iter().for_each(|((key, end), count)| check.add(window_x(key, count, end)));
        check
    }

    #[test]
    fn windows_give_what_their_definition_says() {
        for (workload, slides) in
            [(Workload::Tumbling, 1), (Workload::Sliding, 10), (Workload::Sliding, 60)]
        {
            for parallelism in [1, 2, 3] {
                let run = Run {
                    workload,
                    slides,
                    disorder: 0,
                    events: 40_000,
                    parallelism,
                    event_rate: 200,
                    rate: 1,
                    mode: Mode::Spin,
                    seed: SEED,
                    profile: false,
                    state: Default::default(),
                };
                let expected = expected(&run, WINDOW_MS / slides);
                let found = super::super::run(&run).unwrap().check;
                assert_eq!(found, expected, "{workload} {slides}");
                let by_hand = crate::bare::run(&run).unwrap().check;
                assert_eq!(by_hand, expected, "{workload} {slides}, by hand");
            }
        }
    }
}
