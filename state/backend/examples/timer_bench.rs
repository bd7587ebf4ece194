//! Nanoseconds per timer of a million (key of eight bytes, times at random), and what a barrier costs beside them.
//!
//! `cargo run --release -p wiesel-state --example timer_bench [-- TIMERS]`
//!
//! Timers are registered; then each that fires registers another, as in a job that runs, without a walk and during one, of
//! which a slice of 4 KiB is made after every 64. What the walk has given is compared with the flip; the test suite runs it
//! small.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::time::Instant;

use wiesel_core::{KeyGroupRange, Timestamp};
use wiesel_state::{Progress, TimerQueue};

const MAX_PARALLELISM: u32 = 128;
const SLICE_BYTES: usize = 4 << 10;
const PER_SLICE: u64 = 64;

/// The finaliser of splitmix64.
fn mix(key: u64) -> u64 {
    let mut z = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z ^ (z >> 31)
}

fn new_queue() -> TimerQueue {
    TimerQueue::new(KeyGroupRange::all(MAX_PARALLELISM), MAX_PARALLELISM)
}

/// Registers timer `number`, within `span` of `from`.
fn register(timers: &mut TimerQueue, number: u64, from: i64, span: u64) {
    let time = Timestamp::from_millis(from + (mix(!number) % span) as i64);
    timers.register(time, mix(number), &number.to_le_bytes(), b"");
}

/// The first fires, and registers another.
fn fire(timers: &mut TimerQueue, number: u64, span: u64) {
    let timer = timers.pop(Timestamp::MAX).expect("as many come as go");
    register(timers, number, timer.time().as_millis(), span);
}

fn nanos_each(since: Instant, times: u64) -> f64 {
    since.elapsed().as_nanos() as f64 / times.max(1) as f64
}

fn run(count: u64) {
    // As many times as timers, and a few at each.
    let span = count / 4 + 1;
    let mut timers = new_queue();
    let started = Instant::now();
    (0..count).for_each(|number| register(&mut timers, number, 0, span));
    println!("registered           {:7.0} ns each", nanos_each(started, count));

    let started = Instant::now();
    (count..2 * count).for_each(|number| fire(&mut timers, number, span));
    println!("fires, registers     {:7.0} ns each", nanos_each(started, count));

    let expected: Vec<_> = timers.iter().cloned().collect();
    let (mut restored, mut buffer, mut slices_us) = (new_queue(), Vec::new(), Vec::new());
    let (mut number, mut pieces) = (2 * count, Vec::new());
    let started = Instant::now();
    timers.flip().expect("nothing is walked");
    let flip_ns = started.elapsed().as_nanos();
    let (mut progress, mut fired_ns) = (Progress::More, 0.0);
    while progress == Progress::More {
        let started = Instant::now();
        (number..number + PER_SLICE).for_each(|number| fire(&mut timers, number, span));
        number += PER_SLICE;
        fired_ns += started.elapsed().as_nanos() as f64;
        let started = Instant::now();
        progress = timers.walk_pieces(SLICE_BYTES, &mut buffer, &mut |piece| {
            pieces.extend_from_slice(piece.bytes);
        });
        slices_us.push(started.elapsed().as_secs_f64() * 1e6);
    }
    println!("  while it is walked {:7.0} ns each", fired_ns / (number - 2 * count) as f64);
    let walk_us: f64 = slices_us.iter().sum();
    slices_us.sort_by(f64::total_cmp);
    println!(
        "flip {flip_ns} ns; {} slices of 4 KiB: {:.1} us each (median), {:.1} us (99 of 100), {:.1} us (all but one of 1,000); \
         together {:.1} ms",
        slices_us.len(),
        slices_us[slices_us.len() / 2],
        slices_us[slices_us.len() * 99 / 100],
        slices_us[slices_us.len() * 999 / 1_000],
        walk_us / 1e3
    );

    let started = Instant::now();
    let mut bytes = 0;
    timers.export(&mut |_, group| bytes += group.len());
    println!("all at once {:.1} ms, {bytes} bytes", started.elapsed().as_secs_f64() * 1e3);

    restored.import(&pieces).expect("bytes that were written just now");
    assert!(restored.iter().eq(&expected), "the walk gives the timers of the flip");
}

fn main() {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok());
    run(count.unwrap_or(1_000_000));
}

#[test]
fn the_walk_gives_the_timers_of_the_flip() {
    [1, 5_000].into_iter().for_each(run);
}
