//! Kernels of keyed state: hashing keys, finding and making rows. An operation is one key.
//!
//! ```text
//!   block of 32 hashes ─▶ spots ─ look up all ─▶ key by key:  prefetch for the next block ─ upsert ─ count += 1
//!                                                             as a keyed head does
//! ```

use std::hint::black_box;

use wiesel_core::KeyGroupRange;
use wiesel_record::Key;
use wiesel_state::{AHEAD_MAX, KeyLayout, RowLayout, RowMut, Spot, Spots, Table};

use crate::input::{RECORDS, mix, rounds, words};

/// Rows of the tables that are updated: a megabyte of them, as in the second level of a cache.
const ROWS: usize = 1 << 16;

/// Rows that a table grows to: from nothing, over small segments that double, to full ones that split.
const ROWS_GROWN: usize = 1 << 15;

const MAX_PARALLELISM: u32 = 128;

pub fn key_hash_word(n: u64) {
    let keys: Vec<u64> = (0..RECORDS as u64).map(mix).collect();
    let mut last = 0;
    rounds(&keys, n, |key| last = black_box(u64::key_hash(*key)));
    check_last_hash(n, last, |at| u64::key_hash(keys[at]));
}

pub fn key_hash_text(n: u64) {
    let keys = words(RECORDS, 4..=20);
    let mut last = 0;
    rounds(&keys, n, |key| last = black_box(String::key_hash(key)));
    check_last_hash(n, last, |at| String::key_hash(&keys[at]));
}

fn check_last_hash(n: u64, last: u64, hash: impl Fn(usize) -> u64) {
    if let Some(at) = n.checked_sub(1) {
        assert_eq!(last, hash(at as usize % RECORDS));
    }
    assert_ne!(hash(0), hash(1));
}

pub fn update(n: u64) {
    let keys = Keys::new(scattered(ROWS), |key| u64::key_hash(*key));
    let mut table = keys.table::<u64>(KeyLayout::Word { bytes: 8 }, Words);
    keys.count(&mut table, n, Words);
    keys.check(&table, n, |key| key.to_le_bytes());
}

pub fn update_text(n: u64) {
    let keys = Keys::new(words(ROWS, 4..=12), |key| String::key_hash(key));
    let mut table = keys.table::<String>(KeyLayout::Bytes, Texts);
    keys.count(&mut table, n, Texts);
    keys.check(&table, n, |key| key.clone().into_bytes());
}

/// Every [`ROWS_GROWN`] operations, a new table.
pub fn grow(n: u64) {
    let keys = Keys::new(scattered(ROWS_GROWN), |key| u64::key_hash(*key));
    let mut left = n;
    while left > 0 {
        let mut table = empty_table::<u64>(KeyLayout::Word { bytes: 8 });
        let count = left.min(ROWS_GROWN as u64);
        keys.count(&mut table, count, Words);
        assert_eq!(table.len() as u64, count);
        left -= count;
    }
}

/// Keys in the order in which they come, which is not that of their rows.
fn scattered(count: usize) -> Vec<u64> {
    (0..count as u64).map(mix).collect()
}

/// What a table hashes its keys with when it grows: the same as whoever looks one up.
fn hash_of_bytes<K: Key>(bytes: &[u8]) -> u64 {
    K::with_key(bytes, |key| K::key_hash(key))
}

fn empty_table<K: Key>(layout: KeyLayout) -> Table {
    let layout = RowLayout::of_value(layout, hash_of_bytes::<K>, 8).expect("a row of a number");
    Table::new(layout, KeyGroupRange::all(MAX_PARALLELISM), MAX_PARALLELISM)
}

/// Keys, and their hashes as frames bring them.
struct Keys<K> {
    keys: Vec<K>,
    hashes: Vec<u64>,
}

impl<K> Keys<K> {
    fn new(keys: Vec<K>, hash: impl Fn(&K) -> u64) -> Self {
        let hashes = keys.iter().map(hash).collect();
        Self { keys, hashes }
    }

    /// A table in which each key was counted once.
    fn table<T: Key>(&self, layout: KeyLayout, look_up: impl LookUp<K>) -> Table {
        let mut table = empty_table::<T>(layout);
        self.count(&mut table, self.keys.len() as u64, look_up);
        table
    }

