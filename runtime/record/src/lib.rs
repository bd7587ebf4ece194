//! Records and views: what a job's data is.
//!
//! A record is *owned* inside a chain, *archived* between tasks, and *viewed* by the user's code:
//!
//! ```text
//!   &Bid ──────── view() ───┐                              ┌─▶ |b| b.price > 100      user code
//!                           ├─▶ BidView<'_> { price, .. } ─┤
//!   &ArchivedBid ─ view_of ─┘        Copy                  └─▶ RecordWriter ─▶ region of a frame
//! ```
//!
//! The one serialiser writes *views*, so it does not matter where a record came from. What it
//! writes is a *region*: the record's strings and lists, then its root, self-contained and
//! aligned. A region is moved by copying its bytes.
//!
//! # What is always true
//!
//! 1. Nothing points out of a region, so a copy of its bytes at the same alignment is the record.
//! 2. Every byte of a region has a value: gaps are zero. The same view gives the same bytes.
//! 3. `view_of(archive of r) == r.view()`, and both hash alike as keys.
//! 4. Writing allocates nothing once its [`Scratch`] is warm; reading never does.

#![warn(missing_docs)]

// The derive names this crate by its package name, also in this crate's own tests.
extern crate self as wiesel_record;

mod boundary;
mod containers;
mod item;
mod key;
mod key_hash;
mod key_impls;
mod list;
mod migration;
mod record;
mod region_buf;
mod scalars;
mod schema;
mod tuples;
mod writer;

pub use boundary::{
    InFrame, Invalid, Validator, read_packed, root_unchecked, validate, validate_packed,
    write_packed,
};
pub use item::{FnView, Item, Out, Owned, ViewRef, Viewed};
pub use key::{InvalidKey, Key, KeyArena};
pub use key_hash::{KEY_HASH_VERSION, KeyHasher};
pub use list::{Iter, List, Native};
pub use migration::Migration;
pub use record::Record;
pub use region_buf::{RegionBuf, TooLarge, to_region};
pub use schema::{Field, Schema};
pub use wiesel_record_derive::{Key, Record};
pub use writer::{Full, RecordWriter, Region, Scratch};

/// What the code of the derive names. Not for people.
#[doc(hidden)]
pub mod __private {
    pub use crate::{
        key::sum,
        key_impls::{append_variant, read_variant},
        schema::{hash_fields, max_align},
    };
    pub use rkyv::{self, Place, bytecheck};
    pub use std;
}

/// Refused by type; what the compiler says then is in `tests/compile_fail`.
///
/// ```compile_fail,E0277
/// fn needs_record<T: wiesel_record::Record>() {}
/// needs_record::<usize>();
/// ```
///
/// ```compile_fail,E0277
/// fn needs_record<T: wiesel_record::Record>() {}
/// needs_record::<std::collections::HashMap<String, u64>>();
/// ```
///
/// ```compile_fail,E0277
/// fn needs_key<K: wiesel_record::Key>() {}
/// needs_key::<f64>();
/// ```
///
/// ```compile_fail,E0277
/// #[derive(wiesel_record::Record, wiesel_record::Key)]
/// struct Point {
///     x: f64,
/// }
/// ```
///
/// ```compile_fail,E0277
/// struct Inner;
/// #[derive(wiesel_record::Record)]
/// struct Outer {
///     inner: Inner,
/// }
/// ```
///
/// ```compile_fail,E0080
/// use wiesel_record::Record;
/// println!("{}", <Vec<()>>::ALIGN); // Says no more than its length.
/// ```
#[cfg(doctest)]
struct Refused;
