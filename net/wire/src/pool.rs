//! Frames of a shard: all allocated at start, some promised to each partition, the rest floating.
//!
//! ```text
//!   FramePool (of a region)   total = promised to A + promised to B + … + floating
//!      ▲ reserve(n)
//!   LocalPool (one a partition)   takes: its own n first, then floating ones, then overdraft
//! ```
//!
//! # What is always true
//!
//! 1. A local pool gets the frames it reserved, whatever the others do: `free >= promised`. Without this two
//!    partitions could each hold what the other waits for.
//! 2. Memory is at most `total + overdraft + jumbo`, in bytes. Overdraft and jumbo frames are counted when they are
//!    allocated and when they come home; their owners keep the limits.
//! 3. When nothing is in flight, `outstanding()` is 0: all frames are home.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
};

use crate::{FRAME_BYTES, Frame};

/// Overdraft frames that are kept for the next overdraft instead of being freed: a task under backpressure
/// needs one for each frame it fills. One for each of a few outputs.
const SPARE_MAX: usize = 8;

/// Why a pool could not be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The reservations are larger than the pool.
    #[error(
        "the partitions of a shard need {needed} frames ({} KiB) and its pool has {total} ({} KiB): whoever sized \
         the pool has counted wrong",
        kib(*needed), kib(*total)
    )]
    TooSmall {
        /// Frames of all reservations so far, with the one that failed.
        needed: usize,
        /// Frames of the pool.
        total: usize,
    },
}

const fn kib(frames: usize) -> usize {
    frames * (FRAME_BYTES >> 10)
}

/// The frames of one shard. Clones are the same pool.
#[derive(Clone)]
pub struct FramePool(Rc<Inner>);

struct Inner {
    total: usize,
    free: RefCell<Vec<Frame>>,
    spare: RefCell<Vec<Frame>>,
    /// Frames that local pools may ever claim as their own.
    reserved: Cell<usize>,
    /// Of these, the ones not taken now.
    promised: Cell<usize>,
    overdraft: Cell<usize>,
    jumbo: Cell<usize>,
    jumbo_bytes: Cell<usize>,
    jumbo_bytes_max: usize,
    bytes_peak: Cell<usize>,
    lost: Cell<u64>,
}

impl FramePool {
    /// A pool of `frames` frames, allocated and touched now. Jumbo frames may take `jumbo_bytes_max` bytes before
    /// they count as overdraft; the first always fits.
    pub fn new(frames: usize, jumbo_bytes_max: usize) -> Self {
        let inner = Inner {
            total: frames,
            free: RefCell::new((0..frames).map(|_| Frame::allocate(FRAME_BYTES)).collect()),
            spare: RefCell::new(Vec::with_capacity(SPARE_MAX)),
            reserved: Cell::new(0),
            promised: Cell::new(0),
            overdraft: Cell::new(0),
            jumbo: Cell::new(0),
            jumbo_bytes: Cell::new(0),
            jumbo_bytes_max,
            bytes_peak: Cell::new(frames * FRAME_BYTES),
            lost: Cell::new(0),
        };
        Self(Rc::new(inner))
    }

    /// Sets `frames` frames aside for one owner.
    ///
    /// # Errors
    ///
    /// [`PoolError::TooSmall`] if the reservations exceed the pool: at start-up, before any record.
    pub fn reserve(&self, frames: usize) -> Result<LocalPool, PoolError> {
        let needed = self.0.reserved.get() + frames;
        if needed > self.0.total {
            return Err(PoolError::TooSmall { needed, total: self.0.total });
        }
        self.0.reserved.set(needed);
        self.0.promised.set(self.0.promised.get() + frames);
        Ok(LocalPool {
            pool: self.clone(),
            reserved: frames,
            used: 0,
            overdraft: 0,
            jumbo: 0,
            jumbo_bytes: 0,
        })
    }

    /// Frames of the pool, wherever they are.
    pub fn total(&self) -> usize {
        self.0.total
    }

    /// Free frames that nobody has reserved.
    #[inline]
    pub fn floating(&self) -> usize {
        self.0.free.borrow().len() - self.0.promised.get()
    }

    /// Frames that are not home: ordinary, overdraft and jumbo.
    pub fn outstanding(&self) -> usize {
        let out = self.0.total - self.0.free.borrow().len();
        out + self.0.overdraft.get() + self.0.jumbo.get()
    }

    /// Frames that were replaced because whoever had them is gone. 0 in a job that ends well.
    pub fn lost(&self) -> u64 {
        self.0.lost.get()
    }

    /// Memory that this pool stands for now: all its frames, overdraft, spare and jumbo.
    pub fn bytes_held(&self) -> usize {
        let frames = self.0.total + self.0.overdraft.get() + self.0.spare.borrow().len();
        frames * FRAME_BYTES + self.0.jumbo_bytes.get()
    }

