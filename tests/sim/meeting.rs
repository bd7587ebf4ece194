//! Two streams that meet by key: the records of a case with a part of themselves, and what must come of it.
//!
//! ```text
//!   source … flat_map ─ share ─┬─▶ the stages of the case
//!                              ├─▶ left:  all records      ─┐
//!                              └─▶ right: two out of three ─┴─▶ one operator with two inputs ─▶ sink
//! ```

use std::{collections::BTreeMap, iter};

use wiesel_connectors::CollectedRecords;
use wiesel_core::{Timestamp, hours};
use wiesel_datastream::{DataStream, SharedStream};
use wiesel_operators::{
    BroadcastProcessFunction, BroadcastState, BroadcastStates, Chain, FunctionError,
    KeyedBroadcastContext, KeyedBroadcastProcessFunction, KeyedCoProcessFunction, KeyedContext,
    ProcessContext, Sliding, Start, StateRegistry, TimeDomain, Tumbling, ValueState, after, before,
};
use wiesel_record::Out;

use crate::{
    case::Case,
    job::{Event, Pass, Probe, duration},
};

/// What the two streams do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meeting {
    /// They are keyed first.
    Keyed(Keyed),
    /// Every pair of a key and a window: of so many milliseconds, one every so many.
    Windows(i64, i64),
    /// How many of each side are in a window of so many milliseconds, by key.
    Groups(i64),
    /// The right side is counted in broadcast state; in batch mode each record of the left sees all of it.
    Broadcast,
}

/// What two keyed streams do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyed {
    /// Each side is counted per key, until the end of time.
    Process,
    /// Every pair of a key.
    Join,
    /// Every pair of a key, for longer than the job lasts.
    JoinForATime,
    /// Pairs of a key whose times, right minus left, are within these milliseconds.
    Interval(i64, i64),
    /// The left side is counted per key, the right one in broadcast state, until the end of time.
    Broadcast,
    /// Each record of the left with the last of its key on the right as of its time; those without one or not.
    Versions(bool),
}

impl Meeting {
    /// All kinds.
    pub(crate) const ALL: [Self; 14] = [
        Self::Keyed(Keyed::Process),
        Self::Keyed(Keyed::Join),
        Self::Keyed(Keyed::JoinForATime),
        Self::Keyed(Keyed::Interval(-20, 50)),
        Self::Keyed(Keyed::Interval(3, 300)),
        Self::Keyed(Keyed::Broadcast),
        Self::Keyed(Keyed::Versions(false)),
        Self::Keyed(Keyed::Versions(true)),
        Self::Windows(10, 10),
        Self::Windows(1_000, 1_000),
        Self::Windows(25, 10),
        Self::Windows(3, 8),
        Self::Groups(100),
        Self::Broadcast,
    ];
}

/// Key, and three numbers that depend on the meeting: of the left side, of the right side, and the time.
pub(crate) type Met = (u32, i64, i64, i64);

/// A record of one side: key and time. The padding of events comes along on the right.
type Left = (u32, i64);
type Right = (u32, i64, String);

fn is_right(at_ms: i64) -> bool {
    at_ms.rem_euclid(3) != 0
}

/// Says the job.
pub(crate) fn build(
    case: &Case,
    meeting: Meeting,
    events: &SharedStream<Event>,
) -> CollectedRecords<Met> {
    let left = events
        .stream()
        .set_parallelism(case.parallelism[0])
        .map(|event| (event.key, event.at_ms))
        .process(Pass(Probe::at("left")));
    let right = events
        .stream()
        .set_parallelism(case.parallelism[1])
        .filter(|event| is_right(event.at_ms))
        .map(|event| (event.key, event.at_ms, event.padding.to_owned()))
        .process(Pass(Probe::at("right")));
    let width = case.parallelism[2];
    let meeting = match meeting {
        Meeting::Keyed(meeting) => meeting,
        Meeting::Windows(size_ms, slide_ms) => {
            let join = left.join(right).where_key::<u32>(|(key, _)| key);
            let join = join.equal_to(|(key, ..)| key).set_parallelism(width);
            return match size_ms == slide_ms {
                true => {
                    let windows = Tumbling::event_time(duration(size_ms));
                    probed(join.window(windows).apply::<Met>(emit_pair))
                }
                false => {
                    let windows = Sliding::event_time(duration(size_ms), duration(slide_ms));
                    probed(join.window(windows).apply::<Met>(emit_pair))
                }
            };
        }
        Meeting::Groups(size_ms) => {
            let groups = left.co_group(right).where_key::<u32>(|(key, _)| key);
            let groups = groups.equal_to(|(key, ..)| key).set_parallelism(width);
            let windows = Tumbling::event_time(duration(size_ms));
            return probed(groups.window(windows).apply::<Met>(|left, right, out| {
                let mut key = 0;
                left.for_each(|(of_left, _)| key = of_left);
                right.for_each(|(of_right, ..)| key = of_right);
                out.emit((key, left.count() as i64, right.count() as i64, 0));
            }));
        }
        Meeting::Broadcast => {
            let seen = Seen { is_batch: case.batch_kib.is_some() };
            let both = left.connect_broadcast(right.broadcast_state(&RIGHT));
            return probed(both.set_parallelism(width).process(seen));
        }
    };
    let left = left.key_by::<u32>(|(key, _)| key).set_parallelism(width);
    if meeting == Keyed::Broadcast {
        let counts = CountOfAll { left: ValueState::new("left") };
        return probed(left.connect_broadcast(right.broadcast_state(&RIGHT)).process(counts));
    }
    let right = right.key_by::<u32>(|(key, ..)| key);
    match meeting {
        Keyed::Broadcast => unreachable!("it has no keys on the right"),
        Keyed::Process => {
            let (left_count, right_count) = (ValueState::new("left"), ValueState::new("right"));
            let count = Count { left: left_count, right: right_count };
            probed(left.connect(right).process(count))
        }
        Keyed::Join => probed(left.join(right).unbounded().apply::<Met>(emit_pair)),
        Keyed::JoinForATime => {
            probed(left.join(right).time_to_live(hours(10_000)).apply::<Met>(emit_pair))
        }
        Keyed::Interval(lower_ms, upper_ms) => {
            let bound = |ms: i64| {
                if ms < 0 { before(duration(ms)) } else { after(duration(ms)) }
            };
            let join = left.interval_join(right).between(bound(lower_ms), bound(upper_ms));
            probed(join.apply::<Met>(emit_pair))
        }
        Keyed::Versions(false) => probed(left.temporal_join(right).apply::<Met>(emit_pair)),
        Keyed::Versions(true) => {
            let join = left.temporal_join(right).left_outer();
            probed(join.apply::<Met>(|(key, left), right, out| {
                out.emit((key, left, right.map_or(NO_VERSION, |(_, right, _)| right), 0));
            }))
        }
    }
}

