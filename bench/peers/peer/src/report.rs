//! The line a run prints.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{Args, Error, cost::Cost, generator::Check};

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Events of all sources together.
    pub events: u64,
    /// Its outputs.
    pub check: Check,
    /// What it cost.
    pub cost: Cost,
    /// Of `latency`: how late the outputs were.
    pub timing: Option<Timing>,
}

/// How late the outputs of a steady rate were.
#[derive(Clone, Debug)]
pub struct Timing {
    /// How the engine waited or batched.
    pub mode: String,
    /// Records a second, from when the first was due until the engine had ended.
    pub achieved_rate: f64,
    /// Nanoseconds from when a record was due until its output was there.
    pub latencies: Histogram<u64>,
}

#[derive(Serialize)]
struct Line<'r> {
    workload: &'r str,
    engine: &'r str,
    parallelism: usize,
    events: u64,
    seconds: f64,
    cpu_seconds: f64,
    events_per_second: f64,
    peak_rss_bytes: u64,
    /// Not counted here; Wiesel's side has a number.
    allocations: Option<u64>,
    out: u64,
    sum: String,
    involuntary_switches: u64,
    #[serde(flatten)]
    timing: Option<TimingFields<'r>>,
}

#[derive(Serialize)]
struct TimingFields<'r> {
    rate: u64,
    mode: &'r str,
    /// Well below `rate`: the engine did not keep up, and the latencies are those of a queue.
    achieved_rate: f64,
    samples: u64,
    p50_ns: u64,
    p90_ns: u64,
    p99_ns: u64,
    p999_ns: u64,
    p9999_ns: u64,
    max_ns: u64,
}

/// One JSON object, without a line break.
pub fn line(engine: &str, args: &Args, outcome: &Outcome) -> Result<String, Error> {
    let Outcome { events, check, cost, timing } = outcome;
    let timing = timing.as_ref().map(|Timing { mode, achieved_rate, latencies }| {
        let at = |quantile| latencies.value_at_quantile(quantile);
        TimingFields {
            rate: args.rate,
            mode,
            achieved_rate: *achieved_rate,
            samples: latencies.len(),
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            p9999_ns: at(0.9999),
            max_ns: latencies.max(),
        }
    });
    let line = Line {
        workload: &args.workload,
        engine,
        parallelism: args.parallelism,
        events: *events,
        seconds: cost.seconds,
        cpu_seconds: cost.cpu_seconds,
        events_per_second: *events as f64 / cost.seconds,
        peak_rss_bytes: cost.peak_rss_bytes,
        allocations: None,
        out: check.out,
        sum: check.sum_text(),
        involuntary_switches: cost.involuntary_switches,
        timing,
    };
    serde_json::to_string(&line).map_err(|error| Error::Engine(error.to_string()))
}
