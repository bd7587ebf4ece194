//! State of a subtask, not of a key: lists, and maps of which every subtask has the same copy.
//!
//! ```text
//!   subtask 0   list [a b c]   broadcast {x: 1}  ─┐ operator.states         what the states are; from subtask 0
//!   subtask 1   list [d]       broadcast {x: 1}  ─┤ operator.state/NAME     one part of each subtask
//!                                                 ▼
//!   at three    list   dealt out:  0 [a d]   1 [b]   2 [c]
//!               union  all to all: [a b c d] each
//!               broadcast          new subtask i takes the copy of old subtask i mod 2
//! ```
//!
//! As bytes: subtask u32, parallelism u32, number of elements u64, and per element its length u32 and its bytes (of a map:
//! key and value one after the other). Little-endian. A walk gives the same bytes, in pieces: at a barrier the number is known.
//!
//! # What is always true
//!
//! 1. A state is found by its name, which is unique in its function: the function may move to another chain.
//! 2. At the same parallelism each subtask has the list that it had. At another, element `i` of all lists, in the order of
//!    the subtasks, goes to subtask `i` mod parallelism.
//! 3. A state that was not registered cannot be used: that is a mistake in the program and panics.
//! 4. A restore compares what the states are before it reads an element; damaged bytes are an error.
//! 5. A barrier costs as much for a million elements as for one: they are walked behind it (`undo`), and what is written or
//!    removed meanwhile is kept as it was.

mod broadcast;
mod list;

use std::{any::Any, rc::Rc};

use wiesel_core::{Blame, TaskFailure};
use wiesel_record::{Record, RegionBuf};
use wiesel_state::{BLOCK_BYTES_MAX, OperatorStateSchema, StateDescriptor, StateKind, StateSchema};

use crate::{
    ListPart, ListPiece, Progress, Snapshot, TaskContext, VisitList, WalkedList,
    keyed_table::{pause_behind, table_failure},
};

pub use broadcast::{BroadcastMap, BroadcastState, BroadcastStates};
pub use list::{OperatorList, OperatorListState};

const STATES: &str = "operator.states";

/// Subtask, parallelism, number of elements.
const HEADER_BYTES: usize = 16;

/// A state of a subtask: [`OperatorListState`] or [`BroadcastState`].
pub trait OperatorState: sealed::Registered {}

/// What states are made of; nobody else makes one.
mod sealed {
    pub trait Registered {
        fn declared(&self) -> super::Declared;
    }
}

/// A state as it was declared.
#[derive(Clone, Copy)]
pub struct Declared {
    name: &'static str,
    kind: StateKind,
    schema: fn() -> StateSchema,
    open: fn() -> Box<dyn Store>,
}

/// What a state holds.
pub trait Store: Any {
    fn len(&self) -> usize;

    /// Appends all elements.
    ///
    /// # Errors
    ///
    /// If one is longer than it may be.
    fn write(&mut self, out: &mut Vec<u8>) -> Result<(), TaskFailure>;

    /// As [`WalkedList::flip`].
    fn flip(&mut self);

    /// As [`WalkedList::is_walking`].
    fn is_walking(&self) -> bool;

    /// Appends elements of the last flip, in the order of [`write`](Self::write), until `budget_bytes` are counted.
    ///
    /// # Errors
    ///
    /// If one is longer than it may be. Then the rest is discarded.
    fn walk(&mut self, budget_bytes: usize, out: &mut Vec<u8>) -> Result<Progress, TaskFailure>;

    /// As [`WalkedList::discard_walk`].
    fn discard_walk(&mut self);

    /// Takes an element off the front of bytes, and keeps it if that is wanted.
    ///
    /// # Errors
    ///
    /// If they do not begin with one.
    fn read(&mut self, bytes: &mut &[u8], is_kept: bool) -> Result<(), TaskFailure>;
}

