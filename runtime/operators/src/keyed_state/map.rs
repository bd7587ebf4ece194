//! Maps per key: an entry is a row, found by key and map key; beside it, which map keys there are, by number.
//!
//! ```text
//!   key's row:  length 3
//!   entries     (key, "a") ─▶ value, 0      (key, "c") ─▶ value, 1      (key, "b") ─▶ value, 2
//!   map keys    (key, 0) ─▶ "a"             (key, 1) ─▶ "c"             (key, 2) ─▶ "b"
//!   remove "a": the last one takes its number: (key, 0) ─▶ "b", and "b" ─▶ value, 0
//! ```
//!
//! # What is always true
//!
//! 1. Entries and map keys are one to one, and have the numbers below `length`. An empty map has no cell.
//! 2. Snapshots hold the entries; the map keys follow from them.

use std::{cell::RefCell, sync::Arc};

use wiesel_core::{Blame, TaskFailure, Timestamp};
use wiesel_record::{Key, Record};
use wiesel_state::{
    BlockCell, Cell, KeyHash, KeyLayout, Row, RowLayout, RowMut, Table,
    namespaced::{compose, hash_with, split},
};

use super::{
    At, Elements, OpenState, Reading, Store, TimedCell,
    list::damaged,
    older::Older,
    ttl::{AfterRead, now_of},
};
use crate::{
    Restoring,
    keyed_table::{drop_rows, each_row, pause_behind, table_failure, table_of},
};

mod of_key;

pub(crate) use of_key::map_schema;
pub use of_key::{KeyMap, MapState};

const NUMBER_BYTES: usize = 8;
const VALUE: &str = "value";

/// The entries of the maps of one name.
pub(crate) struct MapStore<M, V> {
    name: &'static str,
    /// In the key's row: how many entries.
    len: Cell,
    entries: Table,
    value: TimedCell<V>,
    /// In an entry: its number.
    number: Cell,
    keys: Table,
    /// By number: the map key.
    map_key: BlockCell,
    element_hash: KeyHash,
    is_key: fn(&[u8]) -> bool,
    /// Map key and composed key, for look-ups.
    scratch: RefCell<(Vec<u8>, Vec<u8>)>,
    types: std::marker::PhantomData<fn() -> M>,
}

impl<M: Key, V: Record> MapStore<M, V> {
    fn open(open: &OpenState<'_>) -> Result<Self, TaskFailure> {
        let layout = Self::entry_layout(open.element_hash, open.ttl.is_some(), None)?;
        let keys = RowLayout::build(KeyLayout::Bytes, open.element_hash).block("map key");
        let keys = keys.finish().map_err(table_failure)?;
        let cells = (open.layout.cell(open.name), layout.cell("number"), keys.block("map key"));
        let (Some(len), Some(number), Some(map_key)) = cells else {
            let cause = format!("the row `{}` has no map `{}`", open.layout, open.name);
            return Err(TaskFailure::new(Blame::Runtime, "open state", cause));
        };
        Ok(Self {
            name: open.name,
            len,
            value: TimedCell::of(&layout, VALUE, open.ttl)?,
            entries: table_of(&layout, open.task),
            number,
            keys: table_of(&keys, open.task),
            map_key,
            element_hash: open.element_hash,
            is_key: open.is_key,
            scratch: RefCell::default(),
            types: std::marker::PhantomData,
        })
    }

    fn entry_layout(
        hash: KeyHash,
        expires: bool,
        older: Option<&Older>,
    ) -> Result<Arc<RowLayout>, TaskFailure> {
        let layout = RowLayout::build(KeyLayout::Bytes, hash).cell("number", NUMBER_BYTES);
        let layout = match older {
            None => TimedCell::<V>::declare(layout, VALUE, expires),
            Some(older) => older.declare(layout, VALUE, expires),
        };
        layout.finish().map_err(table_failure)
    }

    fn len_in(&self, row: &Row<'_>) -> u64 {
        row.get_sized(&self.len, NUMBER_BYTES).map_or(0, number_of)
    }

    fn len(&self, rows: &Table, at: At<'_>) -> u64 {
        rows.find(at.hash, at.key).map_or(0, |row| self.len_in(&row))
    }