/// What stands for a time on the right where there is none.
const NO_VERSION: i64 = i64::MIN;

fn emit_pair(left: (u32, i64), right: (u32, i64, &str), out: &mut dyn Out<Met>) {
    out.emit((left.0, left.1, right.1, 0));
}

/// The end: no result is behind its watermark.
fn probed<S, C>(stream: DataStream<Met, S, C>) -> CollectedRecords<Met>
where
    S: Start,
    C: Chain<S::Out, Out = Met>,
{
    stream.process(Pass(Probe::at("meeting"))).collect()
}

/// What the sink must hold, sorted.
pub(crate) fn expected(case: &Case, meeting: Meeting) -> Vec<Met> {
    let keys = case.keys as u32;
    let mut left: Vec<Left> = Vec::new();
    for event in case.input_events() {
        left.extend((0..event.copies).map(|copy| ((event.key + copy) % keys, event.at_ms)));
    }
    let right: Vec<Left> = left.iter().copied().filter(|(_, at_ms)| is_right(*at_ms)).collect();
    // How often a pair of these times comes out.
    let pairs = |times: &dyn Fn(i64, i64) -> usize| {
        let mut met = Vec::new();
        for (key, left) in &left {
            for (_, right) in right.iter().filter(|other| other.0 == *key) {
                met.extend(iter::repeat_n((*key, *left, *right, 0), times(*left, *right)));
            }
        }
        met
    };
    let counts = |window: &dyn Fn(i64) -> i64| {
        let mut counts = BTreeMap::<(u32, i64), (i64, i64)>::new();
        left.iter().for_each(|(key, at)| counts.entry((*key, window(*at))).or_default().0 += 1);
        right.iter().for_each(|(key, at)| counts.entry((*key, window(*at))).or_default().1 += 1);
        counts.into_iter().map(|((key, _), (left, right))| (key, left, right))
    };
    let mut met: Vec<Met> = match meeting {
        Meeting::Keyed(Keyed::Process | Keyed::Broadcast) => {
            let end = END.as_millis();
            counts(&|_| 0).map(|(key, left, right)| (key, left, right, end)).collect()
        }
        Meeting::Keyed(Keyed::Join | Keyed::JoinForATime) => pairs(&|_, _| 1),
        Meeting::Keyed(Keyed::Interval(lower_ms, upper_ms)) => {
            pairs(&|left, right| usize::from((lower_ms..=upper_ms).contains(&(right - left))))
        }
        Meeting::Keyed(Keyed::Versions(is_outer)) => {
            let version = |key: u32, left: i64| {
                let of_key = right.iter().filter(|(other, at_ms)| *other == key && *at_ms <= left);
                of_key.map(|(_, at_ms)| *at_ms).max().or(is_outer.then_some(NO_VERSION))
            };
            let met = left.iter().filter_map(|(key, at_ms)| {
                version(*key, *at_ms).map(|version| (*key, *at_ms, version, 0))
            });
            met.collect()
        }
        Meeting::Windows(size_ms, slide_ms) => pairs(&|left, right| {
            let (early, late) = (left.min(right), left.max(right));
            // Windows that have begun by the earlier time, and go on behind the later one.
            let last = early.div_euclid(slide_ms);
            let starts = (0..=size_ms / slide_ms).map(|back| (last - back) * slide_ms);
            starts.filter(|start| start + size_ms > late).count()
        }),
        Meeting::Groups(size_ms) => counts(&|at_ms| at_ms.div_euclid(size_ms))
            .map(|(key, left, right)| (key, left, right, 0))
            .collect(),
        Meeting::Broadcast => {
            let of_key = |key: u32| right.iter().filter(|(other, _)| *other == key).count();
            let seen = |key: u32| if case.batch_kib.is_some() { of_key(key) as i64 } else { 0 };
            left.iter().map(|(key, at_ms)| (*key, *at_ms, seen(*key), 0)).collect()
        }
    };
    met.sort_unstable();
    met
}

