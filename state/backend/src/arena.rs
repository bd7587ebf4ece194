//! The memory of segments. `unsafe` lives here: **a span is handed out once until it is given back, is
//! zeroed, aligned to a cache line, and lies in a chunk that lives as long as the arena.**
//!
//! ```text
//!   small, growing segments   ── the pool of the thread, one each (a table of ten rows takes what ten rows take)
//!   full-size segments        ── chunks: 1, 2, 4 … spans, of the pool; from 2 MiB on whole huge pages
//!   given back                ── a list; zeroed when taken again
//! ```
//!
//! All of it lies on huge pages, if the kernel has some: `pool.rs` says why.

use std::{mem::ManuallyDrop, ptr::NonNull, rc::Rc};

use crate::pool::{HUGE_PAGE, Huge, Pool};

/// What x86 and most ARM cores fetch at once. Spans start on one.
pub(crate) const LINE: usize = 64;

/// The largest chunk: at most this much of a table's memory is reserved and not used yet.
const CHUNK_MAX: usize = 32 << 20;

/// Memory of a table, given back when dropped.
pub(crate) enum Chunk {
    /// From 2 MiB on: whole huge pages, zeroed unless another table had them before.
    Huge { pool: Rc<Pool>, huge: ManuallyDrop<Huge>, is_zeroed: bool },
    /// Of the thread's pool, with anything in it.
    Pooled { pool: Rc<Pool>, start: NonNull<u8>, bytes: usize },
}

impl Chunk {
    /// At least `bytes` bytes, aligned to a line; on huge pages where the kernel has some.
    pub(crate) fn new(pool: &Rc<Pool>, bytes: usize) -> Self {
        if bytes >= HUGE_PAGE
            && let Some((huge, is_zeroed)) = pool.take_huge(bytes)
        {
            return Self::Huge { pool: Rc::clone(pool), huge: ManuallyDrop::new(huge), is_zeroed };
        }
        let bytes = bytes.max(LINE);
        Self::Pooled { pool: Rc::clone(pool), start: pool.take(bytes), bytes }
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        match self {
            Self::Huge { huge, .. } => huge.start(),
            Self::Pooled { start, .. } => *start,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Huge { huge, .. } => huge.bytes(),
            Self::Pooled { bytes, .. } => *bytes,
        }
    }

    fn is_zeroed(&self) -> bool {
        matches!(self, Self::Huge { is_zeroed: true, .. })
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        match self {
            // SAFETY: it is taken out once, here.
            Self::Huge { pool, huge, .. } => pool.give_huge(unsafe { ManuallyDrop::take(huge) }),
            // SAFETY: `new` took these bytes, and whoever used them is gone.
            Self::Pooled { pool, start, bytes } => unsafe { pool.give(*start, *bytes) },
        }
    }
}

/// Spans of one size, for full-size segments.
pub(crate) struct Arena {
    span_bytes: usize,
    chunks: Vec<Chunk>,
    /// First byte of the last chunk that was never handed out.
    next: usize,
    free: Vec<NonNull<u8>>,
    reserved: usize,
    pool: Rc<Pool>,
}

impl Arena {
    pub(crate) fn new(span_bytes: usize, pool: Rc<Pool>) -> Self {
        assert!(span_bytes > 0 && span_bytes.is_multiple_of(LINE));
        Self { span_bytes, chunks: Vec::new(), next: 0, free: Vec::new(), reserved: 0, pool }
    }

    /// How long a span is.
    pub(crate) fn span_bytes(&self) -> usize {
        self.span_bytes
    }

    /// Zeroed bytes for a smaller segment, aligned to a line.
    pub(crate) fn take_small(&self, bytes: usize) -> NonNull<u8> {
        let start = self.pool.take(bytes);
        // SAFETY: just taken, and as long.
        unsafe { start.write_bytes(0, bytes) };
        start
    }

    /// Takes them back.
    ///
    /// # Safety
    ///
    /// They came from `take_small` of this arena with the same length, and nobody uses them any more.
    pub(crate) unsafe fn give_small(&self, start: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.pool.give(start, bytes) };
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
            self.chunks.push(Chunk::new(&self.pool, bytes));
            self.next = 0;
            self.reserved += self.chunks[self.chunks.len() - 1].bytes();
        }
        let chunk = &self.chunks[self.chunks.len() - 1];
        // SAFETY: `next + span_bytes` is inside the chunk, whose bytes from `next` on were never handed out: they are
        // still zero if they were.
        let span = unsafe {
            let span = chunk.start().add(self.next);
            if !chunk.is_zeroed() {
                span.write_bytes(0, self.span_bytes);
            }
            span
        };
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
        let mut arena = Arena::new(66_624, Pool::of_thread());
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
