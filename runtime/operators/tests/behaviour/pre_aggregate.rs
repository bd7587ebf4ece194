//! Windows behind producers that pre-aggregate against the same windows behind producers that do not.
//!
//! ```text
//!   producers   steps ─▶ FrameHead, PreAggregate (or nothing) ─▶ log      one of them at a time, at random
//!   windows     logs ─▶ WatermarkValve ─▶ KeyedHead ─▶ results            at once, as over channels without delay
//! ```
//!
//! Both ways see the same trace: records out of order, watermarks of each producer, idle spells, restores in between.
//! Results are compared as a set (behind restores the last of each key and window), and so is how many records were
//! late.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use wiesel_core::{Meta, StopFlag, Timestamp};
use wiesel_operators::{
    AllWindowsStart, Chain, Count, End, Folding, FrameStart, Head, KeyedHeadStart, Merged, Min,
    Nothing, OfNumber, Partial, PreAggregateAllTo, PreAggregateTo, Progress, Sliding, SlidingStart,
    Start, Sum, TaskContext, Tumbling, TumblingStart, WindowOptions, key_of_partial,
};
use wiesel_record::{FnView, Record};

use crate::{
    harness::{Frames, Mode, Probe, Show, Word, context, head_of, key, number, pace},
    random::Random,
    two_stages::{Job, Log, Sent, Step, Trace},
};

#[derive(Clone, Copy, Debug)]
enum Windows {
    Tumbling(Tumbling),
    Sliding(Sliding),
}

impl Windows {
    fn random(random: &mut Random) -> Self {
        let millis = |ms: u64| Duration::from_millis(ms);
        let offset = if random.one_in(2) { millis(random.below(30)) } else { Duration::ZERO };
        let size = 1 + random.below(20);
        if random.one_in(2) {
            let size = if random.one_in(8) { Duration::MAX } else { millis(size) };
            return Self::Tumbling(Tumbling::event_time(size).with_offset(offset));
        }
        let slide = millis(1 + random.below(size));
        Self::Sliding(Sliding::event_time(millis(size), slide).with_offset(offset))
    }

    fn slices(self) -> Tumbling {
        match self {
            Self::Tumbling(tumbling) => tumbling,
            Self::Sliding(sliding) => sliding.slices(),
        }
    }

    /// Windows of each key over records of `T`.
    fn head<T: Record, A: Folding<String, T, Out: Show>>(
        self,
        key_of: impl for<'a> FnView<'a, T::View<'a>, &'a str> + Clone + Send + 'static,
        folding: A,
        context: &TaskContext,
        probe: &Probe,
    ) -> Box<dyn Head> {
        match self {
            Self::Tumbling(tumbling) => {
                let start = TumblingStart::new(folding, WindowOptions::new(tumbling));
                let start = KeyedHeadStart::<T, String, _, _>::new(key_of, start);
                head_of(start, Nothing::new(), context, probe)
            }
            Self::Sliding(sliding) => {
                let start = SlidingStart::new(folding, WindowOptions::new(sliding));
                let start = KeyedHeadStart::<T, String, _, _>::new(key_of, start);
                head_of(start, Nothing::new(), context, probe)
            }
        }
    }

    /// Windows of all records of `T`.
    fn head_of_all<T: Record, A: Folding<(), T, Out: Show>>(
        self,
        folding: A,
        context: &TaskContext,
        probe: &Probe,
    ) -> Box<dyn Head> {
        match self {
            Self::Tumbling(tumbling) => {
                let start = AllWindowsStart::new(folding, WindowOptions::new(tumbling));
                head_of(start, Nothing::new(), context, probe)
            }
            Self::Sliding(sliding) => {
                let start = AllWindowsStart::new(folding, WindowOptions::new(sliding));
                head_of(start, Nothing::new(), context, probe)
            }
        }
    }
}

