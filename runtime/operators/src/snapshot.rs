//! What a task's state looks like between a barrier and a disk: named parts, keyed ones by key group.
//!
//! A part is opaque bytes that its operator wrote. Keyed parts carry their key group, so that a snapshot
//! taken at one parallelism is restored at another by handing each subtask all parts of its groups.
//!
//! ```text
//!   chain      KeyBy.window ─▶ Map ─▶ Process ─▶ Sink
//!   snapshot   its parts              of 2       of 3        what the head writes is at 0, as what the task itself does
//! ```
//!
//! # What is always true
//!
//! 1. A part belongs to the operator that wrote it, wherever in a chain that is: no other one sees it.
//! 2. What was read is known: whoever restores asks what was [`unread`](Snapshot::unread).

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use wiesel_core::{KeyGroup, KeyGroupRange};

use crate::TaskContext;

/// The parts that say what the sinks of a chain have pre-committed. The JobMaster reads them too: it commits.
pub const COMMITTABLES: &str = "committables";

/// The state of one or several subtasks of one vertex: that of the head, and of each operator behind it.
///
/// ```
/// use wiesel_core::{KeyGroup, KeyGroupRange};
/// use wiesel_operators::Snapshot;
///
/// let mut snapshot = Snapshot::default();
/// snapshot.put("counts", Some(KeyGroup(3)), vec![1]);
/// snapshot.put("counts", Some(KeyGroup(90)), vec![2]);
/// let half = snapshot.keyed("counts", KeyGroupRange { first: 0, end: 64 });
/// assert_eq!(half.collect::<Vec<_>>(), [&[1][..]]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    parts: BTreeMap<(String, Option<u16>), Vec<Vec<u8>>>,
    is_without_tables: bool,
    /// What other subtasks have, and go on with. There if the parts are those of one subtask, which continues with them.
    others: Option<BTreeMap<String, Vec<Vec<u8>>>>,
    /// Of operators behind the head, by their position in the chain.
    links: BTreeMap<usize, Snapshot>,
    read: Read,
}

/// The names that somebody has asked for. No part of the state.
#[derive(Clone, Debug, Default)]
struct Read(RefCell<BTreeSet<String>>);

impl PartialEq for Read {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Read {}

impl Snapshot {
    /// One that tables, timers and lists are not put into: they are walked.
    pub fn without_tables() -> Self {
        Self { is_without_tables: true, ..Self::default() }
    }

    pub(crate) fn is_without_tables(&self) -> bool {
        self.is_without_tables
    }

    /// Whether [lists](crate::WalkedList) are put into it.
    pub(crate) fn takes_lists(&self) -> bool {
        !self.is_without_tables
    }

    /// One of a subtask alone, which goes on where it was while the others run on: nothing of it is dealt out.
    pub fn of_one() -> Self {
        Self { others: Some(BTreeMap::new()), ..Self::default() }
    }

    /// That of the operator at `position`, of which there may be nothing. The head is at 0.
    pub fn of_operator(&self, position: usize) -> Option<&Self> {
        if position == 0 { Some(self) } else { self.links.get(&position) }
    }

    /// That of the operator at `position`, to add to.
    pub fn of_operator_mut(&mut self, position: usize) -> &mut Self {
        if position == 0 {
            return self;
        }
        let others = self.others.as_ref().map(|_| BTreeMap::new());
        let is_without_tables = self.is_without_tables;
        self.links.entry(position).or_insert_with(|| Self {
            is_without_tables,
            others,
            ..Self::default()
        })
    }

    /// Those of all operators that have any, by position.
    pub fn operators(&self) -> impl Iterator<Item = (usize, &Self)> {
        let links = self.links.iter().map(|(position, link)| (*position, link));
        std::iter::once((0, self)).chain(links)
    }

