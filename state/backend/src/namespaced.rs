//! List and map elements: rows of their own, under a key and a namespace.
//!
//! ```text
//!   composed key    │ key │ namespace │ length of the key: u32 │
//!   composed hash   upper half: the key's (so its key group) │ lower half: both, mixed
//! ```
//!
//! A table finds rows, it does not scan them. So what can be enumerated says so itself:
//!
//! - a **list** is a row under the plain key with a cell `len`, and an element row for each index
//!   (namespace: the index, 8 bytes little-endian). Append: write element `len`, add one. Walking it is
//!   `len` lookups, all of whose lines can be prefetched;
//! - a **map** that is only looked up needs element rows alone (namespace: the map key's bytes);
//! - a map that is iterated keeps a list of its map keys beside: element `index` holds the map key in a
//!   block, the map key's row holds the index, and a removal moves the last element into the gap.
//!
//! The plain key's row and the element rows have different cells: two tables. A namespaced table has bytes
//! keys, and its [`KeyHash`](crate::KeyHash) is [`hash_with`] over what [`split`] gives.
//!
//! ```
//! use wiesel_core::{KeyGroupRange, key_group_of};
//! use wiesel_state::{KeyLayout, RowLayout, Table, namespaced};
//!
//! fn key_hash(key: &[u8]) -> u64 {
//!     key.iter().fold(7, |h, byte| (h ^ u64::from(*byte)).wrapping_mul(0x9E37_79B9_7F4A_7C15))
//! }
//! fn element_hash(composed: &[u8]) -> u64 {
//!     let (key, namespace) = namespaced::split(composed).unwrap_or((composed, &[]));
//!     namespaced::hash_with(key_hash(key), namespace)
//! }
//! let layout = RowLayout::build(KeyLayout::Bytes, element_hash).block("element").finish()?;
//! let element = layout.block("element").unwrap();
//! let mut elements = Table::new(layout, KeyGroupRange::all(128), 128);
//! let mut composed = Vec::new();
//! for (index, text) in ["a", "b"].iter().enumerate() {
//!     let index = (index as u64).to_le_bytes();
//!     namespaced::compose(b"user", &index, &mut composed);
//!     let hash = namespaced::hash_with(key_hash(b"user"), &index);
//!     assert_eq!(key_group_of(hash, 128), key_group_of(key_hash(b"user"), 128));
//!     elements.upsert(hash, &composed).set_block(element, text.as_bytes())?;
//! }
//! assert_eq!(elements.len(), 2);
//! # Ok::<(), wiesel_state::TableError>(())
//! ```

/// Puts key and namespace together; `out` is overwritten.
pub fn compose(key: &[u8], namespace: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(key);
    out.extend_from_slice(namespace);
    out.extend_from_slice(&(key.len() as u32).to_le_bytes());
}

/// Key and namespace of a composed key. `None` for bytes that `compose` did not make.
pub fn split(composed: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, len) = composed.split_last_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*len) as usize)
}

/// The hash of a composed key: in the key group of its key, and spread within it by the namespace.
#[inline]
pub fn hash_with(key_hash: u64, namespace: &[u8]) -> u64 {
    const K: u64 = 0x9E37_79B9_7F4A_7C15;
    let fold = |h: u64, word: u64| {
        let product = u128::from(h ^ word) * u128::from(K);
        (product as u64 ^ (product >> 64) as u64).wrapping_add(K)
    };
    let mut hash = key_hash ^ namespace.len() as u64;
    let mut chunks = namespace.chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        hash = fold(hash, u64::from_le_bytes(word));
    }
    let mut word = [0; 8];
    word[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    hash = fold(hash, u64::from_le_bytes(word));
    key_hash & !0xffff_ffff | hash >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composed_keys_come_apart() {
        let mut composed = Vec::new();
        for (key, namespace) in [("", ""), ("a", ""), ("", "b"), ("key", "namespace")] {
            compose(key.as_bytes(), namespace.as_bytes(), &mut composed);
            assert_eq!(split(&composed), Some((key.as_bytes(), namespace.as_bytes())));
        }
        for bytes in [&[][..], &[0, 0, 0], &[1, 0, 0, 0], &[7, 255, 255, 255, 255]] {
            assert_eq!(split(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn hashes_are_pinned_and_spread() {
        // Where elements lie is no format, but a change would make old benchmarks mean something else.
        let key = 0x0123_4567_89ab_cdef;
        let mut low: Vec<u32> =
            (0..10_000_u64).map(|i| hash_with(key, &i.to_le_bytes()) as u32 & 0xffff).collect();
        assert!((0..100_u64).all(|i| hash_with(key, &i.to_le_bytes()) >> 32 == key >> 32));
        low.sort_unstable();
        low.dedup();
        // 65,536 * (1 - e^(-10,000 / 65,536)) = 9,275 expected of random ones.
        assert!((9_000..9_600).contains(&low.len()), "{}", low.len());
        assert_ne!(hash_with(key, &[0]), hash_with(key, &[0, 0]));
    }
}
