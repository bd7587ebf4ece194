//! Events as an engine holds them: with texts that outlive the source.
//!
//! ```text
//!   generator::Event<'p>      a person borrows its texts from the caller's buffer
//!   Event                     a person owns them, in a box; bids and auctions point into the generator's tables
//!   OwnedBid                  a bid that owns its three texts: what any engine moves whose records outlive the source
//!   PointingBid               a bid that points into the tables: what only one process can move
//! ```

use std::hint::black_box;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::generator::{self, Auction, Bid, Generator, PersonText, bid_x};

/// A person that owns the texts written for it.
#[derive(Clone, Debug)]
pub struct Person {
    /// Its number.
    pub id: u64,
    /// First and last name.
    pub name: String,
    /// An address.
    pub email: String,
    /// Four groups of four digits.
    pub credit_card: String,
    /// One of ten.
    pub city: &'static str,
    /// One of six.
    pub state: &'static str,
    /// Event time, in milliseconds.
    pub date_time: u64,
    /// Eighty letters.
    pub extra: &'static str,
}

/// One event.
#[derive(Clone, Debug)]
pub enum Event {
    /// Somebody signs up. Boxed: it is rare, and larger than the others.
    Person(Box<Person>),
    /// An auction opens.
    Auction(Auction),
    /// Somebody bids.
    Bid(Bid),
}

impl Event {
    /// Event `number`, made in memory in full whatever the query looks at. An engine that fuses its source with the
    /// query could leave out fields otherwise, and would be measured without making events.
    #[inline(always)]
    pub fn make(generator: &Generator, number: u64, text: &mut PersonText) -> Self {
        let event = generator.make(number, text, Self::Bid, Self::Auction, Self::person);
        black_box(&event);
        event
    }

    #[inline(never)]
    fn person(person: generator::Person<'_>) -> Self {
        Self::Person(Box::new(Person {
            id: person.id,
            name: person.name.to_owned(),
            email: person.email.to_owned(),
            credit_card: person.credit_card.to_owned(),
            city: person.city,
            state: person.state,
            date_time: person.date_time,
            extra: person.extra,
        }))
    }

    /// The bid, if it is one.
    #[inline(always)]
    pub fn bid(self) -> Option<Bid> {
        if let Self::Bid(bid) = self { Some(bid) } else { None }
    }
}

/// What q0 and q1 say of a bid.
#[inline(always)]
pub fn x_of(bid: &Bid) -> u64 {
    bid_x(bid.auction, bid.bidder, bid.price, bid.date_time)
}

/// The price in euros, as q1 has it.
#[inline(always)]
pub fn euros(dollars: u64) -> u64 {
    dollars * 908 / 1_000
}

/// Whether q2 wants bids on this auction.
#[inline(always)]
pub fn q2_wants(auction: u64) -> bool {
    auction.is_multiple_of(123)
}

/// A bid on its way to another worker.
pub trait MovedBid: From<Bid> {
    /// The auction bid on, which says where it goes.
    fn auction(&self) -> u64;
    /// What q0shuffle says of it.
    fn x(&self) -> u64;
}

macro_rules! moved_bid {
    ($(#[$doc:meta])* $name:ident, $text:ty) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize, Deserialize)]
        pub struct $name {
            /// The auction bid on.
            pub auction: u64,
            /// The person who bids.
            pub bidder: u64,
            /// In cents.
            pub price: u64,
            /// Where it was made.
            pub channel: $text,
            /// Where the bidder came from.
            pub url: $text,
            /// Event time, in milliseconds.
            pub date_time: u64,
            /// Twenty letters.
            pub extra: $text,
        }

        impl From<Bid> for $name {
            #[inline(always)]
            fn from(bid: Bid) -> Self {
                Self {
                    auction: bid.auction,
                    bidder: bid.bidder,
                    price: bid.price,
                    channel: bid.channel.into(),
                    url: bid.url.into(),
                    date_time: bid.date_time,
                    extra: bid.extra.into(),
                }
            }
        }

        impl MovedBid for $name {
            #[inline(always)]
            fn auction(&self) -> u64 {
                self.auction
            }

            #[inline(always)]
            fn x(&self) -> u64 {
                bid_x(self.auction, self.bidder, self.price, self.date_time)
            }
        }
    };
}

moved_bid! {
    /// A bid that owns its texts.
    OwnedBid, String
}

moved_bid! {
    /// A bid whose texts are parts of the tables.
    PointingBid, Text
}

/// A text of the tables, for engines that ask for records that could be serialised. Within a process none is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text(pub &'static str);

impl From<&'static str> for Text {
    #[inline(always)]
    fn from(text: &'static str) -> Self {
        Self(text)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Box::leak(String::deserialize(deserializer)?.into_boxed_str())))
    }
}
