//! Process functions in batch mode: one key after the other, its records in order of time, its timers behind them, and all
//! that is broadcast in front.
//!
//! # What is always true
//!
//! What comes out of order fails the job, and says what.

use std::{collections::BTreeSet, time::Duration};

use wiesel_connectors::DataGen;
use wiesel_core::Timestamp;
use wiesel_operators::{
    BroadcastState, BroadcastStates, FunctionError, KeyedBroadcastContext,
    KeyedBroadcastProcessFunction, KeyedCoProcessFunction, KeyedContext, KeyedProcessFunction,
    MapState, StateRegistry, TimeDomain, ValueState,
};
use wiesel_record::Out;

use super::{Event, RECORDS, batch, event, events, halves, results};
use crate::{compute, watched};

/// Sees to it that keys come one after the other, each with its records in order of time, and its timers behind them.
#[derive(Clone)]
struct InOrder {
    /// Outside of the state: of all keys.
    seen: BTreeSet<u64>,
    key: Option<u64>,
    last: Timestamp,
    fired: Vec<(TimeDomain, i64)>,
    count: ValueState<u64>,
    texts: MapState<String, u64>,
}

impl InOrder {
    fn new() -> Self {
        Self {
            seen: BTreeSet::new(),
            key: None,
            last: Timestamp::MIN,
            fired: Vec::new(),
            count: ValueState::new("count"),
            texts: MapState::new("texts"),
        }
    }

    fn take(
        &mut self,
        (key, _, text): (u64, i64, &str),
        context: &mut KeyedContext<'_, u64, ()>,
    ) -> Result<(), FunctionError> {
        let time = context.timestamp().ok_or("no time")?;
        let count = context.get(&self.count).unwrap_or(0);
        if self.key != Some(key) {
            if !self.seen.insert(key) || count != 0 || !context.map(&self.texts).is_empty() {
                return Err(format!("the key {key} comes again, or has state").into());
            }
            (self.key, self.last, self.fired) = (Some(key), time, Vec::new());
        }
        if time < self.last || !self.fired.is_empty() || context.watermark() != Timestamp::MIN {
            return Err(format!("the key {key} is out of order, or time has gone on").into());
        }
        self.last = time;
        context.set(&self.count, count + 1);
        context.put(&self.texts, text, 1);
        // In any order; those of event time fire first.
        context.register_processing_timer(Timestamp::from_millis(1));
        context.register_event_timer(time);
        context.register_event_timer(Timestamp::MAX);
        Ok(())
    }

    fn fire(
        &mut self,
        time: Timestamp,
        domain: TimeDomain,
        context: &mut KeyedContext<'_, u64, ()>,
        out: &mut dyn Out<(u64, u64, u64)>,
    ) -> Result<(), FunctionError> {
        let key = context.with_key(|key| key);
        let is_late = self.fired.last().is_some_and(|(last, at)| match (last, domain) {
            (TimeDomain::ProcessingTime, TimeDomain::EventTime) => true,
            _ => *last == domain && *at >= time.as_millis(),
        });
        if self.key != Some(key) || is_late || context.watermark() != Timestamp::MAX {
            return Err(format!("a timer of {key} fires out of order").into());
        }
        self.fired.push((domain, time.as_millis()));
        // Would fire for ever.
        context.register_event_timer(time);
        context.register_processing_timer(time);
        if domain == TimeDomain::ProcessingTime {
            let mut texts = 0;
            context.map(&self.texts).for_each(|_, _| texts += 1);
            let count = context.get(&self.count).unwrap_or(0);
            out.emit((key, count, texts));
        }
        Ok(())
    }
}

impl KeyedProcessFunction<u64, Event> for InOrder {
    type Out = (u64, u64, u64);
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.count);
        states.register(&mut self.texts);
    }

    fn process(
        &mut self,
        event: (u64, i64, &str),
        context: &mut KeyedContext<'_, u64, ()>,
        _out: &mut dyn Out<(u64, u64, u64)>,
    ) -> Result<(), FunctionError> {
        self.take(event, context)
    }

    fn on_timer(
        &mut self,
        time: Timestamp,
        domain: TimeDomain,
        context: &mut KeyedContext<'_, u64, ()>,
        out: &mut dyn Out<(u64, u64, u64)>,
    ) -> Result<(), FunctionError> {
        self.fire(time, domain, context, out)
    }
}

