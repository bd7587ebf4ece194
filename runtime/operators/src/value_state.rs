//! Values per key that a process function keeps by name: declared once, then cells of the key's row.
//!
//! # What is always true
//!
//! 1. A state that was not registered in `open` cannot be used: that is a mistake in the program and panics.
//! 2. A cell is read and written as the type it was registered with.

use std::{any::Any, marker::PhantomData};

use wiesel_core::TaskFailure;
use wiesel_record::Record;
use wiesel_state::{Row, RowLayout, RowLayoutBuilder};

use crate::StateCell;

/// A value per key, by name. Registered in [`KeyedProcessFunction::open`].
#[derive(Clone, Debug)]
pub struct ValueState<S> {
    name: &'static str,
    index: Option<usize>,
    types: PhantomData<fn() -> S>,
}

impl<S: Record> ValueState<S> {
    /// A value called `name`; each state of a function has its own name.
    pub const fn new(name: &'static str) -> Self {
        Self { name, index: None, types: PhantomData }
    }
}

/// The cells of a row under construction.
pub(crate) type Declare = fn(RowLayoutBuilder, &str) -> RowLayoutBuilder;
pub(crate) type Resolve = fn(&RowLayout, &str) -> Result<Box<dyn Any>, TaskFailure>;
pub(crate) type Check = fn(&dyn Any, &Row<'_>) -> Result<(), TaskFailure>;

/// Collects the states of a function.
#[derive(Default)]
pub struct StateRegistry {
    pub(crate) states: Vec<(&'static str, Declare, Resolve, Check)>,
}

fn resolve<S: Record>(layout: &RowLayout, name: &str) -> Result<Box<dyn Any>, TaskFailure> {
    Ok(Box::new(StateCell::<S>::of(layout, name)?))
}

fn check<S: Record>(cell: &dyn Any, row: &Row<'_>) -> Result<(), TaskFailure> {
    cell.downcast_ref::<StateCell<S>>().map_or(Ok(()), |cell| cell.check(row))
}

impl StateRegistry {
    /// Makes `state` a part of each key's row.
    pub fn register<S: Record>(&mut self, state: &mut ValueState<S>) {
        state.index = Some(self.states.len());
        self.states.push((state.name, StateCell::<S>::declare, resolve::<S>, check::<S>));
    }
}

fn unregistered(name: &str) -> ! {
    panic!("the state `{name}` was not registered in `open`")
}

/// The cell of a state, to read.
pub(crate) fn cell_of<'k, V: Record>(
    cells: &'k [Box<dyn Any>],
    state: &ValueState<V>,
) -> &'k StateCell<V> {
    let cell = state.index.and_then(|index| cells.get(index)?.downcast_ref());
    cell.unwrap_or_else(|| unregistered(state.name))
}

/// The cell of a state, to write.
pub(crate) fn cell_of_mut<'k, V: Record>(
    cells: &'k mut [Box<dyn Any>],
    state: &ValueState<V>,
) -> &'k mut StateCell<V> {
    let cell = state.index.and_then(|index| cells.get_mut(index)?.downcast_mut());
    cell.unwrap_or_else(|| unregistered(state.name))
}
