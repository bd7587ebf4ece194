//! Random traces against naive interpreters: every operator that has one, in one table.
//!
//! ```text
//!   seed ──▶ a trace, a setting ──┬─▶ the operator, in every mode of the harness ──▶ what comes out
//!                                 └─▶ its definition, over all records of the trace ──▶ the same
//! ```
//!
//! # What is always true
//!
//! 1. A row of the table is a test of `make test`, over the first seeds, and a part of `make properties TRACES=n`, over
//!    fresh ones: `n` in all, each row as many as its part of the table.
//! 2. A seed says everything: `SEED=x` replays one trace of one row, in either build.
//! 3. Traces have records out of order and at both ends of time, lateness, watermarks that stand still, restores at
//!    other parallelisms, and turns that end anywhere. What comes out is compared exactly.

#![allow(
    clippy::disallowed_methods,
    reason = "traces are run on all cores, with seeds from the clock"
)]

use std::{
    num::NonZero,
    panic::catch_unwind,
    process::exit,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    async_model, broadcast, co_process, interval_join, joins, lists_model, operator_state, parking,
    pre_aggregate, random::seeds, session_model, split_watermarks, states_model, temporal_join,
    window_model,
};

/// An operator and its definition.
struct Property {
    name: &'static str,
    /// Traces of `make test`: some seconds.
    scaled: u64,
    /// Runs the trace of a seed; panics at a difference.
    run: fn(u64),
}

macro_rules! properties {
    ($($name:ident, $scaled:literal, $run:expr;)*) => {
        const PROPERTIES: &[Property] =
            &[$(Property { name: stringify!($name), scaled: $scaled, run: $run }),*];
        $(
            #[test]
            fn $name() {
                let run: fn(u64) = $run;
                seeds($scaled).for_each(run);
            }
        )*
    };
}

properties! {
    tumbling_and_sliding_windows, 1_000, window_model::windows_are_what_the_definition_says;
    session_windows, 500, session_model::sessions_are_what_the_definition_says;
    pre_aggregation, 3_000, pre_aggregate::windows_cannot_tell;
    pre_aggregation_behind_idleness, 1_000,
        |seed| { pre_aggregate::what_comes_late_behind_an_idle_spell_counts(seed); };
    unbounded_joins, 1_500, joins::an_unbounded_join_is_what_the_definition_says;
    joins_for_a_time, 1_500, joins::a_join_for_a_time_is_what_the_definition_says;
    window_joins_and_co_groups, 3_000, joins::windows_of_two_streams_are_what_the_definition_says;
    interval_joins, 3_000, interval_join::interval_joins_are_what_the_definition_says;
    temporal_joins, 2_000, temporal_join::temporal_joins_are_what_the_definition_says;
    keyed_co_process, 1_500, co_process::keyed_functions_over_two_inputs_are_what_the_definition_says;
    keyed_broadcast_state, 1_500,
        broadcast::keyed_functions_with_broadcast_state_are_what_the_definition_says;
    broadcast_state, 1_000,
        broadcast::functions_without_keys_and_with_broadcast_state_are_what_the_definition_says;
    operator_lists, 1_500, operator_state::lists_of_subtasks_are_what_the_definition_says;
    walks_of_lists, 2_000, lists_model::a_walk_is_a_copy_at_the_flip;
    watermarks_by_split, 5_000, split_watermarks::splits_are_what_their_definition_says;
    async_io_in_order, 5_000, async_model::ordered_is_what_its_definition_says;
    async_io_out_of_order, 5_000, async_model::unordered_is_what_its_definition_says;
    keyed_state_and_its_ttl, 600, states_model::states_are_what_plain_collections_are;
    rolling_count_with_absent_rows, 600, |seed| { parking::a_rolling_count_is_the_same(seed); };
    timers_with_absent_rows, 600, |seed| { parking::timers_wait(seed); };
    two_inputs_with_absent_rows, 600, |seed| { parking::records_of_two_inputs_wait(seed); };
}

/// Differences that are told in full, of one row.
const TOLD_MAX: u64 = 3;

/// Seeds that a thread takes at once.
const CHUNK: u64 = 16;

/// A row of the table in a run of `make properties`.
struct Task {
    property: &'static Property,
    traces: u64,
    next: AtomicU64,
    differences: AtomicU64,
    nanos: AtomicU64,
}

impl Task {
    /// Runs traces until there is none left.
    fn work(&self, first: u64) {
        loop {
            let start = self.next.fetch_add(CHUNK, Ordering::Relaxed);
            if start >= self.traces {
                return;
            }
            let started = Instant::now();
            for seed in start..self.traces.min(start + CHUNK) {
                self.trace(first.wrapping_add(seed));
            }
            self.nanos.fetch_add(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
        }
    }

    fn trace(&self, seed: u64) {
        let Property { name, run, .. } = self.property;
        if catch_unwind(|| run(seed)).is_err()
            && self.differences.fetch_add(1, Ordering::Relaxed) < TOLD_MAX
        {
            println!(
                "properties: {name} differs; replay it: \
                 SEED={seed} cargo test -p wiesel-operators --test behaviour properties::{name}"
            );
        }
    }
}

/// `make properties`. The exit code is 1 if anything differed, and the last line sums up: so it ends the process itself.
#[test]
#[ignore = "make properties TRACES=300000"]
fn all_of_them() {
    let wanted = std::env::var("TRACES").map_or(Ok(300_000), |traces| traces.parse::<u64>());
    let Some(wanted) = wanted.ok().filter(|wanted| *wanted > 0) else {
        eprintln!("properties: TRACES is how many traces to run, a whole number of at least 1");
        exit(2);
    };
    let first = fresh_seed();
    println!("\nproperties: first seed {first}");
    let scaled: u64 = PROPERTIES.iter().map(|property| property.scaled).sum();
    let task = |property: &'static Property| Task {
        property,
        traces: (u128::from(wanted) * u128::from(property.scaled)).div_ceil(scaled.into()) as u64,
        next: AtomicU64::new(0),
        differences: AtomicU64::new(0),
        nanos: AtomicU64::new(0),
    };
    let tasks: Vec<Task> = PROPERTIES.iter().map(task).collect();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| tasks.iter().for_each(|task| task.work(first)));
        }
    });
    let (mut traces, mut differences) = (0, 0);
    for task in &tasks {
        let (name, found) = (task.property.name, task.differences.load(Ordering::Relaxed));
        let seconds = task.nanos.load(Ordering::Relaxed) as f64 / 1e9;
        println!("  {name:<34} {:>9} traces {found:>4} differences {seconds:>8.1} s", task.traces);
        (traces, differences) = (traces + task.traces, differences + found);
    }
    println!(
        "properties: {traces} traces of {} operators, {differences} differences, first seed {first}",
        tasks.len()
    );
    exit(i32::from(differences > 0));
}

/// Small enough to be read out, different in every run.
fn fresh_seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ns = since.map_or(0, |since| since.as_nanos() as u64);
    ns.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16
}
