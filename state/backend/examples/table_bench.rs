//! Nanoseconds per keyed update (2^20 keys, uniform, `count += 1`): a hash map and the table, in turns.
//!
//! `cargo run --release -p wiesel-state --example table_bench [-- ROUNDS [KEY_BITS]]`
//!
//! Each round runs every contender over the same keys; printed is the median over the rounds and its ratio to
//! the map's. All counts are compared at the end; the test suite runs it small.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    hint::black_box,
    time::Instant,
};

use wiesel_core::KeyGroupRange;
use wiesel_state::{AHEAD_MAX, KeyLayout, Progress, RowLayout, Scope, Spot, Table};

const FRAME_RECORDS: usize = 2_048; // 32 KiB of 16-byte records.
const MAX_PARALLELISM: u32 = 128;

/// What `rustc-hash` does with one `u64`.
#[derive(Default)]
struct Fx(u64);

impl Hasher for Fx {
    fn write(&mut self, _: &[u8]) {}
    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.wrapping_add(word)).wrapping_mul(0xf135_7aea_2e62_a9c5);
    }
    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}

type Map = HashMap<u64, u64, BuildHasherDefault<Fx>>;

/// The finaliser of splitmix64.
#[inline]
fn mix(key: u64) -> u64 {
    let mut z = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z ^ (z >> 31)
}

fn hash_of_bytes(key: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..key.len()].copy_from_slice(key);
    mix(u64::from_le_bytes(word))
}

#[inline]
fn add(table: &mut Table, spot: Spot, key: u64) -> u64 {
    let value = table.upsert_word(spot, key).into_value();
    let value = value.first_chunk_mut::<8>().expect("a cell of eight bytes");
    let count = u64::from_ne_bytes(*value) + 1;
    *value = count.to_ne_bytes();
    count
}

fn add_one(table: &mut Table, key: u64) -> u64 {
    add(table, table.spot(mix(key)), key)
}

#[derive(Default)]
struct Frame {
    hashes: Vec<u64>,
    spots: Vec<Spot>,
    counts: Vec<u64>,
}

impl Frame {
    /// Hashes first, as a frame's column brings them, then updates with the lines of the next ones on their
    /// way.
    fn add(&mut self, table: &mut Table, keys: &[u64]) {
        self.hashes.clear();
        self.hashes.extend(keys.iter().map(|key| mix(*key)));
        self.spots.clear();
        self.spots.extend(self.hashes.iter().map(|hash| table.spot(*hash)));
        self.spots.iter().take(AHEAD_MAX).for_each(|spot| table.prefetch(*spot));
        self.counts.clear();
        for (at, key) in keys.iter().enumerate() {
            if let Some(spot) = self.spots.get(at + AHEAD_MAX) {
                table.prefetch(*spot);
            }
            self.counts.push(add(table, self.spots[at], *key));
        }
        black_box(&self.counts);
    }
}

fn new_table() -> Table {
    let layout = RowLayout::of_value(KeyLayout::Word { bytes: 8 }, hash_of_bytes, 8)
        .expect("a row of eight bytes");
    Table::new(layout, KeyGroupRange::all(MAX_PARALLELISM), MAX_PARALLELISM)
}

fn main() {
    let argument = |at| std::env::args().nth(at).and_then(|word| word.parse().ok());
    run(argument(1).unwrap_or(7), argument(2).unwrap_or(20), 4_096);
}

#[test]
fn the_table_counts_like_the_map() {
    run(2, 12, 16);
}

