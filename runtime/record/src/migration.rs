//! How a record is made of an older one: state that was written as the one is read as the other.
//!
//! ```text
//!   mod v1 { struct Total { sum: u32 } }            what a checkpoint has: `Total { sum: u32 }`, version 1
//!   #[record(version = 2, from = v1::Total)]
//!   struct Total { sum: u64 }                       and `impl From<v1::Total> for Total`
//! ```
//!
//! # What is always true
//!
//! 1. Bytes are checked to be the older record before anything is made of them.
//! 2. The last version comes first, and the versions of `#[record(from = ..)]` fall on the way: it ends.

use std::{fmt, rc::Rc};

use crate::{Invalid, Record, Region, Schema, validate};

/// Makes a `T` of the region of an older record.
type Convert<T> = Rc<dyn Fn(&[u8]) -> Result<T, Invalid>>;

/// An older record that a `T` can be made of.
pub struct Migration<T> {
    schema: Schema,
    packed_bytes: Option<usize>,
    align: usize,
    convert: Convert<T>,
}

impl<T: Record> Migration<T> {
    /// What `T` can be made of by way of `O`: `O` itself, and what that can be made of.
    ///
    /// ```
    /// use wiesel_record::{Migration, Record};
    ///
    /// mod v1 {
    ///     #[derive(wiesel_record::Record)]
    ///     pub struct Total {
    ///         pub sum: u32,
    ///     }
    /// }
    ///
    /// #[derive(Record)]
    /// #[record(version = 2, from = v1::Total)]
    /// struct Total {
    ///     sum: u64,
    /// }
    ///
    /// impl From<v1::Total> for Total {
    ///     fn from(old: v1::Total) -> Self {
    ///         Self { sum: old.sum.into() }
    ///     }
    /// }
    ///
    /// let migrations: Vec<Migration<Total>> = Total::migrations();
    /// assert_eq!(migrations[0].schema(), v1::Total::SCHEMA);
    /// ```
    pub fn of<O: Record>() -> Vec<Self>
    where
        T: From<O>,
    {
        let last = Self {
            schema: O::SCHEMA,
            packed_bytes: O::PACKED.then_some(size_of::<O::Archived>()),
            align: O::ALIGN,
            convert: Rc::new(|bytes| {
                let region = Region { start: 0, end: bytes.len() as u32 };
                let archived = validate::<O>(bytes, region)?;
                Ok(T::from(O::from_view(O::view_of(archived))))
            }),
        };
        let older = O::migrations().into_iter().map(|older| {
            let Migration { schema, packed_bytes, align, convert } = older;
            let convert: Convert<T> = Rc::new(move |bytes| convert(bytes).map(T::from));
            Self { schema, packed_bytes, align, convert }
        });
        std::iter::once(last).chain(older).collect()
    }

    /// The older record.
    pub fn schema(&self) -> Schema {
        self.schema
    }

    /// The bytes of its region, if all of them have the same: see [`Record::PACKED`].
    pub fn packed_bytes(&self) -> Option<usize> {
        self.packed_bytes
    }

    /// See [`Record::ALIGN`].
    pub fn align(&self) -> usize {
        self.align
    }

    /// A `T` from the region of the older record, at an address that is a multiple of its [`align`](Self::align).
    ///
    /// # Errors
    ///
    /// If the bytes are none.
    pub fn convert(&self, region: &[u8]) -> Result<T, Invalid> {
        (self.convert)(region)
    }
}

impl<T> Clone for Migration<T> {
    fn clone(&self) -> Self {
        let Self { schema, packed_bytes, align, convert } = self;
        let (packed_bytes, convert) = (*packed_bytes, Rc::clone(convert));
        Self { schema: *schema, packed_bytes, align: *align, convert }
    }
}

impl<T> fmt::Debug for Migration<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Migration from {}", self.schema)
    }
}
