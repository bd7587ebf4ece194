//! Tables that are larger than a cache: rows are fetched ahead, segments split, and firing stops in their midst.

use std::collections::BTreeMap;

use wiesel_core::{Meta, Timestamp, millis};
use wiesel_operators::{
    Count, End, Head, KeyedHeadStart, KeyedStart, Progress, RollingStart, Start, TaskContext,
    Tumbling, TumblingStart, WindowOptions,
};
use wiesel_record::{FnView, Key, Record};

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
    hash: Box<dyn Fn(u64) -> u64>,
}

impl Fixture {
    fn new<K, P>(
        key: impl for<'a> FnView<'a, u64, K::View<'a>> + Copy + Send + 'static,
        operator: P,
        stop_every: usize,
    ) -> Self
    where
        K: Key,
        P: KeyedStart<u64, K>,
        <P::Operator as wiesel_operators::KeyedOperator<u64, K>>::Out: harness::Show,
    {
        let context = harness::context(0, 1, &Default::default());
        let probe = Probe::new(context.stop(), stop_every);
        let start = KeyedHeadStart::<u64, K, _, _>::new(key, operator);
        let head = start.head(End::new(probe.output(""), &context), &context).unwrap();
        let hash = Box::new(move |number| K::key_hash(key(number)));
        Self { head: Box::new(head), context, probe, hash }
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
            let meta = |key| Meta::at(Timestamp::from_millis(5)).with_hash((self.hash)(key));
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
    let mut fixture = Fixture::new::<u64, _>(number, RollingStart(Count), 300);
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

/// Grows a table of keys that are words of which not every one is a key.
fn check_growth<K: Key + harness::Show>(
    key: impl for<'a> FnView<'a, u64, K::View<'a>> + Copy + Send + 'static,
    show: impl Fn(u64) -> String,
) {
    let mut fixture = Fixture::new::<K, _>(key, RollingStart(Count), 300);
    let numbers: Vec<u64> = (0..20_000).collect();
    for round in 1..=2 {
        fixture.push(&numbers);
        for (number, event) in numbers.iter().zip(fixture.probe.take()) {
            let Event::Record(text, _) = event else { panic!("{event:?}") };
            assert_eq!(text, format!("{}={round}", show(*number)));
        }
    }
}

/// Two of 2^32 words.
#[derive(Clone, Copy, Debug, PartialEq, Record, Key)]
#[record(crate = wiesel_record)]
enum Kind {
    Bid,
    Ask,
}

impl harness::Show for Kind {
    fn show(&self) -> String {
        format!("{self:?}")
    }
}

#[test]
fn a_table_of_keys_whose_words_are_not_all_keys_grows() {
    let is_odd = |number: u64| number % 2 == 1;
    let letter = |number: u64| char::from_u32(0x4e00 + number as u32).unwrap();
    let kind = move |number: u64| if is_odd(number) { KindView::Ask } else { KindView::Bid };
    check_growth::<char>(letter, |number| letter(number).to_string());
    check_growth::<(u32, bool)>(
        move |number| (number as u32 / 2, is_odd(number)),
        |number| format!("{}{}", number / 2, is_odd(number)),
    );
    check_growth::<(u32, Kind)>(
        move |number| (number as u32 / 2, kind(number)),
        |number| format!("{}{}", number / 2, if is_odd(number) { "Ask" } else { "Bid" }),
    );
}

#[test]
fn a_window_of_many_keys_fires_each_of_them_once() {
    let keys = keys();
    let windows = WindowOptions::new(Tumbling::event_time(millis(10)));
    let mut fixture = Fixture::new::<u64, _>(number, TumblingStart::new(Count, windows), 300);
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
