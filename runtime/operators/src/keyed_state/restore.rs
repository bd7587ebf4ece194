//! State of keys in snapshots: what the states are, and the rows of each key group. Parts begin with the name of what
//! keeps them: here that of a process function.
//!
//! ```text
//!   process.states                  of subtask 0: names, kinds and fields; compared before a row is read
//!   process                         by key group: the rows of the keys
//!   process.state/NAME              by key group: the elements of the list or map NAME
//!   process.event-timers, process.processing-timers
//! ```
//!
//! # What is always true
//!
//! 1. A restore names the state that does not fit, and how to fix it. States that the snapshot does not have begin
//!    empty, whatever order they are registered in. One that did not expire may expire from now on, and the reverse. One
//!    that held an older type of what it holds is converted; see `older`.
//! 2. Damaged bytes are an error. After a restore each list has its elements, and each map its entries.

use std::sync::Arc;

use wiesel_core::{TaskFailure, Timestamp};
use wiesel_shard::pause;
use wiesel_state::{
    OperatorStateSchema, Row, RowLayout, RowMut, StateDescriptor, StateKind, Table,
};

use super::{
    Declared, Keep,
    keep::KEY,
    older::{Conversion, Older, is_in_row},
    ttl::now_of,
};
use crate::{
    Snapshot, TablePart, TaskContext, VisitTable,
    keyed_table::{each_row, import, import_seen, pause_behind, table_failure},
};

const EVENT_TIMERS: &str = "event-timers";
const PROCESSING_TIMERS: &str = "processing-timers";

fn elements_part(name: &str, state: &str) -> String {
    format!("{name}.state/{state}")
}

impl Keep {
    /// The name of a part in snapshots: `process.states` for `states`.
    fn part(&self, what: &str) -> String {
        format!("{}.{what}", self.name)
    }

    /// Adds everything but the tables and timers: what the states are.
    pub(crate) fn snapshot(&mut self, snapshot: &mut Snapshot) {
        // By every subtask: any of them may be the only one that has not finished.
        let mut bytes = Vec::new();
        self.schema.write(&mut bytes);
        snapshot.put(&self.part("states"), None, bytes);
    }

    /// Shows the tables, the rows of the keys and the elements of lists and maps, and the timers.
    pub(crate) fn tables(&mut self, visit: &mut VisitTable<'_>) {
        visit(TablePart { name: self.name, header: &[], table: &mut self.table });
        for (state, cell) in self.declared.iter().zip(&mut self.cells) {
            if let Some(elements) = cell.elements() {
                let name = &elements_part(self.name, state.name);
                visit(TablePart { name, header: &[], table: elements.table_mut() });
            }
        }
        let names = [self.part(EVENT_TIMERS), self.part(PROCESSING_TIMERS)];
        for (name, timers) in
            names.iter().zip([&mut self.event_timers, &mut self.processing_timers])
        {
            visit(TablePart { name, header: &[], table: timers });
        }
    }

    /// Takes the state of the key groups of this subtask.
    ///
    /// # Errors
    ///
    /// If it is damaged, or that of other states.
    pub(crate) async fn restore(
        &mut self,
        task: &TaskContext,
        snapshot: &Snapshot,
    ) -> Result<(), TaskFailure> {
        let (groups, now) = (task.key_groups(), now_of(task));
        let mut old = None;
        for bytes in snapshot.everyones(&self.part("states")) {
            let states = OperatorStateSchema::read(task.uid(), bytes).map_err(table_failure)?;
            let migrates = |state: &StateDescriptor| match self.older(state) {
                Some(_) => Ok(()),
                None => Err(self.fix(state)),
            };
            self.schema.check_restore_with(&states, migrates).map_err(table_failure)?;
            old = Some(states);
        }
        // Without a word about it the states are those of this program.
        let old = old.unwrap_or_else(|| self.schema.clone());
        self.restore_rows(&old, snapshot.keyed(self.name, groups), now).await?;
        for (state, cell) in self.declared.iter().zip(&mut self.cells) {
            let Some(elements) = cell.elements() else { continue };
            let was = old.states().iter().find(|old| old.name == state.name);
            let expired = was.is_some_and(|state| state.expires);
            let older = was.and_then(|was| state.older(was));
            let part = elements_part(self.name, state.name);
            let parts = snapshot.keyed(&part, groups);
            if expired == state.ttl.is_some() && older.is_none() {
                for bytes in parts {
                    import(elements.table_mut(), bytes).await?;
                }
            } else {
                let (layout, name) = (elements.layout(expired, older)?, elements.value_name());
                let ours = Arc::clone(elements.table().layout());
                let conversion = older.map(|older| Conversion::new(older, &ours, name));
                let mut conversions: Vec<_> = conversion.into_iter().collect::<Result<_, _>>()?;
                import_as(elements.table_mut(), &layout, parts, &mut conversions, |_| {}).await?;
            }
            if state.ttl.is_some() && !expired {
                let mut keys = Vec::new();
                let rows = each_row(elements.table(), |row| {
                    keys.push(row.key().to_vec());
                    Ok(())
                });
                rows.await?;
                for (index, key) in keys.into_iter().enumerate() {
                    let hash = elements.table().layout().hash(&key);
                    elements.stamp_missing(hash, &key, now);
                    pause_behind(index).await;
                }
            }
            elements.check(&self.table).await?;
        }
        for bytes in snapshot.keyed(&self.part(EVENT_TIMERS), groups) {
            self.event_timers.import(bytes).map_err(table_failure)?;
            pause().await;
        }
        for bytes in snapshot.keyed(&self.part(PROCESSING_TIMERS), groups) {
            self.processing_timers.import(bytes).map_err(table_failure)?;
            pause().await;
        }
        self.sweep_restored(now);
        Ok(())
    }

