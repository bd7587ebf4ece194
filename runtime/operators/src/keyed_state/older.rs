//! Older types of what a state holds: a restore makes the type of today of them.
//!
//! ```text
//!   checkpoint   count: u32 ──▶ rows with a cell of four bytes ──▶ u64::from ──▶ rows with a cell of eight
//! ```
//!
//! # What is always true
//!
//! 1. Which type a checkpoint has is what its descriptor says, never what the bytes look like.
//! 2. Bytes are checked to be of the older type before a value is made of them.
//! 3. Only what a state holds has older types: keys of the stream and of maps are what they are.

use wiesel_core::{Blame, TaskFailure};
use wiesel_record::{Migration, Record};
use wiesel_state::{Row, RowLayout, RowLayoutBuilder, RowMut, StateKind, StateSchema};

use super::ttl::declare_time;
use crate::{
    StateCell,
    state_cell::{declare_as, with_aligned},
};

/// What a state can be made of.
pub(crate) type Olders<S> = fn() -> Vec<Migration<S>>;

/// What `S` can be made of by way of `O`, and by itself.
pub(crate) fn by_way_of<S: Record + From<O>, O: Record>() -> Vec<Migration<S>> {
    let mut migrations = Migration::<S>::of::<O>();
    migrations.extend(S::migrations());
    migrations
}

/// One older type of what a state holds.
pub struct Older {
    /// What a checkpoint says of the state then.
    pub(super) schema: StateSchema,
    packed_bytes: Option<usize>,
    align: usize,
    into: Into,
}

/// Finds the cell of today in a layout, by its name.
type Into = Box<dyn Fn(&RowLayout, &str) -> Result<Convert, TaskFailure>>;

/// Makes the value of today of these bytes, and writes it into a row.
type Convert = Box<dyn FnMut(&[u8], &mut RowMut<'_>) -> Result<(), TaskFailure>>;

impl Older {
    pub(super) fn of<S: Record>(migration: Migration<S>, schema: StateSchema) -> Self {
        let (packed_bytes, align) = (migration.packed_bytes(), migration.align());
        let into = move |layout: &RowLayout, name: &str| {
            let (mut cell, migration) = (StateCell::<S>::of(layout, name)?, migration.clone());
            let convert: Convert = Box::new(move |bytes, row| {
                let value = with_aligned(bytes, align, |bytes| migration.convert(bytes));
                let value = value.map_err(|error| {
                    let cause = format!("a value of {} is damaged: {error}", migration.schema());
                    TaskFailure::new(Blame::Environment, "restore state", cause)
                })?;
                cell.store(row, value.view())
            });
            Ok(convert)
        };
        Self { schema, packed_bytes, align, into: Box::new(into) }
    }

    /// Adds the cells to a layout, as the program of then did.
    pub(super) fn declare(
        &self,
        layout: RowLayoutBuilder,
        name: &str,
        expires: bool,
    ) -> RowLayoutBuilder {
        let layout = declare_as(layout, name, self.packed_bytes, self.align);
        if expires { declare_time(layout, name) } else { layout }
    }
}

/// Whether states of this kind lie in the row of the key.
pub(super) fn is_in_row(kind: StateKind) -> bool {
    matches!(kind, StateKind::Value | StateKind::Reducing | StateKind::Aggregating)
}

/// Writes values of an older type into rows of today: those of the cell `name`.
pub(super) struct Conversion {
    pub(super) name: String,
    convert: Convert,
}

impl Conversion {
    pub(super) fn new(older: &Older, ours: &RowLayout, name: &str) -> Result<Self, TaskFailure> {
        Ok(Self { name: name.to_owned(), convert: (older.into)(ours, name)? })
    }

    pub(super) fn row(&mut self, from: &Row<'_>, to: &mut RowMut<'_>) -> Result<(), TaskFailure> {
        let layout = from.layout();
        let cell = layout.cell(&self.name).and_then(|cell| from.get(cell));
        let block = layout.block(&self.name).and_then(|block| from.block(block));
        cell.or(block).map_or(Ok(()), |bytes| (self.convert)(bytes, to))
    }
}