    /// Calls `read` with an entry, if there is one; seen or not.
    fn with_entry<R>(
        &self,
        at: At<'_>,
        map_key: &[u8],
        composed: &mut Vec<u8>,
        read: impl FnOnce(&Row<'_>) -> R,
    ) -> Option<R> {
        compose(at.key, map_key, composed);
        self.entries.find(hash_with(at.hash, map_key), composed).map(|row| read(&row))
    }

    /// As `with_entry`, for a map key as a view.
    fn with_entry_of<R>(
        &self,
        at: At<'_>,
        map_key: M::View<'_>,
        read: impl FnOnce(&Row<'_>, &[u8]) -> R,
    ) -> Option<R> {
        // Taken, not borrowed: `read` may look at the same state.
        let (mut bytes, mut composed) = self.scratch.take();
        let found = M::with_key_bytes(map_key, &mut bytes, |map_key| {
            self.with_entry(at, map_key, &mut composed, |row| read(row, map_key))
        });
        self.scratch.replace((bytes, composed));
        found
    }

    /// Calls `each` with the entries, by number, until it says no.
    fn visit(&self, at: At<'_>, len: u64, mut each: impl FnMut(&[u8], &Row<'_>) -> bool) {
        let (bytes, mut composed) = self.scratch.take();
        for number in 0..len {
            let number = number.to_le_bytes();
            compose(at.key, &number, &mut composed);
            let row = self.keys.find(hash_with(at.hash, &number), &composed);
            let Some(map_key) = row.and_then(|row| row.block(self.map_key)) else { continue };
            let goes_on = self.with_entry(at, map_key, &mut composed, |row| each(map_key, row));
            if goes_on == Some(false) {
                break;
            }
        }
        self.scratch.replace((bytes, composed));
    }

    fn put(
        &mut self,
        rows: &mut Table,
        at: At<'_>,
        map_key: M::View<'_>,
        value: V::View<'_>,
    ) -> Result<(), TaskFailure> {
        let Self { len, entries, value: cell, number, keys, map_key: block, scratch, .. } = self;
        let (bytes, composed) = scratch.get_mut();
        M::with_key_bytes(map_key, bytes, |map_key| {
            compose(at.key, map_key, composed);
            let mut entry = entries.upsert(hash_with(at.hash, map_key), composed);
            let is_new = entry.inserted();
            cell.store(&mut entry, at.task, value)?;
            if is_new {
                let mut row = rows.upsert(at.hash, at.key);
                let (bytes, was_there) = row.entry_sized(len, NUMBER_BYTES);
                let last = if was_there { number_of(bytes) } else { 0 };
                bytes.copy_from_slice(&(last + 1).to_le_bytes());
                let last = last.to_le_bytes();
                entry.cell_mut(*number).copy_from_slice(&last);
                compose(at.key, &last, composed);
                let mut row = keys.upsert(hash_with(at.hash, &last), composed);
                row.set_block(*block, map_key).map_err(table_failure)?;
            }
            Ok(())
        })
    }

    /// Removes an entry, and says whether none is left.
    fn remove(&mut self, rows: &mut Table, at: At<'_>, map_key: &[u8]) -> bool {
        let (mut last_key, mut composed) = self.scratch.take();
        let gap =
            self.with_entry(at, map_key, &mut composed, |row| row.get(self.number).map(number_of));
        let len = self.len(rows, at);
        let (Some(Some(gap)), Some(last)) = (gap, len.checked_sub(1)) else {
            self.scratch.replace((last_key, composed));
            return false;
        };
        self.entries.remove(hash_with(at.hash, map_key), &composed);
        let number = last.to_le_bytes();
        compose(at.key, &number, &mut composed);
        let hash = hash_with(at.hash, &number);
        if gap != last {
            last_key.clear();
            let row = self.keys.find(hash, &composed);
            last_key.extend_from_slice(row.and_then(|row| row.block(self.map_key)).unwrap_or(&[]));
        }
        self.keys.remove(hash, &composed);
        if gap != last {
            self.renumber(at, &last_key, gap, &mut composed);
        }
        if let Some(mut row) = rows.find_mut(at.hash, at.key) {
            match last {
                0 => row.clear(self.len),
                _ => row.cell_mut(self.len).copy_from_slice(&number),
            }
        }
        self.scratch.replace((last_key, composed));
        last == 0
    }

    /// Gives an entry another number, whose own entry is gone.
    fn renumber(&mut self, at: At<'_>, map_key: &[u8], number: u64, composed: &mut Vec<u8>) {
        let number = number.to_le_bytes();
        compose(at.key, map_key, composed);
        if let Some(mut entry) = self.entries.find_mut(hash_with(at.hash, map_key), composed) {
            entry.cell_mut(self.number).copy_from_slice(&number);
        }
        compose(at.key, &number, composed);
        if let Some(mut row) = self.keys.find_mut(hash_with(at.hash, &number), composed) {
            // No longer than it was in its old place, so it fits.
            let moved = row.set_block(self.map_key, map_key);
            debug_assert!(moved.is_ok());
        }
    }

    /// The map key of a number.
    fn copy_map_key(&self, at: At<'_>, number: u64, out: &mut Vec<u8>) -> bool {
        let (bytes, mut composed) = self.scratch.take();
        let number = number.to_le_bytes();
        compose(at.key, &number, &mut composed);
        let row = self.keys.find(hash_with(at.hash, &number), &composed);
        let map_key = row.and_then(|row| row.block(self.map_key));
        out.clear();
        out.extend_from_slice(map_key.unwrap_or(&[]));
        self.scratch.replace((bytes, composed));
        map_key.is_some()
    }

    /// Keeps the entries for which `keeps` is true, and says whether none is left. Those that are not seen stay.
    fn retain(
        &mut self,
        rows: &mut Table,
        at: At<'_>,
        mut keeps: impl FnMut(M::View<'_>, V::View<'_>) -> bool,
    ) -> bool {
        let (mut number, mut map_key) = (0, Vec::new());
        while number < self.len(rows, at) && self.copy_map_key(at, number, &mut map_key) {
            let mut composed = Vec::new();
            let now = || now_of(at.task);
            let stays = self.with_entry(at, &map_key, &mut composed, |row| {
                let keeps = |value: V::View<'_>| M::with_key(&map_key, |key| keeps(key, value));
                self.value.with(row, now, keeps).unwrap_or(true)
            });
            // Whoever is last takes the number of one that goes.
            if stays == Some(false) {
                if self.remove(rows, at, &map_key) {
                    return true;
                }
            } else {
                number += 1;
            }
        }
        false
    }

    /// What a read at `now` leaves to be done for one entry; says whether none is left.
    fn settle_one(&mut self, rows: &mut Table, at: At<'_>, map_key: &[u8], now: Timestamp) -> bool {
        let (bytes, mut composed) = self.scratch.take();
        let todo =
            self.with_entry(at, map_key, &mut composed, |row| self.value.after_read(row, now));
        if todo == Some(AfterRead::Stamp)
            && let Some(mut row) = self.entries.find_mut(hash_with(at.hash, map_key), &composed)
        {
            self.value.stamp(&mut row, now);
        }
        self.scratch.replace((bytes, composed));
        todo == Some(AfterRead::Remove) && self.remove(rows, at, map_key)
    }
}

fn number_of(bytes: &[u8]) -> u64 {
    let mut number = [0; NUMBER_BYTES];
    number.copy_from_slice(bytes);
    u64::from_le_bytes(number)
}

impl<M: Key, V: Record> Store for MapStore<M, V> {
    fn expires(&self) -> bool {
        self.value.expires()
    }

