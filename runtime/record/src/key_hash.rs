//! The hash of a key: seedless, the same on every machine and in every release. Format version 1.
//!
//! It decides where a key lives, in the cluster (upper half) and in a table (lower half), and it is
//! in checkpoints: it must never change without a new version.
//!
//! ```text
//!   state = START                          mum(a, b) = low ^ high of the 128-bit product
//!   word w    state = mum(state, A) ^ w    any number, bool, char, variant index, length
//!   bytes     word of length * D (wrapping; so that it meets no byte of what follows),
//!             then per 16 bytes (l, h), while more than 16 are left:  state = mum(state ^ l, h ^ B)
//!             rest of at most 16: l = its first 8, h = its last 8 (they may overlap; below 8: two
//!             times 4; below 4: first, middle and last byte)  state = mum(state ^ l, h ^ C)
//!   finish    murmur3's 64-bit finaliser
//! ```
//!
//! # What is always true
//!
//! 1. Two different keys of one number never have the same hash: all steps on the way are bijective.
//! 2. A hash is the same over an owned value, an archived one and a view: it sees only views.
//! 3. It spreads what occurs, not what an adversary picks: there is no secret in it.
//! 4. Numbers of any width hash as their 64-bit value (zero-extended bits; 128 bits are two words,
//!    low first), so a wrapper around one number hashes as the number.

/// The version of this format, for checkpoints.
pub const KEY_HASH_VERSION: u32 = 1;

// Digits of pi, made odd: nothing up the sleeve.
const START: u64 = 0x243f_6a88_85a3_08d3;
const A: u64 = 0x1319_8a2e_0370_7345;
const B: u64 = 0xa409_3822_299f_31d1;
const C: u64 = 0x082e_fa98_ec4e_6c89;
const D: u64 = 0x4528_21e6_38d0_1377;

/// Takes the fields of a key one by one.
///
/// ```
/// use wiesel_record::{Key, KeyHasher};
///
/// let mut hasher = KeyHasher::new();
/// hasher.word(7);
/// assert_eq!(hasher.finish(), u64::key_hash(7));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct KeyHasher(u64);

impl KeyHasher {
    /// Nothing taken yet.
    #[inline]
    pub const fn new() -> Self {
        Self(START)
    }

    /// Takes a number, a flag, a variant index or a length.
    #[inline]
    pub const fn word(&mut self, word: u64) {
        self.0 = mum(self.0, A) ^ word;
    }

    /// Takes bytes, with their length before them.
    #[inline(always)]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.word((bytes.len() as u64).wrapping_mul(D));
        let mut rest = bytes;
        while let Some((block, after)) = rest.split_first_chunk::<16>()
            && !after.is_empty()
        {
            self.0 = mum(self.0 ^ word_at(block, 0), word_at(block, 8) ^ B);
            rest = after;
        }
        let (low, high) = ends(rest);
        self.0 = mum(self.0 ^ low, high ^ C);
    }

    /// The hash of what was taken.
    #[inline]
    pub const fn finish(self) -> u64 {
        let mut hash = self.0;
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ (hash >> 33)
    }
}

impl Default for KeyHasher {
    fn default() -> Self {
        Self::new()
    }
}

#[inline]
const fn mum(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

/// Eight bytes from `at` on, little-endian; zero where there are none.
#[inline]
fn word_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

/// At most sixteen bytes as two words.
#[inline]
fn ends(bytes: &[u8]) -> (u64, u64) {
    if bytes.len() >= 4 {
        // Four loads, and no branch that asks whether there are eight bytes: keys of mixed lengths mispredict it.
        let four = |at: usize| {
            let mut word = [0; 4];
            word.copy_from_slice(&bytes[at..at + 4]);
            u64::from(u32::from_le_bytes(word))
        };
        let len = bytes.len();
        let wide = u64::from(len < 8).wrapping_sub(1); // All ones from eight bytes on, else zero.
        let (second, third) = (4 & wide as usize, len.wrapping_sub(8) & wide as usize);
        let (first, last) = (four(0), four(len - 4));
        let low = first | (four(second) << 32) & wide;
        let high = (four(third) | last << 32) & wide | last & !wide;
        (low, high)
    } else if let (Some(first), Some(last)) = (bytes.first(), bytes.last()) {
        let middle = bytes[bytes.len() / 2];
        ((u64::from(*first) << 16) | (u64::from(middle) << 8) | u64::from(*last), 0)
    } else {
        (0, 0)
    }
}
