//! What the subtasks of a run put together: each has a part of its own and adds it when it is dropped.

use std::sync::{Arc, Mutex, PoisonError};

use crate::generator::Check;

/// What parts can be made of.
pub trait Sum {
    /// Nothing yet.
    fn empty() -> Self;
    /// Adds another part.
    fn add_part(&mut self, part: &Self);
}

impl Sum for Check {
    fn empty() -> Self {
        Self::default()
    }

    fn add_part(&mut self, part: &Self) {
        self.merge(*part);
    }
}

/// The whole.
#[derive(Debug)]
pub struct Total<S>(Arc<Mutex<S>>);

impl<S: Sum> Total<S> {
    /// Nothing yet.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(S::empty())))
    }

    /// An empty part of it.
    pub fn part(&self) -> Part<S> {
        Part { own: S::empty(), total: Self(Arc::clone(&self.0)) }
    }

    /// What all parts dropped so far have added.
    pub fn take(&self) -> S {
        let mut whole = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut whole, S::empty())
    }
}

impl<S: Sum> Default for Total<S> {
    fn default() -> Self {
        Self::new()
    }
}

/// A part, owned by one subtask. Its clone is another, empty one: engines clone a step for each subtask.
#[derive(Debug)]
pub struct Part<S: Sum> {
    own: S,
    total: Total<S>,
}

impl<S: Sum> Part<S> {
    /// What this subtask has so far.
    #[inline(always)]
    pub fn own(&mut self) -> &mut S {
        &mut self.own
    }
}

impl<S: Sum> Clone for Part<S> {
    fn clone(&self) -> Self {
        self.total.part()
    }
}

impl<S: Sum> Drop for Part<S> {
    fn drop(&mut self) {
        let mut whole = self.total.0.lock().unwrap_or_else(PoisonError::into_inner);
        whole.add_part(&self.own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_their_clones_add_up_once() {
        let total = Total::<Check>::new();
        let mut first = total.part();
        first.own().add(1);
        let mut second = first.clone();
        second.own().add(2);
        drop((first, second));
        let mut expected = Check::default();
        expected.add(1);
        expected.add(2);
        assert_eq!(total.take(), expected);
        assert_eq!(total.take(), Check::default());
    }
}
