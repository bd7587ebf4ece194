//! q3, q8: people with their auctions.
//!
//! ```text
//!   q3   events ─ both sides, as one record type ══ by person ══▶ keyed state: what came of each side
//!   q8   events ─┬ people   ══ by person ══▶ window join
//!                └ auctions ══ by seller ══▶
//! ```
//!
//! In q3 both sides go on as one stream, an enum of what the query reads of them: so a keyed operator with one input is a
//! join. q8 is the join of two streams that the API has.

use wiesel::{
    Out,
    operators::{Chain, Start},
    prelude::*,
};

use super::time;
use crate::{
    generator::{Q8_WINDOW_MS, keyed_x, window_end_ms, window_x},
    wiesel::{
        check_sink::Total,
        events::{Event, EventView},
        jobs::check,
    },
};

/// What q3 reads of a person, or of an auction.
#[derive(Record)]
pub enum Side {
    Person { id: u64, name: String, city: String, state: String },
    Auction { seller: u64, id: u64 },
}

impl SideView<'_> {
    /// The person that it is about.
    fn person(self) -> u64 {
        match self {
            Self::Person { id, .. } => id,
            Self::Auction { seller, .. } => seller,
        }
    }
}

/// An auction and who sells.
#[derive(Record)]
pub struct Sold {
    pub name: String,
    pub city: String,
    pub state: String,
    pub auction: u64,
    pub seller: u64,
}

/// Who sells in some states, in one category.
///
/// ```sql
/// SELECT P.name, P.city, P.state, A.id FROM auction AS A INNER JOIN person AS P ON A.seller = P.id
/// WHERE A.category = 10 AND (P.state = 'OR' OR P.state = 'ID' OR P.state = 'CA')
/// ```
pub fn q3<S, C>(events: DataStream<Event, S, C>) -> Total
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    let sold = events
        .filter_map::<Side>(|event| match event {
            EventView::Person(p) if matches!(p.state, "OR" | "ID" | "CA") => {
                let (id, name, city, state) = (p.id, p.name, p.city, p.state);
                Some(SideView::Person { id, name, city, state })
            }
            EventView::Auction(a) if a.category == 10 => {
                Some(SideView::Auction { seller: a.seller, id: a.id })
            }
            _ => None,
        })
        .key_by::<u64>(|side| side.person())
        .process(Sellers {
            person: ValueState::new("person"),
            auctions: ValueState::new("auctions"),
            earlier: Vec::new(),
        })
        .uid("sellers");
    check(sold, |sold: SoldView<'_>| keyed_x(sold.auction, sold.seller))
}

/// Joins a person with its auctions, whoever comes first; both are kept for ever. A person comes once.
#[derive(Clone)]
struct Sellers {
    /// Name, city, state.
    person: ValueState<(String, String, String)>,
    /// Those that came before the person.
    auctions: ValueState<Vec<u64>>,
    /// Those of one person, in memory that is used again.
    earlier: Vec<u64>,
}

impl KeyedProcessFunction<u64, Side> for Sellers {
    type Out = Sold;
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.person);
        states.register(&mut self.auctions);
    }

    fn process(
        &mut self,
        side: SideView<'_>,
        context: &mut KeyedContext<'_, u64, ()>,
        out: &mut dyn Out<Sold>,
    ) -> Result<(), FunctionError> {
        match side {
            SideView::Person { id: seller, name, city, state, .. } => {
                context.set(&self.person, (name, city, state));
                let earlier = context.with(&self.auctions, |auctions| {
                    for auction in auctions {
                        out.emit(SoldView { name, city, state, auction, seller });
                    }
                });
                if earlier.is_some() {
                    context.clear(&self.auctions);
                }
            }
            SideView::Auction { seller, id: auction, .. } => {
                let sold = context.with(&self.person, |(name, city, state)| {
                    out.emit(SoldView { name, city, state, auction, seller });
                });
                if sold.is_none() {
                    self.earlier.clear();
                    context.with(&self.auctions, |auctions| self.earlier.extend(auctions));
                    self.earlier.push(auction);
                    context.set(&self.auctions, self.earlier.view());
                }
            }
        }
        Ok(())
    }
}

/// Who signs up and sells within the same ten seconds.
///
/// ```sql
/// SELECT P.id, P.name, A.id, P.window_end
/// FROM TABLE(TUMBLE(TABLE person, DESCRIPTOR(dateTime), INTERVAL '10' SECOND)) AS P
/// JOIN TABLE(TUMBLE(TABLE auction, DESCRIPTOR(dateTime), INTERVAL '10' SECOND)) AS A
///   ON P.id = A.seller AND P.window_start = A.window_start AND P.window_end = A.window_end
/// ```
pub fn q8<S, C>(events: DataStream<Event, S, C>) -> Total
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    let (people, auctions) = events.split(
        |events| {
            events.filter_map::<(u64, String, u64)>(|event| match event {
                EventView::Person(p) => Some((p.id, p.name, p.date_time)),
                _ => None,
            })
        },
        |events| {
            events.filter_map::<(u64, u64, u64)>(|event| match event {
                EventView::Auction(a) => Some((a.seller, a.id, a.date_time)),
                _ => None,
            })
        },
    );
    let new_sellers = people
        .watermarks(monotonous_timestamps(), |(.., at)| time(at))
        .join(auctions.watermarks(monotonous_timestamps(), |(.., at)| time(at)))
        .where_key::<u64>(|(person, ..)| person)
        .equal_to(|(seller, ..)| seller)
        .window(Tumbling::event_time(millis(Q8_WINDOW_MS)))
        .apply::<(u64, String, u64, u64)>(|(person, name, at), (_, auction, _), out| {
            out.emit((person, name, auction, window_end_ms(at, Q8_WINDOW_MS)));
        })
        .uid("new sellers");
    check(new_sellers, |(person, _, auction, end)| window_x(person, auction, end))
}
