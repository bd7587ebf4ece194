//! Kernels of frames: records written, forwarded, read, looked at. An operation is one record.
//!
//! ```text
//!   write    records ──append──▶ one frame, emptied when it is full; the first full one is read back
//!   forward  frames ──region as it is──▶ the same
//!   read     frames ──view, hash──▶ sum
//!   view     frames ──three filters, a projection──▶ sum
//! ```

use std::{hint::black_box, marker::PhantomData, mem};

use wiesel_core::Meta;
use wiesel_record::{InFrame, Item, Record, Scratch, Viewed};
use wiesel_wire::{FRAME_BYTES, Frame, FramePool, FrameShape, FrameView, FrameWriter, LocalPool};

use crate::input::{Bid, BidView, RECORDS, bids, expected, mix, pairs, rounds, words};

/// Frames of an input: its records at 64 bytes each, which bids stay below since they are a quarter as many.
const FRAMES_MAX: usize = RECORDS * 64 / FRAME_BYTES;

/// Records with their hashes, as they come out of a `key_by`.
type Hashed<T> = Vec<(T, u64)>;

pub fn write_packed(n: u64) {
    write(&hashed(pairs()), n, value_of_pair);
}

pub fn write_text(n: u64) {
    write(&hashed(texts()), n, value_of_text);
}

pub fn write_bid(n: u64) {
    write(&hashed(bids()), n, value_of_bid);
}

pub fn read_packed(n: u64) {
    read(hashed(pairs()), n, value_of_pair);
}

pub fn read_text(n: u64) {
    read(hashed(texts()), n, value_of_text);
}