    /// The most that [`bytes_held`](Self::bytes_held) ever was.
    pub fn bytes_peak(&self) -> usize {
        self.0.bytes_peak.get()
    }

    fn note_peak(&self) {
        self.0.bytes_peak.set(self.bytes_peak().max(self.bytes_held()));
    }

    fn pop(&self) -> Frame {
        self.0.free.borrow_mut().pop().expect("free >= promised, so there is one")
    }
}

impl fmt::Debug for FramePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (total, out) = (self.total(), self.outstanding());
        write!(f, "FramePool({total} frames, {out} out, {} promised)", self.0.promised.get())
    }
}

/// One owner's share of a pool. The owner takes frames, gets them back from its peers, and gives them home here.
#[derive(Debug)]
pub struct LocalPool {
    pool: FramePool,
    reserved: usize,
    used: usize,
    overdraft: usize,
    jumbo: usize,
    jumbo_bytes: usize,
}

impl LocalPool {
    /// Whether [`take`](Self::take) would give a frame.
    #[inline]
    pub fn can_take(&self) -> bool {
        self.used < self.reserved || self.pool.floating() > 0
    }

    /// A frame of its own, else a floating one.
    pub fn take(&mut self) -> Option<Frame> {
        if self.used < self.reserved {
            self.pool.0.promised.set(self.pool.0.promised.get() - 1);
        } else if self.pool.floating() == 0 {
            return None;
        }
        self.used += 1;
        Some(self.pool.pop())
    }

    /// A frame beyond the pool. The next frame that comes home pays it back.
    pub fn take_overdraft(&mut self) -> Frame {
        let spare = self.pool.0.spare.borrow_mut().pop();
        let frame = spare.unwrap_or_else(|| Frame::allocate(FRAME_BYTES));
        self.overdraft += 1;
        self.pool.0.overdraft.set(self.pool.0.overdraft.get() + 1);
        self.pool.note_peak();
        frame
    }

    /// Whether a jumbo frame of `capacity` bytes is within the pool's allowance.
    pub fn jumbo_fits(&self, capacity: usize) -> bool {
        let bytes = self.pool.0.jumbo_bytes.get();
        bytes == 0 || bytes + capacity <= self.pool.0.jumbo_bytes_max
    }

    /// A jumbo frame: a power of two above [`FRAME_BYTES`]. Freed when it comes home.
    pub fn take_jumbo(&mut self, capacity: usize) -> Frame {
        debug_assert!(capacity > FRAME_BYTES);
        let frame = Frame::allocate(capacity);
        self.jumbo += 1;
        self.jumbo_bytes += capacity;
        self.pool.0.jumbo.set(self.pool.0.jumbo.get() + 1);
        self.pool.0.jumbo_bytes.set(self.pool.0.jumbo_bytes.get() + capacity);
        self.pool.note_peak();
        frame
    }

    /// Takes a frame home. It is one that was taken here.
    pub fn give(&mut self, frame: Frame) {
        let inner = &self.pool.0;
        if frame.is_jumbo() {
            self.jumbo -= 1;
            self.jumbo_bytes -= frame.capacity();
            inner.jumbo.set(inner.jumbo.get() - 1);
            inner.jumbo_bytes.set(inner.jumbo_bytes.get() - frame.capacity());
        } else if self.overdraft > 0 {
            self.overdraft -= 1;
            inner.overdraft.set(inner.overdraft.get() - 1);
            let mut spare = inner.spare.borrow_mut();
            if spare.len() < SPARE_MAX {
                spare.push(frame);
            }
        } else {
            assert!(self.used > 0, "a frame came home that was not taken here");
            self.used -= 1;
            if self.used < self.reserved {
                inner.promised.set(inner.promised.get() + 1);
            }
            inner.free.borrow_mut().push(frame);
        }
    }

    /// Frames that were set aside for this owner.
    pub fn reserved(&self) -> usize {
        self.reserved
    }

    /// Frames of the pool that this owner has out.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Frames beyond the pool that this owner has out.
    #[inline]
    pub fn overdraft(&self) -> usize {
        self.overdraft
    }

    /// The pool.
    pub fn pool(&self) -> &FramePool {
        &self.pool
    }
}

