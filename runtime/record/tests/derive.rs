//! Everything that `#[derive(Record)]` takes, compiled and used through its view.

#![allow(missing_docs, reason = "a test's types")]

use std::time::Duration;

use wiesel_core::Timestamp;
use wiesel_record::{Item, Key, List, Owned, Record, Viewed, to_region};

#[derive(Clone, Debug, PartialEq, Record)]
pub struct Bid {
    /// The auction.
    pub auction: u64,
    pub price: u64,
    channel: String,
}

#[derive(Clone, Debug, PartialEq, Record, Key)]
pub struct Word(pub String, u32);

#[derive(Clone, Copy, Debug, PartialEq, Record, Key)]
pub struct Unit;

#[derive(Clone, Copy, Debug, PartialEq, Record)]
pub struct Point {
    pub x: f64,
    pub y: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Record, Key)]
pub enum Side {
    Buy,
    Sell,
}

#[derive(Clone, Debug, PartialEq, Record, Key)]
pub enum Event {
    Opened,
    Named { id: u64, name: String },
    Tagged(String, Vec<u32>),
    At(Timestamp),
}

#[derive(Clone, Debug, PartialEq, Record)]
pub enum Tree<L, R>
where
    L: Clone,
{
    Left(L),
    Right { value: Option<R>, list: Vec<Option<Maybe<L>>> },
    Neither,
}

#[derive(Clone, Debug, PartialEq, Record, Key)]
pub enum Maybe<T> {
    No,
    Yes(T),
}

#[derive(Clone, Debug, PartialEq, Record, Key)]
pub struct Pair<A, B = u64> {
    pub a: A,
    pub b: B,
}

#[derive(Clone, Debug, PartialEq, Record)]
#[record(version = 2, from = Bid, view = OfferView)]
pub struct Offer<const N: usize> {
    pub r#type: u8,
    pub nested: Box<[Bid]>,
    pub grid: [[u16; N]; 2],
    pub held: (char, bool, Duration, (), i128),
    pub names: [String; 2],
}

impl<const N: usize> From<Bid> for Offer<N> {
    fn from(bid: Bid) -> Self {
        Self {
            r#type: 0,
            nested: Box::new([bid]),
            grid: [[0; N]; 2],
            held: ('a', true, Duration::ZERO, (), 0),
            names: [String::new(), String::new()],
        }
    }
}

#[derive(Clone, Debug, PartialEq, Record)]
struct Private {
    list: Vec<Option<Maybe<String>>>,
}

fn bid() -> Bid {
    Bid { auction: 7, price: 120, channel: "web".to_owned() }
}

#[test]
fn views_have_the_fields_of_their_records() {
    let bid = bid();
    let BidView { auction, channel, .. } = bid.view();
    assert_eq!((auction, channel), (7, "web"));
    assert_eq!(BidView { auction, price: 120, channel }, bid.view());
    assert_eq!(bid.view().into_owned(), bid);
    assert_eq!(format!("{:?}", bid.view()), format!("{bid:?}"));

    let word = Word("a".to_owned(), 3);
    let WordView(word, count) = word.view();
    assert_eq!((word.len(), count), (1, 3));
    assert_eq!(Unit.view(), UnitView);
    assert!(matches!(Side::Sell.view(), SideView::Sell));
    assert_eq!(Point { x: 1.0, y: 2.0 }.view().x, 1.0);
    match (Event::Named { id: 3, name: "x".to_owned() }).view() {
        EventView::Named { id, name } => assert_eq!((id, name), (3, "x")),
        other => panic!("{other:?}"),
    }
    let private = Private { list: vec![None, Some(Maybe::Yes("deep".to_owned()))] };
    assert_eq!(private.view().list.get(1), Some(Some(MaybeView::Yes("deep"))));
}

#[test]
fn a_generic_record_in_a_generic_function() {
    fn swap<A: Record, B: Record>(item: &impl Item<Pair<A, B>>) -> Pair<B, A> {
        let PairView { a, b } = item.view();
        Pair { a: B::from_view(b), b: A::from_view(a) }
    }
    let pair = Pair { a: "one".to_owned(), b: vec![1_u8, 2] };
    assert_eq!(swap(&Owned(pair.clone())), Pair { a: vec![1, 2], b: "one".to_owned() });
    let list: List<'_, u8> = List::from(&[1, 2]);
    let viewed = Viewed::<Pair<String, Vec<u8>>>(PairView { a: "one", b: list });
    assert_eq!(swap(&viewed).b, "one");
}

