//! Watermarks of several splits against their definition, and time that does not count for idleness; ingestion time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use wiesel_core::{Meta, Timestamp, metrics::TaskMetrics, millis};
use wiesel_operators::{
    AssignWatermarksTo, Chain, Control, Count, End, IngestionTimeTo, Link, Nothing, PreAggregateTo,
    SplitChange, SplitId, TaskContext, Tumbling, WatermarkStrategy, bounded_out_of_orderness,
    monotonous_timestamps,
};
use wiesel_record::Owned;
use wiesel_shard::{ManualClock, Shard};

use crate::{
    harness::{Word, context_on, key, number, show_time},
    probe::{Event, Probe},
    random::Random,
};

const BOUND_MS: i64 = 3;
const IDLE_MS: u64 = 20;

fn time_of(word: (&str, i64)) -> Timestamp {
    Timestamp::from_millis(number(word))
}

/// A link on a clock of its own, and what comes out of it.
struct Bench<L> {
    link: L,
    context: TaskContext,
    clock: ManualClock,
    probe: Probe,
    out: Vec<String>,
}

fn bench<L: Link<Word>>(build: impl FnOnce(&TaskContext, &Probe) -> L) -> Bench<L> {
    let clock = ManualClock::new(Timestamp::from_millis(0));
    let context = context_on(Shard::on(&clock), 0, 1, &Arc::<TaskMetrics>::default());
    let probe = Probe::new(context.stop(), 0);
    let mut link = build(&context, &probe);
    link.open().unwrap();
    Bench { link, context, clock, probe, out: Vec::new() }
}

fn assigning<G>(strategy: WatermarkStrategy<G>) -> Bench<impl Link<Word>>
where
    G: wiesel_operators::WatermarkGenerator<Word>,
{
    bench(|context, probe| {
        let chain = AssignWatermarksTo::new(Nothing::<Word>::new(), strategy, time_of);
        chain.finish(End::new(probe.output(""), context), context)
    })
}

impl<L: Link<Word>> Bench<L> {
    /// Steps: `s1` split 1 is read, `e1` it has ended, `5` a record of that time, `+10` it is 10 ms later and a turn ends
    /// in which nothing is left to do, `~10` as `+10`, but there is more to do, `b10` as `+10`, but the task could not
    /// write, `l7` the limit of alignment is 7.
    fn step(&mut self, step: &str) {
        let (verb, object) = step.split_at(1);
        let split = || SplitId(object.parse().unwrap());
        match verb {
            "s" => self.link.split(SplitChange::Reads(split())),
            "e" => self.link.split(SplitChange::Ended(split())),
            "l" => {
                self.context.alignment().set_limit(Timestamp::from_millis(object.parse().unwrap()))
            }
            "+" | "~" | "b" => {
                let time = millis(object.parse().unwrap());
                self.clock.advance(time);
                if verb == "b" {
                    self.context.metrics().back_pressured_ns.add(time.as_nanos() as u64);
                }
                self.link.tick(self.clock.now(), verb != "~");
            }
            _ => self.link.push(Owned(("a".to_owned(), step.parse().unwrap())), Meta::NONE),
        }
        for event in self.probe.take() {
            self.out.push(match event {
                Event::Record(_, meta) => show_time(meta.time.unwrap()),
                Event::Other(text) => text,
            });
        }
    }

    fn run(&mut self, script: &str) -> String {
        script.split_whitespace().for_each(|step| self.step(step));
        self.out.join(" ")
    }
}

#[track_caller]
fn check(script: &str, expected: &str) {
    let strategy = monotonous_timestamps().with_idleness(millis(IDLE_MS));
    assert_eq!(assigning(strategy).run(script), expected, "{script}");
}

#[test]
fn the_slowest_split_counts() {
    check("s0 5 s1 90 +1 s0 7 +1 e0 +1", "5 90 w4 7 w6 w89");
    // A split counts from when it is named.
    check("s1 s0 5 +1 7 +1 s1 3 +1", "5 7 3 w2");
    // One that comes late is behind: what was promised stays.
    check("s0 50 +1 s1 3 +1 60 +1 s0 70 +1", "50 w49 3 60 70 w59");
}

#[test]
fn a_split_that_is_idle_is_left_out() {
    check("s1 s0 5 +10 6 +9 7 +1 8 +5", "5 6 7 w6 8 w7");
    check("s1 3 s0 5 +10 6 +19 7 +1 8 +1", "3 5 w2 6 7 w6 8 w7");
    // It is back with its next record, and holds nothing back that was promised.
    check("s1 3 s0 50 +10 51 +20 s1 4 +1 s0 52 +1", "3 50 w2 51 w50 4 52");
}

