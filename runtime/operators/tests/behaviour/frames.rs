//! What goes into a head and comes out of its snapshot, as bytes: frames of records, and the parts of key groups.

use wiesel_core::{KeyGroupRange, Meta};
use wiesel_operators::{Head, Progress, Snapshot};
use wiesel_record::{Record, Scratch};
use wiesel_state::Scope;
use wiesel_wire::{Frame, FramePool, FrameShape, FrameWriter, LocalPool};

use crate::harness::MAX_PARALLELISM;

/// Makes frames of one type, with times and hashes.
pub struct Frames<T> {
    pool: LocalPool,
    scratch: Scratch,
    types: std::marker::PhantomData<fn(T)>,
}

impl<T: Record> Frames<T> {
    /// Eight frames at a time.
    pub fn new() -> Self {
        let pool = FramePool::new(8, 0).reserve(8).unwrap();
        Self { pool, scratch: Scratch::new(), types: std::marker::PhantomData }
    }

    /// A frame with these records.
    pub fn frame<'r>(&mut self, records: impl Iterator<Item = (&'r T, Meta)>) -> Frame {
        let shape = FrameShape::of::<T>(true, true);
        let mut writer = FrameWriter::open(self.pool.take().unwrap(), shape);
        for (record, meta) in records {
            writer.append::<T, _>(&record, meta, &mut self.scratch).unwrap();
        }
        writer.close()
    }

    /// Takes a frame back.
    pub fn give(&mut self, frame: Frame) {
        self.pool.give(frame);
    }
}

/// Adds what the walks of all tables, timers and lists give, flipped one after the other.
pub fn walk(head: &mut dyn Head, scope: Scope, snapshot: &mut Snapshot) {
    let mut buffer = Vec::new();
    head.tables(&mut |part| {
        part.table.flip(scope).unwrap();
        while part.table.is_walking() {
            // Two rows or so.
            part.table.walk_pieces(100, &mut buffer, &mut |piece| {
                if !piece.bytes.is_empty() {
                    let bytes = [part.header, piece.bytes].concat();
                    snapshot.put(part.name, Some(piece.group), bytes);
                }
            });
        }
    });
    head.lists(&mut |part| part.list.flip());
    walk_lists(head, snapshot);
}

/// Adds what the walks of all lists give, which were flipped.
pub fn walk_lists(head: &mut dyn Head, snapshot: &mut Snapshot) {
    let mut buffer = Vec::new();
    head.lists(&mut |part| {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        while part.list.is_walking() {
            // An element or two.
            let progress = part.list.walk(100, &mut buffer, &mut |piece| match piece.begins {
                true => parts.push(piece.bytes.to_vec()),
                false => parts.last_mut().unwrap().extend_from_slice(piece.bytes),
            });
            assert_eq!(progress.unwrap() == Progress::Stopped, part.list.is_walking());
        }
        let own = snapshot.of_operator_mut(part.position);
        parts.into_iter().for_each(|bytes| own.put(part.name, None, bytes));
    });
}

/// What each key group of each keyed part is made of. Rows of a group are in the order in which their table came to be, so
/// a restored one may have another.
pub fn keyed_bytes(snapshot: &Snapshot) -> Vec<(&str, u16, Vec<u8>)> {
    let mut parts = Vec::new();
    for name in snapshot.keyed_names() {
        for group in KeyGroupRange::all(MAX_PARALLELISM).iter() {
            let group = group.0;
            let only = KeyGroupRange { first: group, end: group + 1 };
            let mut bytes: Vec<u8> = snapshot.keyed(name, only).flatten().copied().collect();
            bytes.sort_unstable();
            parts.push((name, group, bytes));
        }
    }
    parts
}

/// The parts without key groups, of all operators.
pub fn lists_of(snapshot: &Snapshot) -> Vec<(usize, &str, &[u8])> {
    let mut lists = Vec::new();
    for (position, own) in snapshot.operators() {
        let parts = own.parts().filter(|(_, group, _)| group.is_none());
        lists.extend(parts.map(|(name, _, bytes)| (position, name, bytes)));
    }
    lists
}
