//! Tuples up to twelve: their view is the tuple of views, by value.
//!
//! # What is always true
//!
//! 1. Fields lie in order, as in a `repr(C)` struct.

use rkyv::{Place, munge::munge, tuple::*};

use crate::{
    Field, Full, InvalidKey, Key, KeyArena, KeyHasher, Record, RecordWriter, Schema,
    schema::max_align,
};

macro_rules! tuple {
    ($archived:ident: $($T:ident $index:tt $place:ident),+) => {
        impl<$($T: Record),+> Record for ($($T,)+) {
            type Archived = $archived<$($T::Archived),+>;
            type View<'a> = ($($T::View<'a>,)+);
            type Parts = ($($T::Parts,)+);
            const FIELDS: &'static [Field] = &[$(Field {
                name: stringify!($index),
                type_name: $T::SCHEMA.name,
                hash: $T::SCHEMA.hash,
            }),+];
            const SCHEMA: Schema = Schema::of("tuple", Self::FIELDS);
            const PACKED: bool = $($T::PACKED)&&+;
            const ALIGN: usize = max_align(&[$($T::ALIGN),+]);

            #[inline]
            fn view(&self) -> Self::View<'_> {
                ($(self.$index.view(),)+)
            }

            #[inline]
            fn view_of(archived: &Self::Archived) -> Self::View<'_> {
                ($($T::view_of(&archived.$index),)+)
            }

            #[inline]
            fn from_view(view: Self::View<'_>) -> Self {
                ($($T::from_view(view.$index),)+)
            }

            #[inline]
            fn shrink<'l: 's, 's>(view: Self::View<'l>) -> Self::View<'s> {
                ($($T::shrink(view.$index),)+)
            }

            #[inline(always)]
            fn is_root_only(view: Self::View<'_>) -> bool {
                true $(&& $T::is_root_only(view.$index))+
            }

            #[inline]
            fn write_parts(
                view: Self::View<'_>,
                writer: &mut RecordWriter<'_>,
            ) -> Result<Self::Parts, Full> {
                Ok(($($T::write_parts(view.$index, writer)?,)+))
            }

            #[inline]
            fn resolve(view: Self::View<'_>, parts: Self::Parts, out: Place<Self::Archived>) {
                munge!(let $archived($($place),+) = out);
                $($T::resolve(view.$index, parts.$index, $place);)+
            }
        }

        impl<$($T: Key),+> Key for ($($T,)+) {
            const FIXED: Option<usize> = crate::key::sum(&[$($T::FIXED),+]);

            #[inline]
            fn hash_key(view: Self::View<'_>, hasher: &mut KeyHasher) {
                $($T::hash_key(view.$index, hasher);)+
            }

            #[inline]
            fn append_key(view: Self::View<'_>, out: &mut Vec<u8>) {
                $($T::append_key(view.$index, out);)+
            }

            #[inline]
            fn read_key<'b>(
                bytes: &mut &'b [u8],
                arena: &'b KeyArena,
            ) -> Result<Self::View<'b>, InvalidKey> {
                Ok(($($T::read_key(bytes, arena)?,)+))
            }
        }
    };
}

tuple!(ArchivedTuple1: A 0 a);
tuple!(ArchivedTuple2: A 0 a, B 1 b);
tuple!(ArchivedTuple3: A 0 a, B 1 b, C 2 c);
tuple!(ArchivedTuple4: A 0 a, B 1 b, C 2 c, D 3 d);
tuple!(ArchivedTuple5: A 0 a, B 1 b, C 2 c, D 3 d, E 4 e);
tuple!(ArchivedTuple6: A 0 a, B 1 b, C 2 c, D 3 d, E 4 e, F 5 f);
tuple!(ArchivedTuple7: A 0 a, B 1 b, C 2 c, D 3 d, E 4 e, F 5 f, G 6 g);
tuple!(ArchivedTuple8: A 0 a, B 1 b, C 2 c, D 3 d, E 4 e, F 5 f, G 6 g, H 7 h);
tuple!(ArchivedTuple9: A 0 a, B 1 b, C 2 c, D 3 d, E 4 e, F 5 f, G 6 g, H 7 h, I 8 i);
tuple!(ArchivedTuple10: A 0 a, B 1 b, C 2 c, D 3 d, E 4 e, F 5 f, G 6 g, H 7 h, I 8 i, J 9 j);
tuple!(ArchivedTuple11: A 0 a, B 1 b, C 2 c, D 3 d, E 4 e, F 5 f, G 6 g, H 7 h, I 8 i, J 9 j,
    K 10 k);
tuple!(ArchivedTuple12: A 0 a, B 1 b, C 2 c, D 3 d, E 4 e, F 5 f, G 6 g, H 7 h, I 8 i, J 9 j,
    K 10 k, L 11 l);