/// Collects the operator states of a function.
#[derive(Clone, Default)]
pub struct OperatorStateRegistry {
    states: Vec<Declared>,
}

impl OperatorStateRegistry {
    /// Makes `state` a part of what each subtask keeps. Two states of a function have two names.
    pub fn register(&mut self, state: &impl OperatorState) {
        self.states.push(state.declared());
    }

    /// Whether no state was registered.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// Whether each subtask is restored from a list of all of them.
    pub fn has_union(&self) -> bool {
        self.states.iter().any(|state| state.kind == StateKind::UnionList)
    }
}

/// A state of a subtask.
struct Held {
    declared: Declared,
    /// The name of its parts.
    part: Rc<str>,
    /// Subtask and parallelism.
    of: [u32; 2],
    store: Box<dyn Store>,
    /// What the part that is walked begins with, if it has not begun.
    header: Option<[u8; HEADER_BYTES]>,
}

impl Held {
    fn header(&self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..4].copy_from_slice(&self.of[0].to_le_bytes());
        header[4..8].copy_from_slice(&self.of[1].to_le_bytes());
        header[8..].copy_from_slice(&(self.store.len() as u64).to_le_bytes());
        header
    }
}

impl WalkedList for Held {
    fn flip(&mut self) {
        self.header = Some(self.header());
        self.store.flip();
    }

    fn is_walking(&self) -> bool {
        self.store.is_walking()
    }

    fn walk(
        &mut self,
        budget_bytes: usize,
        buffer: &mut Vec<u8>,
        out: &mut dyn FnMut(ListPiece<'_>),
    ) -> Result<Progress, TaskFailure> {
        buffer.clear();
        let header = self.header.take();
        let begins = header.is_some();
        buffer.extend(header.into_iter().flatten());
        let progress = self.store.walk(budget_bytes, buffer)?;
        if !buffer.is_empty() {
            out(ListPiece { begins, bytes: buffer });
        }
        Ok(progress)
    }

    fn discard_walk(&mut self) {
        self.header = None;
        self.store.discard_walk();
    }
}

/// The operator states of one function in one subtask.
#[derive(Default)]
pub(crate) struct OperatorStates {
    states: Vec<Held>,
    /// None only of a default.
    task: Option<TaskContext>,
    failure: Option<Box<TaskFailure>>,
}

impl OperatorStates {
    /// Nothing yet, for these states. A name that is used twice is a failure when the function is opened.
    pub(crate) fn new(registry: OperatorStateRegistry, task: &TaskContext) -> Self {
        let mut failure = None;
        for (at, state) in registry.states.iter().enumerate() {
            if registry.states[..at].iter().any(|other| other.name == state.name) {
                let cause = format!(
                    "two operator states of one function are called `{}`: rename one",
                    state.name
                );
                let twice = TaskFailure::new(Blame::Job, "open operator state", cause);
                failure.get_or_insert_with(|| Box::new(twice.uid(task.uid())));
            }
        }
        let of = [task.id().subtask.0, task.parallelism()];
        let states = registry.states.into_iter().map(|declared| {
            let part = format!("operator.state/{}", declared.name).into();
            Held { declared, part, of, store: (declared.open)(), header: None }
        });
        Self { states: states.collect(), task: Some(task.clone()), failure }
    }

    /// Whether they can be used.
    ///
    /// # Errors
    ///
    /// If two states of the function have one name.
    pub(crate) fn open(&mut self) -> Result<(), TaskFailure> {
        self.failure.take().map_or(Ok(()), |failure| Err(*failure))
    }

    fn find<S: Store>(&self, name: &str) -> &S {
        let state = self.states.iter().find(|state| state.declared.name == name);
        let store: Option<&dyn Any> = state.map(|state| state.store.as_ref() as &dyn Any);
        store.and_then(|store| store.downcast_ref()).unwrap_or_else(|| unregistered(name))
    }

