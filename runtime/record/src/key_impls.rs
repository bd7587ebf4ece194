//! The keys that come with the crate: integers, `bool`, `char`, `String`, times, options, lists.
//! (Tuples are in `tuples`.) Floats are left out on purpose.
//!
//! # What is always true
//!
//! 1. What is read back is what was appended, and nothing else is accepted.

use std::time::Duration;

use wiesel_core::Timestamp;

use crate::{InvalidKey, Key, KeyArena, KeyHasher, List, Record, key::take};

/// A key of fixed width: `$word` gives its words to the hasher, `$to` its bytes, `$from` reads them.
macro_rules! fixed {
    ($($type:ty, $bytes:literal, |$view:ident| $words:expr, $to:expr, |$read:ident| $from:expr;)+) => {$(
        impl Key for $type {
            const FIXED: Option<usize> = Some($bytes);

            #[inline]
            fn hash_key($view: $type, hasher: &mut KeyHasher) {
                $words.into_iter().for_each(|word| hasher.word(word));
            }

            #[inline]
            fn append_key($view: $type, out: &mut Vec<u8>) {
                out.extend_from_slice(&$to);
            }

            #[inline]
            fn read_key(bytes: &mut &[u8], _: &KeyArena) -> Result<$type, InvalidKey> {
                let $read: [u8; $bytes] = take::<Self, $bytes>(bytes)?;
                $from.ok_or(InvalidKey::of::<Self>())
            }

            #[inline]
            fn with_key_bytes<R>(
                $view: $type,
                _: &mut Vec<u8>,
                f: impl FnOnce(&[u8]) -> R,
            ) -> R {
                f(&$to)
            }
        }
    )+};
}

fixed! {
    i8, 1, |v| [v as u8 as u64], v.to_le_bytes(), |b| Some(i8::from_le_bytes(b));
    u16, 2, |v| [v as u64], v.to_le_bytes(), |b| Some(u16::from_le_bytes(b));
    i16, 2, |v| [v as u16 as u64], v.to_le_bytes(), |b| Some(i16::from_le_bytes(b));
    u32, 4, |v| [v as u64], v.to_le_bytes(), |b| Some(u32::from_le_bytes(b));
    i32, 4, |v| [v as u32 as u64], v.to_le_bytes(), |b| Some(i32::from_le_bytes(b));
    u64, 8, |v| [v], v.to_le_bytes(), |b| Some(u64::from_le_bytes(b));
    i64, 8, |v| [v as u64], v.to_le_bytes(), |b| Some(i64::from_le_bytes(b));
    u128, 16, |v| [v as u64, (v >> 64) as u64], v.to_le_bytes(), |b| Some(u128::from_le_bytes(b));
    i128, 16, |v| [v as u64, (v >> 64) as u64], v.to_le_bytes(), |b| Some(i128::from_le_bytes(b));
    bool, 1, |v| [v as u64], [v as u8], |b| match b { [0] => Some(false), [1] => Some(true), _ => None };
    char, 4, |v| [v as u64], (v as u32).to_le_bytes(), |b| char::from_u32(u32::from_le_bytes(b));
    Timestamp, 8, |v| [v.as_millis() as u64], v.as_millis().to_le_bytes(),
        |b| Some(Timestamp::from_millis(i64::from_le_bytes(b)));
    Duration, 12, |v| [v.as_secs(), v.subsec_nanos() as u64], duration_bytes(v), |b| duration_from(b);
}

fn duration_bytes(duration: Duration) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&duration.as_secs().to_le_bytes());
    bytes[8..].copy_from_slice(&duration.subsec_nanos().to_le_bytes());
    bytes
}

fn duration_from(bytes: [u8; 12]) -> Option<Duration> {
    let seconds = u64::from_le_bytes(*bytes.first_chunk()?);
    let nanos = u32::from_le_bytes(*bytes.last_chunk()?);
    (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))
}

impl Key for u8 {
    const FIXED: Option<usize> = Some(1);

    #[inline]
    fn hash_key(view: u8, hasher: &mut KeyHasher) {
        hasher.word(view.into());
    }

    #[inline]
    fn append_key(view: u8, out: &mut Vec<u8>) {
        out.push(view);
    }

    #[inline]
    fn read_key(bytes: &mut &[u8], _: &KeyArena) -> Result<u8, InvalidKey> {
        take::<Self, 1>(bytes).map(|[byte]| byte)
    }

    /// Bytes are hashed as bytes, not one word each.
    #[inline]
    fn hash_keys(list: List<'_, u8>, hasher: &mut KeyHasher) {
        hasher.bytes(list.as_slice());
    }

    #[inline]
    fn with_key_bytes<R>(view: u8, _: &mut Vec<u8>, f: impl FnOnce(&[u8]) -> R) -> R {
        f(&[view])
    }
}

impl Key for () {
    const FIXED: Option<usize> = Some(0);

    #[inline]
    fn hash_key((): (), _: &mut KeyHasher) {}

    #[inline]
    fn append_key((): (), _: &mut Vec<u8>) {}

    #[inline]
    fn read_key(_: &mut &[u8], _: &KeyArena) -> Result<(), InvalidKey> {
        Ok(())
    }
}

