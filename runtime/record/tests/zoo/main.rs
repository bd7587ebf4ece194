//! Properties of records, over a zoo of types and seeded random values.
//!
//! Each failure prints the seed that replays it: `ZOO_SEED=n cargo test -p wiesel-record zoo`.

#![allow(missing_docs, reason = "a test's types")]

mod dice;

use std::{fmt::Debug, hint::black_box, time::Duration};

use dice::{Dice, Roll, record};
use wiesel_core::Timestamp;
use wiesel_record::{
    Full, InFrame, Item, Key, KeyHasher, Owned, Record, RecordWriter, Region, RegionBuf, Scratch,
    TooLarge, Viewed, read_packed, root_unchecked, to_region, validate, validate_packed,
};

record! {
    #[derive(Clone, Debug, PartialEq, Record, Key)]
    struct Word(String);

    #[derive(Clone, Debug, PartialEq, Record)]
    struct Bid { auction: u64, flag: bool, price: u64, channel: String, small: u8 }

    #[derive(Clone, Debug, PartialEq, Record, Key)]
    struct Seat { train: Word, car: u8, number: u16, side: Option<char>, old: [u32; 3] }

    #[derive(Clone, Debug, PartialEq, Record)]
    struct Gaps { a: u8, b: u64, c: u8, d: u128, e: bool, f: Duration, g: Option<u64>, h: i16 }

    #[derive(Clone, Debug, PartialEq, Record)]
    struct Deep { bids: Vec<Bid>, rows: Vec<Vec<Option<Word>>>, boxed: Box<[(u8, String)]>, at: Timestamp }
}

#[derive(Clone, Debug, PartialEq, Record, Key)]
enum Event {
    Opened,
    Named { id: u64, name: String },
    Tagged(u8, Vec<Word>),
    At(Timestamp),
}

#[derive(Clone, Debug, PartialEq, Record)]
enum Either<L, R> {
    Left(L),
    Right { value: Option<R>, more: Vec<L> },
}

impl Roll for Event {
    fn roll(dice: &mut Dice) -> Self {
        match dice.below(4) {
            0 => Self::Opened,
            1 => Self::Named { id: Roll::roll(dice), name: Roll::roll(dice) },
            2 => Self::Tagged(Roll::roll(dice), Roll::roll(dice)),
            _ => Self::At(Roll::roll(dice)),
        }
    }
}

impl<L: Roll, R: Roll> Roll for Either<L, R> {
    fn roll(dice: &mut Dice) -> Self {
        match dice.below(2) {
            0 => Self::Left(Roll::roll(dice)),
            _ => Self::Right { value: Roll::roll(dice), more: Roll::roll(dice) },
        }
    }
}

/// A buffer aligned like a frame, with something in it already.
#[repr(align(64))]
struct Frame([u8; FRAME_BYTES]);

const FRAME_BYTES: usize = 16 * 1024;

/// All properties of one type of record.
fn check<T: Record + Roll + PartialEq + Debug + Clone>() {
    let (seed, mut dice) = Dice::seeded();
    let name = std::any::type_name::<T>();
    let (mut here, mut there) = (Frame([0xaa; FRAME_BYTES]), Frame([0x55; FRAME_BYTES]));
    let (mut scratch, mut buf) = (Scratch::new(), RegionBuf::new());
    for round in 0..60 {
        let context = format!("{name}, seed {seed}, round {round}");
        let value = T::roll(&mut dice);
        let start = dice.below(100) as usize;

        // An owned value, its view, and what is archived are the same.
        let mut writer = RecordWriter::new(&mut here.0, start, &mut scratch);
        let region = writer.write::<T>(value.view()).expect("a frame has room");
        let bytes = region.start as usize..region.end as usize;
        assert_eq!(region.start as usize % T::ALIGN, 0, "{context}");
        assert!(!T::PACKED || region.len() == size_of::<T::Archived>(), "{context}");
        // SAFETY: written just now.
        let root = unsafe { root_unchecked::<T>(&here.0, region.end as usize) };
        assert_eq!(T::view_of(root), value.view(), "{context}");
        assert_eq!(T::from_view(T::view_of(root)), value, "{context}");

        // No byte depends on what was in the buffer, nor on how the record got here.
        for item in [0, 1, 2] {
            let mut writer = RecordWriter::new(&mut there.0, region.start as usize, &mut scratch);
            let again = match item {
                0 => Owned(value.clone()).write(&mut writer),
                1 => Viewed::<T>(T::view_of(root)).write(&mut writer),
                _ => InFrame::<T>::checked(&here.0, region).expect("valid").write(&mut writer),
            };
            assert_eq!(again, Ok(region), "{context}");
            assert_eq!(here.0[bytes.clone()], there.0[bytes.clone()], "{context}, item {item}");
        }

        // A region may lie anywhere that is aligned.
        let elsewhere = dice.below(1000) as usize;
        let moved = RecordWriter::new(&mut there.0, elsewhere, &mut scratch)
            .copy_region::<T>(&here.0[bytes.clone()])
            .expect("a frame has room");
        assert_eq!(moved.len(), region.len(), "{context}");
        let moved = InFrame::<T>::checked(&there.0, moved).expect("still valid");
        assert_eq!(moved.get(), value.view(), "{context}");
        assert_eq!(moved.region(), &here.0[bytes.clone()], "{context}");
        assert_eq!(moved.into_owned(), value, "{context}");

        // A region in memory of its own; and the limit.
        buf.write::<T>(value.view(), FRAME_BYTES).expect("allowed");
        assert_eq!(buf.as_bytes(), &here.0[bytes.clone()], "{context}");
        let len = buf.as_bytes().len();
        if len > 0 {
            let error = to_region::<T>(value.view(), len - 1).map(|_| ()).expect_err("too large");
            assert_eq!(error, TooLarge { record: T::SCHEMA.name, limit_bytes: len - 1 });
        }
        if T::PACKED {
            assert!(validate_packed::<T>(buf.as_bytes(), 1).is_ok(), "{context}");
            there.0[1..=len].copy_from_slice(buf.as_bytes());
            // SAFETY: a region of a `T`, at an address that is not aligned.
            let read = unsafe { read_packed::<T, T>(&there.0[1..=len], T::from_view) };
            assert_eq!(read, value, "{context}");
        }

        // Without room nothing counts as written.
        for room in 0..region.len() {
            let mut writer = RecordWriter::new(&mut there.0[..room], 0, &mut scratch);
            assert_eq!(writer.write::<T>(value.view()), Err(Full), "{context}");
            assert_eq!(writer.position(), 0, "{context}");
        }
        damage::<T>(&mut dice, &mut here, region, &context);
    }
}