    /// Counts `n` keys, a block of them at a time.
    #[inline(never)]
    fn count<L: LookUp<K>>(&self, table: &mut Table, n: u64, _: L) {
        let spots_of = Spots::new(KeyGroupRange::all(MAX_PARALLELISM), MAX_PARALLELISM);
        let (mut spots, mut spots_next) =
            ([Spot::default(); AHEAD_MAX], [Spot::default(); AHEAD_MAX]);
        let blocks = self.keys.chunks(AHEAD_MAX).zip(self.hashes.chunks(AHEAD_MAX));
        let mut blocks = blocks.cycle().peekable();
        if let Some((_, hashes)) = blocks.peek() {
            spots_of.of_all(hashes, &mut spots);
        }
        let mut left = n as usize;
        while left > 0
            && let Some((keys, hashes)) = blocks.next()
        {
            let count = left.min(keys.len());
            if let Some((_, hashes)) = blocks.peek() {
                spots_of.of_all(hashes, &mut spots_next);
            }
            if table.begin_ahead() {
                Self::find::<L>(table, &keys[..count], &spots, true);
            } else {
                Self::find::<L>(table, &keys[..count], &spots, false);
            }
            for (at, key) in keys[..count].iter().enumerate() {
                table.prefetch(spots_next[at]);
                add_one(L::upsert(table, at, spots[at], hashes[at], key));
            }
            left -= count;
            std::mem::swap(&mut spots, &mut spots_next);
        }
    }

    #[inline(always)]
    fn find<L: LookUp<K>>(table: &mut Table, keys: &[K], spots: &[Spot], marks: bool) {
        for (at, key) in keys.iter().enumerate() {
            L::find(table, at, spots[at], key, marks);
        }
    }

    /// That each key was counted as often as it came: once when the table was made, and in `n` operations.
    fn check<B: AsRef<[u8]>>(&self, table: &Table, n: u64, bytes: impl Fn(&K) -> B) {
        assert_eq!(table.len(), self.keys.len());
        let rounds = self.keys.len() as u64;
        for (at, (key, hash)) in (0..).zip(self.keys.iter().zip(&self.hashes)) {
            let row = table.find(*hash, bytes(key).as_ref()).expect("every key was counted");
            let count = 1 + n / rounds + u64::from(at < n % rounds);
            assert_eq!(row.value(), count.to_ne_bytes(), "key {at}");
        }
    }
}

/// How the row of a key of a block is found or made.
trait LookUp<K> {
    /// Looks it up ahead.
    fn find(table: &mut Table, at: usize, spot: Spot, key: &K, marks: bool);

    /// Makes it if it is not there.
    fn upsert<'t>(table: &'t mut Table, at: usize, spot: Spot, hash: u64, key: &K) -> RowMut<'t>;
}

/// Keys that are kept as words.
struct Words;

impl LookUp<u64> for Words {
    #[inline(always)]
    fn find(table: &mut Table, at: usize, spot: Spot, key: &u64, marks: bool) {
        table.find_word_ahead(at, spot, *key, marks);
    }

    #[inline(always)]
    fn upsert<'t>(table: &'t mut Table, at: usize, spot: Spot, _: u64, key: &u64) -> RowMut<'t> {
        table.upsert_word_ahead(at, spot, *key)
    }
}

/// Keys that are kept as bytes: they are looked up once.
struct Texts;

impl LookUp<String> for Texts {
    #[inline(always)]
    fn find(_: &mut Table, _: usize, _: Spot, _: &String, _: bool) {}

    #[inline(always)]
    fn upsert<'t>(
        table: &'t mut Table,
        _: usize,
        spot: Spot,
        hash: u64,
        key: &String,
    ) -> RowMut<'t> {
        table.upsert_bytes(spot, hash, key.as_bytes())
    }
}

#[inline(always)]
fn add_one(row: RowMut<'_>) {
    let value = row.into_value().first_chunk_mut::<8>().expect("a cell of eight bytes");
    *value = (u64::from_ne_bytes(*value) + 1).to_ne_bytes();
}