impl Drop for LocalPool {
    /// What is still out is with somebody who is gone and frees it: the pool gets new frames instead.
    fn drop(&mut self) {
        let lost = self.used + self.overdraft + self.jumbo;
        while self.overdraft > 0 {
            self.give(Frame::allocate(FRAME_BYTES));
        }
        while self.used > 0 {
            self.give(Frame::allocate(FRAME_BYTES));
        }
        let inner = &self.pool.0;
        inner.lost.set(inner.lost.get() + lost as u64);
        inner.jumbo.set(inner.jumbo.get() - self.jumbo);
        inner.jumbo_bytes.set(inner.jumbo_bytes.get() - self.jumbo_bytes);
        inner.promised.set(inner.promised.get() - self.reserved);
        inner.reserved.set(inner.reserved.get() - self.reserved);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two owners, `a` and `b`, of a pool of 6 frames: `a` takes for a, `A` gives back one of a's. Returns what each
    /// take gave: `.` a frame, `x` none.
    #[track_caller]
    fn check(reserve_a: usize, reserve_b: usize, script: &str, expected: &str) {
        let pool = FramePool::new(6, 0);
        let reserve = |frames| (pool.reserve(frames).unwrap(), Vec::new());
        let mut owners = [reserve(reserve_a), reserve(reserve_b)];
        let mut seen = String::new();
        for step in script.chars() {
            let (local, held) = &mut owners[usize::from(step.eq_ignore_ascii_case(&'b'))];
            if step.is_ascii_uppercase() {
                local.give(held.pop().unwrap());
                continue;
            }
            assert_eq!(local.can_take(), local.used() < local.reserved() || pool.floating() > 0);
            let frame = local.take();
            seen.push(if frame.is_some() { '.' } else { 'x' });
            held.extend(frame);
        }
        assert_eq!(seen, expected, "{script}");
        assert_eq!(pool.outstanding(), owners[0].1.len() + owners[1].1.len());
        for (local, held) in &mut owners {
            held.drain(..).for_each(|frame| local.give(frame));
        }
        assert_eq!((pool.outstanding(), pool.lost()), (0, 0));
        assert_eq!(pool.bytes_held(), 6 * FRAME_BYTES);
        drop(owners);
        assert_eq!(pool.floating(), 6);
    }

    #[test]
    fn what_is_reserved_is_there_whatever_others_take() {
        check(2, 2, "aaaaa", "....x");
        check(2, 2, "aaaaabbb", "....x..x");
        check(2, 2, "aaaaAbbb", "......."); // The floating frame went home, so `b` can have it.
        check(6, 0, "bbaaaaaa", "xx......");
        check(0, 0, "aaabbbb", "......x");
        check(3, 3, "aaaaAbbbbBa", "...x...x.");
    }

    #[test]
    fn a_pool_that_is_too_small_says_the_sum() {
        let pool = FramePool::new(5, 0);
        let first = pool.reserve(3).unwrap();
        let error = pool.reserve(4).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the partitions of a shard need 7 frames (224 KiB) and its pool has 5 (160 KiB): whoever \
             sized the pool has counted wrong"
        );
        drop(first);
        assert!(pool.reserve(5).is_ok());
    }

    #[test]
    fn overdraft_is_paid_back_first() {
        let pool = FramePool::new(1, 0);
        let mut local = pool.reserve(1).unwrap();
        let own = local.take().unwrap();
        let beyond = local.take_overdraft();
        assert_eq!((local.overdraft(), pool.outstanding()), (1, 2));
        assert_eq!(pool.bytes_held(), 2 * FRAME_BYTES);
        local.give(own);
        assert!(!local.can_take(), "it paid the overdraft back");
        local.give(beyond);
        assert!(local.can_take() && local.overdraft() == 0 && pool.outstanding() == 0);
        let peak = pool.bytes_peak();
        let again = local.take_overdraft();
        assert_eq!(pool.bytes_peak(), peak, "the spare frame was used again");
        local.give(again);
    }

    #[test]
    fn jumbo_frames_are_counted_and_freed() {
        let pool = FramePool::new(1, 256 << 10);
        let mut local = pool.reserve(1).unwrap();
        assert!(local.jumbo_fits(1 << 20), "the first always fits");
        let first = local.take_jumbo(128 << 10);
        assert!(local.jumbo_fits(128 << 10) && !local.jumbo_fits(256 << 10));
        assert_eq!((pool.outstanding(), pool.bytes_held()), (1, FRAME_BYTES + (128 << 10)));
        local.give(first);
        assert_eq!((pool.outstanding(), pool.bytes_held()), (0, FRAME_BYTES));
    }

    #[test]
    fn what_a_dead_peer_held_is_replaced() {
        let pool = FramePool::new(2, 0);
        let mut local = pool.reserve(2).unwrap();
        drop((local.take(), local.take_overdraft(), local.take_jumbo(64 << 10)));
        assert_eq!(pool.outstanding(), 3);
        drop(local);
        assert_eq!((pool.outstanding(), pool.lost()), (0, 3));
        assert_eq!(pool.floating(), 2);
    }
}
