//! Memory on huge pages, shared by the tables of a thread: segments that still grow, the first spans of an arena, slabs.
//! `unsafe` lives here: **a region is mapped as long as its pool; what [`Pool::take`] gave lies in one and is nobody
//! else's until it is given back; a [`Huge`] is unmapped once, when it is dropped.**
//!
//! ```text
//!   table ─┐ take, give   ┌────────── Pool, one a thread ──────────┐
//!   table ─┼─────────────▶│ regions: 2 MiB, then as much again …   │  by `talc`: best fit, neighbours merged
//!   table ─┤              │                                        │
//!   table ─┘ …_huge       │ kept: chunks that large tables had     │  whole huge pages ([`Huge`]), from 2 MiB on
//!                         └────────────────────────────────────────┘
//! ```
//!
//! With pages of 4 KiB a table of 4 MiB costs a TLB miss a probe: 153 against 86 ns for a load that others wait for, 12.4
//! against 6.8 for one of many (EPYC of `bench/README.md`). The allocator gives small pages, and the kernel huge ones only
//! to those who ask: `runtime/decisions/2026-11-27-small-segments-lie-on-huge-pages.md`. The first touch of one costs 0.1 to
//! 5 ms, so a window has the chunks of the one before: `runtime/decisions/2026-11-28-a-window-has-the-pages-of-the-last.md`.
//!
//! # What is always true
//!
//! 1. Memory from the pool is not zeroed: whoever needs zeroes writes them. Only a chunk that was just mapped is.
//! 2. What a table gives back is there for the next table of the thread; all of it goes when the last table and the
//!    thread have let go of the pool. A chunk that nobody has is the kernel's to take when memory is short.

use std::{
    alloc::{self, Layout},
    cell::RefCell,
    fmt,
    ptr::{self, NonNull},
    rc::Rc,
};

use talc::{DefaultBinning, base::Talc, source::Manual};

use crate::arena::LINE;

pub(crate) const HUGE_PAGE: usize = 2 << 20;

/// The largest region that is made before it is needed whole.
const REGION_MAX: usize = 32 << 20;

thread_local! {
    static OF_THREAD: Rc<Pool> = Rc::new(Pool::new());
}

/// Zeroed memory in whole huge pages, aligned to one: on huge pages if the kernel has some.
pub(crate) struct Huge {
    start: NonNull<u8>,
    bytes: usize,
}

