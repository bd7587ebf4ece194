//! Lists per key: where a list begins and ends is in the key's row, each element is a row of its own.
//!
//! ```text
//!   key's row:  first 3, end 6        elements:  (key, 3) (key, 4) (key, 5)
//!                     └ moves on as elements expire    └ the next one is (key, 6)
//! ```
//!
//! # What is always true
//!
//! 1. There is an element for each index from `first` to `end`, and no other. An empty list has no cell.
//! 2. Expired elements go from the front. Where the clock went back, one may wait for those before it, unseen.

use std::{
    cell::RefCell,
    ops::{ControlFlow, Range},
    sync::Arc,
};

use wiesel_core::{Blame, TaskFailure, Timestamp};
use wiesel_record::Record;
use wiesel_state::{
    Cell, KeyHash, KeyLayout, Row, RowLayout, RowMut, StateKind, Table,
    namespaced::{compose, hash_with, split},
};

use super::{
    Addable, AppendingState, At, Declared, Elements, KeyedState, OpenState, Reading, Registered,
    StateId, StateTtl, Store, TimedCell,
    older::{Older, Olders, by_way_of},
    older_values, schema_of, store_mut,
    ttl::{AfterRead, now_of},
};
use crate::{
    Restoring,
    keyed_table::{each_row, table_failure},
};

const BOUNDS_BYTES: usize = 16;
const INDEX_BYTES: usize = 8;
const ELEMENT: &str = "element";
/// Elements of one list that a step of a pass takes away: about as many as a segment of a table has.
const EXPIRED_MAX: usize = 1_024;

/// A list per key, by name.
///
/// ```
/// use wiesel_operators::{FunctionError, KeyedContext, KeyedProcessFunction, ListState, StateRegistry};
/// use wiesel_record::Out;
///
/// /// Holds three words of a key back, and emits them together.
/// #[derive(Clone)]
/// struct Triples {
///     words: ListState<String>,
/// }
///
/// impl KeyedProcessFunction<u64, (u64, String)> for Triples {
///     type Out = String;
///     type Side = ();
///
///     fn open(&mut self, states: &mut StateRegistry) {
///         states.register(&mut self.words);
///     }
///
///     fn process(
///         &mut self,
///         (_, word): (u64, &str),
///         context: &mut KeyedContext<'_, u64, ()>,
///         out: &mut dyn Out<String>,
///     ) -> Result<(), FunctionError> {
///         context.add(&self.words, word);
///         if context.list(&self.words).len() == 3 {
///             context.list(&self.words).for_each(|word| out.emit(word));
///             context.clear(&self.words);
///         }
///         Ok(())
///     }
/// }
/// # let _ = Triples { words: ListState::new("words") };
/// ```
#[derive(Debug)]
pub struct ListState<T> {
    id: StateId,
    older: Olders<T>,
}

impl<T: Record> ListState<T> {
    /// A list called `name`; each state of a function has its own name.
    pub const fn new(name: &'static str) -> Self {
        Self { id: StateId::new(name), older: T::migrations }
    }

    /// The same, which is made of an older list when a checkpoint has that: its elements were `O`. A type that says so itself,
    /// with `#[record(version = 2, from = Old)]`, needs no word here.
    #[must_use]
    pub fn migrates_from<O: Record>(self) -> Self
    where
        T: From<O>,
    {
        Self { older: by_way_of::<T, O>, ..self }
    }

    /// The same, whose elements expire, each for itself.
    #[must_use]
    pub fn with_ttl(mut self, ttl: StateTtl) -> Self {
        self.id.ttl = Some(ttl);
        self
    }
}

impl<T> Clone for ListState<T> {
    fn clone(&self) -> Self {
        Self { id: self.id, older: self.older }
    }
}

impl<T: Record> Registered for ListState<T> {
    fn id(&self) -> &StateId {
        &self.id
    }
    fn id_mut(&mut self) -> &mut StateId {
        &mut self.id
    }
    fn declared(&self) -> Declared {
        Declared {
            name: self.id.name,
            kind: StateKind::List,
            schema: schema_of(&T::SCHEMA),
            ttl: self.id.ttl,
            older: older_values((self.older)()),
            declare: |layout, name, _| layout.cell(name, BOUNDS_BYTES),
            open: |open| Ok(Box::new(ListStore::<T>::open(open)?)),
        }
    }
}

