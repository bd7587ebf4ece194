//! Brings the lines of a frame closer before they are written. `unsafe` lives here: **a prefetch has no effect but on the
//! cache, whatever the address.**
//!
//! A frame that comes home was read by another core, so each of its lines has to be taken back before it is written.
//! The processor guesses what comes next for one stream; a frame has two, records that go up and index blocks that go
//! down. So whoever begins a block of 32 records asks for the lines of the next one: 2 % of a keyed exchange between two
//! cores. (Asking in the same way for what is *read* made it 15 % slower: there the misses under way are used up by
//! the state table's.)

/// What a core fetches at once.
const LINE: usize = 64;

/// Most lines that are asked for at once: a core has no more than 16 misses under way.
const LINES_MAX: usize = 16;

/// For writing: `bytes` from `offset` on, as far as they are in `frame`.
#[inline]
pub(crate) fn for_write(frame: &[u8], offset: usize, bytes: usize) {
    for line in lines(frame.len(), offset, bytes) {
        prefetch(frame.as_ptr().wrapping_add(line));
    }
}

#[inline]
fn lines(len: usize, offset: usize, bytes: usize) -> impl Iterator<Item = usize> {
    let end = offset.saturating_add(bytes.min(LINES_MAX * LINE)).min(len);
    (offset..end).step_by(LINE)
}

#[inline(always)]
fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        // SAFETY: no effect but on the cache, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_in_the_frame_and_are_bounded() {
        let all = |len, offset, bytes| lines(len, offset, bytes).collect::<Vec<_>>();
        assert_eq!(all(32_768, 64, 200), [64, 128, 192, 256]);
        assert_eq!(all(32_768, 32_700, 4_096), [32_700, 32_764]);
        assert!(all(100, 200, 64).is_empty() && all(100, 0, 0).is_empty());
        assert_eq!(all(1 << 20, 0, 1 << 20).len(), LINES_MAX);
    }
}