    async fn restore_rows<'s>(
        &mut self,
        old: &OperatorStateSchema,
        parts: impl Iterator<Item = &'s [u8]>,
        now: Timestamp,
    ) -> Result<(), TaskFailure> {
        let shape = |state: &StateDescriptor| (state.name.clone(), state.expires);
        let is_same = old.states().iter().map(shape).eq(self.schema.states().iter().map(shape));
        let mut conversions = Vec::new();
        for state in old.states().iter().filter(|state| is_in_row(state.kind)) {
            if let Some(older) = self.older(state) {
                conversions.push(Conversion::new(older, self.table.layout(), &state.name)?);
            }
        }
        let layout = self.old_layout(old)?;
        let Self { table, cells, is_key, .. } = self;
        let check = |row: &Row<'_>| {
            if !is_key(row.key()) {
                let cause = "a key is not one of the stream's type; restore an earlier checkpoint";
                let environment = wiesel_core::Blame::Environment;
                return Err(TaskFailure::new(environment, "restore keyed state", cause));
            }
            cells.iter().try_for_each(|cell| cell.check(row))
        };
        if is_same && conversions.is_empty() {
            for bytes in parts {
                import_seen(table, bytes, check).await?;
            }
            return Ok(());
        }
        import_as(table, &layout, parts, &mut conversions, |row| {
            cells.iter().for_each(|cell| cell.stamp_missing(row, now));
        })
        .await?;
        each_row(table, check).await
    }

    /// What a state of a checkpoint is made from, if it is an older type of the one of that name.
    fn older(&self, old: &StateDescriptor) -> Option<&Older> {
        self.declared.iter().find(|ours| ours.name == old.name)?.older(old)
    }

    /// What to do about a state that held another type, of which ours is not made.
    fn fix(&self, old: &StateDescriptor) -> &'static str {
        let ours = self.schema.states().iter().find(|ours| ours.name == old.name);
        if old.name == KEY {
            "key the stream by the old type; or give the operator another `uid`, and drop its state with `-n`"
        } else if old.kind == StateKind::Map
            && ours.is_some_and(|ours| ours.schema.fields.first() != old.schema.fields.first())
        {
            "keep the old type of map key under this name, and give a new map another"
        } else {
            "say how it is made of the old type, which keeps its name and fields: `#[record(version = .., from = Old)]` on the \
             type, or `migrates_from::<Old>()` on the state; or keep the old type under this name, and give a new state another"
        }
    }

    /// The rows of a program with these states, which are among ours.
    fn old_layout(&self, old: &OperatorStateSchema) -> Result<Arc<RowLayout>, TaskFailure> {
        let ours = self.table.layout();
        let mut layout = ours.with_other_cells();
        for state in old.states() {
            if let Some(ours) = self.declared.iter().find(|ours| ours.name == state.name) {
                layout = match ours.older(state).filter(|_| is_in_row(state.kind)) {
                    Some(older) => older.declare(layout, ours.name, state.expires),
                    None => (ours.declare)(layout, ours.name, state.expires),
                };
            }
        }
        layout.finish().map_err(table_failure)
    }
}

impl Declared {
    /// The older type that a checkpoint has of this state, if it is one.
    fn older(&self, old: &StateDescriptor) -> Option<&Older> {
        let is_other = old.kind == self.kind && old.schema.hash != self.schema.hash;
        self.older.iter().find(|older| is_other && older.schema.hash == old.schema.hash)
    }
}

/// Imports rows of another layout: what has an older type is converted, what both have else is copied, what only ours has is
/// absent. All parts are read before anything is made of them: an increment says which rows of the parts before it are gone,
/// and nothing without those.
async fn import_as<'s>(
    table: &mut Table,
    layout: &Arc<RowLayout>,
    parts: impl Iterator<Item = &'s [u8]>,
    conversions: &mut [Conversion],
    mut each: impl FnMut(&mut RowMut<'_>),
) -> Result<(), TaskFailure> {
    let mut old = Table::new(Arc::clone(layout), table.range(), table.max_parallelism());
    for bytes in parts {
        import(&mut old, bytes).await?;
    }
    let ours = Arc::clone(table.layout());
    for (index, (_, from)) in old.iter().enumerate() {
        let mut to = table.upsert(layout.hash(from.key()), from.key());
        for name in layout.cell_names() {
            match conversions.iter_mut().find(|conversion| conversion.name == name) {
                Some(conversion) => conversion.row(&from, &mut to)?,
                None => copy_cell(name, &from, &ours, &mut to)?,
            }
        }
        each(&mut to);
        pause_behind(index).await;
    }
    Ok(())
}

fn copy_cell(
    name: &str,
    from: &Row<'_>,
    ours: &RowLayout,
    to: &mut RowMut<'_>,
) -> Result<(), TaskFailure> {
    if let (Some(old), Some(new)) = (from.layout().cell(name), ours.cell(name))
        && let Some(bytes) = from.get(old)
        && old.bytes() == new.bytes()
    {
        to.cell_mut(new).copy_from_slice(bytes);
    }
    if let (Some(old), Some(new)) = (from.layout().block(name), ours.block(name))
        && let Some(bytes) = from.block(old)
    {
        to.set_block(new, bytes).map_err(table_failure)?;
    }
    Ok(())
}
