//! `Vec<T>`, `Box<[T]>`, `[T; N]` and `Option<T>`.
//!
//! Invariant of this module's `unsafe`: the layout of [`ArchivedOption`], a `repr(u8)` enum, is a
//! tag of one byte (0 none, 1 some) and then the value, as in a `repr(C)` struct (RFC 2195).
//!
//! # What is always true
//!
//! 1. Lists of all three kinds view alike. An array's list has `N` elements.
//! 2. `None` is zeros.

use std::array;

use rkyv::{
    Place,
    option::ArchivedOption,
    vec::{ArchivedVec, VecResolver},
};

use crate::{
    Field, Full, List, Record, RecordWriter, Schema,
    schema::{hash_fields, max_align},
};

/// The fields of a list's schema: its element.
const fn element<T: Record>() -> Field {
    Field { name: "element", type_name: T::SCHEMA.name, hash: T::SCHEMA.hash }
}

macro_rules! list {
    ($type:ty) => {
        impl<T: Record> Record for $type {
            type Archived = ArchivedVec<T::Archived>;
            type View<'a> = List<'a, T>;
            /// Where the elements lie.
            type Parts = u32;
            const FIELDS: &'static [Field] = &[element::<T>()];
            // One name: the two have the same archive.
            const SCHEMA: Schema = Schema::of("List", Self::FIELDS);
            const PACKED: bool = false;
            const ALIGN: usize = {
                // A few damaged bytes could otherwise claim four billion elements, and be right.
                assert!(
                    size_of::<T::Archived>() > 0,
                    "a list of records without bytes says no more than its length: use a u32"
                );
                max_align(&[align_of::<Self::Archived>(), T::ALIGN])
            };

            #[inline]
            fn view(&self) -> List<'_, T> {
                List::from(&self[..])
            }

            #[inline]
            fn view_of(archived: &Self::Archived) -> List<'_, T> {
                List::of_archived(archived.as_slice())
            }

            #[inline]
            fn from_view(view: List<'_, T>) -> Self {
                view.iter().map(T::from_view).collect()
            }

            #[inline]
            fn shrink<'l: 's, 's>(view: List<'l, T>) -> List<'s, T> {
                view
            }

            #[inline]
            fn write_parts(view: List<'_, T>, writer: &mut RecordWriter<'_>) -> Result<u32, Full> {
                T::write_list(view, writer)
            }

            #[inline]
            fn resolve(view: List<'_, T>, position: u32, out: Place<Self::Archived>) {
                let at = VecResolver::from_pos(position as usize);
                ArchivedVec::resolve_from_len(view.len(), at, out);
            }
        }
    };
}

list!(Vec<T>);
list!(Box<[T]>);

impl<T: Record, const N: usize> Record for [T; N] {
    type Archived = [T::Archived; N];
    type View<'a> = List<'a, T>;
    type Parts = [T::Parts; N];
    const FIELDS: &'static [Field] = &[element::<T>()];
    const SCHEMA: Schema = {
        let schema = Schema::of("array", Self::FIELDS);
        let length = Field { name: "length", type_name: "", hash: N as u64 };
        Schema { hash: hash_fields("array", &[element::<T>(), length]), ..schema }
    };
    const PACKED: bool = T::PACKED;
    const ALIGN: usize = T::ALIGN;

    #[inline]
    fn view(&self) -> List<'_, T> {
        List::from(self)
    }

    #[inline]
    fn view_of(archived: &Self::Archived) -> List<'_, T> {
        List::of_archived(archived)
    }

    #[inline]
    fn from_view(view: List<'_, T>) -> Self {
        array::from_fn(|index| T::from_view(element_of::<T, N>(view, index)))
    }

    #[inline]
    fn shrink<'l: 's, 's>(view: List<'l, T>) -> List<'s, T> {
        view
    }

    #[inline]
    fn write_parts(view: List<'_, T>, writer: &mut RecordWriter<'_>) -> Result<Self::Parts, Full> {
        let mut full = None;
        let parts = array::from_fn(|index| {
            let written = match full {
                None => T::write_parts(element_of::<T, N>(view, index), writer),
                Some(full) => Err(full),
            };
            written.map_err(|error| full = Some(error)).ok()
        });
        match full {
            Some(full) => Err(full),
            None => Ok(parts.map(|parts| parts.expect("no element was without room"))),
        }
    }

    #[inline]
    fn resolve(view: List<'_, T>, parts: Self::Parts, out: Place<Self::Archived>) {
        for (index, parts) in parts.into_iter().enumerate() {
            // SAFETY: `index` is below `N`.
            T::resolve(element_of::<T, N>(view, index), parts, unsafe { out.index(index) });
        }
    }
}

/// The element of an array's view.
#[inline]
fn element_of<T: Record, const N: usize>(view: List<'_, T>, index: usize) -> T::View<'_> {
    match view.get(index) {
        Some(element) if view.len() == N => element,
        _ => panic!("the view of an array of {N} must have {N} elements, not {}", view.len()),
    }
}

#[repr(C)]
struct SomeLayout<A>(u8, A);

impl<T: Record> Record for Option<T> {
    type Archived = ArchivedOption<T::Archived>;
    type View<'a> = Option<T::View<'a>>;
    type Parts = Option<T::Parts>;
    const FIELDS: &'static [Field] = &[element::<T>()];
    const SCHEMA: Schema = Schema::of("Option", Self::FIELDS);
    const PACKED: bool = T::PACKED;
    const ALIGN: usize = max_align(&[align_of::<Self::Archived>(), T::ALIGN]);

    #[inline]
    fn view(&self) -> Option<T::View<'_>> {
        self.as_ref().map(T::view)
    }

    #[inline]
    fn view_of(archived: &Self::Archived) -> Option<T::View<'_>> {
        archived.as_ref().map(T::view_of)
    }

    #[inline]
    fn from_view(view: Option<T::View<'_>>) -> Self {
        view.map(T::from_view)
    }

    #[inline]
    fn shrink<'l: 's, 's>(view: Option<T::View<'l>>) -> Option<T::View<'s>> {
        view.map(T::shrink)
    }

    #[inline]
    fn write_parts(
        view: Option<T::View<'_>>,
        writer: &mut RecordWriter<'_>,
    ) -> Result<Self::Parts, Full> {
        view.map(|view| T::write_parts(view, writer)).transpose()
    }

    #[inline]
    fn resolve(view: Option<T::View<'_>>, parts: Self::Parts, out: Place<Self::Archived>) {
        const {
            assert!(size_of::<Self::Archived>() == size_of::<SomeLayout<T::Archived>>());
        }
        // The place is zeroed, which is `None`.
        if let (Some(view), Some(parts)) = (view, parts) {
            // SAFETY: `Some` has this layout, see the module's first lines.
            let out = unsafe { out.cast_unchecked::<SomeLayout<T::Archived>>() };
            rkyv::munge::munge!(let SomeLayout(tag, value) = out);
            tag.write(1);
            T::resolve(view, parts, value);
        }
    }
}