fn run(rounds: u64, key_bits: u64, frames: usize) {
    let keys_count = 1_u64 << key_bits;
    let mut seed = 42_u64;
    let keys: Vec<u64> = (0..FRAME_RECORDS * frames)
        .map(|_| {
            seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
            mix(seed) % keys_count
        })
        .collect();
    let per_record = |started: Instant| started.elapsed().as_nanos() as f64 / keys.len() as f64;
    let mut frames_of = Frame::default();

    let mut map = Map::default();
    map.extend((0..keys_count).map(|key| (key, 0)));
    let (mut table, mut tracked) = (new_table(), new_table());
    for key in 0..keys_count {
        add_one(&mut table, key);
        add_one(&mut tracked, key);
    }
    tracked.flip(Scope::Base).expect("no walk runs");
    while tracked.walk(usize::MAX, &mut |_, _| {}) == Progress::More {}

    let mut results: Vec<[f64; 6]> = Vec::new();
    let (mut flip_us, mut small_us, mut walks) = (0.0_f64, f64::MAX, vec![0.0]);
    for _ in 0..rounds {
        let started = Instant::now();
        for key in &keys {
            let count = map.entry(*key).or_insert(0);
            *count += 1;
            black_box(*count);
        }
        let by_map = per_record(started);

        let started = Instant::now();
        for key in &keys {
            black_box(add_one(&mut table, *key));
        }
        let by_record = per_record(started);

        let started = Instant::now();
        for frame in keys.chunks(FRAME_RECORDS) {
            frames_of.add(&mut table, frame);
        }
        let by_frame = per_record(started);

        let started = Instant::now();
        for frame in keys.chunks(FRAME_RECORDS) {
            frames_of.add(&mut tracked, frame);
        }
        let by_tracked = per_record(started);

        // A snapshot while it runs: flip, then 64 KiB of the walk after each frame, copied somewhere.
        let mut out: Vec<u8> = Vec::with_capacity(32 << 20);
        let started = Instant::now();
        let flipped = Instant::now();
        tracked.flip(Scope::Increment).expect("no walk runs");
        flip_us = flip_us.max(flipped.elapsed().as_secs_f64() * 1e6);
        for frame in keys.chunks(FRAME_RECORDS) {
            frames_of.add(&mut tracked, frame);
            let walked = Instant::now();
            let progress = tracked.walk(32 << 10, &mut |_, event| {
                if let wiesel_state::RowEvent::Row(row) = event {
                    out.extend_from_slice(row.key());
                    out.extend_from_slice(row.value());
                }
            });
            if progress == Progress::More {
                walks.push(walked.elapsed().as_secs_f64() * 1e6);
            }
        }
        let by_snapshot = per_record(started);
        while tracked.walk(usize::MAX, &mut |_, _| {}) == Progress::More {}

        let started = Instant::now();
        let mut fresh = new_table();
        for key in &keys {
            black_box(add_one(&mut fresh, *key));
        }
        let by_fresh = per_record(started);

        let started = Instant::now();
        for slice in 0..100 {
            let mut small = new_table();
            for key in slice..slice + 10 {
                black_box(add_one(&mut small, key));
            }
        }
        small_us = small_us.min(started.elapsed().as_secs_f64() * 1e6 / 100.0);
        results.push([by_map, by_record, by_frame, by_tracked, by_snapshot, by_fresh]);
    }

    for (key, count) in &map {
        let row = table.find_word(table.spot(mix(*key)), *key).expect("every key was added");
        assert_eq!(row.value(), (2 * count + 1).to_ne_bytes(), "the table counts like the map");
        let row = tracked.find_word(tracked.spot(mix(*key)), *key).expect("every key was added");
        assert_eq!(row.value(), (2 * count + 1).to_ne_bytes(), "with snapshots, too");
    }
    let names = [
        "hash map, a record at a time",
        "table, a record at a time",
        "table, a frame at a time",
        "  and dirty rows are marked",
        "  and a snapshot runs",
        "table, growing from empty",
    ];
    let median = |column: usize| {
        let mut column: Vec<f64> = results.iter().map(|row| row[column]).collect();
        column.sort_by(f64::total_cmp);
        column[column.len() / 2]
    };
    for (column, name) in names.iter().enumerate() {
        println!("{name:32} {:6.2} ns  {:5.2}x", median(column), median(column) / median(0));
    }
    walks.sort_by(f64::total_cmp);
    let (middle, last) = (walks[walks.len() / 2], walks[walks.len() - 1]);
    println!(
        "flip at most {flip_us:.1} us; a slice of the walk {middle:.0} us, at most {last:.0} us"
    );
    println!(
        "a table of ten rows, made and dropped: {small_us:.1} us; bytes of {}: {}",
        table.len(),
        table.bytes_used()
    );
}
