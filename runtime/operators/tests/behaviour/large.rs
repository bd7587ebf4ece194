//! Tables that are larger than a cache: rows are fetched ahead, segments split, and firing stops in their midst.

use std::collections::BTreeMap;

use wiesel_core::{Meta, Timestamp, millis};
use wiesel_operators::{
    Count, End, Head, KeyedHeadStart, KeyedStart, Progress, RollingStart, Start, TaskContext,
    Tumbling, TumblingStart, WindowOptions,
};
use wiesel_record::Key;

use crate::{
    harness::{self, Event, Frames, Probe},
    random::Random,
};

/// Rows of 17 bytes and more: several times what is prefetched from on.
const KEYS: u64 = 150_000;
const FRAME: usize = 1_000;

fn number(number: u64) -> u64 {
    number
}

struct Fixture {
    head: Box<dyn Head>,
    context: TaskContext,
    probe: Probe,
}

impl Fixture {
    fn new<P: KeyedStart<u64, u64>>(operator: P, stop_every: usize) -> Self
    where
        <P::Operator as wiesel_operators::KeyedOperator<u64, u64>>::Out: harness::Show,
    {
        let context = harness::context(0, 1, &Default::default());
        let probe = Probe::new(context.stop(), stop_every);
        let start = KeyedHeadStart::<u64, u64, _, _>::new(number, operator);
        let head = start.head(End::new(probe.output(""), &context), &context).unwrap();
        Self { head: Box::new(head), context, probe }
    }

    /// Calls until it is done, and gives how often it was stopped.
    fn call(
        &mut self,
        mut call: impl FnMut(&mut dyn Head, &mut wiesel_operators::Pace) -> Progress,
    ) -> usize {
        for stops in 0.. {
            let mut pace = harness::pace(&self.context, harness::Mode::Plain);
            if call(self.head.as_mut(), &mut pace) == Progress::Done {
                return stops;
            }
        }
        0
    }

    fn push(&mut self, keys: &[u64]) {
        let mut frames = Frames::new();
        for keys in keys.chunks(FRAME) {
            let meta = |key: u64| Meta::at(Timestamp::from_millis(5)).with_hash(u64::key_hash(key));
            let frame = frames.frame(keys.iter().map(|key| (key, meta(*key))));
            let mut cursor = 0;
            self.call(|head, pace| head.frame(0, &frame, &mut cursor, pace));
            assert_eq!(cursor, keys.len());
            frames.give(frame);
        }
    }
}

fn keys() -> Vec<u64> {
    let mut random = Random(7);
    (0..2 * KEYS).map(|_| random.below(KEYS) << 20).collect()
}

#[test]
fn a_rolling_count_of_many_keys() {
    let keys = keys();
    let mut fixture = Fixture::new(RollingStart(Count), 300);
    fixture.push(&keys);
    let mut counts = BTreeMap::new();
    let events = fixture.probe.take();
    assert_eq!(events.len(), keys.len());
    for (key, event) in keys.iter().zip(events) {
        let count: &mut u64 = counts.entry(key).or_default();
        *count += 1;
        let Event::Record(text, _) = event else { panic!("{event:?}") };
        assert_eq!(text, format!("{key}={count}"));
    }
}

#[test]
fn a_window_of_many_keys_fires_each_of_them_once() {
    let keys = keys();
    let windows = WindowOptions::new(Tumbling::event_time(millis(10)));
    let mut fixture = Fixture::new(TumblingStart::new(Count, windows), 300);
    fixture.push(&keys);
    assert_eq!(fixture.probe.take(), []);
    let stops = fixture.call(|head, pace| head.watermark(Timestamp::from_millis(9), pace));
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    keys.iter().for_each(|key| *counts.entry(*key).or_default() += 1);
    assert!(stops >= counts.len() / 300, "{stops} stops for {} keys", counts.len());
    let meta = Meta::at(Timestamp::from_millis(9));
    let mut expected: Vec<String> = counts.iter().map(|(key, n)| format!("{key}={n}")).collect();
    expected.sort();
    let mut fired: Vec<String> = Vec::new();
    let mut events = fixture.probe.take();
    assert_eq!(events.pop(), Some(Event::Other("w9".to_owned())));
    for event in events {
        let Event::Record(text, with) = event else { panic!("{event:?}") };
        assert_eq!(with, meta);
        fired.push(text);
    }
    fired.sort();
    assert!(fired == expected, "{} results, {} keys", fired.len(), expected.len());
}
