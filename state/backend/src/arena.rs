//! The memory of segments. `unsafe` lives here: **a span is handed out once until it is given back, is
//! zeroed, aligned to a cache line, and lies in a chunk that lives as long as the arena.**
//!
//! ```text
//!   small, growing segments   ── the allocator, one each (a table of ten rows takes what ten rows take)
//!   full-size segments        ── chunks: 1, 2, 4 … spans, from 2 MiB on mapped with huge pages
//!   given back                ── a list; zeroed when taken again
//! ```
//!
//! With 4 KiB pages a random probe of 32 MiB costs a TLB miss beside the cache miss (11.7 against 9.9 ns, measured on the
//! Xeon of `bench/README.md`); the kernel gives huge pages only to those who ask.

use std::{
    alloc::{self, Layout},
    ptr::{self, NonNull},
};

/// What x86 and most ARM cores fetch at once. Spans start on one.
pub(crate) const LINE: usize = 64;

const HUGE_PAGE: usize = 2 << 20;

/// The largest chunk: at most this much of a table's memory is reserved and not used yet.
const CHUNK_MAX: usize = 32 << 20;

/// Zeroed memory, freed when dropped.
pub(crate) struct Chunk {
    start: NonNull<u8>,
    bytes: usize,
    mapped: bool,
}

impl Chunk {
    /// At least `bytes` bytes, aligned to a line; from 2 MiB on, on huge pages where the kernel has some.
    pub(crate) fn zeroed(bytes: usize) -> Self {
        if bytes >= HUGE_PAGE {
            let bytes = bytes.next_multiple_of(HUGE_PAGE);
            if let Some(start) = map_huge(bytes) {
                return Self { start, bytes, mapped: true };
            }
        }
        let bytes = bytes.max(LINE);
        Self { start: take_lines(bytes), bytes, mapped: false }
    }

    pub(crate) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if self.mapped {
            // SAFETY: `map_huge` mapped exactly these bytes, and whoever used them is gone.
            let unmapped = unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
            debug_assert_eq!(unmapped, 0, "our own mapping");
        } else {
            // SAFETY: `take_lines` gave these bytes.
            unsafe { give_lines(self.start, self.bytes) };
        }
    }
}

/// Maps `bytes` (whole huge pages) aligned to a huge page. `None` if the kernel refuses: the allocator
/// is asked next, and knows how to fail.
fn map_huge(bytes: usize) -> Option<NonNull<u8>> {
    if cfg!(miri) {
        return None;
    }
    let room = bytes.checked_add(HUGE_PAGE)?;
    // SAFETY: an anonymous private mapping at an address of the kernel's choice touches nothing of ours.
    let mapped = unsafe {
        libc::mmap(
            ptr::null_mut(),
            room,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if mapped == libc::MAP_FAILED {
        return None;
    }
    let mapped = mapped.cast::<u8>();
    let before = mapped.addr().next_multiple_of(HUGE_PAGE) - mapped.addr();
    let after = room - before - bytes;
    // SAFETY: all inside the mapping just made. What lies before and after the aligned part is unmapped
    // once and never named again; advice changes no contents, and its refusal costs only speed.
    unsafe {
        let start = mapped.add(before);
        if before > 0 {
            libc::munmap(mapped.cast(), before);
        }
        if after > 0 {
            libc::munmap(start.add(bytes).cast(), after);
        }
        libc::madvise(start.cast(), bytes, libc::MADV_HUGEPAGE);
        NonNull::new(start)
    }
}

fn lines(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, LINE).expect("segments and chunks are far below isize::MAX")
}

/// Zeroed bytes from the allocator, aligned to a line. `bytes` is not zero.
pub(crate) fn take_lines(bytes: usize) -> NonNull<u8> {
    assert!(bytes > 0);
    // SAFETY: the size is not zero.
    let start = unsafe { alloc::alloc_zeroed(lines(bytes)) };
    NonNull::new(start).unwrap_or_else(|| alloc::handle_alloc_error(lines(bytes)))
}

/// Gives bytes back to the allocator.
///
/// # Safety
///
/// They came from `take_lines` with the same length, and nobody uses them any more.
pub(crate) unsafe fn give_lines(start: NonNull<u8>, bytes: usize) {
    // SAFETY: the caller's promise.
    unsafe { alloc::dealloc(start.as_ptr(), lines(bytes)) };
}

/// Spans of one size, for full-size segments.
pub(crate) struct Arena {
    span_bytes: usize,
    chunks: Vec<Chunk>,
    /// First byte of the last chunk that was never handed out.
    next: usize,
    free: Vec<NonNull<u8>>,
    reserved: usize,
}

impl Arena {
    pub(crate) fn new(span_bytes: usize) -> Self {
        assert!(span_bytes > 0 && span_bytes.is_multiple_of(LINE));
        Self { span_bytes, chunks: Vec::new(), next: 0, free: Vec::new(), reserved: 0 }
    }

    /// A zeroed span.
    pub(crate) fn take(&mut self) -> NonNull<u8> {
        if let Some(span) = self.free.pop() {
            // SAFETY: a span that was given back is ours alone, and `span_bytes` long.
            unsafe { span.write_bytes(0, self.span_bytes) };
            return span;
        }
        if self.chunks.last().is_none_or(|chunk| self.next + self.span_bytes > chunk.bytes()) {
            // As much again as there is: the table at most doubles what it uses.
            let bytes = self.reserved.clamp(self.span_bytes, CHUNK_MAX.max(self.span_bytes));
            self.chunks.push(Chunk::zeroed(bytes));
            self.next = 0;
            self.reserved += self.chunks[self.chunks.len() - 1].bytes();
        }
        let chunk = &self.chunks[self.chunks.len() - 1];
        // SAFETY: `next + span_bytes` is inside the chunk, whose bytes from `next` on were never handed
        // out and are still zero.
        let span = unsafe { chunk.start.add(self.next) };
        self.next += self.span_bytes;
        span
    }

    /// Takes a span back.
    ///
    /// # Safety
    ///
    /// It came from `take` of this arena, and nobody uses it any more.
    pub(crate) unsafe fn give(&mut self, span: NonNull<u8>) {
        self.free.push(span);
    }

    /// Bytes that were handed out at some time. What was not takes address space and no memory.
    pub(crate) fn touched(&self) -> usize {
        self.reserved - self.chunks.last().map_or(0, |chunk| chunk.bytes() - self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_zeroed_aligned_and_apart() {
        let mut arena = Arena::new(66_624);
        let mut spans: Vec<NonNull<u8>> = Vec::new();
        for round in 0..100_u8 {
            let span = arena.take();
            assert!(span.as_ptr().addr().is_multiple_of(LINE));
            assert!(
                spans.iter().all(|s| s.as_ptr().addr().abs_diff(span.as_ptr().addr()) >= 66_624)
            );
            // SAFETY: a span just taken.
            let bytes = unsafe { std::slice::from_raw_parts_mut(span.as_ptr(), 66_624) };
            assert!(bytes.iter().all(|byte| *byte == 0));
            bytes.fill(0xff);
            spans.push(span);
            if round % 3 == 0 {
                // SAFETY: taken above, removed from the list of those in use.
                unsafe { arena.give(spans.swap_remove(usize::from(round) % spans.len())) };
            }
        }
        assert!(arena.touched() < 80 * 66_624, "spans given back are taken again");
    }
}
