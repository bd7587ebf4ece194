//! Operators with two inputs give the same at every parallelism: what their definition says.

use std::collections::BTreeMap;

use wiesel_connectors::DataGen;
use wiesel_core::{Timestamp, millis, seconds};
use wiesel_datastream::Environment;
use wiesel_operators::{
    FunctionError, KeyedCoProcessFunction, KeyedContext, Sliding, StateRegistry, TimeDomain,
    Tumbling, ValueState, after, before, bounded_out_of_orderness,
};
use wiesel_record::{Out, Record};

use crate::{assert_sound, config, run, watched};

/// Of the left stream; the right one has a third of it.
const RECORDS: u64 = 30_000;
const KEYS: u64 = 5_000;

/// A record of the left stream.
#[derive(Clone, Debug, PartialEq, Record)]
pub struct Offer {
    pub number: u64,
    pub seller: u64,
    pub at_ms: i64,
}

/// A record of the right stream.
#[derive(Clone, Debug, PartialEq, Record)]
pub struct Seller {
    pub id: u64,
    pub name: String,
    pub at_ms: i64,
}

fn random(number: u64) -> u64 {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32
}

/// Times go forth by 1 ms and up to 900 back; one key in ten records is hot.
pub fn offer(number: u64) -> Offer {
    let dice = random(number);
    let seller = if dice.is_multiple_of(10) { 7 } else { dice % KEYS };
    Offer { number, seller, at_ms: number as i64 - (dice / KEYS % 900) as i64 }
}

/// Times go forth by 3 ms, so that both streams cover the same span.
pub fn seller(number: u64) -> Seller {
    let dice = random(number ^ 0x5e11e4);
    let at_ms = number as i64 * 3 - (dice / KEYS % 900) as i64;
    Seller {
        id: dice % KEYS,
        name: format!("seller {number:>0width$}", width = dice as usize % 40),
        at_ms,
    }
}

fn offers() -> impl Iterator<Item = Offer> {
    (0..RECORDS).map(offer)
}

fn sellers() -> impl Iterator<Item = Seller> {
    (0..RECORDS / 3).map(seller)
}

/// Makes both streams, with watermarks, and joins them by what `$join` does with them.
macro_rules! check {
    ($expected:expr, |$offers:ident, $sellers:ident| $join:expr) => {{
        let expected = &$expected;
        for parallelism in [1, 2, 3] {
            let environment = Environment::new();
            let $offers = environment
                .source(DataGen::new(|tick| offer(tick.number)).count(RECORDS))
                .watermarks(bounded_out_of_orderness(seconds(1)), |offer| {
                    Timestamp::from_millis(offer.at_ms)
                });
            let $sellers = environment
                .source(DataGen::new(|tick| seller(tick.number)).count(RECORDS / 3))
                .watermarks(bounded_out_of_orderness(seconds(1)), |seller| {
                    Timestamp::from_millis(seller.at_ms)
                });
            let results = $join.collect();
            assert_sound(&run(&environment, parallelism, &config(&[])));
            let mut results = results.take();
            results.sort();
            assert_eq!(results.len(), expected.len(), "at {parallelism}");
            assert!(results == *expected, "at {parallelism}");
        }
    }};
}

/// At the end of time: how many offers a seller has made, and how long its names were together.
#[derive(Clone)]
struct Meet {
    offers: ValueState<u64>,
    letters: ValueState<u64>,
}

const LATER: Timestamp = Timestamp::from_millis(1 << 50);

impl KeyedCoProcessFunction<u64, Offer, Seller> for Meet {
    type Out = (u64, u64, u64);
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.offers);
        states.register(&mut self.letters);
    }

    fn process1(
        &mut self,
        _offer: OfferView<'_>,
        context: &mut KeyedContext<'_, u64, ()>,
        _out: &mut dyn Out<Self::Out>,
    ) -> Result<(), FunctionError> {
        context.set(&self.offers, context.get(&self.offers).unwrap_or(0) + 1);
        context.register_event_timer(LATER);
        Ok(())
    }

    fn process2(
        &mut self,
        seller: SellerView<'_>,
        context: &mut KeyedContext<'_, u64, ()>,
        _out: &mut dyn Out<Self::Out>,
    ) -> Result<(), FunctionError> {
        let letters = context.get(&self.letters).unwrap_or(0) + seller.name.len() as u64;
        context.set(&self.letters, letters);
        context.register_event_timer(LATER);
        Ok(())
    }

    fn on_timer(
        &mut self,
        _time: Timestamp,
        _domain: TimeDomain,
        context: &mut KeyedContext<'_, u64, ()>,
        out: &mut dyn Out<Self::Out>,
    ) -> Result<(), FunctionError> {
        let offers = context.get(&self.offers).unwrap_or(0);
        let letters = context.get(&self.letters).unwrap_or(0);
        context.with_key(|key| out.emit((key, offers, letters)));
        Ok(())
    }
}

