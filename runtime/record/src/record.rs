//! The trait of everything that can cross a task boundary.
//!
//! ```text
//!   write:  view ──write_parts──▶ strings and lists go to the buffer, their positions come back
//!           view + positions ──resolve──▶ the root
//!   read:   &Archived ──view_of──▶ view ──from_view──▶ owned
//! ```
//!
//! # What is always true
//!
//! 1. A view is `Copy` and borrows: making one allocates nothing.
//! 2. `PACKED` means that the root is the whole region: no strings, no lists.
//! 3. `ALIGN` is the largest alignment of the root and of all that it points to.

use std::{fmt, io::Write as _};

use rkyv::{Place, Portable, bytecheck::CheckBytes};

use crate::{Field, Full, List, Migration, RecordWriter, Schema, Validator};

/// A type that can cross a task boundary. Derived, never written by hand.
///
/// ```
/// use wiesel_record::Record;
///
/// #[derive(Record)]
/// struct Bid {
///     auction: u64,
///     price: u64,
///     channel: String,
/// }
///
/// let bid = Bid { auction: 7, price: 120, channel: "web".to_owned() };
/// let view: BidView<'_> = bid.view();
/// assert!(view.price > 100 && view.channel == "web");
/// assert_eq!(Bid::SCHEMA.name, "Bid");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a record",
    label = "cannot cross a task boundary",
    note = "for a type of yours add `#[derive(Record)]`",
    note = "for `usize` and `isize` write `u64` and `i64`: a record looks the same on every machine",
    note = "for a map or a set write `Vec<(K, V)>` or `Vec<T>`; for `&str` write `String`, for `Rc`, `Arc` or `Box` the type inside",
    note = "for a type parameter add the bound `T: Record`"
)]
pub trait Record: Sized + Send + 'static {
    /// Its layout in a frame: rkyv's types, little-endian, relative pointers.
    type Archived: Portable + CheckBytes<Validator>;

    /// What user code sees: native scalars, `&str`, lists, nested views.
    type View<'a>: Copy + fmt::Debug + PartialEq;

    /// Where the strings and lists of a record went, between the two phases of writing.
    #[doc(hidden)]
    type Parts: Copy;

    /// The fields of the schema.
    #[doc(hidden)]
    const FIELDS: &'static [Field] = &[];

    /// Name, fields, version and a hash of them.
    const SCHEMA: Schema;

    /// The older records that this one can be made of: `#[record(version = 2, from = Old)]` and what `Old` can be made
    /// of. State that was written as one of them is read as this one.
    fn migrations() -> Vec<Migration<Self>> {
        Vec::new()
    }

    /// The archive has no out-of-line data: frames hold a packed array of `Archived`.
    const PACKED: bool;

    /// The largest alignment inside a region, in bytes: a power of two, at most 16.
    const ALIGN: usize;

    /// The view of an owned value.
    fn view(&self) -> Self::View<'_>;

    /// The view of an archived value.
    fn view_of(archived: &Self::Archived) -> Self::View<'_>;

    /// An owned value from a view.
    fn from_view(view: Self::View<'_>) -> Self;

    /// The same view for a shorter life. (A view is covariant, but the compiler cannot know it of
    /// a generic associated type.)
    fn shrink<'l: 's, 's>(view: Self::View<'l>) -> Self::View<'s>;

    /// Appends what `print` shows of a view: a text as it is, anything else as its `Debug`.
    #[doc(hidden)]
    fn print(view: Self::View<'_>, out: &mut Vec<u8>) {
        let written = write!(out, "{view:?}");
        debug_assert!(written.is_ok(), "a vector takes everything");
    }

    /// Whether nothing of this one lies out of line: then its region is its root, as where it is `PACKED`.
    #[doc(hidden)]
    #[inline(always)]
    fn is_root_only(view: Self::View<'_>) -> bool {
        let _ = view;
        Self::PACKED
    }

    /// First phase of writing: what lies out of line.
    #[doc(hidden)]
    fn write_parts(
        view: Self::View<'_>,
        writer: &mut RecordWriter<'_>,
    ) -> Result<Self::Parts, Full>;

    /// Second phase of writing: the root, which points back to the parts.
    #[doc(hidden)]
    fn resolve(view: Self::View<'_>, parts: Self::Parts, out: Place<Self::Archived>);

    /// Writes the elements of a list and returns their position. Native types copy bytes.
    #[doc(hidden)]
    #[inline]
    fn write_list(list: List<'_, Self>, writer: &mut RecordWriter<'_>) -> Result<u32, Full> {
        writer.write_list::<Self>(list)
    }
}