fn producer<T, C>(chain: C, context: &TaskContext, end: End<T, Log<T>>) -> Box<dyn Head>
where
    T: Record,
    C: Chain<Word, Out = T>,
{
    let links = chain.finish(end, context);
    Box::new(FrameStart::<Word>::new().head(links, context).unwrap())
}

/// With and without pre-aggregation, windows of each key give the same.
fn check_keyed<A>(trace: &Trace, windows: Windows, slots: usize, folding: A)
where
    A: Folding<String, Word, Out: Show>,
{
    let probe = Probe::new(&StopFlag::new(), 0);
    let plain = Job::<Word>::new(
        trace.producers,
        &|context, end| producer(Nothing::new(), context, end),
        &|context, probe| windows.head(key, folding.clone(), context, probe),
        &probe,
    )
    .run(trace);
    let chain = PreAggregateTo::<_, String, _, _>::new(
        Nothing::<Word>::new(),
        key,
        folding.clone(),
        windows.slices(),
    );
    let merged = Job::<Partial<String, A::Acc>>::new(
        trace.producers,
        &|context, end| producer(chain.clone().slots(slots), context, end),
        &|context, probe| {
            let folding = Merged::<A, Word>::new(folding.clone());
            windows.head(key_of_partial::<String, A::Acc>, folding, context, probe)
        },
        &probe,
    )
    .run(trace);
    assert_eq!(merged, plain, "{windows:?} {slots} {trace:?}");
}

/// As [`check_keyed`], of windows of all records.
fn check_all<A>(trace: &Trace, windows: Windows, folding: A)
where
    A: Folding<(), Word, Out: Show>,
{
    let probe = Probe::new(&StopFlag::new(), 0);
    let plain = Job::<Word>::new(
        trace.producers,
        &|context, end| producer(Nothing::new(), context, end),
        &|context, probe| windows.head_of_all(folding.clone(), context, probe),
        &probe,
    )
    .run(trace);
    let chain = PreAggregateAllTo::new(Nothing::<Word>::new(), folding.clone(), windows.slices());
    let merged = Job::<Partial<(), A::Acc>>::new(
        trace.producers,
        &|context, end| producer(chain.clone(), context, end),
        &|context, probe| {
            let folding = Merged::<A, Word>::new(folding.clone());
            windows.head_of_all(folding, context, probe)
        },
        &probe,
    )
    .run(trace);
    assert_eq!(merged, plain, "{windows:?} {trace:?}");
}

/// With and without pre-aggregation, windows give the same.
pub fn windows_cannot_tell(seed: u64) {
    let random = &mut Random(seed);
    let (trace, windows) = (Trace::random(random, Step::Active), Windows::random(random));
    let slots = 1 + random.below(10) as usize;
    match random.below(3) {
        0 => {
            check_keyed(&trace, windows, slots, Count);
            check_all(&trace, windows, Count);
        }
        1 => {
            check_keyed(&trace, windows, slots, OfNumber::new(number, Sum));
            check_all(&trace, windows, OfNumber::new(number, Sum));
        }
        _ => {
            check_keyed(&trace, windows, slots, OfNumber::new(number, Min));
            check_all(&trace, windows, OfNumber::new(number, Min));
        }
    }
}

