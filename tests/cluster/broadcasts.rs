//! Broadcast state and lists of subtasks give the same at every parallelism.

use std::collections::BTreeMap;

use wiesel_connectors::DataGen;
use wiesel_core::{Timestamp, seconds};
use wiesel_datastream::Environment;
use wiesel_operators::{
    BroadcastProcessFunction, BroadcastState, BroadcastStates, FunctionError,
    KeyedBroadcastContext, KeyedBroadcastProcessFunction, KeyedContext, OperatorListState,
    OperatorStateRegistry, ProcessContext, ProcessFunction, StateRegistry, TimeDomain, ValueState,
    bounded_out_of_orderness,
};
use wiesel_record::Out;

use crate::{
    assert_sound, config, run,
    two_inputs::{Offer, OfferView, Seller, SellerView, offer, seller},
    watched,
};

const OFFERS: u64 = 30_000;
const SELLERS: u64 = 10_000;

/// The name that a seller had first, and how many it had.
const NAMES: BroadcastState<u64, (String, u64)> = BroadcastState::new("names");
/// How many records were broadcast.
const TOLD: BroadcastState<(), u64> = BroadcastState::new("told");

fn note(states: &mut BroadcastStates, seller: SellerView<'_>) {
    let (name, times) = match states.map(&NAMES).get(seller.id) {
        Some((name, times)) => (name.to_owned(), times + 1),
        None => (seller.name.to_owned(), 1),
    };
    states.put(&NAMES, seller.id, (&name, times));
    let told = states.map(&TOLD).get(()).unwrap_or(0);
    states.put(&TOLD, (), told + 1);
}

/// At the end of time: the offers of a seller, and what was said of it and of all.
#[derive(Clone)]
struct Meet {
    offers: ValueState<u64>,
}

const LATER: Timestamp = Timestamp::from_millis(1 << 50);

impl KeyedBroadcastProcessFunction<u64, Offer, Seller> for Meet {
    type Out = (u64, u64, String, u64, u64);
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.offers);
    }

    fn process(
        &mut self,
        _offer: OfferView<'_>,
        _states: &BroadcastStates,
        context: &mut KeyedContext<'_, u64, ()>,
        _out: &mut dyn Out<Self::Out>,
    ) -> Result<(), FunctionError> {
        context.set(&self.offers, context.get(&self.offers).unwrap_or(0) + 1);
        context.register_event_timer(LATER);
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        seller: SellerView<'_>,
        states: &mut BroadcastStates,
        _context: &mut KeyedBroadcastContext<'_, u64, ()>,
        _out: &mut dyn Out<Self::Out>,
    ) -> Result<(), FunctionError> {
        note(states, seller);
        Ok(())
    }

    fn on_timer(
        &mut self,
        _time: Timestamp,
        _domain: TimeDomain,
        states: &BroadcastStates,
        context: &mut KeyedContext<'_, u64, ()>,
        out: &mut dyn Out<Self::Out>,
    ) -> Result<(), FunctionError> {
        let offers = context.get(&self.offers).unwrap_or(0);
        let told = states.map(&TOLD).get(()).unwrap_or(0);
        context.with_key(|key| {
            let (name, times) = states.map(&NAMES).get(key).unwrap_or(("", 0));
            out.emit((key, offers, name, times, told));
        });
        Ok(())
    }
}

/// Offers, and behind the last broadcast record how many different sellers there were.
#[derive(Clone)]
struct Count;

impl BroadcastProcessFunction<Offer, Seller> for Count {
    type Out = (u64, u64);
    type Side = ();

    fn process(
        &mut self,
        offer: OfferView<'_>,
        _states: &BroadcastStates,
        _context: &mut ProcessContext<'_, ()>,
        out: &mut dyn Out<(u64, u64)>,
    ) -> Result<(), FunctionError> {
        out.emit((offer.number, 0));
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        seller: SellerView<'_>,
        states: &mut BroadcastStates,
        _context: &mut ProcessContext<'_, ()>,
        out: &mut dyn Out<(u64, u64)>,
    ) -> Result<(), FunctionError> {
        note(states, seller);
        if states.map(&TOLD).get(()) == Some(SELLERS) {
            out.emit((OFFERS, states.map(&NAMES).len() as u64));
        }
        Ok(())
    }
}

/// Makes both streams, with watermarks.
macro_rules! streams {
    ($environment:ident) => {{
        let offers = $environment
            .source(DataGen::new(|tick| offer(tick.number)).count(OFFERS))
            .watermarks(bounded_out_of_orderness(seconds(1)), |offer| {
                Timestamp::from_millis(offer.at_ms)
            });
        let sellers = $environment
            .source(DataGen::new(|tick| seller(tick.number)).count(SELLERS))
            .watermarks(bounded_out_of_orderness(seconds(1)), |seller| {
                Timestamp::from_millis(seller.at_ms)
            });
        // From one subtask, so that all copies are written in one order.
        (offers, sellers.global())
    }};
}