#[test]
fn the_records_of_a_key_meet_from_two_streams() {
    watched(|| {
        let mut met = BTreeMap::<u64, (u64, u64)>::new();
        offers().for_each(|offer| met.entry(offer.seller).or_default().0 += 1);
        sellers()
            .for_each(|seller| met.entry(seller.id).or_default().1 += seller.name.len() as u64);
        let met: Vec<_> = met.into_iter().map(|(key, (a, b))| (key, a, b)).collect();
        check!(met, |offers, sellers| {
            let meet =
                Meet { offers: ValueState::new("offers"), letters: ValueState::new("letters") };
            let offers = offers.key_by::<u64>(|offer| offer.seller);
            offers.connect(sellers.key_by::<u64>(|seller| seller.id)).process(meet)
        });
    });
}

#[test]
fn two_streams_without_keys_become_one() {
    watched(|| {
        let mut numbers: Vec<u64> = offers().map(|offer| offer.number).collect();
        numbers.extend(sellers().map(|seller| seller.id + RECORDS));
        numbers.sort_unstable();
        check!(numbers, |offers, sellers| {
            offers.connect(sellers).map(|offer| offer.number, |seller| seller.id + RECORDS)
        });
        check!(numbers, |offers, sellers| {
            offers.connect(sellers.rebalance()).flat_map::<u64>(
                |offer, out| out.emit(offer.number),
                |seller, out| out.emit(seller.id + RECORDS),
            )
        });
    });
}

/// Number of the offer, name of its seller, and what else tells which pair it is.
type Pair = (u64, String, i64);

/// Every pair of an offer and its seller, and of those what `tell` tells, any number of times.
fn pairs<I: IntoIterator<Item = i64>>(tell: impl Fn(&Offer, &Seller) -> I) -> Vec<Pair> {
    let mut by_id = BTreeMap::<u64, Vec<Seller>>::new();
    sellers().for_each(|seller| by_id.entry(seller.id).or_default().push(seller));
    let mut pairs = Vec::new();
    for offer in offers() {
        for seller in by_id.get(&offer.seller).into_iter().flatten() {
            let told = tell(&offer, seller).into_iter();
            pairs.extend(told.map(|told| (offer.number, seller.name.clone(), told)));
        }
    }
    pairs.sort();
    pairs
}

#[test]
fn every_offer_meets_every_seller_of_its_key() {
    watched(|| {
        let expected = pairs(|offer, seller| [offer.at_ms.max(seller.at_ms)]);
        assert!(expected.len() > 50_000, "a hot key has many");
        check!(expected, |offers, sellers| {
            let sellers = sellers.key_by::<u64>(|seller| seller.id);
            let join = offers.key_by::<u64>(|offer| offer.seller).join(sellers);
            join.unbounded().apply::<Pair>(|offer, seller, out| {
                out.emit((offer.number, seller.name, offer.at_ms.max(seller.at_ms)));
            })
        });
        check!(expected, |offers, sellers| {
            let offers = offers.key_by::<u64>(|offer| offer.seller);
            let join = sellers.key_by::<u64>(|seller| seller.id).join(offers);
            join.time_to_live(seconds(10_000)).apply::<Pair>(|seller, offer, out| {
                out.emit((offer.number, seller.name, offer.at_ms.max(seller.at_ms)));
            })
        });
    });
}

#[test]
fn offers_meet_sellers_in_windows() {
    watched(|| {
        let window = |at_ms: i64| at_ms.div_euclid(1_000);
        let expected = pairs(|offer, seller| {
            (window(offer.at_ms) == window(seller.at_ms)).then_some(window(offer.at_ms))
        });
        check!(expected, |offers, sellers| {
            let join = offers.join(sellers).where_key::<u64>(|offer| offer.seller);
            join.equal_to(|seller| seller.id)
                .window(Tumbling::event_time(seconds(1)))
                .apply::<Pair>(|offer, seller, out| {
                    out.emit((offer.number, seller.name, offer.at_ms.div_euclid(1_000)));
                })
        });
        // Windows of 300 ms, one every 100: a pair is in those that cover both.
        let windows = |at_ms: i64| (0..3).map(move |back| at_ms.div_euclid(100) - back);
        let expected = pairs(|offer, seller| {
            let of_seller: Vec<i64> = windows(seller.at_ms).collect();
            windows(offer.at_ms).filter(move |window| of_seller.contains(window)).map(|_| 0)
        });
        check!(expected, |offers, sellers| {
            let join = offers.join(sellers).where_key::<u64>(|offer| offer.seller);
            join.equal_to(|seller| seller.id)
                .window(Sliding::event_time(millis(300), millis(100)))
                .apply::<Pair>(|offer, seller, out| out.emit((offer.number, seller.name, 0)))
        });
    });
}

