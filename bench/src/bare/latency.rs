//! The keyed count at a steady rate, by hand: spinning threads, and every record sent as soon as it is due.

use std::{hint::spin_loop, time::Instant};

use rtrb::{Consumer, Producer};
use rustc_hash::FxHashMap;
use serde_json::json;

use super::rings::{Ends, on_cores, rings};
use crate::{
    generator::{Check, Generator, KEYS, keyed_x, mix},
    measure::{
        Outcome, Run,
        latency::{Latencies, Watch, hiccups, watch},
        measured,
    },
};

/// Key, number, and when it was due.
type Sent = (u64, u64, u64);

const RING_ITEMS: usize = 1 << 16;

/// Records that a thread sends between two looks at what has come.
const BURST: usize = 64;

/// Of all records, the first that do not count.
const WARM_UP_SHARE: u64 = 2;

/// Runs as many threads as `run` has shards, at its rate. Whatever its mode, they spin.
pub fn latency(run: &Run) -> Outcome {
    let threads = run.parallelism as usize;
    let generator = Generator::new(run.seed, run.rate);
    let clock = Instant::now();
    let now_ns = move || clock.elapsed().as_nanos() as u64;
    let rate = (run.rate / u64::from(run.parallelism)).max(1);
    let hiccup = hiccups(rate, rate, now_ns);
    let all = rings(threads, RING_ITEMS);
    let (seen, usage) = measured(|| {
        on_cores(all, |own, Ends { to, from }, start| {
            watch(|watch| watch.start((run.events / threads as u64) as usize));
            start.wait();
            Thread { own, to, from, run, generator }.drive(now_ns)
        })
    });
    let (watches, checks): (Vec<Watch>, Vec<Check>) = seen.into_iter().unzip();
    let mut check = Check::default();
    checks.into_iter().for_each(|of_thread| check.merge(of_thread));
    let latencies = Latencies::of(&watches);
    let thread_ns = usage.elapsed.as_nanos() as u64 * threads as u64;
    let mut outcome = usage.outcome(run, "bare", check);
    outcome.extra = vec![("rate", json!(run.rate)), ("mode", json!(run.mode.name()))];
    outcome.extra.extend(latencies.fields_attributed(thread_ns));
    outcome.extra.push(("hiccup_p99_ns", json!(hiccup.value_at_quantile(0.99))));
    outcome.extra.push(("hiccup_p999_ns", json!(hiccup.value_at_quantile(0.999))));
    outcome
}

struct Thread<'r> {
    own: usize,
    to: Vec<Producer<Sent>>,
    from: Vec<Consumer<Sent>>,
    run: &'r Run,
    generator: Generator,
}

impl Thread<'_> {
    fn drive(mut self, now_ns: impl Fn() -> u64) -> (Watch, Check) {
        let threads = self.to.len() as u64;
        let warm_up = self.run.events / WARM_UP_SHARE;
        let mut counts = FxHashMap::<u64, u64>::default();
        let mut check = Check::default();
        let mut count = |(key, number, due_ns): Sent| {
            let count = counts.entry(key).or_insert(0);
            *count += 1;
            check.add(keyed_x(key, *count));
            if number >= warm_up {
                watch(|watch| watch.seen(due_ns, now_ns(), (number % threads) as u32));
            }
        };
        let start_ns = now_ns();
        let due = |number: u64| {
            start_ns + (u128::from(number) * 1_000_000_000 / u128::from(self.run.rate)) as u64
        };
        let mut number = self.own as u64;
        loop {
            let now = now_ns();
            for _ in 0..BURST {
                let due_ns = due(number);
                if number >= self.run.events || due_ns > now {
                    break;
                }
                let key = self.generator.key(number, KEYS);
                let to = ((mix(key) >> 32) % threads) as usize;
                let sent = (key, number, due_ns);
                if to == self.own {
                    count(sent);
                } else if self.to[to].push(sent).is_err() {
                    break; // Full: what has come is worked off first.
                }
                watch(|watch| watch.sent(due_ns, now));
                number += threads;
            }
            // In this order: what was sent before its thread ended is seen after that.
            let are_gone = self.from.iter().all(Consumer::is_abandoned);
            for ring in &mut self.from {
                while let Ok(sent) = ring.pop() {
                    count(sent);
                }
            }
            if number >= self.run.events {
                self.to.clear();
                if are_gone {
                    return (watch(Watch::take), check);
                }
            }
            spin_loop();
        }
    }
}