#[test]
fn when_all_are_idle_the_greatest_watermark_is_told_first() {
    check("s1 3 s0 50 +1 +20 s1 9 +1", "3 50 w2 w49 idle active 9");
    check("s1 3 s0 50 +1 +20 s2 +1 7 +1", "3 50 w2 w49 idle active 7");
    check("s0 5 +1 e0 +1 +20", "5 w4 idle");
}

#[test]
fn time_in_which_a_task_cannot_write_does_not_count() {
    check("s0 5 +1 b100 +19 +1", "5 w4 idle");
    check("s1 3 s0 5 +1 b100 6 +19 +1", "3 5 w2 6 w5");
}

#[test]
fn a_split_that_is_paused_does_not_become_idle() {
    let strategy = || {
        let strategy = monotonous_timestamps().with_idleness(millis(IDLE_MS));
        strategy.with_watermark_alignment("all", millis(10), millis(1))
    };
    let mut aligned = assigning(strategy());
    // Both wait from the start; then the first may be read, and it stays the slowest.
    assert_eq!(aligned.run("s1 50 s0 5 +1 +100"), "50 5 w4");
    let is_paused = |split| aligned.context.alignment().is_paused(SplitId(split));
    assert!(is_paused(0) && is_paused(1));
    assert_eq!(aligned.run("l14 +1 6 +100 7 +1"), "50 5 w4 6 w5 7 w6");
    let report = aligned.context.alignment().take_report().expect("it has changed");
    assert_eq!(report.watermark, Timestamp::from_millis(6));
    // The other may be read and is not: now it becomes idle.
    assert_eq!(aligned.run("l60 +1 8 +19 9 +1"), "50 5 w4 6 w5 7 w6 8 w7 9 w8");
    assert_eq!(aligned.run("+19 +1"), "50 5 w4 6 w5 7 w6 8 w7 9 w8 w49 idle");
    assert_eq!(
        aligned.context.alignment().take_report().map(|r| r.watermark),
        Some(Timestamp::MAX)
    );
}

#[test]
fn an_idle_split_asks_for_the_turn_in_which_it_is_told() {
    let mut bench = assigning(monotonous_timestamps().with_idleness(millis(IDLE_MS)));
    bench.run("s0 5 +1");
    assert_eq!(bench.context.take_wake(), Some(bench.clock.now() + millis(IDLE_MS)));
    bench.run("+20");
    assert_eq!(bench.context.take_wake(), None);
}

/// What closes a slice of 10 ms looks at its four slots in as many calls, and is not done before the last.
fn in_slices<C: Chain<Word, Out = Word>>(
    context: &TaskContext,
    probe: &Probe,
    chain: C,
) -> impl Link<Word> + use<C> {
    let slices = Tumbling::event_time(millis(10));
    let chain = PreAggregateTo::<_, String, _, _>::new(chain, key, Count, slices).slots(4);
    chain.finish(End::new(probe.output(""), context), context)
}

#[test]
fn a_watermark_that_is_stopped_keeps_none_back() {
    let check = |script: &str, expected: &str| {
        let mut bench = bench(|context, probe| {
            let strategy = monotonous_timestamps().with_idleness(millis(IDLE_MS));
            let chain = AssignWatermarksTo::new(Nothing::<Word>::new(), strategy, time_of);
            in_slices(context, probe, chain)
        });
        assert_eq!(bench.run(script), expected, "{script}");
    };
    // A busy task goes a step a turn.
    check("5 12 ~1 ~0 ~0 ~0", "9 w11");
    // The burst is over before the first watermark is.
    check("5 12 ~1 25 ~0 +0", "9 25 w11 19 w24");
    check("5 12 ~1 25 ~0 ~0 ~0 ~1 ~0 ~0 ~0", "9 25 w11 19 w24");
    check("5 12 ~1 25 ~0 ~20", "9 25 w11 19 w24 idle");
    check("5 12 ~1 +0", "9 w11");
    check("5 12 ~1 25 +0", "9 25 w11 19 w24");
}