/// Whether a producer that is behind sends records too late depends on who is faster, with pre-aggregation and without.
/// But each counts in its window or as late.
/// Gives how many came late.
pub fn what_comes_late_behind_an_idle_spell_counts(seed: u64) -> u64 {
    let mut late_in_all = 0;
    let random = &mut Random(seed);
    let mut trace = Trace::random(random, Step::ActiveBehind);
    trace.restores.clear(); // Windows that have fired before would count anew.
    let tumbling = Tumbling::event_time(Duration::from_millis(1 + random.below(20)));
    let probe = Probe::new(&StopFlag::new(), 0);
    let keyed =
        PreAggregateTo::<_, String, _, _>::new(Nothing::<Word>::new(), key, Count, tumbling);
    let windows = Windows::Tumbling(tumbling);
    let of_keys = Job::<Partial<String, u64>>::new(
        trace.producers,
        &|context, end| producer(keyed.clone(), context, end),
        &|context, probe| {
            let merged = Merged::<Count, Word>::new(Count);
            windows.head(key_of_partial::<String, u64>, merged, context, probe)
        },
        &probe,
    )
    .run(&trace);
    let all = PreAggregateAllTo::new(Nothing::<Word>::new(), Count, tumbling);
    let of_all = Job::<Partial<(), u64>>::new(
        trace.producers,
        &|context, end| producer(all.clone(), context, end),
        &|context, probe| windows.head_of_all(Merged::<Count, Word>::new(Count), context, probe),
        &probe,
    )
    .run(&trace);
    let records = trace.steps.iter().filter(|(_, step)| matches!(step, Step::Record(..)));
    let records = records.count() as u64;
    for (results, late) in [of_keys, of_all] {
        let count = |result: &String| {
            let (count, _) = result.split_once('=').unwrap().1.split_once('@').unwrap();
            count.parse::<u64>().unwrap()
        };
        let counted: u64 = results.iter().map(count).sum();
        assert_eq!(counted + late, records, "SEED={seed} {tumbling:?} {trace:?} {results:?}");
        late_in_all += late;
    }
    late_in_all
}

#[test]
fn some_come_late_behind_an_idle_spell() {
    assert!((0..100).map(what_comes_late_behind_an_idle_spell_counts).sum::<u64>() > 0);
}

/// The weights of what leaves while words of a slice come, and of what leaves when it closes: for each slice.
fn weights_of(slices: &[Vec<u64>], slots: usize) -> Vec<(Vec<u64>, Vec<u64>)> {
    let (context, log) = (context(0, 1, &Arc::default()), Rc::default());
    let tumbling = Tumbling::event_time(Duration::from_secs(1));
    let chain =
        PreAggregateTo::<_, String, _, _>::new(Nothing::<Word>::new(), key, Count, tumbling);
    let end = End::new(Log(Rc::clone(&log)), &context);
    let mut head = producer(chain.slots(slots), &context, end);
    let mut frames = Frames::new();
    let take = |log: &RefCell<Vec<Sent<Partial<String, u64>>>>| {
        let partials = log.take().into_iter().filter_map(|sent| match sent {
            Sent::Record(partial, _) => Some(partial),
            _ => None,
        });
        let weight = |partial: Partial<String, u64>| {
            assert_eq!(partial.weight, partial.acc, "it counts its records");
            partial.weight
        };
        partials.map(weight).collect()
    };
    let mut weights = Vec::new();
    for (words, start) in slices.iter().zip((0..).step_by(1_000)) {
        for word in words {
            let record: Word = (word.to_string(), 0);
            let meta = Meta::at(Timestamp::from_millis(start));
            let frame = frames.frame([(&record, meta)].into_iter());
            let progress = head.frame(0, &frame, &mut 0, &mut pace(&context, Mode::Plain));
            assert_eq!(progress, Progress::Done);
            frames.give(frame);
        }
        let at_once = take(&log);
        let end = Timestamp::from_millis(start + 999);
        while head.watermark(end, &mut pace(&context, Mode::Plain)) == Progress::Stopped {}
        weights.push((at_once, take(&log)));
    }
    weights
}

/// The same of one slice.
fn weights(words: impl Iterator<Item = u64>, slots: usize) -> (Vec<u64>, Vec<u64>) {
    weights_of(&[words.collect()], slots).remove(0)
}

#[test]
fn what_comes_close_to_each_other_is_combined() {
    let (at_once, at_end) = weights((0..100_000).map(|at| at / 100), 4_096);
    let partials = at_once.len() + at_end.len();
    assert!((1_000..1_100).contains(&partials), "{partials} of a thousand keys");
    assert_eq!(at_once.iter().chain(&at_end).sum::<u64>(), 100_000);
}