impl<T: Record> KeyedState for ListState<T> {}
impl<T: Record> AppendingState for ListState<T> {}

impl<T: Record> Addable for ListState<T> {
    type In = T;

    fn add(
        &self,
        store: &mut dyn Store,
        rows: &mut Table,
        at: At<'_>,
        value: T::View<'_>,
    ) -> Result<(), TaskFailure> {
        store_mut::<ListStore<T>>(store, &self.id).add(rows, at, value)
    }
}

/// The elements of the lists of one name.
pub(crate) struct ListStore<T> {
    name: &'static str,
    bounds: Cell,
    element: TimedCell<T>,
    elements: Table,
    element_hash: KeyHash,
    is_key: fn(&[u8]) -> bool,
    composed: RefCell<Vec<u8>>,
}

impl<T: Record> ListStore<T> {
    fn open(open: &OpenState<'_>) -> Result<Self, TaskFailure> {
        let Some(bounds) = open.layout.cell(open.name) else {
            let cause = format!("the row `{}` has no list `{}`", open.layout, open.name);
            return Err(TaskFailure::new(Blame::Runtime, "open state", cause));
        };
        let layout = Self::element_layout(open.element_hash, open.ttl.is_some(), None)?;
        Ok(Self {
            name: open.name,
            bounds,
            element: TimedCell::of(&layout, ELEMENT, open.ttl)?,
            elements: crate::keyed_table::table_of(&layout, open.task),
            element_hash: open.element_hash,
            is_key: open.is_key,
            composed: RefCell::default(),
        })
    }

    fn element_layout(
        hash: KeyHash,
        expires: bool,
        older: Option<&Older>,
    ) -> Result<Arc<RowLayout>, TaskFailure> {
        let layout = RowLayout::build(KeyLayout::Bytes, hash);
        let layout = match older {
            None => TimedCell::<T>::declare(layout, ELEMENT, expires),
            Some(older) => older.declare(layout, ELEMENT, expires),
        };
        layout.finish().map_err(table_failure)
    }

    fn bounds_in(&self, row: &Row<'_>) -> Range<u64> {
        let Some(bytes) = row.get_sized(&self.bounds, BOUNDS_BYTES) else { return 0..0 };
        bounds_of(bytes)
    }

    fn bounds(&self, rows: &Table, at: At<'_>) -> Range<u64> {
        rows.find(at.hash, at.key).map_or(0..0, |row| self.bounds_in(&row))
    }

    fn set_bounds(&self, rows: &mut Table, at: At<'_>, bounds: &Range<u64>) {
        let Some(mut row) = rows.find_mut(at.hash, at.key) else { return };
        if bounds.is_empty() {
            row.clear(self.bounds);
        } else {
            write_bounds(row.cell_mut(self.bounds), bounds);
        }
    }

    pub(super) fn add(
        &mut self,
        rows: &mut Table,
        at: At<'_>,
        value: T::View<'_>,
    ) -> Result<(), TaskFailure> {
        let mut row = rows.upsert(at.hash, at.key);
        let (bytes, was_there) = row.entry_sized(&self.bounds, BOUNDS_BYTES);
        let bounds = if was_there { bounds_of(bytes) } else { 0..0 };
        write_bounds(bytes, &(bounds.start..bounds.end + 1));
        let index = bounds.end.to_le_bytes();
        let composed = self.composed.get_mut();
        compose(at.key, &index, composed);
        let mut element = self.elements.upsert(hash_with(at.hash, &index), composed);
        self.element.store(&mut element, at.task, value)
    }