#[test]
fn ingestion_time_is_the_clocks() {
    let mut bench = bench(|context, probe| {
        let chain = IngestionTimeTo::new(Nothing::<Word>::new());
        chain.finish(End::new(probe.output(""), context), context)
    });
    assert_eq!(bench.run("+5 7 9 +2 8 +0"), "w4 5 5 w6 7");
    // Without records it follows the clock, less often.
    assert_eq!(bench.run("+1 +199 +1"), "w4 5 5 w6 7 w7 w207");
    assert!(bench.context.take_wake().is_some());
    // A clock that is set back does not take times with it.
    bench.clock.set(Timestamp::from_millis(3));
    assert_eq!(bench.run("1 +300 1 +1"), "w4 5 5 w6 7 w7 w207 208 w302 303 w303");
    assert_eq!(bench.link.watermark(Timestamp::MAX), wiesel_operators::Progress::Done);
    assert!(bench.run("+300").ends_with("w303 w+"));
}

#[test]
fn ingestion_time_does_not_sleep_within_a_watermark() {
    let mut bench = bench(|context, probe| {
        in_slices(context, probe, IngestionTimeTo::new(Nothing::<Word>::new()))
    });
    assert_eq!(bench.run("+5 7 +200"), "w4 9 w204");
}

/// The definition: everything is kept, and worked out anew at every turn.
#[derive(Default)]
struct Model {
    /// Times of each split that has not ended, and when it had its last one.
    splits: BTreeMap<u32, (Vec<i64>, u64)>,
    seen: Vec<u32>,
    /// Since when there is no split.
    none_since: u64,
    current: u32,
    now: u64,
    emitted: Option<i64>,
    is_idle: bool,
    out: Vec<String>,
}

impl Model {
    fn record(&mut self, time: i64) {
        let now = self.now;
        self.splits.entry(self.current).or_insert((Vec::new(), now)).0.push(time);
        self.seen.push(self.current);
        if std::mem::take(&mut self.is_idle) {
            self.out.push("active".to_owned());
        }
        self.out.push(time.to_string());
    }

    fn tick(&mut self, advance: u64) {
        self.now += advance;
        for split in self.seen.drain(..) {
            if let Some((_, last)) = self.splits.get_mut(&split) {
                *last = self.now;
            }
        }
        let is_idle = |last: u64| self.now - last >= IDLE_MS;
        let watermark = |times: &[i64]| times.iter().max().map(|max| max - BOUND_MS - 1);
        let of_active = self.splits.values().filter(|(_, last)| !is_idle(*last));
        let least = of_active.map(|(times, _)| watermark(times)).min();
        let all_idle = match self.splits.is_empty() {
            true => is_idle(self.none_since),
            false => least.is_none(),
        };
        let greatest = || self.splits.values().map(|(times, _)| watermark(times)).max();
        let combined = least.or_else(greatest).flatten();
        if self.is_idle && !all_idle {
            self.out.push("active".to_owned());
        }
        if combined > self.emitted {
            self.emitted = combined;
            self.out.push(format!("w{}", combined.unwrap()));
        }
        if all_idle && !self.is_idle {
            self.out.push("idle".to_owned());
        }
        self.is_idle = all_idle;
    }
}

/// Splits come, are read in turns, fall silent and end, in any order.
pub fn splits_are_what_their_definition_says(seed: u64) {
    let random = &mut Random(seed);
    let strategy = bounded_out_of_orderness(millis(BOUND_MS as u64));
    let mut bench = assigning(strategy.with_idleness(Duration::from_millis(IDLE_MS)));
    let (mut model, mut script) = (Model::default(), Vec::new());
    let mut next = 0;
    let mut step = |bench: &mut Bench<_>, step: String| {
        bench.step(&step);
        script.push(step);
        script.join(" ")
    };
    for _ in 0..random.below(60) {
        let open: Vec<u32> = model.splits.keys().copied().collect();
        let text = match random.below(10) {
            0 if open.len() < 4 => {
                model.splits.insert(next, (Vec::new(), model.now));
                model.current = next;
                next += 1;
                step(&mut bench, format!("s{}", model.current))
            }
            1 | 2 if !open.is_empty() => {
                model.current = open[random.below(open.len() as u64) as usize];
                step(&mut bench, format!("s{}", model.current))
            }
            3 if !open.is_empty() => {
                let ended = open[random.below(open.len() as u64) as usize];
                model.splits.remove(&ended);
                if ended == model.current {
                    model.none_since = model.now;
                }
                step(&mut bench, format!("e{ended}"))
            }
            4..7 if model.splits.contains_key(&model.current) => {
                let time = model.now as i64 + random.below(30) as i64;
                model.record(time);
                step(&mut bench, time.to_string())
            }
            _ => {
                let advance = random.below(12);
                model.tick(advance);
                step(&mut bench, format!("+{advance}"))
            }
        };
        assert_eq!(bench.out.join(" "), model.out.join(" "), "SEED={seed}: {text}");
    }
}
