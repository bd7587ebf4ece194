//! Look-ups in a segment. `unsafe`: see `segment.rs`.
//!
//! A chain is followed from its home on, group by group, to the row or to the first empty one. Where rows have hints, most
//! are found by a word with the hint of the last flip; a row that has another must not lead its look-up to the end of the
//! chain: the groups there are in no cache, and no look-up goes on before it knows them.

use super::*;

/// What a look-up looks for.
#[derive(Clone, Copy)]
pub(crate) struct Sought {
    word: u64,
    /// The bits of a row's word that have to be it.
    bits: u64,
    /// Those that are its key's.
    key_bits: u64,
}

impl Sought {
    /// A row with this word, which is not `EMPTY`.
    #[inline(always)]
    pub(crate) fn exactly(word: u64) -> Self {
        Self::hinted(word, u64::MAX)
    }

    /// A row with the hint that is in `word`. Of one with another hint, or none, the look-up says that it is not there, as
    /// soon as it meets it.
    #[inline(always)]
    pub(crate) fn hinted(word: u64, key_bits: u64) -> Self {
        Self { word, bits: u64::MAX, key_bits }
    }

    /// A row of this key, whatever its hint. `word` has none, and is not `EMPTY`; one with more bits than those of keys is in
    /// no row.
    #[inline(always)]
    pub(crate) fn of_key(word: u64, key_bits: u64) -> Self {
        Self { word, bits: key_bits, key_bits }
    }
}

impl Segment {
    /// Finds a row, or the place where it belongs: the first empty one of its chain. Without a place, if it has another hint
    /// than is looked for.
    ///
    /// # Safety
    ///
    /// Live, with this shape.
    #[inline(always)]
    pub(crate) unsafe fn find(
        self,
        shape: Shape,
        spot: u64,
        Sought { word, bits, key_bits }: Sought,
        same: impl Fn(*mut u8) -> bool,
    ) -> Place {
        let mask = self.groups() - 1;
        let mut at = spot as u32 & mask;
        loop {
            let group = self.group(shape, at);
            // SAFETY: `at` is below the number of groups.
            let with_word = unsafe { equal(group, word, bits) };
            let mut found = with_word;
            while found != 0 {
                let row = found.trailing_zeros() >> ROW_SHIFT;
                if same(area(shape, group, row)) {
                    return Place { group, at, row, found: true };
                }
                found &= found - 1;
            }
            // SAFETY: as above.
            let mut end = unsafe { equal(group, EMPTY, u64::MAX) };
            if key_bits != bits {
                // SAFETY: as above.
                end |= unsafe { equal(group, word & key_bits, key_bits) } & !with_word;
            }
            if end != 0 {
                return Place { group, at, row: end.trailing_zeros() >> ROW_SHIFT, found: false };
            }
            at = (at + 1) & mask; // A full group: one in twenty at half load.
        }
    }

    /// The first empty place for a row that is known not to be there.
    ///
    /// # Safety
    ///
    /// Live, with this shape, and not `NONE`.
    pub(crate) unsafe fn find_free(self, shape: Shape, spot: u64) -> Place {
        // SAFETY: the caller's promise. No row is the same.
        unsafe { self.find(shape, spot, Sought::exactly(u64::MAX), |_| false) }
    }
}

/// For each row whether these bits of its word are `word`, at bit `row << ROW_SHIFT`. No branch.
///
/// # Safety
///
/// A group of a live segment, or `NONE`'s.
#[cfg(all(target_arch = "x86_64", target_feature = "avx2"))]
#[inline(always)]
unsafe fn equal(group: *const u8, word: u64, bits: u64) -> u32 {
    use std::arch::x86_64::{
        _mm256_and_si256, _mm256_castsi256_pd, _mm256_cmpeq_epi64, _mm256_load_si256,
        _mm256_movemask_pd, _mm256_set1_epi64x,
    };
    // SAFETY: the group's four words, which start on a multiple of 32; the processor is one that this is built for.
    unsafe {
        let bits = _mm256_set1_epi64x(bits.cast_signed());
        let words = _mm256_and_si256(_mm256_load_si256(group.cast()), bits);
        let same = _mm256_cmpeq_epi64(words, _mm256_set1_epi64x(word.cast_signed()));
        _mm256_movemask_pd(_mm256_castsi256_pd(same)).cast_unsigned()
    }
}

/// How far apart [`equal`] puts the bits of two rows, as a power of two.
#[cfg(all(target_arch = "x86_64", target_feature = "avx2"))]
const ROW_SHIFT: u32 = 0;

/// How far apart [`equal`] puts the bits of two rows, as a power of two.
#[cfg(not(all(target_arch = "x86_64", target_feature = "avx2")))]
const ROW_SHIFT: u32 = 2;

/// The bits 0, 4, 8 and 12: for each row whether these bits of its word are `word`. No branch.
///
/// SSE2, which every x86-64 has, compares halves of words: both have to be equal.
///
/// # Safety
///
/// A group of a live segment, or `NONE`'s.
#[cfg(all(target_arch = "x86_64", not(target_feature = "avx2")))]
#[inline(always)]
unsafe fn equal(group: *const u8, word: u64, bits: u64) -> u32 {
    use std::arch::x86_64::{
        __m128i, _mm_and_si128, _mm_cmpeq_epi32, _mm_load_si128, _mm_movemask_epi8,
        _mm_packs_epi32, _mm_set1_epi64x,
    };
    // SAFETY: the group's four words, which start on a multiple of 32.
    unsafe {
        let word = _mm_set1_epi64x(word.cast_signed());
        let bits = _mm_set1_epi64x(bits.cast_signed());
        let half = |at: usize| {
            let words = _mm_load_si128(group.cast::<__m128i>().add(at));
            _mm_cmpeq_epi32(_mm_and_si128(words, bits), word)
        };
        let halves = _mm_movemask_epi8(_mm_packs_epi32(half(0), half(1))).cast_unsigned();
        halves & halves >> 2 & 0x1111
    }
}

/// The bits 0, 4, 8 and 12: for each row whether these bits of its word are `word`. No branch.
///
/// # Safety
///
/// A group of a live segment, or `NONE`'s.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
unsafe fn equal(group: *const u8, word: u64, bits: u64) -> u32 {
    // SAFETY: a group starts with its words.
    let words = unsafe { &*group.cast::<[u64; ROWS]>() };
    let is = |other: &u64| u32::from(*other & bits == word);
    words.iter().rev().fold(0, |found, other| found << 4 | is(other))
}
