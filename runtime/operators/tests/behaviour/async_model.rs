//! What async I/O is by definition: a plain list of records and watermarks, looked through at every step. Random traces
//! are compared with it: with answers and errors in any order, time-outs, and restores at other parallelisms.

use std::collections::VecDeque;

use wiesel_core::{Timestamp, millis};
use wiesel_operators::{AsyncRetry, AsyncWaitTo, Chain, Control, End, Nothing, Progress, Snapshot};
use wiesel_shard::at_once;

use crate::{
    async_wait::{Answer, Ask, PAUSE_MS, TIMEOUT_MS, TRIES, async_link, bench, clock, options},
    harness::Word,
    random::Random,
};

#[derive(Debug, PartialEq)]
enum State {
    Fresh,
    Asked,
    Pauses(u64),
    /// It has its results: which came as which.
    Done(u64, Vec<i64>),
}

#[derive(Debug)]
struct Entry {
    number: i64,
    time: Option<i64>,
    tried: u32,
    deadline: u64,
    state: State,
}

/// The definition, over a plain list.
#[derive(Default)]
struct Model {
    is_ordered: bool,
    capacity: usize,
    now: u64,
    /// Records, and watermarks between them.
    entries: Vec<Result<Entry, i64>>,
    to_ask: VecDeque<i64>,
    completed: u64,
}

impl Model {
    fn push(&mut self, number: i64, time: Option<i64>) {
        let deadline = self.now + TIMEOUT_MS;
        let entry = Entry { number, time, tried: 0, deadline, state: State::Fresh };
        self.entries.push(Ok(entry));
        self.to_ask.push_back(number);
    }

    fn watermark(&mut self, watermark: i64) {
        if let Some(Err(last)) = self.entries.last_mut() {
            *last = watermark;
        } else {
            self.entries.push(Err(watermark));
        }
    }

    fn records(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut().filter_map(|entry| entry.as_mut().ok())
    }

    fn of(&mut self, number: i64) -> Option<&mut Entry> {
        self.records().find(|entry| entry.number == number)
    }

    fn complete(&mut self, number: i64, results: Vec<i64>) {
        self.completed += 1;
        let completed = self.completed;
        self.of(number).unwrap().state = State::Done(completed, results);
    }

    fn answer(&mut self, number: i64, answer: Answer) {
        let now = self.now;
        match answer {
            Ok(results) => self.complete(number, results),
            Err(_) => self.of(number).unwrap().state = State::Pauses(now + PAUSE_MS),
        }
    }

    fn asked(&mut self) -> Vec<i64> {
        let asked = self.records().filter(|entry| entry.state == State::Asked);
        asked.map(|entry| entry.number).collect()
    }

    /// Everything that is due; what comes out.
    fn poll(&mut self) -> Vec<String> {
        let now = self.now;
        let late = self
            .records()
            .filter(|entry| entry.deadline <= now && !matches!(entry.state, State::Done(..)));
        let late: Vec<i64> = late.map(|entry| entry.number).collect();
        late.into_iter().for_each(|number| self.complete(number, vec![-number]));
        let mut due: Vec<_> = self
            .records()
            .filter_map(|entry| match entry.state {
                State::Pauses(until) if until <= now => Some((until, entry.number)),
                _ => None,
            })
            .collect();
        due.sort_by_key(|(until, _)| *until);
        for (_, number) in due {
            self.of(number).unwrap().state = State::Fresh;
            self.to_ask.push_back(number);
        }
        while self.asked().len() < self.capacity
            && let Some(number) = self.to_ask.pop_front()
        {
            if let Some(entry) = self.of(number)
                && entry.state == State::Fresh
            {
                entry.state = State::Asked;
                entry.tried += 1;
            }
        }
        self.emit()
    }

    fn emit(&mut self) -> Vec<String> {
        let mut out = Vec::new();
        loop {
            if let Some(Err(watermark)) = self.entries.first() {
                out.push(format!("w{watermark}"));
                let _ = self.entries.remove(0);
                continue;
            }
            let segment = self.entries.iter().take_while(|entry| entry.is_ok());
            let done = segment.enumerate().filter_map(|(at, entry)| match entry {
                Ok(Entry { state: State::Done(order, _), .. }) => Some((*order, at)),
                _ => None,
            });
            let next =
                if self.is_ordered { done.take(1).find(|(_, at)| *at == 0) } else { done.min() };
            let Some((_, at)) = next else { return out };
            let Ok(Entry { time, state: State::Done(_, results), .. }) = self.entries.remove(at)
            else {
                return out;
            };
            let time = time.map_or_else(String::new, |time| format!("@{time}"));
            out.extend(results.iter().map(|result| format!("{result}{time}")));
        }
    }
}

