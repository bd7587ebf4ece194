//! q3, q8: people with their auctions.
//!
//! ```text
//!   events ─ both sides, as one record type ══ by what they are joined on ══▶ keyed state: what came of each side
//! ```
//!
//! Both sides are in one stream of events, and go on as one: an enum of what the query reads of them. So a keyed operator
//! with one input is a join.

use wiesel::{
    Out,
    operators::{Chain, Folding, Start},
    prelude::*,
};

use super::{millis_of, time};
use crate::{
    generator::{Q8_WINDOW_MS, keyed_x, window_x},
    wiesel::{
        check_sink::Total,
        events::{Event, EventView},
        jobs::check,
    },
};

/// What q3 and q8 read of a person, or of an auction, and when.
#[derive(Record)]
pub enum Side {
    Person { at: u64, id: u64, name: String, city: String, state: String },
    Auction { at: u64, seller: u64, id: u64 },
}

impl SideView<'_> {
    /// The person that it is about.
    fn person(self) -> u64 {
        match self {
            Self::Person { id, .. } => id,
            Self::Auction { seller, .. } => seller,
        }
    }

    fn at(self) -> u64 {
        match self {
            Self::Person { at, .. } | Self::Auction { at, .. } => at,
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
        .flat_map::<Side>(|event, out| match event {
            EventView::Person(p) if matches!(p.state, "OR" | "ID" | "CA") => {
                let (at, id, name, city, state) = (p.date_time, p.id, p.name, p.city, p.state);
                out.emit(SideView::Person { at, id, name, city, state });
            }
            EventView::Auction(a) if a.category == 10 => {
                out.emit(SideView::Auction { at: a.date_time, seller: a.seller, id: a.id });
            }
            _ => {}
        })
        .key_by::<u64>(|side| side.person())
        .process(Sellers {
            person: ValueState::new("person"),
            auctions: ValueState::new("auctions"),
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
    ) -> Result<(), AggregateError> {
        match side {
            SideView::Person { id: seller, name, city, state, .. } => {
                context.set(&self.person, (name, city, state));
                for auction in context.get(&self.auctions).unwrap_or_default() {
                    out.emit(SoldView { name, city, state, auction, seller });
                }
                context.clear(&self.auctions);
            }
            SideView::Auction { seller, id: auction, .. } => match context.get(&self.person) {
                Some((name, city, state)) => {
                    let (name, city, state) = (name.as_str(), city.as_str(), state.as_str());
                    out.emit(SoldView { name, city, state, auction, seller });
                }
                None => {
                    let mut auctions = context.get(&self.auctions).unwrap_or_default();
                    auctions.push(auction);
                    context.set(&self.auctions, auctions.view());
                }
            },
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
    let new_sellers = events
        .flat_map::<Side>(|event, out| match event {
            EventView::Person(p) => {
                let (at, id, name) = (p.date_time, p.id, p.name);
                out.emit(SideView::Person { at, id, name, city: "", state: "" });
            }
            EventView::Auction(a) => {
                out.emit(SideView::Auction { at: a.date_time, seller: a.seller, id: a.id });
            }
            EventView::Bid(_) => {}
        })
        .watermarks(monotonous_timestamps(), |side| time(side.at()))
        .key_by::<u64>(|side| side.person())
        .window(Tumbling::event_time(millis(Q8_WINDOW_MS)))
        .fold_with(InWindow)
        .uid("new sellers");
    check(new_sellers, |(person, _, auction, end)| window_x(person, auction, end))
}

/// Joins the people and the auctions of a key and window.
#[derive(Clone)]
struct InWindow;

impl InWindow {
    fn put((names, auctions): &mut (Vec<String>, Vec<u64>), side: SideView<'_>) {
        match side {
            SideView::Person { name, .. } => names.push(name.to_owned()),
            SideView::Auction { id, .. } => auctions.push(id),
        }
    }
}

impl Folding<u64, Side> for InWindow {
    /// Names, auctions.
    type Acc = (Vec<String>, Vec<u64>);
    /// Person, name, auction, end of the window.
    type Out = (u64, String, u64, u64);

    fn first(&self, side: SideView<'_>) -> Result<Self::Acc, AggregateError> {
        let mut acc = Self::Acc::default();
        Self::put(&mut acc, side);
        Ok(acc)
    }

    fn add(&self, acc: &mut Self::Acc, side: SideView<'_>) -> Result<(), AggregateError> {
        Self::put(acc, side);
        Ok(())
    }

    fn emit(
        &self,
        person: u64,
        window: TimeWindow,
        (names, auctions): <Self::Acc as Record>::View<'_>,
        out: &mut dyn Out<Self::Out>,
    ) {
        let end = millis_of(window.end);
        for name in names.iter() {
            auctions.iter().for_each(|auction| out.emit((person, name, auction, end)));
        }
    }
}
