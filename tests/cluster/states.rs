//! Keyed state of every kind gives the same at every parallelism: what plain collections give.

use std::{collections::BTreeMap, time::Duration};

use wiesel_connectors::DataGen;
use wiesel_core::Timestamp;
use wiesel_datastream::Environment;
use wiesel_operators::{
    AggregateFunction, AggregatingState, FunctionError, KeyedContext, KeyedProcessFunction,
    ListState, MapState, ReducingState, StateRegistry, StateTtl, TimeDomain, ValueState,
    monotonous_timestamps,
};
use wiesel_record::Out;

use crate::{assert_sound, config, run, watched};

const RECORDS: u64 = 60_000;
const KEYS: u64 = 1_500;

/// The key of a record, what it is about, and its amount.
fn record(number: u64) -> (u64, String, u64) {
    let random = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    (random % KEYS, format!("topic {}", random / KEYS % 9), random % 1_000)
}

/// The mean amount, in whole numbers.
#[derive(Clone)]
struct Mean;

impl AggregateFunction<u64> for Mean {
    type Acc = (u64, u64);
    type Out = u64;

    fn create_accumulator(&self) -> (u64, u64) {
        (0, 0)
    }

    fn add(&self, acc: &mut (u64, u64), amount: u64) {
        *acc = (acc.0 + amount, acc.1 + 1);
    }

    fn get_result(&self, (sum, count): (u64, u64)) -> u64 {
        sum / count
    }
}

/// Tells at the end of time what it has seen of each key.
#[derive(Clone)]
struct Digest {
    count: ValueState<u64>,
    amounts: ListState<u64>,
    topics: MapState<String, u64>,
    highest: ReducingState<u64>,
    mean: AggregatingState<u64, Mean>,
}

impl Digest {
    fn new(ttl: Option<StateTtl>) -> Self {
        let digest = Self {
            count: ValueState::new("count"),
            amounts: ListState::new("amounts"),
            topics: MapState::new("topics"),
            highest: ReducingState::new("highest", |a, b| a.max(b)),
            mean: AggregatingState::new("mean", Mean),
        };
        let Some(ttl) = ttl else { return digest };
        Self {
            count: digest.count.with_ttl(ttl),
            amounts: digest.amounts.with_ttl(ttl),
            topics: digest.topics.with_ttl(ttl),
            highest: digest.highest.with_ttl(ttl),
            mean: digest.mean.with_ttl(ttl),
        }
    }
}

type Told = (u64, String);

impl KeyedProcessFunction<u64, (u64, String, u64)> for Digest {
    type Out = Told;
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.count);
        states.register(&mut self.amounts);
        states.register(&mut self.topics);
        states.register(&mut self.highest);
        states.register(&mut self.mean);
    }

    fn process(
        &mut self,
        (_, topic, amount): (u64, &str, u64),
        context: &mut KeyedContext<'_, u64, ()>,
        _out: &mut dyn Out<Told>,
    ) -> Result<(), FunctionError> {
        let count = context.get(&self.count).unwrap_or(0) + 1;
        context.set(&self.count, count);
        context.add(&self.amounts, amount);
        // The last seven, and only topics that came often.
        if context.list(&self.amounts).len() > 7 {
            let amounts = context.list(&self.amounts).to_vec();
            context.update(&self.amounts, amounts[1..].iter().copied());
        }
        let seen = context.map(&self.topics).get(topic).unwrap_or(0);
        context.put(&self.topics, topic, seen + 1);
        if count.is_multiple_of(16) {
            context.retain(&self.topics, |_, seen| seen > 1);
        }
        context.add(&self.highest, amount);
        context.add(&self.mean, amount);
        context.register_event_timer(Timestamp::MAX);
        Ok(())
    }

    fn on_timer(
        &mut self,
        _time: Timestamp,
        _domain: TimeDomain,
        context: &mut KeyedContext<'_, u64, ()>,
        out: &mut dyn Out<Told>,
    ) -> Result<(), FunctionError> {
        let mut topics = context.map(&self.topics).to_vec();
        topics.sort();
        let told = tell(
            context.get(&self.count).unwrap_or(0),
            &context.list(&self.amounts).to_vec(),
            &topics,
            context.get(&self.highest).unwrap_or(0),
            context.get(&self.mean).unwrap_or(0),
        );
        context.with_key(|key| out.emit((key, told.as_str())));
        Ok(())
    }
}

fn tell(count: u64, amounts: &[u64], topics: &[(String, u64)], highest: u64, mean: u64) -> String {
    format!("{count} {amounts:?} {topics:?} {highest} {mean}")
}

/// The definition.
fn expected() -> BTreeMap<u64, String> {
    let mut by_key = BTreeMap::<u64, Vec<(String, u64)>>::new();
    for number in 0..RECORDS {
        let (key, topic, amount) = record(number);
        by_key.entry(key).or_default().push((topic, amount));
    }
    let told = by_key.into_iter().map(|(key, seen)| {
        let amounts: Vec<u64> = seen.iter().map(|(_, amount)| *amount).collect();
        let mut topics = BTreeMap::<String, u64>::new();
        for (at, (topic, _)) in seen.iter().enumerate() {
            *topics.entry(topic.clone()).or_default() += 1;
            if (at + 1) % 16 == 0 {
                topics.retain(|_, seen| *seen > 1);
            }
        }
        let topics: Vec<_> = topics.into_iter().collect();
        let (count, sum) = (amounts.len() as u64, amounts.iter().sum::<u64>());
        let last = &amounts[amounts.len().saturating_sub(7)..];
        let highest = amounts.iter().max().copied().unwrap_or(0);
        (key, tell(count, last, &topics, highest, sum / count))
    });
    told.collect()
}

fn check(digest: &Digest, expected: &BTreeMap<u64, String>) {
    for parallelism in [1, 2, 3] {
        let environment = Environment::new();
        let results = environment
            .source(DataGen::new(|tick| tick.number).count(RECORDS))
            .map(record)
            // One task, so that the records of a key come in order.
            .set_parallelism(1)
            .watermarks(monotonous_timestamps(), |_| Timestamp::from_millis(0))
            .key_by::<u64>(|(key, ..)| key)
            .process(digest.clone())
            .collect();
        assert_sound(&run(&environment, parallelism, &config(&[])));
        let told: Vec<_> = results.take();
        assert_eq!(told.len(), expected.len(), "each key once, at {parallelism}");
        for (key, text) in told {
            assert_eq!(expected.get(&key), Some(&text), "key {key}, at {parallelism}");
        }
    }
}

#[test]
fn states_are_what_plain_collections_are_at_every_parallelism() {
    watched(|| {
        let expected = expected();
        check(&Digest::new(None), &expected);
        check(&Digest::new(Some(StateTtl::new(Duration::from_secs(3_600)))), &expected);
    });
}