    /// What no operator has asked for: the position of the operator whose it was, and the name.
    pub fn unread(&self) -> Vec<(usize, &str)> {
        let mut unread = Vec::new();
        for (position, own) in self.operators() {
            let read = own.read.0.borrow();
            let names = own.parts.keys().map(|(name, _)| name.as_str());
            unread.extend(names.filter(|name| !read.contains(*name)).map(|name| (position, name)));
        }
        unread.dedup();
        unread
    }

    fn is_asked_for(&self, name: &str) {
        let mut read = self.read.0.borrow_mut();
        if !read.contains(name) {
            read.insert(name.to_owned());
        }
    }

    /// Adds an operator part that another subtask has, which runs on with it: the snapshot is [`of_one`](Self::of_one).
    pub fn put_of_another(&mut self, name: &str, bytes: Vec<u8>) {
        let others = self.others.get_or_insert_default();
        others.entry(name.to_owned()).or_default().push(bytes);
    }

    /// Adds a part. Operator state that several subtasks write under one name is kept as a list.
    pub fn put(&mut self, name: &str, group: Option<KeyGroup>, bytes: Vec<u8>) {
        self.parts.entry((name.to_owned(), group.map(|group| group.0))).or_default().push(bytes);
    }

    /// The keyed parts of `name` whose group is in `range`, in group order.
    pub fn keyed(&self, name: &str, range: KeyGroupRange) -> impl Iterator<Item = &[u8]> {
        self.is_asked_for(name);
        let (from, to) = ((name.to_owned(), Some(range.first)), (name.to_owned(), Some(range.end)));
        self.parts.range(from..to).flat_map(|(_, parts)| parts.iter().map(Vec::as_slice))
    }

    /// The parts of the head, by name and then by key group.
    pub fn parts(&self) -> impl Iterator<Item = (&str, Option<KeyGroup>, &[u8])> {
        self.parts.iter().flat_map(|((name, group), parts)| {
            let group = group.map(KeyGroup);
            parts.iter().map(move |bytes| (name.as_str(), group, bytes.as_slice()))
        })
    }

    /// The names of keyed parts, in order, each once: what a test asks whether state was given back.
    pub fn keyed_names(&self) -> Vec<&str> {
        let keyed = self.parts.keys().filter(|(_, group)| group.is_some());
        let mut names: Vec<&str> = keyed.map(|(name, _)| name.as_str()).collect();
        names.dedup();
        names
    }

    /// The operator parts of `name`: of all subtasks or, of one that goes on where it was, its own.
    pub fn operator(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.is_asked_for(name);
        self.parts.get(&(name.to_owned(), None)).into_iter().flatten().map(Vec::as_slice)
    }

    /// The operator parts of `name` of all subtasks, also of those that run on.
    pub fn everyones(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let of_others = self.others.as_ref().and_then(|others| others.get(name));
        self.operator(name).chain(of_others.into_iter().flatten().map(Vec::as_slice))
    }

    /// The operator parts of `name` that are for this subtask, where it does not matter who had them: each n-th one or, if
    /// the others run on, its own.
    pub fn dealt(&self, name: &str, task: &TaskContext) -> impl Iterator<Item = &[u8]> {
        let (first, step) = self.share(task);
        self.operator(name).skip(first).step_by(step)
    }

    /// Which of the parts of a name are for this subtask: the first of them, and from one to the next.
    pub fn share(&self, task: &TaskContext) -> (usize, usize) {
        match self.others {
            Some(_) => (0, 1),
            None => (task.id().subtask.index(), task.parallelism().max(1) as usize),
        }
    }

    /// Adds all parts of another subtask's snapshot.
    pub fn merge(&mut self, other: Self) {
        for (name, parts) in other.parts {
            self.parts.entry(name).or_default().extend(parts);
        }
        for (position, link) in other.links {
            self.of_operator_mut(position).merge(link);
        }
    }

    /// Gives back the memory of the parts of a name and key group, of any operator; says whether there were any.
    pub fn drop_one(&mut self) -> bool {
        self.parts.pop_first().is_some() || self.links.values_mut().any(Self::drop_one)
    }

    /// Whether nothing was put.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.links.values().all(Self::is_empty)
    }
}