#[test]
fn sellers_are_grouped_with_their_offers_in_windows() {
    watched(|| {
        let mut groups = BTreeMap::<(u64, i64), (u64, u64)>::new();
        let window = |at_ms: i64| at_ms.div_euclid(500);
        offers().for_each(|o| groups.entry((o.seller, window(o.at_ms))).or_default().0 += 1);
        sellers().for_each(|s| groups.entry((s.id, window(s.at_ms))).or_default().1 += 1);
        let mut expected: Vec<(u64, u64, u64)> = groups
            .into_iter()
            .map(|((key, _), (offers, sellers))| (key, offers, sellers))
            .collect();
        expected.sort_unstable();
        check!(expected, |offers, sellers| {
            let groups = offers.co_group(sellers).where_key::<u64>(|offer| offer.seller);
            groups.equal_to(|seller| seller.id).window(Tumbling::event_time(millis(500))).apply::<(
                u64,
                u64,
                u64,
            )>(
                |offers, sellers, out| {
                    let mut key = 0;
                    offers.for_each(|offer| key = offer.seller);
                    sellers.for_each(|seller| key = seller.id);
                    out.emit((key, offers.count() as u64, sellers.count() as u64));
                },
            )
        });
    });
}

#[test]
fn offers_meet_sellers_whose_times_are_near() {
    watched(|| {
        let near = |offer: &Offer, seller: &Seller| {
            let distance = seller.at_ms - offer.at_ms;
            (-700..2_000).contains(&distance).then_some(distance)
        };
        check!(pairs(near), |offers, sellers| {
            offers
                .key_by::<u64>(|offer| offer.seller)
                .interval_join(sellers.key_by::<u64>(|seller| seller.id))
                .between(before(millis(700)), after(seconds(2)))
                .upper_bound_exclusive()
                .apply::<Pair>(|offer, seller, out| {
                    out.emit((offer.number, seller.name, seller.at_ms - offer.at_ms));
                })
        });
    });
}

#[test]
fn offers_meet_the_version_of_their_seller() {
    watched(|| {
        // Of two versions of one time the later to arrive is valid, which depends on the order of subtasks: there are none.
        let version = |seller: &Seller| (seller.at_ms, seller.name.clone());
        let mut versions = BTreeMap::<u64, BTreeMap<i64, String>>::new();
        for seller in sellers() {
            let (at_ms, name) = version(&seller);
            let was_there = versions.entry(seller.id).or_default().insert(at_ms, name);
            assert_eq!(was_there, None, "two versions of one time");
        }
        let expect = |is_left: bool| {
            let joined = offers().filter_map(|offer| {
                let versions = versions.get(&offer.seller);
                let valid = versions.and_then(|all| all.range(..=offer.at_ms).next_back());
                match valid {
                    Some((at_ms, name)) => Some((offer.number, name.clone(), *at_ms)),
                    None => is_left.then(|| (offer.number, String::new(), offer.at_ms)),
                }
            });
            let mut joined: Vec<Pair> = joined.collect();
            joined.sort();
            joined
        };
        assert_eq!(expect(true).len(), RECORDS as usize);
        check!(expect(false), |offers, sellers| {
            offers
                .key_by::<u64>(|offer| offer.seller)
                .temporal_join(sellers.key_by::<u64>(|seller| seller.id))
                .apply::<Pair>(|offer, seller, out| {
                    out.emit((offer.number, seller.name, seller.at_ms));
                })
        });
        check!(expect(true), |offers, sellers| {
            offers
                .key_by::<u64>(|offer| offer.seller)
                .temporal_join(sellers.key_by::<u64>(|seller| seller.id))
                .left_outer()
                .apply::<Pair>(|offer, seller, out| {
                    let (name, at_ms) = seller.map_or(("", offer.at_ms), |s| (s.name, s.at_ms));
                    out.emit((offer.number, name, at_ms));
                })
        });
    });
}