impl KeyedCoProcessFunction<u64, Event, Event> for InOrder {
    type Out = (u64, u64, u64);
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.count);
        states.register(&mut self.texts);
    }

    fn process1(
        &mut self,
        event: (u64, i64, &str),
        context: &mut KeyedContext<'_, u64, ()>,
        _out: &mut dyn Out<(u64, u64, u64)>,
    ) -> Result<(), FunctionError> {
        self.take(event, context)
    }

    fn process2(
        &mut self,
        event: (u64, i64, &str),
        context: &mut KeyedContext<'_, u64, ()>,
        _out: &mut dyn Out<(u64, u64, u64)>,
    ) -> Result<(), FunctionError> {
        self.take(event, context)
    }

    fn on_timer(
        &mut self,
        time: Timestamp,
        domain: TimeDomain,
        context: &mut KeyedContext<'_, u64, ()>,
        out: &mut dyn Out<(u64, u64, u64)>,
    ) -> Result<(), FunctionError> {
        self.fire(time, domain, context, out)
    }
}

/// Rules by number, and how many there are.
const RULES: BroadcastState<u64, String> = BroadcastState::new("rules");
const RULES_COUNT: u64 = 3_000;

impl KeyedBroadcastProcessFunction<u64, Event, u64> for InOrder {
    type Out = (u64, u64, u64);
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.count);
        states.register(&mut self.texts);
    }

    fn process(
        &mut self,
        event: (u64, i64, &str),
        states: &BroadcastStates,
        context: &mut KeyedContext<'_, u64, ()>,
        _out: &mut dyn Out<(u64, u64, u64)>,
    ) -> Result<(), FunctionError> {
        if states.map(&RULES).len() as u64 != RULES_COUNT {
            return Err("a record of a key comes before all rules are there".into());
        }
        self.take(event, context)
    }

    fn process_broadcast(
        &mut self,
        rule: u64,
        states: &mut BroadcastStates,
        context: &mut KeyedBroadcastContext<'_, u64, ()>,
        _out: &mut dyn Out<(u64, u64, u64)>,
    ) -> Result<(), FunctionError> {
        let mut keys = 0;
        context.apply_to_keyed_state(&self.count, |_, _| keys += 1);
        if keys > 0 {
            return Err("a rule finds keys".into());
        }
        states.put(&RULES, rule, "a rule");
        Ok(())
    }

    fn on_timer(
        &mut self,
        time: Timestamp,
        domain: TimeDomain,
        _states: &BroadcastStates,
        context: &mut KeyedContext<'_, u64, ()>,
        out: &mut dyn Out<(u64, u64, u64)>,
    ) -> Result<(), FunctionError> {
        self.fire(time, domain, context, out)
    }
}

#[test]
fn all_that_is_broadcast_is_there_before_the_first_key() {
    watched(|| {
        for parallelism in [1, 2, 3] {
            let folder = tempfile::tempdir().expect("a folder");
            let found = results(parallelism, &batch(folder.path()), &|environment| {
                // Slower than the keyed stream, which has to wait for it.
                let rules = environment.source(DataGen::new(|tick| tick.number).count(RULES_COUNT));
                let rules = rules.map(|rule| {
                    compute(Duration::from_micros(20));
                    rule
                });
                events(environment)
                    .key_by::<u64>(|(key, ..)| key)
                    .connect_broadcast(rules.rebalance().broadcast_state(&RULES))
                    .process(InOrder::new())
                    .collect()
            });
            assert_eq!(found, counts_of((0..RECORDS).map(event)));
        }
    });
}

/// Records and different texts of each key.
fn counts_of(events: impl Iterator<Item = Event>) -> Vec<(u64, u64, u64)> {
    let mut counts = std::collections::BTreeMap::<u64, (u64, BTreeSet<String>)>::new();
    for (key, _, text) in events {
        let (count, texts) = counts.entry(key).or_default();
        *count += 1;
        texts.insert(text);
    }
    counts.into_iter().map(|(key, (count, texts))| (key, count, texts.len() as u64)).collect()
}

#[test]
fn a_process_function_sees_one_key_after_the_other() {
    watched(|| {
        for parallelism in [1, 2, 3] {
            let folder = tempfile::tempdir().expect("a folder");
            let found = results(parallelism, &batch(folder.path()), &|environment| {
                let keyed = events(environment).key_by::<u64>(|(key, ..)| key);
                keyed.process(InOrder::new()).collect()
            });
            assert_eq!(found, counts_of((0..RECORDS).map(event)));
            let found = results(parallelism, &batch(folder.path()), &|environment| {
                let (left, right) = halves(environment);
                let left = left.key_by::<u64>(|(key, ..)| key);
                left.connect(right.key_by::<u64>(|(key, ..)| key)).process(InOrder::new()).collect()
            });
            let of_half =
                |divisor: i64| (0..RECORDS).map(event).filter(move |(_, at, _)| at % divisor == 0);
            assert_eq!(found, counts_of(of_half(2).chain(of_half(3))));
        }
    });
}