    fn is_in(&self, row: &Row<'_>) -> bool {
        row.get(self.len).is_some()
    }

    fn clear(&mut self, rows: &mut Table, at: At<'_>) {
        let mut map_key = Vec::new();
        for number in (0..self.len(rows, at)).rev() {
            if self.copy_map_key(at, number, &mut map_key) {
                self.remove(rows, at, &map_key);
            }
        }
    }

    fn settle(&mut self, rows: &mut Table, at: At<'_>, what: Reading<'_>, now: Timestamp) -> bool {
        if let Reading::Entry(map_key) = what {
            return self.settle_one(rows, at, map_key, now);
        }
        let mut map_key = Vec::new();
        let mut is_empty = false;
        // From the last one on: what takes the number of one that goes has been looked at.
        for number in (0..self.len(rows, at)).rev() {
            if self.copy_map_key(at, number, &mut map_key) {
                is_empty = self.settle_one(rows, at, &map_key, now);
            }
        }
        is_empty
    }

    fn expiry(&self, _row: &Row<'_>) -> Option<Timestamp> {
        None
    }

    fn check(&self, row: &Row<'_>) -> Result<(), TaskFailure> {
        match row.get(self.len).map(number_of) {
            Some(0) => Err(damaged(self.name, "a map of no entries")),
            _ => Ok(()),
        }
    }

