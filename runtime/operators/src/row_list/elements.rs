//! The list of a row, as functions see it: nothing but the records.

use std::{marker::PhantomData, ops::ControlFlow};

use wiesel_record::Record;

use super::{Chunks, Stamps, Unstamped, each_of_list};

/// The records of one key and side, in the order of their arrival.
///
/// They lie in blocks of the state and are lent one by one: nothing is copied.
pub struct Elements<'t, T: Record, S: Stamps = Unstamped> {
    pub(super) open: Option<&'t [u8]>,
    pub(super) chunks: &'t Chunks,
    pub(super) hash: u64,
    pub(super) key: &'t [u8],
    pub(super) number: u8,
    pub(super) types: PhantomData<fn(T) -> S>,
}

impl<T: Record, S: Stamps> Elements<'_, T, S> {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.open.is_none()
    }

    /// Calls `read` with each of them.
    #[inline]
    pub fn for_each(&self, mut read: impl FnMut(T::View<'_>)) {
        let _ = self.try_for_each(|view| {
            read(view);
            ControlFlow::<()>::Continue(())
        });
    }

    /// Calls `read` with each of them until it breaks.
    #[inline]
    pub fn try_for_each<B>(
        &self,
        mut read: impl FnMut(T::View<'_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        self.try_for_each_stamped(|view, _| read(view))
    }

    /// As [`try_for_each`](Self::try_for_each), with the stamps.
    #[inline]
    pub(crate) fn try_for_each_stamped<B>(
        &self,
        read: impl FnMut(T::View<'_>, i64) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let Some(open) = self.open else { return ControlFlow::Continue(()) };
        let at = (self.hash, self.key, self.number);
        let composed = &mut Vec::new(); // It allocates for chunks only.
        each_of_list::<T, S, B>(open, self.chunks, at, composed, read)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        let mut count = 0;
        self.for_each(|_| count += 1);
        count
    }
}