macro_rules! trace {
    ($kind:ident, $is_ordered:expr, $seed:expr) => {{
        let seed: u64 = $seed;
        let random = &mut Random(seed);
        let clock = clock();
        let capacity = 1 + random.below(4) as usize;
        let options = options(capacity).retry(AsyncRetry::fixed_delay(TRIES, millis(PAUSE_MS)));
        let deploy = |subtask: u32, parallelism: u32, ask: &Ask| {
            bench(&clock, (subtask, parallelism), |context, probe| {
                async_link!($kind, options, ask.clone(), context, probe)
            })
        };
        let fresh = |now| Model { is_ordered: $is_ordered, capacity, now, ..Model::default() };
        let ask = Ask::default();
        let mut subtasks = vec![(deploy(0, 1, &ask), ask, fresh(0))];
        let (mut count, mut watermark) = (0, 0);
        for _ in 0..random.below(80) {
            let at = random.below(subtasks.len() as u64) as usize;
            let (bench, ask, model) = &mut subtasks[at];
            let step = random.below(20);
            match step {
                // What one record expands to is more than there is room for.
                0..8 if bench.is_ready() || step == 0 => {
                    count += 1;
                    let time = (count % 3 > 0).then_some(count * 7 % 100);
                    bench.push(count, time);
                    model.push(count, time);
                }
                8..10 => {
                    watermark += 1;
                    let time = Timestamp::from_millis(watermark);
                    assert_eq!(bench.link.watermark(time), Progress::Done);
                    model.watermark(watermark);
                }
                10..16 => {
                    let open = ask.open();
                    if !open.is_empty() {
                        let number = open[random.below(open.len() as u64) as usize];
                        let tried = model.of(number).unwrap().tried;
                        let answer = match random.below(5) {
                            0 | 1 if tried < TRIES => Err("try again".to_owned()),
                            0 => Ok(vec![]),
                            1 => Ok(vec![number * 10, number * 10 + 1]),
                            _ => Ok(vec![number * 10]),
                        };
                        ask.answer(number, answer.clone());
                        model.answer(number, answer);
                    }
                }
                16..19 => {
                    let advance = random.below(20);
                    clock.advance(millis(advance));
                    for (_, _, model) in &mut subtasks {
                        model.now += advance;
                    }
                }
                _ if random.one_in(3) => {
                    let mut snapshot = Snapshot::default();
                    let mut left = Vec::new();
                    for (bench, _, model) in &mut subtasks {
                        bench.link.snapshot(&mut snapshot);
                        left.extend(model.records().map(|entry| (entry.number, entry.time)));
                    }
                    let now = subtasks[0].2.now;
                    let parallelism = 1 + random.below(3) as u32;
                    subtasks = (0..parallelism)
                        .map(|subtask| {
                            let ask = Ask::default();
                            let mut bench = deploy(subtask, parallelism, &ask);
                            bench.context.shard().look();
                            at_once(bench.link.restore(&snapshot)).unwrap();
                            let mut model = fresh(now);
                            let mine = left.iter().skip(subtask as usize);
                            for (number, time) in mine.step_by(parallelism as usize) {
                                model.push(*number, *time);
                            }
                            (bench, ask, model)
                        })
                        .collect();
                }
                _ => {}
            }
            for (bench, ask, model) in &mut subtasks {
                assert_eq!(bench.poll(), model.poll(), "SEED={seed}");
                let mut open = ask.open();
                open.sort_unstable();
                let mut asked = model.asked();
                asked.sort_unstable();
                assert_eq!(open, asked, "SEED={seed}");
            }
        }
        // To the end: everybody is answered or times out, and nothing is kept.
        for (bench, _, model) in &mut subtasks {
            assert_eq!(bench.link.watermark(Timestamp::MAX), Progress::Done);
            model.watermark(i64::MAX);
            let mut calls = 0;
            while bench.link.finish() == Progress::Stopped {
                let out = |text: String| text.replace(&format!("w{}", i64::MAX), "w+");
                model.now = clock.now().0 / 1_000_000;
                let expected: Vec<_> = model.poll().into_iter().map(out).collect();
                assert_eq!(bench.poll(), expected, "SEED={seed}");
                clock.advance(millis(TIMEOUT_MS));
                calls += 1;
                assert!(calls < 10, "SEED={seed}: it never ends");
            }
            let mut snapshot = Snapshot::default();
            bench.link.snapshot(&mut snapshot);
            assert!(snapshot.is_empty(), "SEED={seed}");
            assert_eq!(bench.failure(), "", "SEED={seed}");
        }
    }};
}

pub(crate) fn ordered_is_what_its_definition_says(seed: u64) {
    trace!(ordered, true, seed);
}

pub(crate) fn unordered_is_what_its_definition_says(seed: u64) {
    trace!(unordered, false, seed);
}
