//! The view of `Vec<T>`, `Box<[T]>` and `[T; N]`.
//!
//! Invariant of this module's `unsafe`: [`Native`] is implemented only where the archive of a type
//! has the type's own size, alignment, and meaning of every bit pattern that it can hold.
//!
//! # What is always true
//!
//! 1. The same elements compare equal, whether they are owned or archived.
//! 2. Only the elements that are read cost anything.

use std::{fmt, ops::Deref, slice};

use crate::Record;

/// The elements of a list in a record, owned or archived. A pair of words and a flag; `Copy`.
///
/// ```
/// use wiesel_record::List;
///
/// let tags = vec!["a".to_owned(), "b".to_owned()];
/// let view: List<'_, String> = List::from(&tags);
/// assert_eq!(view.get(1), Some("b")); // Elements are views, too.
///
/// let numbers: List<'_, u32> = List::from(&[3, 1, 2]);
/// assert_eq!(numbers.iter().max(), Some(3));
/// assert_eq!(numbers[1..], [1, 2]); // Numbers are also a slice.
/// ```
pub struct List<'a, T: Record>(Repr<'a, T>);

enum Repr<'a, T: Record> {
    Owned(&'a [T]),
    Archived(&'a [T::Archived]),
}

/// A type whose archive is its own layout, on a little-endian machine.
///
/// # Safety
/// `Archived` has the same size and alignment, and the same bytes mean the same value.
pub unsafe trait Native: for<'a> Record<View<'a> = Self> + Copy {}

#[cfg(target_endian = "big")]
compile_error!("records are little-endian, and so must be the machine");

impl<'a, T: Record> List<'a, T> {
    /// No elements.
    #[inline]
    pub const fn empty() -> Self {
        Self(Repr::Owned(&[]))
    }

    /// Elements in a frame.
    #[inline]
    pub const fn of_archived(archived: &'a [T::Archived]) -> Self {
        Self(Repr::Archived(archived))
    }

    /// How many elements it has.
    #[inline]
    pub const fn len(&self) -> usize {
        match self.0 {
            Repr::Owned(items) => items.len(),
            Repr::Archived(items) => items.len(),
        }
    }

    /// Whether it has none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at `index`, if there is one.
    #[inline]
    pub fn get(self, index: usize) -> Option<T::View<'a>> {
        match self.0 {
            Repr::Owned(items) => items.get(index).map(T::view),
            Repr::Archived(items) => items.get(index).map(T::view_of),
        }
    }

    /// The elements in order.
    #[inline]
    pub fn iter(self) -> Iter<'a, T> {
        match self.0 {
            Repr::Owned(items) => Iter(IterRepr::Owned(items.iter())),
            Repr::Archived(items) => Iter(IterRepr::Archived(items.iter())),
        }
    }

    /// Owned elements.
    pub fn to_vec(self) -> Vec<T> {
        self.iter().map(T::from_view).collect()
    }
}

impl<'a, T: Native> List<'a, T> {
    /// The elements as a slice.
    #[inline]
    pub const fn as_slice(self) -> &'a [T] {
        match self.0 {
            Repr::Owned(items) => items,
            Repr::Archived(items) => {
                const {
                    assert!(size_of::<T>() == size_of::<T::Archived>());
                    assert!(align_of::<T>() == align_of::<T::Archived>());
                }
                // SAFETY: `T: Native`.
                unsafe { slice::from_raw_parts(items.as_ptr().cast(), items.len()) }
            }
        }
    }

    /// The bytes of the elements, as they are archived.
    #[inline]
    pub(crate) const fn as_bytes(self) -> &'a [u8] {
        let items = self.as_slice();
        // SAFETY: `T: Native`, so a `T` has no padding: its bytes are those of its archive, a number.
        unsafe { slice::from_raw_parts(items.as_ptr().cast(), size_of_val(items)) }
    }
}

impl<T: Native> Deref for List<'_, T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        self.as_slice()
    }
}

impl<T: Record> Clone for List<'_, T> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Record> Copy for List<'_, T> {}

impl<T: Record> Clone for Repr<'_, T> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Record> Copy for Repr<'_, T> {}

impl<T: Record> Default for List<'_, T> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<'a, T: Record> From<&'a [T]> for List<'a, T> {
    #[inline]
    fn from(items: &'a [T]) -> Self {
        Self(Repr::Owned(items))
    }
}

impl<'a, T: Record> From<&'a Vec<T>> for List<'a, T> {
    #[inline]
    fn from(items: &'a Vec<T>) -> Self {
        Self(Repr::Owned(items))
    }
}

impl<'a, T: Record, const N: usize> From<&'a [T; N]> for List<'a, T> {
    #[inline]
    fn from(items: &'a [T; N]) -> Self {
        Self(Repr::Owned(items))
    }
}

impl<T: Record> PartialEq for List<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().zip(other.iter()).all(|(a, b)| a == b)
    }
}

impl<T: Record> fmt::Debug for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T: Record> IntoIterator for List<'a, T> {
    type Item = T::View<'a>;
    type IntoIter = Iter<'a, T>;

    #[inline]
    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

/// The elements of a [`List`], in order.
pub struct Iter<'a, T: Record>(IterRepr<'a, T>);

enum IterRepr<'a, T: Record> {
    Owned(slice::Iter<'a, T>),
    Archived(slice::Iter<'a, T::Archived>),
}

impl<T: Record> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            IterRepr::Owned(items) => IterRepr::Owned(items.clone()),
            IterRepr::Archived(items) => IterRepr::Archived(items.clone()),
        })
    }
}

impl<'a, T: Record> Iterator for Iter<'a, T> {
    type Item = T::View<'a>;

    #[inline]
    fn next(&mut self) -> Option<T::View<'a>> {
        match &mut self.0 {
            IterRepr::Owned(items) => items.next().map(T::view),
            IterRepr::Archived(items) => items.next().map(T::view_of),
        }
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            IterRepr::Owned(items) => items.size_hint(),
            IterRepr::Archived(items) => items.size_hint(),
        }
    }
}

impl<'a, T: Record> DoubleEndedIterator for Iter<'a, T> {
    #[inline]
    fn next_back(&mut self) -> Option<T::View<'a>> {
        match &mut self.0 {
            IterRepr::Owned(items) => items.next_back().map(T::view),
            IterRepr::Archived(items) => items.next_back().map(T::view_of),
        }
    }
}

impl<T: Record> ExactSizeIterator for Iter<'_, T> {}

impl<T: Record> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}