impl Key for String {
    const FIXED: Option<usize> = None;

    // Always: a call would take the state through memory, for every word of a text.
    #[inline(always)]
    fn hash_key(view: &str, hasher: &mut KeyHasher) {
        hasher.bytes(view.as_bytes());
    }

    #[inline]
    fn append_key(view: &str, out: &mut Vec<u8>) {
        append_len(view.len(), out);
        out.extend_from_slice(view.as_bytes());
    }

    #[inline]
    fn read_key<'b>(bytes: &mut &'b [u8], _: &'b KeyArena) -> Result<&'b str, InvalidKey> {
        let len = read_len::<Self>(bytes)?;
        let (text, rest) = bytes.split_at_checked(len).ok_or(InvalidKey::of::<Self>())?;
        *bytes = rest;
        std::str::from_utf8(text).map_err(|_| InvalidKey::of::<Self>())
    }

    /// A string on its own is its bytes.
    #[inline(always)]
    fn with_key_bytes<R>(view: &str, _: &mut Vec<u8>, f: impl FnOnce(&[u8]) -> R) -> R {
        f(view.as_bytes())
    }

    #[inline]
    fn try_with_key<R>(bytes: &[u8], f: impl FnOnce(&str) -> R) -> Result<R, InvalidKey> {
        std::str::from_utf8(bytes).map(f).map_err(|_| InvalidKey::of::<Self>())
    }
}

impl<K: Key> Key for Option<K> {
    const FIXED: Option<usize> = None;

    #[inline]
    fn hash_key(view: Self::View<'_>, hasher: &mut KeyHasher) {
        hasher.word(view.is_some() as u64);
        if let Some(view) = view {
            K::hash_key(view, hasher);
        }
    }

    #[inline]
    fn append_key(view: Self::View<'_>, out: &mut Vec<u8>) {
        append_variant(view.is_some().into(), out);
        if let Some(view) = view {
            K::append_key(view, out);
        }
    }

    #[inline]
    fn read_key<'b>(
        bytes: &mut &'b [u8],
        arena: &'b KeyArena,
    ) -> Result<Self::View<'b>, InvalidKey> {
        match read_variant::<Self>(bytes)? {
            0 => Ok(None),
            1 => K::read_key(bytes, arena).map(Some),
            _ => Err(InvalidKey::of::<Self>()),
        }
    }
}

macro_rules! list {
    ($($type:ty),+) => {$(
        impl<K: Key> Key for $type {
            const FIXED: Option<usize> = None;

            #[inline]
            fn hash_key(view: List<'_, K>, hasher: &mut KeyHasher) {
                K::hash_keys(view, hasher);
            }

            #[inline]
            fn append_key(view: List<'_, K>, out: &mut Vec<u8>) {
                append_len(view.len(), out);
                view.iter().for_each(|element| K::append_key(element, out));
            }

            #[inline]
            fn read_key<'b>(
                bytes: &mut &'b [u8],
                arena: &'b KeyArena,
            ) -> Result<List<'b, K>, InvalidKey> {
                let len = read_len::<Self>(bytes)?;
                read_list(len, bytes, arena)
            }
        }
    )+};
}

list!(Vec<K>, Box<[K]>);

/// An array has no length before it: its type says it.
impl<K: Key, const N: usize> Key for [K; N] {
    const FIXED: Option<usize> = match K::FIXED {
        Some(length) => Some(length * N),
        None => None,
    };

    #[inline]
    fn hash_key(view: List<'_, K>, hasher: &mut KeyHasher) {
        K::hash_keys(view, hasher);
    }

    #[inline]
    fn append_key(view: List<'_, K>, out: &mut Vec<u8>) {
        view.iter().for_each(|element| K::append_key(element, out));
    }

    #[inline]
    fn read_key<'b>(bytes: &mut &'b [u8], arena: &'b KeyArena) -> Result<List<'b, K>, InvalidKey> {
        read_list(N, bytes, arena)
    }
}

fn read_list<'b, K: Key>(
    len: usize,
    bytes: &mut &'b [u8],
    arena: &'b KeyArena,
) -> Result<List<'b, K>, InvalidKey> {
    // Not reserved at once: the length is only a claim until as many elements were read.
    let mut items = Vec::new();
    for _ in 0..len {
        items.push(K::from_view(K::read_key(bytes, arena)?));
    }
    Ok(List::from(arena.keep(items)))
}

/// Appends a length.
#[inline]
fn append_len(len: usize, out: &mut Vec<u8>) {
    debug_assert!(u32::try_from(len).is_ok());
    append_variant(len as u32, out);
}

#[inline]
fn read_len<K: Record>(bytes: &mut &[u8]) -> Result<usize, InvalidKey> {
    Ok(read_variant::<K>(bytes)? as usize)
}

/// Appends the index of a variant.
#[inline]
pub fn append_variant(index: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&index.to_le_bytes());
}

/// Takes the index of a variant off the front.
///
/// # Errors
/// [`InvalidKey`] if there are not four bytes.
#[inline]
pub fn read_variant<K: Record>(bytes: &mut &[u8]) -> Result<u32, InvalidKey> {
    take::<K, 4>(bytes).map(u32::from_le_bytes)
}
