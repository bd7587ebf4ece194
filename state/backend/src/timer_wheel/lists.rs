//! Lists of timers in chunks, all from one slab: a list of thousands is read as memory, not as a chain of places.
//!
//! ```text
//!   List { chunk, len } ─▶ │ t │ t │ t │   │   │   │ next ─▶ │ t │ t │ t │ t │ t │ t │ next ─▶ none
//!                            `len` of the first one are taken          all others are full
//! ```
//!
//! # What is always true
//!
//! 1. How many timers the first chunk has is known without a look at it: to add one waits for no memory.
//! 2. While the timers of a chunk are taken out, the lines of the next one are on their way.
//! 3. A list that is empty has no chunk.

use std::mem;

use super::WheelTimer;
use crate::segment;

/// Timers of a chunk, which is four cache lines then.
const CHUNK_TIMERS: usize = 6;
const LINE: usize = 64;

/// No chunk; the end of a list.
const NONE: u32 = u32::MAX;

/// Chunks that the slab keeps room for when it is empty.
const KEPT_CHUNKS: usize = 256;

/// A list: where it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    chunk: u32,
    /// Timers in the first chunk.
    len: u32,
}

impl List {
    pub(super) const EMPTY: Self = Self { chunk: NONE, len: 0 };

    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self.chunk == NONE
    }
}

#[repr(align(64))]
struct Chunk {
    timers: [WheelTimer; CHUNK_TIMERS],
    /// The next one of its list, or of those that are free.
    next: u32,
}

const _: () = assert!(size_of::<Chunk>() == 4 * LINE);

/// All chunks.
pub(super) struct Chunks {
    chunks: Vec<Chunk>,
    free: u32,
}

impl Chunks {
    pub(super) const fn new() -> Self {
        Self { chunks: Vec::new(), free: NONE }
    }

    /// Adds a timer at the front.
    #[inline]
    pub(super) fn push(&mut self, list: &mut List, timer: WheelTimer) {
        if list.is_empty() || list.len as usize == CHUNK_TIMERS {
            *list = List { chunk: self.begin(list.chunk), len: 0 };
        }
        self.chunks[list.chunk as usize].timers[list.len as usize] = timer;
        list.len += 1;
    }

    /// An empty chunk in front of `next`.
    fn begin(&mut self, next: u32) -> u32 {
        if let Some(chunk) = self.chunks.get_mut(self.free as usize) {
            let index = self.free;
            self.free = mem::replace(&mut chunk.next, next);
            return index;
        }
        let index = self.chunks.len();
        assert!(index < NONE as usize, "2^32 chunks of timers of one subtask");
        self.chunks.push(Chunk { timers: [const { WheelTimer::NONE }; CHUNK_TIMERS], next });
        index as u32
    }

    /// Takes out the timer at the front.
    #[inline]
    pub(super) fn pop(&mut self, list: &mut List) -> Option<WheelTimer> {
        let chunk = self.chunks.get_mut(list.chunk as usize)?;
        list.len -= 1;
        let timer = mem::replace(&mut chunk.timers[list.len as usize], WheelTimer::NONE);
        if list.len == 0 {
            let next = mem::replace(&mut chunk.next, self.free);
            self.free = list.chunk;
            *list = self.begins_at(next);
        }
        Some(timer)
    }

    /// The list of full chunks that begins here.
    fn begins_at(&self, index: u32) -> List {
        let Some(chunk) = self.chunks.get(index as usize) else { return List::EMPTY };
        if let Some(next) = self.chunks.get(chunk.next as usize) {
            let next: *const u8 = std::ptr::from_ref(next).cast();
            (0..4).for_each(|line| segment::prefetch(next.wrapping_add(line * LINE)));
        }
        List { chunk: index, len: CHUNK_TIMERS as u32 }
    }

    /// The timer that `pop` gives after `ahead` others, if it is in the first chunk or the one behind it.
    #[inline]
    pub(super) fn peek(&self, list: List, ahead: usize) -> Option<&WheelTimer> {
        let chunk = self.chunks.get(list.chunk as usize)?;
        match (list.len as usize).checked_sub(1 + ahead) {
            Some(at) => chunk.timers.get(at),
            None => {
                let at = CHUNK_TIMERS.checked_sub(1 + ahead - list.len as usize)?;
                self.chunks.get(chunk.next as usize)?.timers.get(at)
            }
        }
    }

    /// No list has a timer any more.
    pub(super) fn clear(&mut self) {
        self.chunks.clear();
        self.chunks.shrink_to(KEPT_CHUNKS);
        self.free = NONE;
    }

    /// Bytes held.
    pub(super) fn bytes_used(&self) -> usize {
        let long =
            |chunk: &Chunk| chunk.timers.iter().map(WheelTimer::bytes_outside).sum::<usize>();
        let keys: usize = self.chunks.iter().map(long).sum();
        self.chunks.capacity() * size_of::<Chunk>() + keys
    }
}

#[cfg(test)]
pub(super) const KEPT_BYTES: usize = KEPT_CHUNKS * size_of::<Chunk>();

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(number: u64) -> WheelTimer {
        WheelTimer { hash: number, ..WheelTimer::NONE }
    }

    #[test]
    fn lists_share_the_slab_and_each_gives_back_what_it_was_given() {
        let (mut chunks, mut lists) = (Chunks::new(), [List::EMPTY; 3]);
        let mut expected = [const { Vec::new() }; 3];
        let mut state = 5_u64;
        for number in 0..10_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (state >> 40) as usize % 3;
            if (state >> 50) % 100 < if number < 5_000 { 60 } else { 40 } {
                chunks.push(&mut lists[at], timer(number));
                expected[at].push(number);
            } else {
                for ahead in 0..4 {
                    let peeked = chunks.peek(lists[at], ahead).map(|timer| timer.hash);
                    let there = expected[at].iter().rev().nth(ahead).copied();
                    assert_eq!(peeked, there, "{ahead} ahead");
                }
                assert_eq!(chunks.pop(&mut lists[at]).map(|timer| timer.hash), expected[at].pop());
            }
            assert_eq!(lists.map(List::is_empty), expected.each_ref().map(Vec::is_empty));
        }
        let most = chunks.chunks.len();
        for (list, expected) in lists.iter_mut().zip(&mut expected) {
            while let Some(number) = expected.pop() {
                assert_eq!(chunks.pop(list).map(|timer| timer.hash), Some(number));
            }
            assert!(chunks.pop(list).is_none() && list.is_empty());
        }
        assert_eq!(chunks.chunks.len(), most, "nothing is made where there are free ones");
        chunks.clear();
        assert!(chunks.bytes_used() <= KEPT_BYTES);
    }
}