#[test]
fn schemas_tell_types_apart() {
    assert_eq!(
        Bid::SCHEMA.to_string(),
        "Bid { auction: u64, price: u64, channel: String } version 1"
    );
    assert_eq!(
        Event::SCHEMA.to_string(),
        "Event { Opened, Named, Named.id: u64, Named.name: String, Tagged, Tagged.0: String, \
         Tagged.1: Vec<u32>, At, At.0: Timestamp } version 1"
    );
    let offer = Offer::<3>::SCHEMA;
    assert_eq!(offer.version, 2);
    assert_eq!(Offer::<3>::migrations()[0].schema(), Bid::SCHEMA);
    assert_eq!(offer.fields[2].type_name, "[[u16; N]; 2]");
    let hashes = [
        Bid::SCHEMA.hash,
        offer.hash,
        Offer::<2>::SCHEMA.hash,
        Pair::<u64, u64>::SCHEMA.hash,
        Pair::<u64, i64>::SCHEMA.hash,
        <(u64, String)>::SCHEMA.hash,
        <(String, u64)>::SCHEMA.hash,
        <Option<u64>>::SCHEMA.hash,
        <Vec<u64>>::SCHEMA.hash,
    ];
    for (index, hash) in hashes.iter().enumerate() {
        assert!(!hashes[..index].contains(hash), "{index}");
    }
}

#[test]
fn packed_means_no_strings_and_no_lists() {
    let packed = [Point::PACKED, Side::PACKED, Unit::PACKED, Pair::<u8, u8>::PACKED];
    assert_eq!(packed, [true; 4]);
    assert_eq!([Bid::PACKED, Event::PACKED, Pair::<u8, String>::PACKED], [false; 3]);
    assert_eq!((Bid::ALIGN, Offer::<1>::ALIGN, Side::ALIGN), (8, 16, 1));
    assert_eq!(<Vec<u128>>::ALIGN, 16);
}

mod v1 {
    #[derive(Debug, PartialEq, wiesel_record::Record)]
    pub struct Total {
        pub sum: u32,
    }
}

mod v2 {
    #[derive(Debug, PartialEq, wiesel_record::Record)]
    #[record(version = 2, from = super::v1::Total)]
    pub struct Total {
        pub sum: u64,
        pub note: String,
    }
}

#[derive(Debug, PartialEq, Record)]
#[record(version = 3, from = v2::Total)]
pub struct Total {
    pub sum: i64,
    pub notes: Vec<String>,
}

impl From<v1::Total> for v2::Total {
    fn from(old: v1::Total) -> Self {
        Self { sum: old.sum.into(), note: String::new() }
    }
}

impl From<v2::Total> for Total {
    fn from(old: v2::Total) -> Self {
        Self { sum: -(old.sum as i64), notes: vec![old.note] }
    }
}

#[test]
fn a_record_is_made_of_every_older_one() {
    let migrations = Total::migrations();
    let schemas: Vec<_> = migrations.iter().map(|migration| migration.schema()).collect();
    assert_eq!(schemas, [v2::Total::SCHEMA, v1::Total::SCHEMA]);
    assert_eq!(migrations[0].packed_bytes(), None);
    assert_eq!((migrations[1].packed_bytes(), migrations[1].align()), (Some(4), 4));
    let last = v2::Total { sum: 7, note: "n".to_owned() };
    let region = to_region::<v2::Total>(last.view(), 1_000).unwrap();
    let made = migrations[0].convert(region.as_bytes()).unwrap();
    assert_eq!(made, Total { sum: -7, notes: vec!["n".to_owned()] });
    let first = v1::Total { sum: 9 };
    let region = to_region::<v1::Total>(first.view(), 1_000).unwrap();
    let made = migrations[1].convert(region.as_bytes()).unwrap();
    assert_eq!(made, Total { sum: -9, notes: vec![String::new()] });
    // What is no older record is an error.
    assert!(migrations[0].convert(region.as_bytes()).is_err());
    assert!(migrations[1].convert(&[]).is_err());
    assert!(Bid::migrations().is_empty());
}
