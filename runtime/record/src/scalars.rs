//! Records of one value: numbers, `bool`, `char`, `()`, `Timestamp`, `Duration`, `String`.
//!
//! Invariant of this module's `unsafe`: a string is put inline exactly when it is at most
//! `INLINE_CAPACITY` bytes long; and each type that is `Native` here is archived by a type of the
//! same bits.
//!
//! # What is always true
//!
//! 1. Integers and floats are little-endian and aligned to their size; floats keep every bit.
//! 2. A string of at most 8 bytes lies in its root; a longer one before it.

use std::{ptr, slice, str, time::Duration};

use rkyv::{
    Place,
    rend::{
        char_le, f32_le, f64_le, i16_le, i32_le, i64_le, i128_le, u16_le, u32_le, u64_le, u128_le,
    },
    string::{
        ArchivedString,
        repr::{ArchivedStringRepr, INLINE_CAPACITY},
    },
    time::ArchivedDuration,
};
use wiesel_core::Timestamp;

use crate::{Full, List, Native, Record, RecordWriter, Schema};

/// A record whose view is itself and whose archive has its own bits.
macro_rules! native {
    ($($type:ty as $archived:ty, $name:literal, $from:expr, $to:expr;)+) => {$(
        impl Record for $type {
            type Archived = $archived;
            type View<'a> = $type;
            type Parts = ();
            const SCHEMA: Schema = Schema::leaf($name);
            const PACKED: bool = true;
            const ALIGN: usize = align_of::<$archived>();

            #[inline]
            fn view(&self) -> $type {
                *self
            }

            #[inline]
            fn view_of(archived: &$archived) -> $type {
                let to: fn($archived) -> $type = $to;
                to(*archived)
            }

            #[inline]
            fn from_view(view: $type) -> $type {
                view
            }

            #[inline]
            fn shrink<'l: 's, 's>(view: $type) -> $type {
                view
            }

            #[inline]
            fn write_parts(_: $type, _: &mut RecordWriter<'_>) -> Result<(), Full> {
                Ok(())
            }

            #[inline]
            fn resolve(view: $type, (): (), out: Place<$archived>) {
                let from: fn($type) -> $archived = $from;
                out.write(from(view));
            }

            #[inline]
            fn write_list(
                list: List<'_, $type>,
                writer: &mut RecordWriter<'_>,
            ) -> Result<u32, Full> {
                writer.aligned_bytes(Self::ALIGN, list.as_bytes())
            }
        }

        // SAFETY: the archive is the little-endian form of the same size, and this machine is
        // little-endian (checked in `list`); `List` asserts size and alignment.
        unsafe impl Native for $type {}
    )+};
}

native! {
    u8 as u8, "u8", |v| v, |a| a;
    i8 as i8, "i8", |v| v, |a| a;
    u16 as u16_le, "u16", u16_le::from_native, u16_le::to_native;
    i16 as i16_le, "i16", i16_le::from_native, i16_le::to_native;
    u32 as u32_le, "u32", u32_le::from_native, u32_le::to_native;
    i32 as i32_le, "i32", i32_le::from_native, i32_le::to_native;
    u64 as u64_le, "u64", u64_le::from_native, u64_le::to_native;
    i64 as i64_le, "i64", i64_le::from_native, i64_le::to_native;
    u128 as u128_le, "u128", u128_le::from_native, u128_le::to_native;
    i128 as i128_le, "i128", i128_le::from_native, i128_le::to_native;
    f32 as f32_le, "f32", f32_le::from_native, f32_le::to_native;
    f64 as f64_le, "f64", f64_le::from_native, f64_le::to_native;
    bool as bool, "bool", |v| v, |a| a;
    char as char_le, "char", char_le::from_native, char_le::to_native;
    Timestamp as i64_le, "Timestamp",
        |v| i64_le::from_native(v.as_millis()),
        |a| Timestamp::from_millis(a.to_native());
}

impl Record for () {
    type Archived = ();
    type View<'a> = ();
    type Parts = ();
    const SCHEMA: Schema = Schema::leaf("()");
    const PACKED: bool = true;
    const ALIGN: usize = 1;

    #[inline]
    fn view(&self) {}

    #[inline]
    fn view_of((): &()) {}

    #[inline]
    fn from_view((): ()) {}

    #[inline]
    fn shrink<'l: 's, 's>((): ()) {}

    #[inline]
    fn write_parts((): (), _: &mut RecordWriter<'_>) -> Result<(), Full> {
        Ok(())
    }

    #[inline]
    fn resolve((): (), (): (), _: Place<()>) {}
}

impl Record for Duration {
    type Archived = ArchivedDuration;
    type View<'a> = Duration;
    type Parts = ();
    const SCHEMA: Schema = Schema::leaf("Duration");
    const PACKED: bool = true;
    const ALIGN: usize = align_of::<ArchivedDuration>();

    #[inline]
    fn view(&self) -> Duration {
        *self
    }

    #[inline]
    fn view_of(archived: &ArchivedDuration) -> Duration {
        Duration::new(archived.as_secs(), archived.subsec_nanos())
    }

    #[inline]
    fn from_view(view: Duration) -> Duration {
        view
    }

