//! What is printed: an object a line, or a table.

use serde_json::{Map, Value, json};

use crate::{
    measure::{Outcome, compare::Comparison, stats::Ratio},
    workload::Workload,
};

/// A run as one object.
pub fn run_json(outcome: &Outcome) -> String {
    let Outcome { run, engine, usage, peak_rss_bytes, check, extra } = outcome;
    let seconds = usage.elapsed.as_secs_f64();
    let mut object = Map::new();
    let fields = [
        ("workload", json!(run.workload.name())),
        ("engine", json!(engine)),
        ("parallelism", json!(run.parallelism)),
        ("events", json!(run.events)),
        ("seconds", json!(seconds)),
        ("cpu_seconds", json!(usage.cpu.as_secs_f64())),
        ("events_per_second", json!(run.events as f64 / seconds)),
        ("peak_rss_bytes", json!(peak_rss_bytes)),
        ("allocations", json!(usage.allocations)),
        ("out", json!(check.out)),
        ("sum", json!(check.sum_text())),
        ("involuntary_switches", json!(usage.involuntary_switches)),
        ("stolen_seconds", json!(usage.stolen.as_secs_f64())),
    ];
    object.extend(fields.map(|(name, value)| (name.to_owned(), value)));
    object.extend(extra.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    Value::Object(object).to_string()
}

/// A run for people.
pub fn run_table(outcome: &Outcome) -> String {
    let Outcome { run, engine, usage, peak_rss_bytes, check, extra } = outcome;
    let events = run.events as f64;
    let seconds = usage.elapsed.as_secs_f64();
    let mut lines = vec![
        format!("{} on {} x {engine}", run.workload, run.parallelism),
        format!("  events          {:>16}", run.events),
        format!("  seconds         {seconds:>16.3}"),
        format!("  CPU seconds     {:>16.3}", usage.cpu.as_secs_f64()),
        format!("  events/s        {:>16.0}", events / seconds),
        format!("  CPU ns/event    {:>16.1}", usage.cpu.as_nanos() as f64 / events),
        format!("  peak RSS, MiB   {:>16.1}", *peak_rss_bytes as f64 / f64::from(1 << 20)),
        format!("  allocations     {:>16}", usage.allocations),
        format!("  out             {:>16}", check.out),
        format!("  sum             {:>16}", check.sum_text()),
        format!(
            "  switched away   {:>16}   stolen {:.2} s",
            usage.involuntary_switches,
            usage.stolen.as_secs_f64()
        ),
    ];
    lines.extend(extra.iter().map(|(name, value)| format!("  {name:<27} {value:>4}")));
    lines.push(String::new());
    lines.join("\n")
}

fn with_interval(object: &mut Map<String, Value>, name: &str, ratio: Ratio) {
    object.insert(name.to_owned(), json!(ratio.median));
    object.insert(format!("{name}_low"), json!(ratio.low));
    object.insert(format!("{name}_high"), json!(ratio.high));
}

/// A comparison as one object.
pub fn comparison_json(comparison: &Comparison) -> String {
    let mut object = Map::new();
    let fields = [
        ("workload", json!(comparison.workload.name())),
        ("compare", json!(comparison.peer.name())),
        ("parallelism", json!(comparison.parallelism)),
        ("pairs", json!(comparison.pairs)),
        ("dropped", json!(comparison.dropped)),
        ("events", json!(comparison.events)),
    ];
    object.extend(fields.map(|(name, value)| (name.to_owned(), value)));
    with_interval(&mut object, "throughput_ratio", comparison.throughput);
    with_interval(&mut object, "cpu_ratio", comparison.cpu);
    with_interval(&mut object, "total_cpu_ratio", comparison.total_cpu);
    for (name, ours, theirs) in &comparison.latencies {
        object.insert(format!("ours_{name}"), json!(ours));
        object.insert(format!("theirs_{name}"), json!(theirs));
    }
    Value::Object(object).to_string()
}

/// Comparisons of one workload for people; Markdown, as `bench/README.md` has them.
pub fn comparison_table(comparisons: &[Comparison]) -> String {
    let Some(first) = comparisons.first() else { return String::new() };
    let cores = if first.parallelism == 1 { "core" } else { "cores" };
    let mut lines = vec![format!(
        "{}, {} {cores}: {} pairs ({} dropped) of {} events; above 1 ours is better",
        first.workload, first.parallelism, first.pairs, first.dropped, first.events
    )];
    if first.workload == Workload::Latency {
        lines.push("\n| against | field | ours, us | theirs, us |\n|---|---|---:|---:|".to_owned());
        for row in comparisons {
            lines.extend(row.latencies.iter().map(|(name, ours, theirs)| {
                let name = name.trim_end_matches("_ns");
                format!("| {} | {name} | {:.2} | {:.2} |", row.peer, ours / 1e3, theirs / 1e3)
            }));
        }
        return lines.join("\n") + "\n";
    }
    lines.push(
        "\n| against | throughput | CPU above input | CPU in all | ours, M/s | theirs, M/s | ours, CPU ns | theirs, CPU ns |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|"
            .to_owned(),
    );
    let events = first.events as f64;
    for row in comparisons {
        let ratio = |r: Ratio| format!("{:.2} [{:.2}, {:.2}]", r.median, r.low, r.high);
        let rate = |(seconds, _): (f64, f64)| events / seconds / 1e6;
        let cpu_ns = |(_, cpu): (f64, f64)| cpu * 1e9 / events;
        lines.push(format!(
            "| {} | {} | {} | {} | {:.2} | {:.2} | {:.1} | {:.1} |",
            row.peer,
            ratio(row.throughput),
            ratio(row.cpu),
            ratio(row.total_cpu),
            rate(row.ours),
            rate(row.theirs),
            cpu_ns(row.ours),
            cpu_ns(row.theirs)
        ));
    }
    lines.join("\n") + "\n"
}