    /// Calls `each` with the elements that are there, in order, until it breaks.
    fn visit(
        &self,
        at: At<'_>,
        bounds: Range<u64>,
        mut each: impl FnMut(u64, &Row<'_>) -> ControlFlow<()>,
    ) {
        // Taken, not borrowed: `each` may look at the same state.
        let mut composed = self.composed.take();
        compose(at.key, &[0; INDEX_BYTES], &mut composed);
        for index in bounds {
            let bytes = index.to_le_bytes();
            composed[at.key.len()..at.key.len() + INDEX_BYTES].copy_from_slice(&bytes);
            let row = self.elements.find(hash_with(at.hash, &bytes), &composed);
            if row.is_some_and(|row| each(index, &row).is_break()) {
                break;
            }
        }
        self.composed.replace(composed);
    }

    /// Removes the elements of `bounds`.
    fn remove(&mut self, at: At<'_>, bounds: Range<u64>) {
        let composed = self.composed.get_mut();
        for index in bounds {
            let index = index.to_le_bytes();
            compose(at.key, &index, composed);
            self.elements.remove(hash_with(at.hash, &index), composed);
        }
    }

    /// Removes what has expired from the front, at most so many; says whether nothing is left.
    fn trim(&mut self, rows: &mut Table, at: At<'_>, now: Timestamp, at_most: usize) -> bool {
        let bounds = self.bounds(rows, at);
        if bounds.is_empty() {
            return false;
        }
        let (mut first, mut left) = (bounds.start, at_most);
        self.visit(at, bounds.clone(), |index, row| {
            let is_expired = self.element.expiry(row).is_some_and(|expiry| expiry <= now);
            if !is_expired || left == 0 {
                return ControlFlow::Break(());
            }
            (first, left) = (index + 1, left - 1);
            ControlFlow::Continue(())
        });
        if first > bounds.start {
            self.remove(at, bounds.start..first);
            self.set_bounds(rows, at, &(first..bounds.end));
        }
        first == bounds.end
    }

    pub(super) fn read<'c>(&'c self, rows: &Table, at: At<'c>) -> KeyList<'c, T> {
        let now = if self.element.expires() { now_of(at.task) } else { Timestamp::MIN };
        KeyList { store: self, at, bounds: self.bounds(rows, at), now }
    }
}

fn bounds_of(bytes: &[u8]) -> Range<u64> {
    let number = |at: usize| {
        let mut number = [0; INDEX_BYTES];
        number.copy_from_slice(&bytes[at..at + INDEX_BYTES]);
        u64::from_le_bytes(number)
    };
    number(0)..number(INDEX_BYTES)
}

fn write_bounds(bytes: &mut [u8], bounds: &Range<u64>) {
    bytes[..INDEX_BYTES].copy_from_slice(&bounds.start.to_le_bytes());
    bytes[INDEX_BYTES..].copy_from_slice(&bounds.end.to_le_bytes());
}

impl<T: Record> Store for ListStore<T> {
    fn expires(&self) -> bool {
        self.element.expires()
    }

    fn is_in(&self, row: &Row<'_>) -> bool {
        row.get(self.bounds).is_some()
    }

    fn clear(&mut self, rows: &mut Table, at: At<'_>) {
        let bounds = self.bounds(rows, at);
        self.remove(at, bounds);
        self.set_bounds(rows, at, &(0..0));
    }

    fn settle(&mut self, rows: &mut Table, at: At<'_>, _: Reading<'_>, now: Timestamp) -> bool {
        if self.trim(rows, at, now, usize::MAX) {
            return true;
        }
        let bounds = self.bounds(rows, at);
        for index in bounds {
            let index = index.to_le_bytes();
            let composed = self.composed.get_mut();
            compose(at.key, &index, composed);
            let Some(row) = self.elements.find(hash_with(at.hash, &index), composed) else {
                continue;
            };
            match self.element.after_read(&row, now) {
                AfterRead::Nothing => return false, // None is stamped: reading does not keep alive.
                AfterRead::Remove => {}             // It waits for those before it.
                AfterRead::Stamp => {
                    let row = self.elements.find_mut(hash_with(at.hash, &index), composed);
                    row.into_iter().for_each(|mut row| self.element.stamp(&mut row, now));
                }
            }
        }
        false
    }

    fn expiry(&self, _row: &Row<'_>) -> Option<Timestamp> {
        None
    }

    fn check(&self, row: &Row<'_>) -> Result<(), TaskFailure> {
        let Some(bytes) = row.get(self.bounds) else { return Ok(()) };
        let bounds = bounds_of(bytes);
        if bounds.is_empty() {
            return Err(damaged(self.name, "a list that ends before it begins"));
        }
        Ok(())
    }

    fn stamp_missing(&self, _row: &mut RowMut<'_>, _now: Timestamp) {}

    fn elements(&mut self) -> Option<&mut dyn Elements> {
        Some(self)
    }
}

impl<T: Record> Elements for ListStore<T> {
    fn table(&self) -> &Table {
        &self.elements
    }

    fn table_mut(&mut self) -> &mut Table {
        &mut self.elements
    }

    fn value_name(&self) -> &'static str {
        ELEMENT
    }