    fn find_mut<S: Store>(&mut self, name: &str) -> &mut S {
        let state = self.states.iter_mut().find(|state| state.declared.name == name);
        let store: Option<&mut dyn Any> = state.map(|state| state.store.as_mut() as &mut dyn Any);
        store.and_then(|store| store.downcast_mut()).unwrap_or_else(|| unregistered(name))
    }

    /// Fails the task.
    #[cold]
    fn fail(&self, failure: TaskFailure) {
        if let Some(task) = &self.task {
            task.fail(failure);
        }
    }

    fn schema(&self, task: &TaskContext) -> Result<OperatorStateSchema, TaskFailure> {
        let states = self.states.iter().map(|Held { declared, .. }| StateDescriptor {
            name: declared.name.to_owned(),
            kind: declared.kind,
            expires: false,
            schema: (declared.schema)(),
        });
        OperatorStateSchema::new(task.uid(), states.collect()).map_err(table_failure)
    }

    /// Shows all of them.
    pub(crate) fn lists(&mut self, visit: &mut VisitList<'_>) {
        let position = self.task.as_ref().map_or(0, TaskContext::position);
        for state in &mut self.states {
            let name = Rc::clone(&state.part);
            visit(ListPart { position, name: &name, list: state });
        }
    }

    /// Adds what they are, and all of them unless they are walked.
    pub(crate) fn snapshot(&mut self, task: &TaskContext, snapshot: &mut Snapshot) {
        if self.states.is_empty() {
            return;
        }
        if let Err(failure) = self.try_snapshot(task, snapshot) {
            task.fail(failure);
        }
    }

    fn try_snapshot(
        &mut self,
        task: &TaskContext,
        snapshot: &mut Snapshot,
    ) -> Result<(), TaskFailure> {
        // By every subtask: any of them may be the only one that has not finished.
        let mut bytes = Vec::new();
        self.schema(task)?.write(&mut bytes);
        snapshot.put(STATES, None, bytes);
        if !snapshot.takes_lists() {
            return Ok(());
        }
        for state in &mut self.states {
            let mut bytes = state.header().to_vec();
            state.store.write(&mut bytes)?;
            snapshot.put(&state.part, None, bytes);
        }
        Ok(())
    }

    /// Takes what this subtask has of a snapshot from any parallelism, in steps.
    ///
    /// # Errors
    ///
    /// If it is damaged, or that of other states.
    pub(crate) async fn restore(
        &mut self,
        task: &TaskContext,
        snapshot: &Snapshot,
    ) -> Result<(), TaskFailure> {
        if self.states.is_empty() {
            return Ok(());
        }
        let ours = self.schema(task)?;
        for bytes in snapshot.everyones(STATES) {
            let old = OperatorStateSchema::read(task.uid(), bytes).map_err(table_failure)?;
            ours.check_restore(&old).map_err(table_failure)?;
        }
        for Held { declared, part, store, .. } in &mut self.states {
            let mut copies = Vec::new();
            for bytes in snapshot.everyones(part) {
                copies.push(Copy::read(declared.name, bytes)?);
            }
            restore_state(declared, store.as_mut(), copies, task).await?;
        }
        Ok(())
    }
}

/// What one subtask had of a state.
struct Copy<'s> {
    subtask: u32,
    parallelism: u32,
    len: u64,
    elements: &'s [u8],
}

impl<'s> Copy<'s> {
    fn read(name: &str, bytes: &'s [u8]) -> Result<Self, TaskFailure> {
        let Some((header, elements)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(damaged(name, "a part ends within its header"));
        };
        let word = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let len = u64::from(word(8)) | u64::from(word(12)) << 32;
        Ok(Self { subtask: word(0), parallelism: word(4), len, elements })
    }

