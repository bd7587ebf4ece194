//! One timer: what it is, and how timers of a key group are ordered.
//!
//! # What is always true
//!
//! 1. A timer is its time, key and namespace; when it was made is no part of it. Timers are in the order of their time, the
//!    hash of their key, the key, and the namespace.
//! 2. One that is asked for is found without being made; a short one has no memory of its own.

use std::{borrow::Borrow, cmp::Ordering};

use wiesel_core::Timestamp;

/// A timer that was registered.
#[derive(Clone)]
pub struct Timer {
    time: Timestamp,
    hash: u64,
    /// Flips of its queue before it was registered.
    pub(super) made: u64,
    bytes: Bytes,
}

/// Bytes that a timer holds within itself: those of a window and of a key of 13 bytes.
const INLINE_BYTES: usize = 29;

// There may be millions.
const _: () = assert!(size_of::<Timer>() == 56);

/// Key, and behind it the namespace. What is short needs no memory of its own.
#[derive(Clone)]
enum Bytes {
    /// Behind `len` bytes there are zeros.
    Inline {
        key_len: u8,
        len: u8,
        bytes: [u8; INLINE_BYTES],
    },
    Boxed {
        key_len: u32,
        bytes: Box<[u8]>,
    },
}

impl Bytes {
    fn new(key: &[u8], namespace: &[u8]) -> Self {
        let len = key.len() + namespace.len();
        if len > INLINE_BYTES {
            let bytes = [key, namespace].concat().into_boxed_slice();
            return Self::Boxed { key_len: key.len() as u32, bytes };
        }
        let mut bytes = [0; INLINE_BYTES];
        bytes[..key.len()].copy_from_slice(key);
        bytes[key.len()..len].copy_from_slice(namespace);
        Self::Inline { key_len: key.len() as u8, len: len as u8, bytes }
    }

    /// Key and namespace.
    fn split(&self) -> (&[u8], &[u8]) {
        match self {
            Self::Inline { key_len, len, bytes } => {
                bytes[..usize::from(*len)].split_at(usize::from(*key_len))
            }
            Self::Boxed { key_len, bytes } => bytes.split_at(*key_len as usize),
        }
    }
}

/// What a timer is: time, hash, key, namespace. They are in this order.
pub(super) type Parts<'t> = (Timestamp, u64, &'t [u8], &'t [u8]);

/// A timer that is kept, or one that is asked for.
pub(super) trait HasParts {
    fn parts(&self) -> Parts<'_>;
}

impl HasParts for Timer {
    fn parts(&self) -> Parts<'_> {
        let (key, namespace) = self.bytes.split();
        (self.time, self.hash, key, namespace)
    }
}

impl HasParts for Parts<'_> {
    fn parts(&self) -> Parts<'_> {
        *self
    }
}

/// A timer is found without being made.
impl<'t> Borrow<dyn HasParts + 't> for Timer {
    fn borrow(&self) -> &(dyn HasParts + 't) {
        self
    }
}

impl Ord for dyn HasParts + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl PartialOrd for dyn HasParts + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn HasParts + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for dyn HasParts + '_ {}

impl Timer {
    pub(super) fn new((time, hash, key, namespace): Parts<'_>, made: u64) -> Self {
        Self { time, hash, made, bytes: Bytes::new(key, namespace) }
    }

    /// When it is due.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// The hash of its key.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The canonical bytes of its key.
    pub fn key(&self) -> &[u8] {
        self.bytes.split().0
    }

    /// What it is for, beside its key: a window, or nothing.
    pub fn namespace(&self) -> &[u8] {
        self.bytes.split().1
    }

    /// Its own memory and what it points to.
    pub(super) fn bytes_used(&self) -> usize {
        size_of::<Self>()
            + match &self.bytes {
                Bytes::Inline { .. } => 0,
                Bytes::Boxed { bytes, .. } => bytes.len(),
            }
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Timer {}

impl std::fmt::Debug for Timer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Timer({:?} {:?} {:?})", self.time(), self.key(), self.namespace())
    }
}