/// Bids from frame to frame: their regions are copied.
pub fn forward(n: u64) {
    let input = hashed(bids());
    let frames = frames(&input);
    let mut sink = Sink::new();
    each_record(&frames, n, |record: InFrame<'_, Bid>, hash| sink.append(&record, hash));
    sink.check(&input, n, value_of_bid);
}

/// The fused part of a chain over archived bids: what is not read costs nothing.
pub fn view(n: u64) {
    let input = hashed(bids());
    let frames = frames(&input);
    let mut sum = 0_u64;
    each_record(&frames, n, |record, _| {
        sum = sum.wrapping_add(black_box(filtered(&record)));
    });
    assert_eq!(sum, expected(input.iter().map(|(bid, _)| filtered(&bid)), n));
}

/// Generic over what travels, as a chain is.
#[inline(always)]
fn filtered<I: Item<Bid>>(item: &I) -> u64 {
    let is_dear = |bid: BidView<'_>| bid.price > 500;
    let is_wanted = |bid: BidView<'_>| !bid.auction.is_multiple_of(4);
    let is_known = |bid: BidView<'_>| bid.channel.len() > 9;
    if !is_dear(item.view()) || !is_wanted(item.view()) || !is_known(item.view()) {
        return 0;
    }
    let extra = Viewed::<String>(item.view().extra);
    Item::<String>::view(&extra).len() as u64 + 1
}

fn texts() -> Vec<String> {
    words(RECORDS, 4..=20)
}

fn hashed<T>(records: Vec<T>) -> Hashed<T> {
    (0..).map(mix).zip(records).map(|(hash, record)| (record, hash)).collect()
}

#[inline(always)]
fn value_of_pair((first, second): (u64, u64)) -> u64 {
    first ^ second
}

#[inline(always)]
fn value_of_text(text: &str) -> u64 {
    text.len() as u64 + u64::from(text.as_bytes()[0])
}

#[inline(always)]
fn value_of_bid(bid: BidView<'_>) -> u64 {
    bid.price ^ bid.at.rotate_left(20) ^ (bid.url.len() * bid.extra.len()) as u64
}

fn write<T: Record>(input: &Hashed<T>, n: u64, value: impl Fn(T::View<'_>) -> u64) {
    let mut sink = Sink::new();
    rounds(input, n, |(record, hash)| sink.append(&record, *hash));
    sink.check(input, n, value);
}

fn read<T: Record>(input: Hashed<T>, n: u64, value: impl Fn(T::View<'_>) -> u64 + Copy) {
    let frames = frames(&input);
    let mut sum = 0_u64;
    each_record(&frames, n, |record: InFrame<'_, T>, hash| {
        sum = sum.wrapping_add(black_box(value(record.get()) ^ hash));
    });
    let values = input.iter().map(|(record, hash)| value(record.view()) ^ hash);
    assert_eq!(sum, expected(values, n), "what was written is read");
}

/// Records into frames: one is filled again and again, the first is kept to be looked at.
struct Sink<T> {
    writer: FrameWriter,
    scratch: Scratch,
    frames: LocalPool,
    first: Option<Frame>,
    written: u64,
    records: PhantomData<fn(T)>,
}

impl<T: Record> Sink<T> {
    const SHAPE: FrameShape = FrameShape::of::<T>(false, true);

    fn new() -> Self {
        let mut frames = FramePool::new(2, 0).reserve(2).expect("all of the pool");
        let writer = FrameWriter::open(frames.take().expect("reserved"), Self::SHAPE);
        let scratch = Scratch::new();
        Self { writer, scratch, frames, first: None, written: 0, records: PhantomData }
    }

    #[inline(always)]
    fn append<I: Item<T>>(&mut self, item: &I, hash: u64) {
        let meta = Meta::NONE.with_hash(hash);
        while self.writer.append::<T, I>(item, meta, &mut self.scratch).is_err() {
            self.next_frame();
        }
    }

    #[cold]
    #[inline(never)]
    fn next_frame(&mut self) {
        let full = mem::replace(&mut self.writer, FrameWriter::without_frame(Self::SHAPE)).close();
        assert!(full.count() > 0, "an empty frame holds one record");
        self.written += u64::from(full.count());
        let next = match self.first {
            Some(_) => full,
            None => {
                self.first = Some(full);
                self.frames.take().expect("reserved")
            }
        };
        self.writer = FrameWriter::open(next, Self::SHAPE);
    }

    /// That all were written, and in the first frame what the input begins with.
    fn check(mut self, input: &Hashed<T>, n: u64, value: impl Fn(T::View<'_>) -> u64) {
        let last = self.writer.close();
        self.written += u64::from(last.count());
        assert_eq!(self.written, n);
        let first = self.first.take().unwrap_or(last);
        let mut seen = 0;
        for ((record, meta), (expected, hash)) in FrameView::<T>::new(&first).iter().zip(input) {
            let found = (value(record.get()), meta.hash);
            assert_eq!(found, (value(expected.view()), Some(*hash)), "record {seen}");
            seen += 1;
        }
        assert!(seen == first.count() as usize || seen == input.len());
    }
}

/// All of the input, once.
fn frames<T: Record>(input: &Hashed<T>) -> Vec<Frame> {
    let shape = FrameShape::of::<T>(false, true);
    let pool = FramePool::new(FRAMES_MAX, 0);
    let mut pool = pool.reserve(FRAMES_MAX).expect("all of the pool");
    let mut open = || FrameWriter::open(pool.take().expect("the input is small"), shape);
    let (mut writer, mut scratch, mut frames) = (open(), Scratch::new(), Vec::new());
    for (record, hash) in input {
        let meta = Meta::NONE.with_hash(*hash);
        while writer.append::<T, _>(&record, meta, &mut scratch).is_err() {
            frames.push(mem::replace(&mut writer, open()).close());
        }
    }
    frames.push(writer.close());
    frames
}

/// Calls `each` for `n` records and their hashes, as a head reads them; from the first frame again after the last.
#[inline(always)]
fn each_record<'f, T: Record>(
    frames: &'f [Frame],
    n: u64,
    mut each: impl FnMut(InFrame<'f, T>, u64),
) {
    let mut left = n as usize;
    for frame in frames.iter().cycle() {
        let view = FrameView::<T>::new(frame);
        let count = left.min(view.len());
        for at in 0..count {
            each(view.record(at), view.hash(at).unwrap_or(0));
        }
        left -= count;
        if left == 0 {
            break;
        }
    }
}
