//! The generator's events as records, and the sources that push views of them.

use std::hint::black_box;

use wiesel::{
    Owned, Record, ViewRef, Viewed,
    connectors::{DataGen, Generate, SourceOutput, Tick},
};

use crate::generator::{self, Generator, PersonText};

/// A bid.
#[derive(Clone, Record)]
pub struct Bid {
    pub auction: u64,
    pub bidder: u64,
    pub price: u64,
    pub channel: String,
    pub url: String,
    pub date_time: u64,
    pub extra: String,
}

/// An auction.
#[derive(Record)]
pub struct Auction {
    pub id: u64,
    pub item_name: String,
    pub description: String,
    pub initial_bid: u64,
    pub reserve: u64,
    pub date_time: u64,
    pub expires: u64,
    pub seller: u64,
    pub category: u64,
    pub extra: String,
}

/// A person.
#[derive(Record)]
pub struct Person {
    pub id: u64,
    pub name: String,
    pub email: String,
    pub credit_card: String,
    pub city: String,
    pub state: String,
    pub date_time: u64,
    pub extra: String,
}

/// One event.
#[derive(Record)]
pub enum Event {
    Person(Person),
    Auction(Auction),
    Bid(Bid),
}

#[inline(always)]
fn bid_view<'e>(bid: generator::Bid) -> EventView<'e> {
    let generator::Bid { auction, bidder, price, channel, url, date_time, extra } = bid;
    EventView::Bid(BidView { auction, bidder, price, channel, url, date_time, extra })
}

#[inline(always)]
fn auction_view<'e>(a: generator::Auction) -> EventView<'e> {
    EventView::Auction(AuctionView {
        id: a.id,
        item_name: a.item_name,
        description: a.description,
        initial_bid: a.initial_bid,
        reserve: a.reserve,
        date_time: a.date_time,
        expires: a.expires,
        seller: a.seller,
        category: a.category,
        extra: a.extra,
    })
}

#[inline(always)]
fn person_view(p: generator::Person<'_>) -> EventView<'_> {
    EventView::Person(PersonView {
        id: p.id,
        name: p.name,
        email: p.email,
        credit_card: p.credit_card,
        city: p.city,
        state: p.state,
        date_time: p.date_time,
        extra: p.extra,
    })
}

/// Makes [`Event`]s.
#[derive(Clone)]
pub struct Events {
    generator: Generator,
    text: PersonText,
}

impl Events {
    /// A source of the first `count` events.
    pub fn source(generator: Generator, count: u64) -> DataGen<Event, Self> {
        DataGen::by(Self { generator, text: PersonText::default() }).count(count)
    }
}

impl Generate<Event> for Events {
    #[inline(always)]
    fn generate<S: SourceOutput<Event>>(&mut self, tick: Tick, out: &mut S) -> bool {
        let text = &mut self.text;
        let view = self.generator.make(tick.number, text, bid_view, auction_view, person_view);
        out.collect(ViewRef::<Event>(black_box(&view)), None)
    }
}

/// Makes [`Event`]s of which some come late.
#[derive(Clone)]
pub struct DisorderedEvents {
    events: Events,
    /// Of a hundred.
    late: u64,
}

impl DisorderedEvents {
    /// A source of the first `count` events, of which `late` of a hundred come late.
    pub fn source(generator: Generator, count: u64, late: u64) -> DataGen<Event, Self> {
        let events = Events { generator, text: PersonText::default() };
        DataGen::by(Self { events, late }).count(count)
    }
}

impl Generate<Event> for DisorderedEvents {
    #[inline(always)]
    fn generate<S: SourceOutput<Event>>(&mut self, tick: Tick, out: &mut S) -> bool {
        let Self { events: Events { generator, text }, late } = self;
        let delay = generator.delay_ms(tick.number, *late);
        let view = generator.make(
            tick.number,
            text,
            |bid| bid_view(generator::Bid { date_time: bid.date_time - delay, ..bid }),
            |auction| {
                let date_time = auction.date_time - delay;
                auction_view(generator::Auction { date_time, ..auction })
            },
            |person| {
                let date_time = person.date_time - delay;
                person_view(generator::Person { date_time, ..person })
            },
        );
        out.collect(ViewRef::<Event>(black_box(&view)), None)
    }
}

/// Makes lines of words.
#[derive(Clone)]
pub struct LinesOfWords {
    generator: Generator,
    line: String,
}

impl LinesOfWords {
    /// A source of the first `count` lines.
    pub fn source(generator: Generator, count: u64) -> DataGen<String, Self> {
        DataGen::by(Self { generator, line: String::new() }).count(count)
    }
}

impl Generate<String> for LinesOfWords {
    #[inline]
    fn generate<S: SourceOutput<String>>(&mut self, tick: Tick, out: &mut S) -> bool {
        self.generator.line_into(tick.number, &mut self.line);
        let line: &str = &self.line;
        out.collect(Viewed::<String>(black_box(line)), None)
    }
}

/// Makes blocks of a kilobyte, every byte of which is written anew.
#[derive(Clone)]
pub struct Blocks(pub Block);

/// 128 words.
pub type Block = [u64; 128];

impl Blocks {
    /// A source of the first `count` blocks.
    pub fn source(count: u64) -> DataGen<Block, Self> {
        DataGen::by(Self([0; 128])).count(count)
    }
}

impl Generate<Block> for Blocks {
    #[inline]
    fn generate<S: SourceOutput<Block>>(&mut self, tick: Tick, out: &mut S) -> bool {
        for (at, word) in self.0.iter_mut().enumerate() {
            *word = tick.number ^ at as u64;
        }
        out.collect(black_box(&self.0), None)
    }
}

/// Records of a split: some milliseconds.
const SPLIT: u64 = 1 << 18;

/// Makes keys, each with the value 1.
#[derive(Clone)]
pub struct Keys<F>(pub F);

impl<F: Fn(u64) -> u64 + Clone + Send + 'static> Keys<F> {
    /// A source of the first `count` records.
    pub fn source(key_of: F, count: u64) -> DataGen<(u64, u64), Self> {
        DataGen::by(Self(key_of)).count(count).in_splits_of(SPLIT)
    }
}

impl<F: Fn(u64) -> u64 + Clone + Send + 'static> Generate<(u64, u64)> for Keys<F> {
    #[inline(always)]
    fn generate<S: SourceOutput<(u64, u64)>>(&mut self, tick: Tick, out: &mut S) -> bool {
        let record = ((self.0)(tick.number), 1);
        out.collect(Owned(*black_box(&record)), None)
    }
}
