//! Keys: records that can be hashed, compared, and written as canonical bytes.
//!
//! ```text
//!   view ──key_hash────────▶ u64                 where it lives
//!        ──with_key_bytes──▶ canonical bytes     what a table stores and compares
//!   canonical bytes ──with_key──▶ view           back again, for the user
//! ```
//!
//! # What is always true
//!
//! 1. Two keys are equal exactly when their canonical bytes are; then their hashes are, too.
//! 2. A string or a number on its own is its bytes, so neither is copied to be looked up.
//! 3. Inside another key each field ends by itself: numbers have a fixed width, strings and lists a
//!    length before them (u32), enums and options their variant's index (u32).

use std::{any::Any, cell::OnceCell, error, fmt};

use crate::{KeyHasher, List, Record};

/// A record that a stream can be keyed by. Derived for types of one's own.
///
/// ```
/// use wiesel_record::{Key, Record};
///
/// #[derive(Record, Key)]
/// struct Seat {
///     train: String,
///     number: u16,
/// }
///
/// let seat = Seat { train: "ICE 9".to_owned(), number: 61 };
/// let hash = Seat::key_hash(seat.view());
/// let mut scratch = Vec::new();
/// Seat::with_key_bytes(seat.view(), &mut scratch, |bytes| {
///     assert_eq!(bytes, b"\x05\0\0\0ICE 9\x3d\0"); // length, bytes, number
///     Seat::with_key(bytes, |view| assert_eq!(Seat::key_hash(view), hash));
/// });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key",
    label = "is not a key",
    note = "for a type of yours write `#[derive(Record, Key)]`; all its fields must be keys",
    note = "a float has no exact equality: use an integer of a small unit, or `to_bits()`",
    note = "for `usize` write `u64`; for a map use a sorted `Vec<(K, V)>`"
)]
pub trait Key: Record {
    /// The length of the canonical bytes, if all keys of this type have the same.
    const FIXED: Option<usize>;

    /// Gives the fields of a key to the hasher, in order.
    fn hash_key(view: Self::View<'_>, hasher: &mut KeyHasher);

    /// Appends the canonical bytes of a key inside another.
    fn append_key(view: Self::View<'_>, out: &mut Vec<u8>);

    /// Takes a key off the front of canonical bytes.
    ///
    /// # Errors
    /// [`InvalidKey`] if the bytes do not begin with a key of this type.
    fn read_key<'b>(
        bytes: &mut &'b [u8],
        arena: &'b KeyArena,
    ) -> Result<Self::View<'b>, InvalidKey>;

    /// As [`hash_key`](Key::hash_key), for a list: its length, then its elements.
    #[doc(hidden)]
    #[inline]
    fn hash_keys(list: List<'_, Self>, hasher: &mut KeyHasher) {
        hasher.word(list.len() as u64);
        list.iter().for_each(|view| Self::hash_key(view, hasher));
    }

    /// The hash of a key; see `key_hash` in the crate's README. Upper half: key group. Lower half:
    /// place in a table.
    #[inline]
    fn key_hash(view: Self::View<'_>) -> u64 {
        let mut hasher = KeyHasher::new();
        Self::hash_key(view, &mut hasher);
        hasher.finish()
    }

    /// Calls `f` with the canonical bytes of a key. `scratch` is used by keys of several fields.
    #[inline]
    fn with_key_bytes<R>(
        view: Self::View<'_>,
        scratch: &mut Vec<u8>,
        f: impl FnOnce(&[u8]) -> R,
    ) -> R {
        scratch.clear();
        Self::append_key(view, scratch);
        f(scratch)
    }

    /// Calls `f` with the key that has these canonical bytes.
    ///
    /// # Panics
    /// If the bytes are not those of a key of this type. For bytes from outside use
    /// [`try_with_key`](Key::try_with_key).
    #[inline]
    fn with_key<R>(bytes: &[u8], f: impl FnOnce(Self::View<'_>) -> R) -> R {
        match Self::try_with_key(bytes, f) {
            Ok(result) => result,
            Err(error) => panic!("{error}: the bytes were not written by with_key_bytes"),
        }
    }

    /// As [`with_key`](Key::with_key), for bytes that nobody vouches for.
    ///
    /// # Errors
    /// [`InvalidKey`] if they are not exactly one key of this type.
    #[inline]
    fn try_with_key<R>(bytes: &[u8], f: impl FnOnce(Self::View<'_>) -> R) -> Result<R, InvalidKey> {
        let (mut rest, arena) = (bytes, KeyArena::default());
        let view = Self::read_key(&mut rest, &arena)?;
        if rest.is_empty() { Ok(f(view)) } else { Err(InvalidKey::of::<Self>()) }
    }
}

/// These are not the canonical bytes of a key of the expected type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidKey {
    key: &'static str,
}

impl InvalidKey {
    /// The error for a type of key.
    pub const fn of<K: Record>() -> Self {
        Self { key: K::SCHEMA.name }
    }
}

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not the bytes of a key of type {}", self.key)
    }
}

impl error::Error for InvalidKey {}

/// Where the elements of a list in a key live while it is viewed. Only lists allocate.
#[derive(Debug, Default)]
pub struct KeyArena(OnceCell<Box<(Box<dyn Any>, KeyArena)>>);

impl KeyArena {
    /// Keeps `items` for as long as the arena.
    pub(crate) fn keep<T: 'static>(&self, items: Vec<T>) -> &[T] {
        let mut last = self;
        while let Some(node) = last.0.get() {
            last = &node.1;
        }
        let node = last.0.get_or_init(|| Box::new((Box::new(items), Self::default())));
        node.0.downcast_ref::<Vec<T>>().map_or(&[], Vec::as_slice)
    }
}

/// The fixed length of several keys in a row.
pub const fn sum(lengths: &[Option<usize>]) -> Option<usize> {
    let (mut total, mut index) = (0, 0);
    while index < lengths.len() {
        match lengths[index] {
            Some(length) => total += length,
            None => return None,
        }
        index += 1;
    }
    Some(total)
}

/// Takes `N` bytes off the front.
#[inline]
pub(crate) fn take<K: Record, const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], InvalidKey> {
    let (taken, rest) = bytes.split_first_chunk::<N>().ok_or(InvalidKey::of::<K>())?;
    *bytes = rest;
    Ok(*taken)
}
