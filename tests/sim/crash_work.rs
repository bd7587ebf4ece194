//! What the jobs do that are crashed, and what their lines must be then.

use std::{collections::BTreeMap, time::Duration};

use wiesel_connectors::FileSink;
use wiesel_core::Timestamp;
use wiesel_datastream::DataStream;
use wiesel_operators::{
    BroadcastProcessFunction, BroadcastState, BroadcastStates, Chain, FunctionError, KeyedContext,
    KeyedProcessFunction, ListState, MapState, ProcessContext, Sliding, Start, StateRegistry,
    TimeDomain, Tumbling, ValueState,
};
use wiesel_record::Out;

use crate::case::Draw;

/// What is done with the records of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// They are counted; a line for each.
    Count,
    /// As well, by a function with states of several kinds, which it checks.
    Remember,
    /// They are counted in windows of so many milliseconds.
    Tumbling(i64),
    /// In windows of so many milliseconds, one each so many.
    Sliding(i64, i64),
    /// As in tumbling windows, by a function with timers.
    Timers(i64),
    /// They are counted as in `Count`, but all by every subtask, in broadcast state.
    Everywhere,
}

impl Work {
    pub(crate) fn of(draw: &mut Draw) -> Self {
        match draw.within(0, 9) {
            0 => Self::Count,
            1 | 2 => Self::Remember,
            3 => Self::Tumbling(draw.of(&[10, 100])),
            4 | 5 => Self::Timers(draw.of(&[10, 100])),
            6 | 7 => Self::Everywhere,
            _ => Self::Sliding(draw.of(&[30, 100]), draw.of(&[10, 50])),
        }
    }

    /// The windows of a time, by their start; of no window if there are none.
    fn windows(self, at_ms: i64) -> Vec<i64> {
        match self {
            Self::Count | Self::Remember | Self::Everywhere => vec![0],
            Self::Tumbling(size_ms) | Self::Timers(size_ms) => vec![at_ms.div_euclid(size_ms)],
            Self::Sliding(size_ms, slide_ms) => {
                let last = at_ms.div_euclid(slide_ms) * slide_ms;
                let starts = (0..).map(|number| last - number * slide_ms);
                starts.take_while(|start| start + size_ms > at_ms).collect()
            }
        }
    }

    /// The lines that must be there, each once. `input`: key and event time of each record.
    pub(crate) fn expected(self, input: &[(u64, i64)]) -> Vec<String> {
        let mut counts = BTreeMap::<(u64, i64), u64>::new();
        let mut lines = Vec::new();
        let is_running = matches!(self, Self::Count | Self::Remember | Self::Everywhere);
        for (key, at_ms) in input {
            for window in self.windows(*at_ms) {
                let count = counts.entry((*key, window)).or_default();
                *count += 1;
                if is_running {
                    lines.push(format!("{key} {count}"));
                }
            }
        }
        if !is_running {
            // A key has as many lines as windows: which window is not in a line.
            lines.extend(counts.into_iter().map(|((key, _), count)| format!("{key} {count}")));
        }
        lines.sort();
        lines
    }

    /// Does it, and writes the lines to files in `folder`.
    pub(crate) fn run<S, C>(self, records: DataStream<(u64, i64), S, C>, folder: &str)
    where
        S: Start,
        C: Chain<S::Out, Out = (u64, i64)>,
    {
        let millis = |ms: i64| Duration::from_millis(ms.unsigned_abs());
        let sink = FileSink::lines(folder);
        if let Self::Everywhere = self {
            let records = records.share();
            let all = records.stream().broadcast_state(&COUNTS);
            let counts = records.stream().connect_broadcast(all).process(CountEverywhere);
            counts.uid("everywhere").sink_to(sink);
            return;
        }
        let keyed = records.key_by::<u64>(|record| record.0);
        match self {
            Self::Everywhere => unreachable!("it has no keys"),
            Self::Count => keyed
                .count()
                .uid("counts")
                .map(|counted| format!("{} {}", counted.key, counted.count))
                .sink_to(sink),
            Self::Remember => keyed.process(Remember::new()).uid("remember").sink_to(sink),
            Self::Timers(size_ms) => {
                let count = CountByTimers { size_ms, counts: MapState::new("counts") };
                keyed.process(count).uid("counts").sink_to(sink)
            }
            Self::Tumbling(size_ms) => keyed
                .window(Tumbling::event_time(millis(size_ms)))
                .count()
                .uid("counts")
                .map(|counted| format!("{} {}", counted.key, counted.count))
                .sink_to(sink),
            Self::Sliding(size_ms, slide_ms) => keyed
                .window(Sliding::event_time(millis(size_ms), millis(slide_ms)))
                .count()
                .uid("counts")
                .map(|counted| format!("{} {}", counted.key, counted.count))
                .sink_to(sink),
        };
    }
}