#[test]
fn one_key_is_sent_for_another_that_needs_its_slot() {
    let (at_once, at_end) = weights([7, 7, 7, 8, 8, 8, 8, 9].into_iter(), 1);
    assert_eq!((at_once, at_end), (vec![3, 4], vec![1]));
}

/// What does not repeat is held as long as it takes to see that: 64 slots, and 1,024 records that pass by.
#[test]
fn what_does_not_repeat_passes_by() {
    let words = 1_300;
    let (at_once, at_end) = weights(0..words, 64);
    assert_eq!((at_once.len() + at_end.len()) as u64, words);
    assert!(at_once.len() > 1_024, "{} have passed by", at_once.len());
    // What repeats after that is combined again.
    let (at_once, at_end) = weights((0..words).chain((0..3_000).map(|_| words)), 64);
    let most = at_once.iter().chain(&at_end).max().unwrap();
    assert!(*most >= 1_500, "{most}");
}

/// A slice with fewer keys than slots sends nothing for another key, so it is judged when it closes.
#[test]
fn what_does_not_repeat_in_small_slices_passes_by() {
    let slice = |first: u64| (first..first + 40).collect::<Vec<_>>();
    let weights = weights_of(&[slice(0), slice(40), vec![7; 2_000], vec![7; 2_000]], 64);
    assert_eq!(weights[0].0.len() + weights[0].1.len(), 40);
    assert_eq!(weights[1], (vec![1; 40], vec![]), "all of them pass by");
    // What repeats after that is combined again.
    assert_eq!(weights[2].1, [2_000 - (64 * 16 - 40)]);
    assert_eq!(weights[3], (vec![], vec![2_000]));
}

/// The watermark assigner of a source asks once a turn, gives records in between, and may have come further when it asks
/// again.
#[test]
fn a_watermark_leaves_nothing_behind_whatever_comes_between_its_steps() {
    for seed in 0..300 {
        let random = &mut Random(seed);
        let (context, log) = (context(0, 1, &Arc::default()), Rc::default());
        let tumbling = Tumbling::event_time(Duration::from_millis(10));
        let chain =
            PreAggregateTo::<_, String, _, _>::new(Nothing::<Word>::new(), key, Count, tumbling);
        let end = End::new(Log(Rc::clone(&log)), &context);
        let mut head = producer(chain.slots(1 << random.below(6)), &context, end);
        let mut frames = Frames::new();
        let (mut clock, mut watermark, mut is_stopped) = (0, 0, false);
        // Of each slice: the records that came, and those that have left.
        let (mut came, mut left) = ([0_u64; 100], [0_u64; 100]);
        for _ in 0..400 {
            if random.one_in(3) {
                if !is_stopped || random.one_in(3) {
                    watermark = watermark.max(clock - random.below(12) as i64);
                }
                let time = Timestamp::from_millis(watermark);
                is_stopped =
                    head.watermark(time, &mut pace(&context, Mode::Plain)) == Progress::Stopped;
            } else {
                clock += random.below(4) as i64;
                let time = (clock - random.below(15) as i64).max(0);
                let record: Word = (random.below(40).to_string(), 0);
                let meta = Meta::at(Timestamp::from_millis(time));
                let frame = frames.frame([(&record, meta)].into_iter());
                let progress = head.frame(0, &frame, &mut 0, &mut pace(&context, Mode::Plain));
                assert_eq!(progress, Progress::Done);
                frames.give(frame);
                came[time as usize / 10] += 1;
            }
            for sent in log.take() {
                match sent {
                    Sent::Record::<Partial<String, u64>>(partial, meta) => {
                        left[meta.time.unwrap().as_millis() as usize / 10] += partial.weight;
                    }
                    Sent::Watermark(passed) => {
                        let closed = (passed.as_millis() + 1) as usize / 10;
                        assert_eq!(came[..closed], left[..closed], "SEED={seed} {passed:?}");
                    }
                    Sent::Status(_) => {}
                }
            }
        }
        assert!(left.iter().sum::<u64>() > 0);
    }
}