    /// Reads all elements; those for which `is_kept` says so are kept.
    async fn read_into(
        &self,
        name: &str,
        store: &mut dyn Store,
        mut is_kept: impl FnMut() -> bool,
    ) -> Result<(), TaskFailure> {
        let mut bytes = self.elements;
        for index in 0..self.len {
            store.read(&mut bytes, is_kept())?;
            pause_behind(index as usize).await;
        }
        match bytes.is_empty() {
            true => Ok(()),
            false => Err(damaged(name, "bytes behind the last element")),
        }
    }
}

async fn restore_state(
    state: &Declared,
    store: &mut dyn Store,
    mut copies: Vec<Copy<'_>>,
    task: &TaskContext,
) -> Result<(), TaskFailure> {
    copies.sort_by_key(|copy| copy.subtask);
    let is_twice = copies.windows(2).any(|pair| pair[0].subtask == pair[1].subtask);
    let is_one = copies.windows(2).all(|pair| pair[0].parallelism == pair[1].parallelism);
    if is_twice || !is_one || copies.iter().any(|copy| copy.subtask >= copy.parallelism) {
        return Err(damaged(state.name, "its parts are not those of one snapshot"));
    }
    let (subtask, parallelism) = (task.id().subtask.0, task.parallelism());
    match state.kind {
        StateKind::Broadcast => {
            let Some(last) = copies.len().checked_sub(1) else { return Ok(()) };
            let copy = &copies[subtask as usize % (last + 1)];
            copy.read_into(state.name, store, || true).await
        }
        StateKind::UnionList => {
            for copy in &copies {
                copy.read_into(state.name, store, || true).await?;
            }
            Ok(())
        }
        _ => {
            let mut turn = 0;
            for copy in &copies {
                let is_same = copy.parallelism == parallelism;
                copy.read_into(state.name, store, || {
                    let is_ours = match is_same {
                        true => copy.subtask == subtask,
                        false => turn == subtask,
                    };
                    turn = (turn + 1) % parallelism;
                    is_ours
                })
                .await?;
            }
            Ok(())
        }
    }
}

/// The longest key of a map, and the longest element: as those of keyed state.
const ELEMENT_BYTES_MAX: usize = BLOCK_BYTES_MAX;

// A length has four bytes.
const _: () = assert!(ELEMENT_BYTES_MAX <= u32::MAX as usize);

/// Appends a record behind its length.
///
/// # Errors
///
/// If it is longer than it may be. Nothing is appended then.
fn append_record<T: Record>(
    view: T::View<'_>,
    region: &mut RegionBuf,
    out: &mut Vec<u8>,
) -> Result<(), TaskFailure> {
    region.write::<T>(view, ELEMENT_BYTES_MAX).map_err(too_long)?;
    append(region.as_bytes(), out)
}

/// Appends bytes behind their length.
///
/// # Errors
///
/// As [`append_record`].
fn append(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), TaskFailure> {
    let len = checked_len(bytes)?;
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// A length that is not too long.
fn checked_len(bytes: &[u8]) -> Result<u32, TaskFailure> {
    match u32::try_from(bytes.len()) {
        Ok(len) if bytes.len() <= ELEMENT_BYTES_MAX => Ok(len),
        _ => {
            let cause =
                format!("it has {} bytes, of at most {ELEMENT_BYTES_MAX}: store less", bytes.len());
            Err(too_long(cause))
        }
    }
}

/// The reverse of [`append`].
fn take<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (taken, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    *bytes = rest;
    Some(taken)
}

fn damaged(name: &str, what: &str) -> TaskFailure {
    let cause = format!("state `{name}` is damaged: {what}; restore an earlier checkpoint");
    TaskFailure::new(Blame::Environment, "restore operator state", cause)
}

/// An element is longer than it may be.
#[cold]
fn too_long(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> TaskFailure {
    TaskFailure::new(Blame::Job, "store operator state", cause)
}

#[cold]
fn unregistered(name: &str) -> ! {
    panic!("no operator state `{name}` of this type was registered for this function")
}
