//! Counts per key and window, by hand: a map per pane, and one of what the panes of a window add up to.
//!
//! ```text
//!   panes     ├─a─┼─b─┼─c─┼─d─┤      a slide each; those that are not over yet are counted into
//!   total     └── a+b+c ──┘          seen as a window, then a is taken out
//!                 └── b+c + d ──┘    windows that do not overlap are their pane, and add up nothing
//! ```
//!
//! # What is always true
//!
//! 1. A window is seen once, when no event of any thread can be in it any more; windows are seen in order.
//! 2. A window without a count is not seen.
//! 3. Maps are used again, with the memory that they have grown to.

use std::{collections::VecDeque, hash::Hash, hint::black_box};

use rustc_hash::FxHashMap;

use super::threads::{self, Work};
use crate::{
    generator::{Check, Generator, WINDOW_MS, WINDOWED_KEYS, mix, window_x},
    measure::Run,
    workload::Workload,
};

/// Counts of one pane, or of one window.
pub type Counts<K> = FxHashMap<K, u64>;

struct Pane<K> {
    end_ms: u64,
    counts: Counts<K>,
}

/// Counts in windows.
pub struct Windows<K> {
    size_ms: u64,
    slide_ms: u64,
    /// Panes that are not over, in order.
    open: VecDeque<Pane<K>>,
    /// The pane of the last key: its neighbours tend to share it.
    recent: usize,
    /// Panes in the total, in order.
    closed: VecDeque<Pane<K>>,
    total: Counts<K>,
    /// The end of the next window, while there are panes in the total.
    next_end_ms: u64,
    spare: Vec<Counts<K>>,
}

impl<K: Hash + Eq + Copy> Windows<K> {
    /// Windows of `size_ms`, a multiple of `slide_ms`, aligned to the epoch.
    pub fn new(size_ms: u64, slide_ms: u64) -> Self {
        Self {
            size_ms,
            slide_ms,
            open: VecDeque::new(),
            recent: 0,
            closed: VecDeque::new(),
            total: Counts::default(),
            next_end_ms: 0,
            spare: Vec::new(),
        }
    }

    /// Counts a key.
    #[inline(always)]
    pub fn add(&mut self, key: K, time_ms: u64) {
        let is_recent = |pane: &Pane<K>| pane.end_ms.wrapping_sub(time_ms + 1) < self.slide_ms;
        if !self.open.get(self.recent).is_some_and(is_recent) {
            self.find(time_ms);
        }
        *self.open[self.recent].counts.entry(key).or_insert(0) += 1;
    }

    #[cold]
    fn find(&mut self, time_ms: u64) {
        let end_ms = time_ms - time_ms % self.slide_ms + self.slide_ms;
        self.recent = self.open.partition_point(|pane| pane.end_ms < end_ms);
        if self.open.get(self.recent).is_none_or(|pane| pane.end_ms != end_ms) {
            let counts = self.spare.pop().unwrap_or_default();
            self.open.insert(self.recent, Pane { end_ms, counts });
        }
    }

    /// Shows the windows that end at or before `time_ms`: there is nothing more to come before it.
    #[inline(always)]
    pub fn close(&mut self, time_ms: u64, see: impl FnMut(u64, &Counts<K>)) {
        let next_ms = match self.closed.is_empty() {
            true => self.open.front().map(|pane| pane.end_ms),
            false => Some(self.next_end_ms),
        };
        if next_ms.is_some_and(|next_ms| next_ms <= time_ms) {
            self.close_all(time_ms, see);
        }
    }

    #[cold]
    fn close_all(&mut self, time_ms: u64, mut see: impl FnMut(u64, &Counts<K>)) {
        self.recent = 0;
        if self.size_ms == self.slide_ms {
            while let Some(pane) = self.open.pop_front_if(|pane| pane.end_ms <= time_ms) {
                see(pane.end_ms, &pane.counts);
                self.keep(pane.counts);
            }
            return;
        }
        loop {
            if self.closed.is_empty() {
                let Some(first) = self.open.front() else { return };
                self.next_end_ms = first.end_ms;
            }
            let end_ms = self.next_end_ms;
            if end_ms > time_ms {
                return;
            }
            if let Some(pane) = self.open.pop_front_if(|pane| pane.end_ms == end_ms) {
                for (key, count) in &pane.counts {
                    *self.total.entry(*key).or_insert(0) += count;
                }
                self.closed.push_back(pane);
            }
            see(end_ms, &self.total);
            self.next_end_ms += self.slide_ms;
            let leaves = |pane: &mut Pane<K>| pane.end_ms + self.size_ms <= end_ms + self.slide_ms;
            if let Some(pane) = self.closed.pop_front_if(leaves) {
                self.take_out(pane);
            }
        }
    }

    fn take_out(&mut self, pane: Pane<K>) {
        for (key, count) in &pane.counts {
            if let Some(total) = self.total.get_mut(key) {
                *total -= count;
                if *total == 0 {
                    self.total.remove(key);
                }
            }
        }
        self.keep(pane.counts);
    }

    fn keep(&mut self, mut counts: Counts<K>) {
        counts.clear();
        self.spare.push(counts);
    }
}

/// `tumbling`, `sliding`: outputs every count of every window.
struct All {
    windows: Windows<u64>,
    generator: Generator,
    check: Check,
}

/// A key and its time.
type Keyed = (u64, u64);

impl Work<Keyed> for All {
    #[inline(always)]
    fn take(&mut self, (key, time_ms): Keyed) {
        self.windows.add(key, time_ms);
    }

    fn passed(&mut self, number: u64) {
        self.windows.close(self.generator.time_before(number), |end_ms, counts| {
            counts.iter().for_each(|(key, count)| self.check.add(window_x(*key, *count, end_ms)));
        });
    }

    fn check(self) -> Check {
        self.check
    }
}

/// Counts ten thousand keys in windows of a minute.
pub fn count(run: &Run, generator: Generator) -> Check {
    let threads = u64::from(run.parallelism);
    let slide_ms =
        if run.workload == Workload::Sliding { WINDOW_MS / run.slides } else { WINDOW_MS };
    let work =
        || All { windows: Windows::new(WINDOW_MS, slide_ms), generator, check: Check::default() };
    let works = threads::run_works(run, work, move |number, router| {
        let keyed = (generator.key(number, WINDOWED_KEYS), generator.time_ms(number));
        let (key, _) = *black_box(&keyed);
        router.send(((mix(key) >> 32) % threads) as u32, keyed);
    });
    let mut total = Check::default();
    works.into_iter().for_each(|work| total.merge(work.check()));
    total
}