/// Counts by states of several kinds, which must agree.
#[derive(Clone)]
struct Remember {
    /// What is not in the list any more.
    base: ValueState<u64>,
    /// As long as the count is.
    note: ValueState<String>,
    /// The last counts, at most five.
    list: ListState<u64>,
    /// The last three counts, by their remainder.
    map: MapState<u64, u64>,
}

impl Remember {
    fn new() -> Self {
        Self {
            base: ValueState::new("base"),
            note: ValueState::new("note"),
            list: ListState::new("list"),
            map: MapState::new("map"),
        }
    }

    /// Whether all states say that so many records have come.
    fn agree(&self, count: u64, context: &KeyedContext<'_, u64, ()>) -> bool {
        let mut map = context.map(&self.map).to_vec();
        map.sort_unstable_by_key(|(_, count)| *count);
        let last: Vec<(u64, u64)> =
            (count.saturating_sub(2).max(1)..=count).map(|count| (count % 4, count)).collect();
        let note = context.get(&self.note).unwrap_or_default();
        let list: Vec<u64> = context.list(&self.list).to_vec();
        let in_list = count - count % 5 + 1..=count;
        map == last && note.len() as u64 == count % 40 && list.into_iter().eq(in_list)
    }
}

impl KeyedProcessFunction<u64, (u64, i64)> for Remember {
    type Out = String;
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.base);
        states.register(&mut self.note);
        states.register(&mut self.list);
        states.register(&mut self.map);
    }

    fn process(
        &mut self,
        (key, _): (u64, i64),
        context: &mut KeyedContext<'_, u64, ()>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        let base = context.get(&self.base).unwrap_or(0);
        let count = base + context.list(&self.list).len() as u64 + 1;
        if !self.agree(count - 1, context) {
            out.emit(&format!("{key} {count}: the states differ"));
        }
        if count.is_multiple_of(5) {
            context.clear(&self.list);
            context.set(&self.base, count);
        } else {
            context.add(&self.list, count);
        }
        context.put(&self.map, count % 4, count);
        context.remove(&self.map, (count + 1) % 4);
        context.set(&self.note, &"n".repeat(count as usize % 40));
        out.emit(&format!("{key} {count}"));
        Ok(())
    }
}

/// Counts as tumbling windows do, by hand.
#[derive(Clone)]
struct CountByTimers {
    size_ms: i64,
    /// By the last time of the window.
    counts: MapState<i64, u64>,
}

/// So long behind the end of each window there is a timer that must not fire: the one of the end takes it back. No window ends
/// then.
const BEHIND_MS: i64 = 7;

impl KeyedProcessFunction<u64, (u64, i64)> for CountByTimers {
    type Out = String;
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.counts);
    }

    fn process(
        &mut self,
        (_, at_ms): (u64, i64),
        context: &mut KeyedContext<'_, u64, ()>,
        _out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        let last_ms = (at_ms.div_euclid(self.size_ms) + 1) * self.size_ms - 1;
        let count = context.map(&self.counts).get(last_ms).unwrap_or(0) + 1;
        context.put(&self.counts, last_ms, count);
        context.register_event_timer(Timestamp::from_millis(last_ms));
        context.register_event_timer(Timestamp::from_millis(last_ms + BEHIND_MS));
        Ok(())
    }

    fn on_timer(
        &mut self,
        time: Timestamp,
        _domain: TimeDomain,
        context: &mut KeyedContext<'_, u64, ()>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        let last_ms = time.as_millis();
        let count = context.map(&self.counts).get(last_ms);
        let text = count.map_or_else(|| format!("no window ends at {last_ms}"), |c| c.to_string());
        context.with_key(|key| out.emit(&format!("{key} {text}")));
        context.remove(&self.counts, last_ms);
        context.delete_event_timer(Timestamp::from_millis(last_ms + BEHIND_MS));
        Ok(())
    }
}

/// By key.
const COUNTS: BroadcastState<u64, u64> = BroadcastState::new("counts");

/// Counts all records in every subtask. The subtask whose turn it is by the key says so: after a restore at another parallelism
/// with what another one has counted.
#[derive(Clone)]
struct CountEverywhere;

impl BroadcastProcessFunction<(u64, i64), (u64, i64)> for CountEverywhere {
    type Out = String;
    type Side = ();

    fn process(
        &mut self,
        _record: (u64, i64),
        _states: &BroadcastStates,
        _context: &mut ProcessContext<'_, ()>,
        _out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        (key, _): (u64, i64),
        states: &mut BroadcastStates,
        context: &mut ProcessContext<'_, ()>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        let count = states.map(&COUNTS).get(key).unwrap_or(0) + 1;
        states.put(&COUNTS, key, count);
        if key % u64::from(context.parallelism()) == u64::from(context.subtask()) {
            out.emit(&format!("{key} {count}"));
        }
        Ok(())
    }
}