    fn stamp_missing(&self, _row: &mut RowMut<'_>, _now: Timestamp) {}

    fn elements(&mut self) -> Option<&mut dyn Elements> {
        Some(self)
    }
}

impl<M: Key, V: Record> Elements for MapStore<M, V> {
    fn table(&self) -> &Table {
        &self.entries
    }

    fn table_mut(&mut self) -> &mut Table {
        &mut self.entries
    }

    fn drop_rows(&mut self) {
        drop_rows(&mut self.entries);
        drop_rows(&mut self.keys);
    }

    fn value_name(&self) -> &'static str {
        VALUE
    }

    fn layout(&self, expires: bool, older: Option<&Older>) -> Result<Arc<RowLayout>, TaskFailure> {
        Self::entry_layout(self.element_hash, expires, older)
    }

    fn stamp_missing(&mut self, hash: u64, composed: &[u8], now: Timestamp) {
        if let Some(mut row) = self.entries.find_mut(hash, composed) {
            self.value.stamp_missing(&mut row, now);
        }
    }

    /// Each entry has a number of its own below the length of its map, and the maps are together as long as there are
    /// entries: so none is missing. Makes the map keys.
    fn check<'r>(&'r mut self, rows: &'r Table) -> Restoring<'r> {
        Box::pin(async move {
            let mut composed = Vec::new();
            for (index, (_, entry)) in self.entries.iter().enumerate() {
                self.value.check(&entry)?;
                let is_whole = self.value.is_in(&entry);
                let parts = split(entry.key()).filter(|(key, map_key)| {
                    is_whole && (self.is_key)(key) && M::try_with_key(map_key, |_| ()).is_ok()
                });
                let row = parts.and_then(|(key, _)| rows.find(rows.layout().hash(key), key));
                let number = entry.get(self.number).map(number_of);
                let (Some(row), Some((key, map_key)), Some(number)) = (row, parts, number) else {
                    return Err(damaged(self.name, "an entry of no map"));
                };
                if number >= self.len_in(&row) {
                    return Err(damaged(self.name, "an entry outside of its map"));
                }
                let number = number.to_le_bytes();
                compose(key, &number, &mut composed);
                let hash = hash_with(rows.layout().hash(key), &number);
                let mut row = self.keys.upsert(hash, &composed);
                if !row.inserted() {
                    return Err(damaged(self.name, "two entries of one number"));
                }
                row.set_block(self.map_key, map_key).map_err(table_failure)?;
                pause_behind(index).await;
            }
            let mut length = 0;
            let lengths = each_row(rows, |row| {
                length += u128::from(self.len_in(row));
                Ok(())
            });
            lengths.await?;
            match length == self.entries.len() as u128 {
                true => Ok(()),
                false => Err(damaged(self.name, "a map without its entries")),
            }
        })
    }

    fn expiry(&self, row: &Row<'_>) -> Option<Timestamp> {
        self.value.expiry(row)
    }

    fn expire(&mut self, rows: &mut Table, at: At<'_>, map_key: &[u8], now: Timestamp) -> bool {
        let mut composed = Vec::new();
        let expiry = self.with_entry(at, map_key, &mut composed, |row| self.value.expiry(row));
        let is_expired = expiry.flatten().is_some_and(|expiry| expiry <= now);
        is_expired && self.remove(rows, at, map_key)
    }
}
