//! What travels along a chain, and where a closure's results go.
//!
//! ```text
//!   source ─▶ Owned<T> ─▶ map ─▶ Owned<O> ─▶ …        a value
//!   frame  ─▶ InFrame<T> ─▶ filter ─▶ InFrame<T> ─▶ …   passed on as it is, its region copied
//!   flat_map ─▶ Viewed<O> ─▶ …                          only a view, nothing built
//!   source ─▶ ViewRef<T> ─▶ …                           a view that lies in memory, read there
//! ```
//!
//! # What is always true
//!
//! 1. Which kind of item travels is a type, so it costs no branch.
//! 2. `view()` never allocates; `into_owned()` moves what is owned already.

use std::fmt;

use crate::{Full, Record, RecordWriter, Region};

/// One record on its way through a chain: owned, in a frame, or only a view.
///
/// ```
/// use wiesel_record::{Item, Owned, Viewed};
///
/// fn len(item: &impl Item<String>) -> usize {
///     item.view().len()
/// }
/// assert_eq!(len(&Owned("weasel".to_owned())), 6);
/// assert_eq!(len(&Viewed::<String>("weasel")), 6);
/// ```
pub trait Item<T: Record> {
    /// The view of this item.
    fn view(&self) -> T::View<'_>;

    /// The owned value: a move if it is owned already.
    fn into_owned(self) -> T;

    /// Appends this item. What lies in a frame is copied as its region.
    ///
    /// # Errors
    /// [`Full`] if it does not fit; the writer is then where it was.
    #[inline(always)]
    fn write(&self, writer: &mut RecordWriter<'_>) -> Result<Region, Full> {
        writer.write::<T>(self.view())
    }
}

/// An item that owns its record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Owned<T>(pub T);

/// An item that is only a view, for instance a word of a line.
pub struct Viewed<'v, T: Record>(pub T::View<'v>);

impl<T: Record> Clone for Viewed<'_, T> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Record> Copy for Viewed<'_, T> {}

impl<T: Record> fmt::Debug for Viewed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Viewed").field(&self.0).finish()
    }
}

/// An item that is a view which lies in memory. What looks at two fields of a wide one loads two fields; a copy loads them all,
/// and if they were stored just before, one by one, its wide loads wait until the stores have reached the cache.
///
/// ```
/// use wiesel_record::{Item, ViewRef};
///
/// let pair = (7, "weasel");
/// let item = ViewRef::<(u64, String)>(&pair);
/// assert_eq!(item.view().1, "weasel");
/// assert_eq!(item.into_owned(), (7, "weasel".to_owned()));
/// ```
pub struct ViewRef<'r, 'v, T: Record>(pub &'r T::View<'v>);

impl<T: Record> Clone for ViewRef<'_, '_, T> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Record> Copy for ViewRef<'_, '_, T> {}

impl<T: Record> fmt::Debug for ViewRef<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ViewRef").field(self.0).finish()
    }
}

impl<T: Record> Item<T> for Owned<T> {
    #[inline]
    fn view(&self) -> T::View<'_> {
        self.0.view()
    }

    #[inline]
    fn into_owned(self) -> T {
        self.0
    }
}

impl<T: Record> Item<T> for &T {
    #[inline]
    fn view(&self) -> T::View<'_> {
        (*self).view()
    }

    #[inline]
    fn into_owned(self) -> T {
        T::from_view((*self).view())
    }
}

impl<T: Record> Item<T> for Viewed<'_, T> {
    #[inline]
    fn view(&self) -> T::View<'_> {
        T::shrink(self.0)
    }

    #[inline]
    fn into_owned(self) -> T {
        T::from_view(self.0)
    }
}

impl<T: Record> Item<T> for ViewRef<'_, '_, T> {
    #[inline]
    fn view(&self) -> T::View<'_> {
        T::shrink(*self.0)
    }

    #[inline]
    fn into_owned(self) -> T {
        T::from_view(*self.0)
    }
}

/// Where a closure that emits puts its results.
///
/// Dynamic in the closure's type, since what follows is not known when it is written;
/// devirtualised once the chain is fused.
pub trait Out<O: Record> {
    /// Emits one record.
    fn emit(&mut self, view: O::View<'_>);
}

/// A closure from one view to another.
///
/// `Fn(A) -> O` cannot be written with both lifetimes tied (E0582); this can, and the compiler
/// still infers the closure's types through it.
#[diagnostic::on_unimplemented(
    message = "this closure does not return the view of the record type that was named",
    label = "must take a view and return a view",
    note = "`String` views as `&str`, a number as itself, `Vec<T>` as `List<'_, T>`, `Bid` as `BidView<'_>`"
)]
pub trait FnView<'a, A, O>: Fn(A) -> O {}

impl<'a, A, O, F: Fn(A) -> O> FnView<'a, A, O> for F {}
