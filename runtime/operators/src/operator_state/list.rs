//! Lists of a subtask: dealt out anew when the parallelism changes, or given to all.
//!
//! # What is always true
//!
//! 1. Elements are read in the order in which they were added.
//! 2. What was added can be written to a snapshot: its length was looked at.

use std::marker::PhantomData;

use wiesel_core::TaskFailure;
use wiesel_record::{Record, RegionBuf};
use wiesel_state::{BLOCK_BYTES_MAX, StateKind};

use super::{
    Declared, OperatorState, OperatorStates, Store, append, damaged, sealed, take, too_long,
};
use crate::{keyed_state::schema_of, state_cell::decode};

/// A list that each subtask keeps, by name; used through [`ProcessContext`](crate::ProcessContext).
///
/// ```
/// use wiesel_operators::{
///     FunctionError, OperatorListState, OperatorStateRegistry, ProcessContext, ProcessFunction,
/// };
/// use wiesel_record::Out;
///
/// const HELD: OperatorListState<String> = OperatorListState::new("held");
///
/// /// Holds words back and passes them on three at a time.
/// #[derive(Clone)]
/// struct InThrees;
///
/// impl ProcessFunction<String> for InThrees {
///     type Out = String;
///     type Side = ();
///
///     fn initialize_state(&self, states: &mut OperatorStateRegistry) {
///         states.register(&HELD);
///     }
///
///     fn process(
///         &mut self,
///         word: &str,
///         context: &mut ProcessContext<'_, ()>,
///         out: &mut dyn Out<String>,
///     ) -> Result<(), FunctionError> {
///         context.add(&HELD, word);
///         if context.list(&HELD).len() == 3 {
///             context.list(&HELD).iter().for_each(|word| out.emit(word));
///             context.clear(&HELD);
///         }
///         Ok(())
///     }
/// }
/// ```
#[derive(Debug)]
pub struct OperatorListState<T> {
    name: &'static str,
    is_union: bool,
    types: PhantomData<fn() -> T>,
}

impl<T: Record> OperatorListState<T> {
    /// A list called `name`. After a restore at another parallelism its elements are dealt out round robin.
    pub const fn new(name: &'static str) -> Self {
        Self { name, is_union: false, types: PhantomData }
    }

    /// A list called `name`. After a restore every subtask has the elements of all: it keeps those that it wants, or the
    /// next snapshot has them several times.
    pub const fn union(name: &'static str) -> Self {
        Self { name, is_union: true, types: PhantomData }
    }
}

impl<T> Clone for OperatorListState<T> {
    fn clone(&self) -> Self {
        Self { name: self.name, is_union: self.is_union, types: PhantomData }
    }
}

impl<T: Record> sealed::Registered for OperatorListState<T> {
    fn declared(&self) -> Declared {
        Declared {
            name: self.name,
            kind: if self.is_union { StateKind::UnionList } else { StateKind::OperatorList },
            schema: || schema_of(&T::SCHEMA),
            open: || Box::new(ListStore::<T> { elements: Vec::new(), region: RegionBuf::new() }),
        }
    }
}

impl<T: Record> OperatorState for OperatorListState<T> {}

struct ListStore<T> {
    elements: Vec<T>,
    region: RegionBuf,
}

impl<T: Record> Store for ListStore<T> {
    fn len(&self) -> usize {
        self.elements.len()
    }

    fn write(&mut self, out: &mut Vec<u8>) -> Result<(), TaskFailure> {
        for element in &self.elements {
            self.region.write::<T>(element.view(), BLOCK_BYTES_MAX).map_err(too_long)?;
            append(self.region.as_bytes(), out);
        }
        Ok(())
    }

    fn read(&mut self, bytes: &mut &[u8], is_kept: bool) -> Result<(), TaskFailure> {
        let Some(element) = take(bytes) else {
            return Err(damaged(T::SCHEMA.name, "an element is cut off"));
        };
        let element = decode::<T>(element)?;
        if is_kept {
            self.elements.push(element);
        }
        Ok(())
    }
}

/// The list of this subtask, to read; from [`ProcessContext::list`](crate::ProcessContext::list).
pub struct OperatorList<'s, T>(&'s [T]);

impl<'s, T: Record> OperatorList<'s, T> {
    /// How many elements it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its elements, in the order in which they were added.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = T::View<'s>> + use<'s, T> {
        self.0.iter().map(Record::view)
    }
}

impl OperatorStates {
    pub(crate) fn list<T: Record>(&self, state: &OperatorListState<T>) -> OperatorList<'_, T> {
        OperatorList(&self.find::<ListStore<T>>(state.name).elements)
    }

    /// A value that cannot be stored fails the task.
    pub(crate) fn add<T: Record>(&mut self, state: &OperatorListState<T>, value: T::View<'_>) {
        let store = self.find_mut::<ListStore<T>>(state.name);
        match store.region.write::<T>(value, BLOCK_BYTES_MAX) {
            Ok(()) => store.elements.push(T::from_view(value)),
            Err(error) => self.fail(too_long(error)),
        }
    }

    pub(crate) fn retain<T: Record>(
        &mut self,
        state: &OperatorListState<T>,
        mut keeps: impl FnMut(T::View<'_>) -> bool,
    ) {
        let store = self.find_mut::<ListStore<T>>(state.name);
        store.elements.retain(|element| keeps(element.view()));
    }
}