/// Damaged bytes are refused, or are another value of the type; they are never read outside.
fn damage<T: Record>(dice: &mut Dice, frame: &mut Frame, region: Region, context: &str) {
    if region.len() == 0 {
        return;
    }
    let mut accepted = 0;
    for _ in 0..100 {
        let at = region.start as usize + dice.below(region.len() as u64) as usize;
        let before = frame.0[at];
        frame.0[at] = dice.next() as u8;
        if let Ok(root) = validate::<T>(&frame.0, region) {
            let view = T::view_of(root);
            let owned = T::from_view(view);
            let same = T::shrink(view) == owned.view();
            assert!(same || format!("{view:?}").contains("NaN"), "{context}");
            accepted += 1;
        }
        frame.0[at] = before;
    }
    black_box(accepted);
    for region in [
        Region { start: region.start, end: region.end.wrapping_sub(1) },
        Region { start: region.start + 1, end: region.end },
        Region { start: region.end, end: region.start },
        Region { start: region.start, end: u32::MAX },
        Region { start: region.start, end: region.end + 1 },
    ] {
        if let Ok(root) = validate::<T>(&frame.0, region) {
            black_box(T::from_view(T::view_of(root)));
        }
    }
    assert!(validate::<T>(&frame.0, region).is_ok(), "{context}");
}

/// All properties of one type of key.
fn check_key<K: Key + Roll + PartialEq + Debug + Clone>() {
    check::<K>();
    let (seed, mut dice) = Dice::seeded();
    let (mut scratch, mut seen) = (Vec::new(), Vec::<(K, Vec<u8>)>::new());
    for round in 0..60 {
        let context = format!("{}, seed {seed}, round {round}", std::any::type_name::<K>());
        let key = K::roll(&mut dice);
        let buf = to_region::<K>(key.view(), FRAME_BYTES).expect("allowed");
        // SAFETY: written just now.
        let root = unsafe { root_unchecked::<K>(buf.as_bytes(), buf.as_bytes().len()) };
        assert_eq!(K::key_hash(key.view()), K::key_hash(K::view_of(root)), "{context}");

        let bytes = K::with_key_bytes(K::view_of(root), &mut scratch, <[u8]>::to_vec);
        K::with_key_bytes(key.view(), &mut scratch, |same| assert_eq!(same, bytes, "{context}"));
        assert!(K::FIXED.is_none_or(|fixed| fixed == bytes.len()), "{context}");
        K::with_key(&bytes, |view| {
            assert_eq!(K::from_view(view), key, "{context}");
            assert_eq!(K::key_hash(view), K::key_hash(key.view()), "{context}");
        });

        // Inside another key it ends by itself.
        let pair = (key.clone(), 7_u8);
        let bytes_of_pair = <(K, u8)>::with_key_bytes(pair.view(), &mut scratch, <[u8]>::to_vec);
        <(K, u8)>::with_key(&bytes_of_pair, |view| assert_eq!(<(K, u8)>::from_view(view), pair));

        let mut damaged = bytes.clone();
        damaged.push(0);
        for _ in 0..50 {
            if let Some(byte) = damaged.get_mut(dice.below(bytes.len().max(1) as u64) as usize) {
                *byte = dice.next() as u8;
            }
            let len = dice.below(damaged.len() as u64 + 1) as usize;
            black_box(K::try_with_key(&damaged[..len], |view| K::from_view(view)).is_ok());
        }
        for (other, other_bytes) in &seen {
            assert_eq!(*other == key, *other_bytes == bytes, "{context}");
            let hashes = (K::key_hash(other.view()), K::key_hash(key.view()));
            assert_eq!(*other == key, hashes.0 == hashes.1, "{context}");
        }
        seen.push((key, bytes));
    }
}