    #[inline]
    fn shrink<'l: 's, 's>(view: Duration) -> Duration {
        view
    }

    #[inline]
    fn write_parts(_: Duration, _: &mut RecordWriter<'_>) -> Result<(), Full> {
        Ok(())
    }

    #[inline]
    fn resolve(view: Duration, (): (), out: Place<ArchivedDuration>) {
        // SAFETY: a place is room for its type; `emplace` writes fields, never padding.
        unsafe { ArchivedDuration::emplace(view.as_secs(), view.subsec_nanos(), out.ptr()) };
    }
}

impl Record for String {
    type Archived = ArchivedString;
    type View<'a> = &'a str;
    /// Where the bytes lie, if not in the root.
    type Parts = u32;
    const SCHEMA: Schema = Schema::leaf("String");
    const PACKED: bool = false;
    const ALIGN: usize = align_of::<ArchivedString>();

    #[inline]
    fn view(&self) -> &str {
        self
    }

    #[inline]
    fn view_of(archived: &ArchivedString) -> &str {
        match inline_len(archived) {
            // SAFETY: an inline string lies at its root's address, as many bytes as come before the first 0xff, which
            // no UTF-8 has; `inline` or `ArchivedStringRepr` wrote it, or it was validated.
            Some(len) => unsafe {
                let start = ptr::from_ref(archived).cast::<u8>();
                str::from_utf8_unchecked(slice::from_raw_parts(start, len))
            },
            None => archived.as_str(),
        }
    }

    #[inline]
    fn from_view(view: &str) -> String {
        view.to_owned()
    }

    fn print(view: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(view.as_bytes());
    }

    #[inline]
    fn shrink<'l: 's, 's>(view: &'l str) -> &'s str {
        view
    }

    #[inline(always)]
    fn is_root_only(view: &str) -> bool {
        view.len() <= INLINE_CAPACITY
    }

    #[inline]
    fn write_parts(view: &str, writer: &mut RecordWriter<'_>) -> Result<u32, Full> {
        if view.len() <= INLINE_CAPACITY { Ok(0) } else { writer.bytes(view.as_bytes()) }
    }

    #[inline]
    fn resolve(view: &str, position: u32, out: Place<ArchivedString>) {
        const { assert!(size_of::<ArchivedString>() == 8 && INLINE_CAPACITY == 8) };
        // SAFETY: `ArchivedString` is a transparent `ArchivedStringRepr`.
        let out = unsafe { out.cast_unchecked::<ArchivedStringRepr>() };
        if view.len() <= INLINE_CAPACITY {
            // SAFETY: eight bytes, of any value, in the form of `emplace_inline` (checked below).
            unsafe { out.ptr().cast::<[u8; 8]>().write(inline(view.as_bytes())) };
        } else {
            // SAFETY: it does not fit inline, and the writer's buffer is shorter than the largest
            // length that can be written (`RecordWriter::BYTES_MAX`).
            unsafe { ArchivedStringRepr::emplace_out_of_line(view, position as usize, out) };
        }
    }
}

/// How long an inline string is; none if its bytes lie elsewhere.
///
/// What `ArchivedStringRepr::len` looks for byte by byte, which mispredicts with every other length.
#[inline]
fn inline_len(archived: &ArchivedString) -> Option<usize> {
    const LOW: u64 = u64::MAX / 255;
    // SAFETY: the eight bytes of a root (asserted in `resolve`), whatever they mean.
    let word = u64::from_le_bytes(unsafe { *ptr::from_ref(archived).cast::<[u8; 8]>() });
    if word & 0xc0 == 0x80 {
        return None;
    }
    // The first byte of 0xff is the first zero byte of the complement.
    let free = !word;
    let first = free.wrapping_sub(LOW) & word & (LOW << 7);
    Some(first.trailing_zeros() as usize / 8)
}

/// The inline form of a string of at most eight bytes: its bytes, then 0xff to the end.
///
/// What `ArchivedStringRepr::emplace_inline` writes, without its call of `memcpy`.
#[inline]
fn inline(text: &[u8]) -> [u8; 8] {
    let fill = u64::MAX.checked_shl(8 * text.len() as u32).unwrap_or(0);
    let word = if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        let last = u64::from(u32::from_le_bytes(*last)) << (8 * (text.len() - 4));
        u64::from(u32::from_le_bytes(*first)) | last
    } else if let (Some(&first), Some(&last)) = (text.first(), text.last()) {
        let middle = text.len() / 2;
        u64::from(first)
            | u64::from(text[middle]) << (8 * middle)
            | u64::from(last) << (8 * (text.len() - 1))
    } else {
        0
    };
    (word | fill).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Our inline form is rkyv's.
    #[test]
    fn short_strings_are_written_as_rkyv_writes_them() {
        for len in 0..=INLINE_CAPACITY {
            let text = &"wie\0sel!"[..len];
            #[repr(align(4))]
            struct Root([u8; 8]);
            let mut expected = Root([0xee_u8; 8]);
            // SAFETY: it fits, and eight bytes are a place for it.
            unsafe { ArchivedStringRepr::emplace_inline(text, expected.0.as_mut_ptr().cast()) };
            assert_eq!(inline(text.as_bytes()), expected.0, "{text}");
            // SAFETY: eight bytes in the form of an archived string.
            let archived = unsafe { &*expected.0.as_ptr().cast::<ArchivedString>() };
            assert_eq!((String::view_of(archived), inline_len(archived)), (text, Some(len)));
        }
    }
}
