//! `soak SECONDS [SHARDS] [SPIN_US]`: the loop under a mixed load, watched for a stand-still.
//!
//! Each shard is busy for a while, floods its neighbour, falls silent, or sleeps on timers, by its own dice. The
//! control program looks at every shard's turns. Beside other programs a shard may stand still because it has no core:
//! the scheduler says for how long it was ready and not run (`schedstat`). A second without a turn that is not
//! explained by this ends the run with exit code 1. Two pairs measure first what a round trip costs, and what idling
//! does.

#![allow(clippy::disallowed_methods, reason = "a test of the seam: which thread this is")]

use std::{
    process::ExitCode,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use wiesel_core::{Nanos, ShardId, millis, seconds};
use wiesel_shard::{
    Door, Launch, Machine, Next, Program, Shard, ShardCounters, ShardSpec, available_cores,
    ring::{Consumer, Producer, ring},
};

/// A shard that shows no turn for this long, other than by waiting for a core, has stalled: ten times what it sleeps.
const STALL: Duration = seconds(1);

fn cpu_time() -> Duration {
    let stat = wiesel_shard::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>();
    millis(ticks * 10)
}

/// One end of a ping-pong; the first end asks and measures.
struct End {
    from: Consumer<u64>,
    to: Producer<u64>,
    peer: Door,
    asks: bool,
    asked_at: Option<Nanos>,
    next_at: Nanos,
    pause: Duration,
    until: Nanos,
    round_trips: Vec<u64>,
    result: Arc<AtomicU64>,
}

impl Program for End {
    fn turn(&mut self, shard: &Shard) -> Next {
        let got = self.from.pop();
        if !self.asks {
            return match got {
                Some(u64::MAX) => Next::Done,
                Some(number) => self.send(number),
                None => Next::IDLE,
            };
        }
        if got.is_some() {
            let now = shard.read_clock();
            self.round_trips.extend(self.asked_at.take().map(|at| now.since(at).as_nanos() as u64));
            self.next_at = now + self.pause;
        }
        if self.asked_at.is_some() {
            return Next::IDLE;
        }
        if shard.now() >= self.until {
            self.round_trips.sort_unstable();
            let median = self.round_trips.get(self.round_trips.len() / 2);
            self.result.store(*median.unwrap_or(&0), Ordering::Relaxed);
            self.send(u64::MAX);
            return Next::Done;
        }
        if shard.now() < self.next_at {
            return Next::Idle { until: Some(self.next_at) };
        }
        self.asked_at = Some(shard.read_clock());
        self.send(1)
    }
}

impl End {
    fn send(&mut self, number: u64) -> Next {
        assert!(self.to.push(number).is_ok(), "one number at a time");
        self.peer.knock();
        Next::Again
    }
}

/// A ping-pong for `length`; prints the median round trip and the share of one core.
fn pair(name: &str, spin: Duration, pause: Duration, length: Duration) {
    let cores = available_cores();
    let mut specs = ShardSpec::spread(2, &cores);
    specs.iter_mut().for_each(|spec| spec.spin = spin);
    let mut launch = Launch::new(specs).expect("descriptors");
    let ((to_b, from_a), (to_a, from_b)) = (ring(2), ring(2));
    let median = Arc::new(AtomicU64::new(0));
    let doors = [launch.door(ShardId(1)), launch.door(ShardId(0))];
    for ((asks, (to, from)), peer) in
        [(true, (to_b, from_b)), (false, (to_a, from_a))].into_iter().zip(doors)
    {
        let result = Arc::clone(&median);
        launch.program(ShardId(u32::from(!asks)), move |shard| {
            let (next_at, until) = (shard.now(), shard.now() + length);
            let round_trips = Vec::with_capacity(1 << 20);
            Box::new(End {
                from,
                to,
                peer,
                asks,
                asked_at: None,
                next_at,
                pause,
                until,
                round_trips,
                result,
            })
        });
    }
    let before = cpu_time();
    Machine::start(launch).expect("a fit machine").join().outcome().expect("no panic");
    let share = (cpu_time() - before).as_secs_f64() / length.as_secs_f64() * 100.0;
    let median_us = median.load(Ordering::Relaxed) as f64 / 1e3;
    println!("{name:<34} round trip {median_us:8.2} us (median), {share:6.2} % of one core");
}

/// What a shard does for now.
enum Mood {
    Busy,
    Flood,
    Silent,
    Timers,
}

struct Mixed {
    from: Consumer<u64>,
    to: Producer<u64>,
    neighbours: [Door; 2],
    mood: Mood,
    until: Nanos,
    sum: u64,
    stop: Arc<AtomicBool>,
}

impl Program for Mixed {
    fn turn(&mut self, shard: &Shard) -> Next {
        if self.stop.load(Ordering::Relaxed) {
            return Next::Done;
        }
        let mut quantum = shard.quantum(Duration::from_micros(50));
        let mut worked = false;
        while let Some(number) = self.from.pop() {
            worked = true;
            self.sum = self.sum.wrapping_mul(31).wrapping_add(number);
            if quantum.spent() {
                break;
            }
        }
        if worked {
            self.neighbours[0].knock(); // There is room again.
        }
        if shard.now() >= self.until {
            let dice = shard.random();
            self.mood = match dice % 4 {
                0 => Mood::Busy,
                1 => Mood::Flood,
                2 => Mood::Silent,
                _ => Mood::Timers,
            };
            self.until = shard.now() + Duration::from_micros(1 << (6 + (dice >> 8) % 14));
        }
        match self.mood {
            Mood::Busy => {
                while !quantum.spent() {
                    self.sum = self.sum.rotate_left(7) ^ 0x9e37;
                }
                Next::Again
            }
            Mood::Flood => {
                let before = self.to.free_slots();
                while self.to.push(self.sum).is_ok() && !quantum.spent() {}
                if before > 0 {
                    self.neighbours[1].knock();
                    return Next::Again;
                }
                if worked { Next::Again } else { Next::Idle { until: Some(self.until) } }
            }
            Mood::Silent if worked => Next::Again,
            Mood::Silent => Next::Idle { until: Some(self.until) },
            Mood::Timers if worked => Next::Again,
            Mood::Timers => Next::Idle { until: Some(shard.now() + Duration::from_micros(200)) },
        }
    }
}

/// What is known of a shard from outside.
struct Watched {
    counters: Arc<ShardCounters>,
    /// Where the kernel counts for its thread, once that has started.
    thread: Arc<OnceLock<String>>,
    turns: u64,
    /// When this count of turns was first seen, and how long the thread had waited for a core by then.
    first: (Nanos, Duration),
    /// For how long it has been seen since.
    still: Duration,
}

/// How long the thread below `/proc` was ready to run and had no core.
fn waited(thread: &OnceLock<String>) -> Duration {
    let path = thread.get().map(|thread| format!("/proc/{thread}/schedstat"));
    let text = path.and_then(|path| wiesel_shard::fs::read_to_string(&path).ok());
    let ns = text.and_then(|text| text.split_whitespace().nth(1)?.parse().ok());
    Duration::from_nanos(ns.unwrap_or(0))
}

/// The longest time without a turn, in milliseconds.
#[derive(Default)]
struct Longest {
    all_ms: AtomicU64,
    without_waiting_ms: AtomicU64,
}

struct Watch {
    shards: Vec<Watched>,
    longest: Arc<Longest>,
    until: Nanos,
    stop: Arc<AtomicBool>,
}

impl Program for Watch {
    fn turn(&mut self, shard: &Shard) -> Next {
        let mut stalled = false;
        for watched in &mut self.shards {
            let (now, turns) = (shard.read_clock(), watched.counters.turns.get());
            if turns == watched.turns {
                watched.still = now.since(watched.first.0);
                self.longest.all_ms.fetch_max(watched.still.as_millis() as u64, Ordering::Relaxed);
                stalled |= watched.still >= STALL * 60; // For ever.
                continue;
            }
            // Only now is it known how long it waited: the kernel counts a wait when it is over.
            let waited = waited(&watched.thread);
            let ours = watched.still.saturating_sub(waited.saturating_sub(watched.first.1));
            let ours_ms = ours.as_millis() as u64;
            self.longest.without_waiting_ms.fetch_max(ours_ms, Ordering::Relaxed);
            stalled |= ours >= STALL;
            (watched.turns, watched.first, watched.still) = (turns, (now, waited), Duration::ZERO);
        }
        if stalled || shard.now() >= self.until {
            self.stop.store(true, Ordering::Relaxed);
            return Next::Done;
        }
        Next::Idle { until: Some(shard.now() + millis(5)) }
    }
}

fn mixed(length: Duration, count: usize, spin: Option<Duration>) -> bool {
    let mut specs = ShardSpec::spread(count, &available_cores());
    if let Some(spin) = spin {
        specs.iter_mut().for_each(|spec| spec.spin = spin);
    }
    let mut launch = Launch::new(specs).expect("descriptors");
    let ids = launch.ids();
    let (tos, mut froms): (Vec<_>, Vec<_>) = ids.iter().map(|_| ring(64)).unzip();
    froms.rotate_right(1);
    let (stop, longest) = (Arc::new(AtomicBool::new(false)), Arc::new(Longest::default()));
    let threads = ids.iter().map(|_| Arc::new(OnceLock::new())).collect::<Vec<_>>();
    for ((id, to), from) in ids.iter().zip(tos).zip(froms) {
        let at = |offset: usize| launch.door(ids[(id.index() + offset) % count]);
        let (neighbours, stop) = ([at(count - 1), at(1)], Arc::clone(&stop));
        let thread = Arc::clone(&threads[id.index()]);
        launch.program(*id, move |shard| {
            let link = std::fs::read_link("/proc/thread-self").unwrap_or_default();
            thread.get_or_init(|| link.to_string_lossy().into_owned());
            let (mood, until) = (Mood::Busy, shard.now());
            Box::new(Mixed { from, to, neighbours, mood, until, sum: 1, stop })
        });
    }
    let counters = ids.iter().map(|id| launch.counters(*id)).collect::<Vec<_>>();
    let (watched, seen, stopped) = (counters.clone(), Arc::clone(&longest), Arc::clone(&stop));
    launch.control(move |shard| {
        let (at, until) = (shard.now(), shard.now() + length);
        let shards = watched.into_iter().zip(threads).map(|(counters, thread)| Watched {
            counters,
            thread,
            turns: 0,
            first: (at, Duration::ZERO),
            still: Duration::ZERO,
        });
        Box::new(Watch { shards: shards.collect(), longest: seen, until, stop: stopped })
    });
    let report = Machine::start(launch).expect("a fit machine").join();
    for (id, counters) in ids.iter().zip(&counters) {
        println!(
            "shard {id}: {} turns, {} parks, {} woken, {} reactor looks, {} stalls, turn p50 {:?} p99.9 {:?}",
            counters.turns.get(),
            counters.parks.get(),
            counters.wakes.get(),
            counters.passes.get(),
            counters.stalls.get(),
            counters.turn_ns.quantile(0.5),
            counters.turn_ns.quantile(0.999),
        );
    }
    let all_ms = longest.all_ms.load(Ordering::Relaxed);
    let ours_ms = longest.without_waiting_ms.load(Ordering::Relaxed);
    let reports = counters.iter().map(|counters| counters.stalls.get()).sum::<u64>();
    println!(
        "longest stand-still {all_ms} ms, {ours_ms} ms without waits for a core, {reports} reports of the watchdog"
    );
    report.outcome().is_ok() && u128::from(ours_ms) < STALL.as_millis()
}

/// What asking a quantum costs a record that does nothing else.
fn quantum() {
    let shard = Shard::detached();
    let mut quantum = shard.quantum(seconds(3_600));
    let (started, count) = (shard.read_clock(), 20_000_000_u64);
    let spent = (0..count).filter(|_| std::hint::black_box(quantum.spent())).count();
    let ns = shard.read_clock().since(started).as_nanos() as f64 / count as f64;
    println!("asking the quantum: {ns:.2} ns a record, spent {spent} times");
}

fn main() -> ExitCode {
    let arguments =
        std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect::<Vec<u64>>();
    let argument = |index: usize| arguments.get(index).copied();
    let length = seconds(argument(0).unwrap_or(5));
    let count = argument(1).map_or_else(|| available_cores().len(), |count| count.max(1) as usize);
    let spin = argument(2).map(Duration::from_micros);
    let second = seconds(1);
    quantum();
    pair("spinning, ping-pong", seconds(3_600), Duration::ZERO, second);
    pair("spin 20 us then park, ping-pong", Duration::from_micros(20), Duration::ZERO, second);
    pair("park at once, ping-pong", Duration::ZERO, Duration::ZERO, second);
    pair("idle, one message a second", Duration::ZERO, second, seconds(3));
    println!("mixed load on {count} shards for {} s", length.as_secs());
    if mixed(length, count, spin) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