#[test]
fn every_key_sees_what_was_broadcast() {
    watched(|| {
        let mut names = BTreeMap::<u64, (String, u64)>::new();
        for seller in (0..SELLERS).map(seller) {
            names.entry(seller.id).or_insert((seller.name, 0)).1 += 1;
        }
        let mut offers = BTreeMap::<u64, u64>::new();
        (0..OFFERS).map(offer).for_each(|offer| *offers.entry(offer.seller).or_default() += 1);
        let expected: Vec<_> = offers
            .into_iter()
            .map(|(key, offers)| {
                let (name, times) = names.get(&key).cloned().unwrap_or_default();
                (key, offers, times, SELLERS, name)
            })
            .collect();
        for parallelism in [1, 2, 3] {
            let environment = Environment::new();
            let (offers, sellers) = streams!(environment);
            let sellers = sellers.broadcast_state(&NAMES).with_state(&TOLD);
            let results = offers
                .key_by::<u64>(|offer| offer.seller)
                .connect_broadcast(sellers)
                .process(Meet { offers: ValueState::new("offers") })
                .collect();
            assert_sound(&run(&environment, parallelism, &config(&[])));
            let found = results.take().into_iter();
            // Which name of a seller was the first depends on the order in which the subtasks of the source were read.
            let mut found: Vec<_> =
                found.map(|(k, o, name, n, all)| (k, o, n, all, name)).collect();
            found.sort();
            assert_eq!(found.len(), expected.len(), "at {parallelism}");
            for (found, expected) in found.iter().zip(&expected) {
                let is_same = parallelism > 1 || found.4 == expected.4;
                let numbers = (found.0, found.1, found.2, found.3);
                assert!(is_same, "at {parallelism}: {found:?}, {expected:?}");
                assert_eq!(numbers, (expected.0, expected.1, expected.2, expected.3));
            }
        }
    });
}

#[test]
fn every_subtask_gets_all_that_is_broadcast() {
    watched(|| {
        let mut sellers: Vec<u64> = (0..SELLERS).map(|number| seller(number).id).collect();
        sellers.sort_unstable();
        sellers.dedup();
        for parallelism in [1, 2, 3] {
            let environment = Environment::new();
            let (offers, rules) = streams!(environment);
            let rules = rules.broadcast_state(&NAMES).with_state(&TOLD);
            let results = offers.connect_broadcast(rules).process(Count).collect();
            assert_sound(&run(&environment, parallelism, &config(&[])));
            let mut results = results.take();
            results.sort_unstable();
            let mut expected: Vec<(u64, u64)> = (0..OFFERS).map(|number| (number, 0)).collect();
            let copies = (0..parallelism).map(|_| (OFFERS, sellers.len() as u64));
            expected.extend(copies);
            assert!(results == expected, "at {parallelism}");
        }
    });
}

const HELD: OperatorListState<u64> = OperatorListState::new("held");

/// Passes numbers on seven at a time.
#[derive(Clone)]
struct InSevens;

impl ProcessFunction<u64> for InSevens {
    type Out = u64;
    type Side = ();

    fn initialize_state(&self, states: &mut OperatorStateRegistry) {
        states.register(&HELD);
    }

    fn process(
        &mut self,
        number: u64,
        context: &mut ProcessContext<'_, ()>,
        out: &mut dyn Out<u64>,
    ) -> Result<(), FunctionError> {
        context.add(&HELD, number);
        if context.list(&HELD).len() == 7 {
            context.list(&HELD).iter().for_each(|number| out.emit(number));
            context.clear(&HELD);
        }
        Ok(())
    }
}

#[test]
fn subtasks_hold_records_back_in_lists() {
    watched(|| {
        for parallelism in [1, 2, 3] {
            let environment = Environment::new();
            let results = environment
                .source(DataGen::new(|tick| tick.number).count(OFFERS))
                .rebalance()
                .process(InSevens)
                .uid("sevens")
                .collect();
            assert_sound(&run(&environment, parallelism, &config(&[])));
            let mut results = results.take();
            let len = results.len() as u64;
            results.sort_unstable();
            results.dedup();
            // At most six are held back by each subtask.
            assert_eq!((len, len % 7), (results.len() as u64, 0), "at {parallelism}");
            assert!(len > OFFERS - 7 * u64::from(parallelism), "at {parallelism}: {len}");
        }
    });
}