    fn layout(&self, expires: bool, older: Option<&Older>) -> Result<Arc<RowLayout>, TaskFailure> {
        Self::element_layout(self.element_hash, expires, older)
    }

    fn stamp_missing(&mut self, hash: u64, composed: &[u8], now: Timestamp) {
        if let Some(mut row) = self.elements.find_mut(hash, composed) {
            self.element.stamp_missing(&mut row, now);
        }
    }

    /// Each element is of a list, and the lists are together as long as there are elements: so none is missing.
    fn check<'r>(&'r mut self, rows: &'r Table) -> Restoring<'r> {
        Box::pin(async move {
            let check = each_row(&self.elements, |element| {
                self.element.check(element)?;
                let parts = split(element.key()).filter(|(key, _)| (self.is_key)(key));
                let row = parts.and_then(|(key, _)| rows.find(rows.layout().hash(key), key));
                let index = parts.and_then(|(_, index)| <[u8; INDEX_BYTES]>::try_from(index).ok());
                let (Some(row), Some(index)) = (row, index) else {
                    return Err(damaged(self.name, "an element of no list"));
                };
                match self.bounds_in(&row).contains(&u64::from_le_bytes(index)) {
                    true => Ok(()),
                    false => Err(damaged(self.name, "an element outside of its list")),
                }
            });
            check.await?;
            let mut length = 0;
            let lengths = each_row(rows, |row| {
                let bounds = self.bounds_in(row);
                length += u128::from(bounds.end - bounds.start);
                Ok(())
            });
            lengths.await?;
            match length == self.elements.len() as u128 {
                true => Ok(()),
                false => Err(damaged(self.name, "a list without its elements")),
            }
        })
    }

    fn expiry(&self, row: &Row<'_>) -> Option<Timestamp> {
        self.element.expiry(row)
    }

    fn expire(&mut self, rows: &mut Table, at: At<'_>, _: &[u8], now: Timestamp) -> bool {
        self.trim(rows, at, now, EXPIRED_MAX)
    }
}

#[cold]
pub(super) fn damaged(name: &str, what: &str) -> TaskFailure {
    let cause = format!("state `{name}` is damaged: {what}; restore an earlier checkpoint");
    TaskFailure::new(Blame::Environment, "restore keyed state", cause)
}

/// The list of the key at hand, to read; from [`KeyStates::list`](crate::KeyStates::list).
///
/// Of a list whose elements expire it has those that are seen at the time of the call.
pub struct KeyList<'c, T> {
    store: &'c ListStore<T>,
    at: At<'c>,
    bounds: Range<u64>,
    now: Timestamp,
}

impl<T: Record> KeyList<'_, T> {
    /// Calls `each` with the elements in order, until it breaks.
    fn visit(&self, mut each: impl FnMut(&Row<'_>) -> ControlFlow<()>) {
        self.store.visit(self.at, self.bounds.clone(), |_, row| {
            let is_hidden = self.store.element.hides(row, || self.now);
            if is_hidden { ControlFlow::Continue(()) } else { each(row) }
        });
    }

    /// How many elements. Counts them if they expire.
    pub fn len(&self) -> usize {
        if !self.store.element.expires() {
            return (self.bounds.end - self.bounds.start) as usize;
        }
        let mut len = 0;
        self.visit(|_| {
            len += 1;
            ControlFlow::Continue(())
        });
        len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        let mut is_empty = true;
        self.visit(|_| {
            is_empty = false;
            ControlFlow::Break(())
        });
        is_empty
    }

    /// Calls `each` with a view of every element, in the order in which they were added.
    pub fn for_each(&self, mut each: impl FnMut(T::View<'_>)) {
        self.visit(|row| {
            self.store.element.with(row, || self.now, &mut each);
            ControlFlow::Continue(())
        });
    }

    /// Whether `matches` is true of an element; none behind it is looked at.
    pub fn any(&self, mut matches: impl FnMut(T::View<'_>) -> bool) -> bool {
        let mut found = false;
        self.visit(|row| {
            found = self.store.element.with(row, || self.now, &mut matches).unwrap_or(false);
            if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        found
    }

    /// The elements, owned.
    pub fn to_vec(&self) -> Vec<T> {
        let mut elements = Vec::new();
        self.for_each(|element| elements.push(T::from_view(element)));
        elements
    }
}
