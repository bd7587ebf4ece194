//! Lists of a subtask: dealt out anew when the parallelism changes, or given to all.
//!
//! # What is always true
//!
//! 1. Elements are read in the order in which they were added.
//! 2. What was added can be written to a snapshot: its length was looked at.
//! 3. Elements have numbers, each a greater one than those before it. An element does not change.

use std::marker::PhantomData;

use wiesel_core::TaskFailure;
use wiesel_record::{Record, RegionBuf};
use wiesel_state::StateKind;

use super::{
    Declared, ELEMENT_BYTES_MAX, OperatorState, OperatorStates, Store, append_record, damaged,
    sealed, take, too_long,
};
use crate::{Progress, keyed_state::schema_of, state_cell::decode, undo::Undo};

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
    /// next snapshot has them several times. No checkpoint is taken while some subtasks have finished and others still read,
    /// since it would have the elements of those that are left.
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
            open: || Box::new(ListStore::<T>::new()),
        }
    }
}

impl<T: Record> OperatorState for OperatorListState<T> {}

struct ListStore<T> {
    /// With their numbers.
    elements: Vec<(u64, T)>,
    /// The number of the next one.
    next: u64,
    /// Below this number they are of the last flip.
    flipped: u64,
    undo: Undo<u64, T>,
    region: RegionBuf,
}

impl<T: Record> ListStore<T> {
    fn new() -> Self {
        let (undo, region) = (Undo::default(), RegionBuf::new());
        Self { elements: Vec::new(), next: 0, flipped: 0, undo, region }
    }

    fn push(&mut self, element: T) {
        self.elements.push((self.next, element));
        self.next += 1;
    }

    fn retain(&mut self, mut keeps: impl FnMut(T::View<'_>) -> bool) {
        let Self { elements, flipped, undo, .. } = self;
        if !undo.is_walking() {
            return elements.retain(|(_, element)| keeps(element.view()));
        }
        for (number, element) in elements.extract_if(.., |(_, element)| !keeps(element.view())) {
            // No number is made behind a flip: those of it are below `flipped`.
            if number < *flipped && undo.wants(&number, 0) {
                undo.keep(number, element);
            }
        }
    }
}

impl<T: Record> Store for ListStore<T> {
    fn len(&self) -> usize {
        self.elements.len()
    }

    fn write(&mut self, out: &mut Vec<u8>) -> Result<(), TaskFailure> {
        let Self { elements, region, .. } = self;
        elements.iter().try_for_each(|(_, element)| append_record::<T>(element.view(), region, out))
    }

    fn flip(&mut self) {
        self.flipped = self.next;
        self.undo.flip();
    }

    fn is_walking(&self) -> bool {
        self.undo.is_walking()
    }

    fn walk(&mut self, budget_bytes: usize, out: &mut Vec<u8>) -> Result<Progress, TaskFailure> {
        let Self { elements, flipped, undo, region, .. } = self;
        let ahead = |passed: Option<&u64>| {
            let is_passed = |passed: &u64| elements.partition_point(|(number, _)| number <= passed);
            let ahead = elements[passed.map_or(0, is_passed)..].iter();
            let of_flip = ahead.take_while(|(number, _)| *number < *flipped);
            of_flip.map(|(number, element)| (number, element, true))
        };
        undo.step(budget_bytes, ahead, |_, element| {
            let before = out.len();
            append_record::<T>(element.view(), region, out).map(|()| out.len() - before)
        })
    }

    fn discard_walk(&mut self) {
        self.undo.discard();
    }

    fn read(&mut self, bytes: &mut &[u8], is_kept: bool) -> Result<(), TaskFailure> {
        let Some(element) = take(bytes) else {
            return Err(damaged(T::SCHEMA.name, "an element is cut off"));
        };
        let element = decode::<T>(element)?;
        if is_kept {
            self.push(element);
        }
        Ok(())
    }
}

/// The list of this subtask, to read; from [`ProcessContext::list`](crate::ProcessContext::list).
pub struct OperatorList<'s, T>(&'s [(u64, T)]);

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
        self.0.iter().map(|(_, element)| element.view())
    }
}

impl OperatorStates {
    pub(crate) fn list<T: Record>(&self, state: &OperatorListState<T>) -> OperatorList<'_, T> {
        OperatorList(&self.find::<ListStore<T>>(state.name).elements)
    }

    /// A value that cannot be stored fails the task.
    pub(crate) fn add<T: Record>(&mut self, state: &OperatorListState<T>, value: T::View<'_>) {
        let store = self.find_mut::<ListStore<T>>(state.name);
        match store.region.write::<T>(value, ELEMENT_BYTES_MAX) {
            Ok(()) => store.push(T::from_view(value)),
            Err(error) => self.fail(too_long(error)),
        }
    }

    pub(crate) fn retain<T: Record>(
        &mut self,
        state: &OperatorListState<T>,
        keeps: impl FnMut(T::View<'_>) -> bool,
    ) {
        self.find_mut::<ListStore<T>>(state.name).retain(keeps);
    }
}