#[test]
fn keys_of_one_value() {
    check_key::<u8>();
    check_key::<i8>();
    check_key::<u16>();
    check_key::<i16>();
    check_key::<u32>();
    check_key::<i32>();
    check_key::<u64>();
    check_key::<i64>();
    check_key::<u128>();
    check_key::<i128>();
    check_key::<bool>();
    check_key::<char>();
    check_key::<()>();
    check_key::<Timestamp>();
    check_key::<Duration>();
    check_key::<String>();
}

#[test]
fn keys_of_several_values() {
    check_key::<(u64, String)>();
    check_key::<(String, (u8, i64), bool)>();
    check_key::<Option<u64>>();
    check_key::<Option<Option<String>>>();
    check_key::<Vec<u8>>();
    check_key::<Vec<String>>();
    check_key::<Box<[u16]>>();
    check_key::<[u8; 16]>();
    check_key::<[String; 2]>();
    check_key::<(u8, u16, u32, u64, i8, i16, i32, i64, bool, char, String, ())>();
    check_key::<Word>();
    check_key::<Seat>();
    check_key::<Event>();
}

#[test]
fn records_that_are_no_keys() {
    check::<f32>();
    check::<f64>();
    check::<Bid>();
    check::<Gaps>();
    check::<Deep>();
    check::<Vec<Option<Event>>>();
    check::<Vec<f64>>();
    check::<Vec<[u128; 2]>>();
    check::<Option<Box<[Option<f32>]>>>();
    check::<Either<String, Gaps>>();
    check::<Either<u8, Either<u64, Vec<String>>>>();
    check::<[Either<Word, ()>; 3]>();
}

/// A region that points to bytes before itself is refused, although they are in the buffer.
#[test]
fn a_region_cannot_point_outside_itself() {
    let mut frame = Frame([b'x'; FRAME_BYTES]);
    let mut scratch = Scratch::new();
    let mut writer = RecordWriter::new(&mut frame.0, 64, &mut scratch);
    let region = writer.write::<String>("a string out of line").expect("room");
    let offset_at = region.end as usize - 4;
    let offset = &mut frame.0[offset_at..offset_at + 4];
    let further = i32::from_le_bytes(offset.try_into().expect("four bytes")) - 4;
    offset.copy_from_slice(&further.to_le_bytes());
    let error = validate::<String>(&frame.0, region).expect_err("outside");
    assert!(
        error.to_string().starts_with("not a valid record: subtree pointer overran"),
        "{error}"
    );
}

/// Distinct inputs keep both halves of the hash spread: the upper half picks a key group, the lower
/// a place in a table.
#[test]
fn both_halves_of_a_hash_are_spread() {
    const BUCKETS: usize = 256;
    let check = |name: &str, hashes: &mut dyn Iterator<Item = u64>| {
        let mut counts = [[0_u32; BUCKETS]; 3];
        let mut total = 0;
        for hash in hashes {
            counts[0][hash as usize % BUCKETS] += 1;
            counts[1][(hash >> 32) as usize % BUCKETS] += 1;
            counts[2][(hash >> 56) as usize] += 1;
            total += 1;
        }
        let expected = f64::from(total) / BUCKETS as f64;
        for counts in counts {
            // Chi-squared with 255 degrees of freedom: above 400 once in 10^8.
            let chi: f64 =
                counts.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum();
            assert!(chi < 400.0, "{name}: {chi}");
        }
    };
    check("sequence", &mut (0..50_000).map(u64::key_hash));
    check("high bits", &mut (0..50_000).map(|n: u64| u64::key_hash(n << 44)));
    check("strings", &mut (0..50_000).map(|n| String::key_hash(&format!("user-{n}"))));
    check("long", &mut (0..50_000).map(|n| String::key_hash(&format!("{n}{}", "-".repeat(40)))));
    check(
        "pairs",
        &mut (0..50_000).map(|n: u64| <(u64, u32)>::key_hash((n / 250, n as u32 % 250))),
    );
}