impl Huge {
    /// At least `bytes` bytes. `None` if the kernel refuses.
    pub(crate) fn map(bytes: usize) -> Option<Self> {
        if cfg!(miri) {
            return None;
        }
        let bytes = bytes.checked_next_multiple_of(HUGE_PAGE)?;
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
            Some(Self { start: NonNull::new(start)?, bytes })
        }
    }

    /// Lets the kernel have its pages if memory is short. Until the next write it holds what it held, or zeroes.
    fn lend(&self) {
        // SAFETY: our own mapping, whose contents nobody will read before they are written. A refusal costs only memory.
        unsafe { libc::madvise(self.start.as_ptr().cast(), self.bytes, libc::MADV_FREE) };
    }

    /// Cuts off what lies behind the first `bytes` bytes, whole huge pages and less than all.
    fn split_off(&mut self, bytes: usize) -> Self {
        assert!(bytes > 0 && bytes < self.bytes && bytes.is_multiple_of(HUGE_PAGE));
        // SAFETY: inside the mapping.
        let start = unsafe { self.start.add(bytes) };
        let rest = Self { start, bytes: self.bytes - bytes };
        self.bytes = bytes;
        rest
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Huge {
    fn drop(&mut self) {
        // SAFETY: `map` mapped exactly these bytes, and whoever used them is gone.
        let unmapped = unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
        debug_assert_eq!(unmapped, 0, "our own mapping");
    }
}

/// What a pool deals out.
enum Region {
    Huge(Huge),
    /// Where the kernel maps nothing for us: the allocator's, which knows how to fail.
    Allocated(NonNull<u8>, Layout),
}

impl Region {
    fn new(bytes: usize) -> Self {
        if let Some(huge) = Huge::map(bytes) {
            return Self::Huge(huge);
        }
        let layout = Layout::from_size_align(bytes, LINE).expect("far below isize::MAX");
        // SAFETY: the size is not zero.
        let start = unsafe { alloc::alloc(layout) };
        match NonNull::new(start) {
            Some(start) => Self::Allocated(start, layout),
            None => alloc::handle_alloc_error(layout),
        }
    }

    fn start(&self) -> NonNull<u8> {
        match self {
            Self::Huge(huge) => huge.start(),
            Self::Allocated(start, _) => *start,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Huge(huge) => huge.bytes(),
            Self::Allocated(_, layout) => layout.size(),
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if let Self::Allocated(start, layout) = self {
            // SAFETY: `new` got it with this layout, and whoever used it is gone.
            unsafe { alloc::dealloc(start.as_ptr(), *layout) };
        }
    }
}

/// The memory of the small segments of a thread.
pub(crate) struct Pool(RefCell<Regions>);

struct Regions {
    talc: Talc<Manual, DefaultBinning>,
    regions: Vec<Region>,
    bytes: usize,
    /// Chunks that were given back.
    kept: Vec<Huge>,
}

impl Pool {
    /// That of this thread.
    pub(crate) fn of_thread() -> Rc<Self> {
        OF_THREAD.with(Rc::clone)
    }

    fn new() -> Self {
        let (talc, regions, kept) = (Talc::new(Manual), Vec::new(), Vec::new());
        Self(RefCell::new(Regions { talc, regions, bytes: 0, kept }))
    }

    /// Bytes, aligned to a line, with anything in them. `bytes` is not zero.
    pub(crate) fn take(&self, bytes: usize) -> NonNull<u8> {
        let layout = lines(bytes);
        let Regions { talc, regions, bytes: held, .. } = &mut *self.0.borrow_mut();
        // SAFETY: the size is not zero.
        if let Some(start) = unsafe { talc.allocate(layout) } {
            return start;
        }
        // As much again as there is; what the allocator of the regions notes in one is far less than a page.
        let wanted = (*held).clamp(HUGE_PAGE, REGION_MAX).max(bytes + HUGE_PAGE / 2);
        let region = Region::new(wanted.next_multiple_of(HUGE_PAGE));
        *held += region.bytes();
        // SAFETY: the region is claimed once, and lives as long as `talc`: both go with the pool. Nobody else uses it.
        let start = unsafe {
            let claimed = talc.claim(region.start().as_ptr(), region.bytes());
            claimed.and_then(|_| talc.allocate(layout))
        };
        regions.push(region);
        start.expect("a region has room for what it was made for")
    }

    /// Takes bytes back.
    ///
    /// # Safety
    ///
    /// They came from `take` of this pool with the same length, and nobody uses them any more.
    pub(crate) unsafe fn give(&self, start: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.0.borrow_mut().talc.deallocate(start.as_ptr(), lines(bytes)) };
    }

    /// At least `bytes` bytes in whole huge pages, and whether they are zeroed. `None` if the kernel refuses.
    pub(crate) fn take_huge(&self, bytes: usize) -> Option<(Huge, bool)> {
        let kept = &mut self.0.borrow_mut().kept;
        let wanted = bytes.checked_next_multiple_of(HUGE_PAGE)?;
        let fits = kept.iter().enumerate().filter(|(_, huge)| huge.bytes >= wanted);
        let Some((at, _)) = fits.min_by_key(|(_, huge)| huge.bytes) else {
            return Some((Huge::map(wanted)?, true));
        };
        let mut huge = kept.swap_remove(at);
        if huge.bytes > wanted {
            kept.push(huge.split_off(wanted));
        }
        Some((huge, false))
    }

    /// Takes a chunk back.
    pub(crate) fn give_huge(&self, huge: Huge) {
        huge.lend();
        self.0.borrow_mut().kept.push(huge);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let regions = self.0.borrow();
        f.debug_struct("Pool")
            .field("regions", &regions.regions.len())
            .field("bytes", &regions.bytes)
            .field("kept", &regions.kept.len())
            .finish_non_exhaustive()
    }
}

fn lines(bytes: usize) -> Layout {
    assert!(bytes > 0);
    Layout::from_size_align(bytes, LINE).expect("segments and chunks are far below isize::MAX")
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;

    /// Pieces of many sizes keep what was written into them, and are used again.
    #[test]
    fn pieces_are_apart_and_used_again() {
        let pool = Pool::new();
        let mut taken: Vec<(NonNull<u8>, usize, u8)> = Vec::new();
        let mut random = 1_u64;
        let rounds = if cfg!(miri) { 200 } else { 20_000 };
        for round in 0..rounds {
            random = random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            let pick = (random >> 33) as usize;
            if round % 5 < 3 && taken.len() < 100 {
                let bytes = 64 + pick % (1 << (pick % 11 + 7));
                let (start, fill) = (pool.take(bytes), round as u8);
                assert!(start.as_ptr().addr().is_multiple_of(LINE));
                // SAFETY: just taken.
                unsafe { start.write_bytes(fill, bytes) };
                taken.push((start, bytes, fill));
            } else if !taken.is_empty() {
                let (start, bytes, fill) = taken.swap_remove(pick % taken.len());
                // SAFETY: taken above, filled whole, and no longer in the list of those in use.
                unsafe {
                    let piece = slice::from_raw_parts(start.as_ptr(), bytes);
                    assert!(piece.iter().all(|byte| *byte == fill));
                    pool.give(start, bytes);
                }
            }
        }
        let regions = pool.0.borrow().regions.len();
        assert!(regions <= 8, "{regions} regions for at most 100 pieces of up to 128 KiB");
    }

    /// A chunk that was given back is taken again, whole or in parts.
    #[test]
    #[cfg_attr(miri, ignore = "the kernel maps nothing")]
    fn chunks_are_used_again() {
        let pool = Pool::new();
        let (huge, is_zeroed) = pool.take_huge(3 * HUGE_PAGE - 1).unwrap();
        assert!(is_zeroed && huge.bytes() == 3 * HUGE_PAGE);
        let start = huge.start();
        pool.give_huge(huge);
        let taken = [1, HUGE_PAGE + 1, 1].map(|bytes| pool.take_huge(bytes).unwrap());
        assert_eq!(taken.each_ref().map(|(_, is_zeroed)| *is_zeroed), [false, false, true]);
        let [first, second, third] = taken.map(|(huge, _)| huge);
        let parts =
            [&first, &second].map(|huge| huge.start().as_ptr().addr() - start.as_ptr().addr());
        assert_eq!((parts, second.bytes()), ([0, HUGE_PAGE], 2 * HUGE_PAGE));
        let second_start = second.start();
        for huge in [first, second, third] {
            // SAFETY: mapped, and nobody else's.
            unsafe { huge.start().write_bytes(7, huge.bytes()) };
            pool.give_huge(huge);
        }
        assert!(
            pool.take_huge(2 * HUGE_PAGE).is_some_and(|(huge, _)| huge.start() == second_start)
        );
    }

    #[test]
    fn a_piece_larger_than_a_region_has_its_own() {
        let pool = Pool::new();
        let bytes = 3 * HUGE_PAGE - LINE;
        let start = pool.take(bytes);
        // SAFETY: just taken, and given back once.
        unsafe {
            start.write_bytes(7, bytes);
            pool.give(start, bytes);
        }
        assert_eq!(pool.take(bytes), start, "what was given back is taken again");
    }
}