/// Counts both sides.
#[derive(Clone)]
struct Count {
    left: ValueState<i64>,
    right: ValueState<i64>,
}

const END: Timestamp = Timestamp::from_millis(1 << 50);

impl KeyedCoProcessFunction<u32, Left, Right> for Count {
    type Out = Met;
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.left);
        states.register(&mut self.right);
    }

    fn process1(
        &mut self,
        _left: (u32, i64),
        context: &mut KeyedContext<'_, u32, ()>,
        _out: &mut dyn Out<Met>,
    ) -> Result<(), FunctionError> {
        context.set(&self.left, context.get(&self.left).unwrap_or(0) + 1);
        context.register_event_timer(END);
        Ok(())
    }

    fn process2(
        &mut self,
        _right: (u32, i64, &str),
        context: &mut KeyedContext<'_, u32, ()>,
        _out: &mut dyn Out<Met>,
    ) -> Result<(), FunctionError> {
        context.set(&self.right, context.get(&self.right).unwrap_or(0) + 1);
        context.register_event_timer(END);
        Ok(())
    }

    fn on_timer(
        &mut self,
        time: Timestamp,
        _domain: TimeDomain,
        context: &mut KeyedContext<'_, u32, ()>,
        out: &mut dyn Out<Met>,
    ) -> Result<(), FunctionError> {
        let left = context.get(&self.left).unwrap_or(0);
        let right = context.get(&self.right).unwrap_or(0);
        context.with_key(|key| out.emit((key, left, right, time.as_millis())));
        Ok(())
    }
}

/// Records of the right side by key, in every subtask.
const RIGHT: BroadcastState<u32, i64> = BroadcastState::new("right");

/// Each record of the left with how many of its key are on the right; in streaming mode that depends on what came first.
#[derive(Clone)]
struct Seen {
    is_batch: bool,
}

impl BroadcastProcessFunction<Left, Right> for Seen {
    type Out = Met;
    type Side = ();

    fn process(
        &mut self,
        (key, at_ms): (u32, i64),
        states: &BroadcastStates,
        _context: &mut ProcessContext<'_, ()>,
        out: &mut dyn Out<Met>,
    ) -> Result<(), FunctionError> {
        let seen = states.map(&RIGHT).get(key).unwrap_or(0);
        out.emit((key, at_ms, if self.is_batch { seen } else { 0 }, 0));
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        (key, ..): (u32, i64, &str),
        states: &mut BroadcastStates,
        _context: &mut ProcessContext<'_, ()>,
        _out: &mut dyn Out<Met>,
    ) -> Result<(), FunctionError> {
        count_right(key, states);
        Ok(())
    }
}

fn count_right(key: u32, states: &mut BroadcastStates) {
    let count = states.map(&RIGHT).get(key).unwrap_or(0) + 1;
    states.put(&RIGHT, key, count);
}

/// Counts the left side by key, and the right one everywhere.
#[derive(Clone)]
struct CountOfAll {
    left: ValueState<i64>,
}

impl KeyedBroadcastProcessFunction<u32, Left, Right> for CountOfAll {
    type Out = Met;
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.left);
    }

    fn process(
        &mut self,
        _left: (u32, i64),
        _states: &BroadcastStates,
        context: &mut KeyedContext<'_, u32, ()>,
        _out: &mut dyn Out<Met>,
    ) -> Result<(), FunctionError> {
        context.set(&self.left, context.get(&self.left).unwrap_or(0) + 1);
        context.register_event_timer(END);
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        (key, ..): (u32, i64, &str),
        states: &mut BroadcastStates,
        _context: &mut KeyedBroadcastContext<'_, u32, ()>,
        _out: &mut dyn Out<Met>,
    ) -> Result<(), FunctionError> {
        count_right(key, states);
        Ok(())
    }

    fn on_timer(
        &mut self,
        time: Timestamp,
        _domain: TimeDomain,
        states: &BroadcastStates,
        context: &mut KeyedContext<'_, u32, ()>,
        out: &mut dyn Out<Met>,
    ) -> Result<(), FunctionError> {
        let left = context.get(&self.left).unwrap_or(0);
        context.with_key(|key| {
            let right = states.map(&RIGHT).get(key).unwrap_or(0);
            out.emit((key, left, right, time.as_millis()));
        });
        Ok(())
    }
}