/// Short strings, and strings of one letter, have no room for an accident.
#[test]
fn short_strings_do_not_collide() {
    let ones = (0..=255).map(|a| vec![a]);
    let twos = (0..=255).flat_map(|a| (0..=255).map(move |b| vec![a, b]));
    let runs = (b'a'..=b'z').flat_map(|a| (3..100).map(move |len| vec![a; len]));
    let mut hashes: Vec<u64> =
        ones.chain(twos).chain(runs).map(|bytes| <Vec<u8>>::key_hash((&bytes).into())).collect();
    let count = hashes.len();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), count);
}

/// Format version 1 of the key hash; checked against a second implementation when it was made. These numbers never change.
#[test]
fn key_hashes_are_pinned() {
    let event = Event::Named { id: 7, name: "ICE".to_owned() };
    let seat = Seat {
        train: Word("ICE 9".to_owned()),
        car: 3,
        number: 61,
        side: Some('w'),
        old: [1, 2, 3],
    };
    let text = "a text of more than thirty-two bytes";
    let pinned: &[(&str, u64, u64)] = &[
        ("nothing", KeyHasher::new().finish(), 0x7acd_bb98_b134_4213),
        ("()", <()>::key_hash(()), 0x7acd_bb98_b134_4213),
        ("u8", u8::key_hash(7), 0x4a9c_a92f_72b8_a158),
        ("u64, the same", u64::key_hash(7), 0x4a9c_a92f_72b8_a158),
        ("u64::MAX", u64::key_hash(u64::MAX), 0x83fe_6ce1_5502_092e),
        ("i8: the bits, zero-extended", i8::key_hash(-1), 0x922e_8dec_4893_5b5b),
        ("i64", i64::key_hash(-1), 0x83fe_6ce1_5502_092e),
        ("u128", u128::key_hash(1 << 64), 0xcc82_f165_b84c_e837),
        ("bool", bool::key_hash(true), 0x5a88_c3d6_2640_6762),
        ("char", char::key_hash('w'), 0xa3e1_f582_ff94_6f01),
        ("Timestamp", Timestamp::key_hash(Timestamp::from_millis(1_500)), 0x0f6e_e015_dbf4_d456),
        ("Duration", Duration::key_hash(Duration::new(1, 5)), 0x2f3d_5fe3_1c09_23f9),
        ("String, empty", String::key_hash(""), 0xf021_64e6_b720_e539),
        ("String, 1", String::key_hash(&text[..1]), 0x5b2a_4d0e_fc10_8172),
        ("String, 3", String::key_hash(&text[..3]), 0xd44b_4a59_3f5f_fa74),
        ("String, 4", String::key_hash(&text[..4]), 0xa196_9e88_2a32_377b),
        ("String, 7", String::key_hash(&text[..7]), 0xe946_546c_06d3_e19d),
        ("String, 8", String::key_hash(&text[..8]), 0x8fec_669d_dc5a_2665),
        ("String, 16", String::key_hash(&text[..16]), 0x0aca_7097_bc2e_0866),
        ("String, 17", String::key_hash(&text[..17]), 0x6f74_e0c7_2265_06de),
        ("String, 32", String::key_hash(&text[..32]), 0xccf5_c206_be9f_75fd),
        ("String, 33", String::key_hash(&text[..33]), 0x7759_e67e_7e26_6fcb),
        (
            "Vec<u8>: as a string's",
            <Vec<u8>>::key_hash((&text.as_bytes()[..17]).into()),
            0x6f74_e0c7_2265_06de,
        ),
        ("Vec<u16>", <Vec<u16>>::key_hash((&[1, 2][..]).into()), 0x48e3_f2b7_efff_0535),
        (
            "[u8; 3]: as a string's",
            <[u8; 3]>::key_hash((&text.as_bytes()[..3]).into()),
            0xd44b_4a59_3f5f_fa74,
        ),
        ("None", <Option<u8>>::key_hash(None), 0xe845_259b_f7e7_053b),
        ("Some", <Option<u8>>::key_hash(Some(7)), 0x8441_6557_3336_de95),
        ("tuple", <(u64, String)>::key_hash((7, "a")), 0x893a_3e72_b5fa_bdeb),
        ("struct", Seat::key_hash(seat.view()), 0xa586_4679_8981_f9d7),
        ("struct of one: as its field", Word::key_hash(WordView("a")), 0x5b2a_4d0e_fc10_8172),
        ("enum, unit", Event::key_hash(EventView::Opened), 0xe845_259b_f7e7_053b),
        ("enum, fields", Event::key_hash(event.view()), 0x4021_e08a_f46c_80af),
    ];
    for (name, hash, expected) in pinned {
        assert_eq!(hash, expected, "{name}: {hash:#018x}");
    }
}
