//! Timers of very many keys: armed, and found when they are due, in a time that does not depend on how many there are.
//!
//! ```text
//!   level 0    64 slots of 1 ms  ─┐
//!   level 1    64 slots of 64 ms  ├ a timer lies at the level of the first six bits in which its time differs from
//!   level 2    64 slots of 4 s    │ the wheel's, and moves down when the wheel comes to its slot
//!   …          to the end of time ─┘
//! ```
//!
//! # What is always true
//!
//! 1. Timers come out in order of their times; those of one time in no order that anybody may rely on.
//! 2. A timer moves at most once a level. A call moves at most [`MOVES_MAX`] of them, so that a turn stays short.
//! 3. No timer is taken back: who wants a later one lets it come out and arms it again, who wants none does nothing then.
//!    So whatever moves a deadline further away costs nothing.
//! 4. A wheel without timers holds 64 KiB at most for those that follow.
//!
//! [`TimerQueue`](crate::TimerQueue) is for timers that programs register: those are in order within a time, are deleted,
//! and are state. These are derived from state and made anew from it.

mod lists;

use std::mem;

use wiesel_core::Timestamp;

use self::lists::{Chunks, List};

/// Timers that a call of [`TimerWheel::next`] moves at most: some microseconds.
pub const MOVES_MAX: usize = 256;

const SLOT_BITS: usize = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 64_usize.div_ceil(SLOT_BITS);

/// A timer that is due.
#[derive(Debug)]
pub struct WheelTimer {
    time: u64,
    hash: u64,
    key: TimerKey,
}

impl WheelTimer {
    /// None, where one may be.
    const NONE: Self = Self { time: 0, hash: 0, key: TimerKey::Short(0, [0; 22]) };

    /// Bytes that it holds elsewhere.
    fn bytes_outside(&self) -> usize {
        match &self.key {
            TimerKey::Long(key) => key.len(),
            TimerKey::Short(..) => 0,
        }
    }

    /// When it was due.
    #[inline]
    pub fn time(&self) -> Timestamp {
        Timestamp::from_millis((self.time ^ SIGN) as i64)
    }

    /// The hash of its key.
    #[inline]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The canonical bytes of its key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        match &self.key {
            TimerKey::Short(len, bytes) => &bytes[..usize::from(*len)],
            TimerKey::Long(bytes) => bytes,
        }
    }
}

/// Most keys are short.
#[derive(Debug)]
enum TimerKey {
    Short(u8, [u8; 22]),
    Long(Box<[u8]>),
}

impl TimerKey {
    #[inline]
    fn of(key: &[u8]) -> Self {
        let mut short = [0; 22];
        match short.get_mut(..key.len()) {
            Some(bytes) => {
                bytes.copy_from_slice(key);
                Self::Short(key.len() as u8, short)
            }
            None => Self::Long(key.into()),
        }
    }
}

/// What [`TimerWheel::next`] gives.
#[derive(Debug)]
pub enum NextTimer {
    /// This one is due.
    Due(WheelTimer),
    /// It had to move others first: ask again, when there is time.
    NotYet,
    /// None is due.
    None,
}

/// Timers by time.
///
/// ```
/// use wiesel_core::Timestamp;
/// use wiesel_state::{NextTimer, TimerWheel};
///
/// let at = Timestamp::from_millis;
/// let mut wheel = TimerWheel::new();
/// wheel.arm(at(20), 7, b"user");
/// assert!(matches!(wheel.next(at(19)), NextTimer::None));
/// let NextTimer::Due(timer) = wheel.next(at(25)) else { panic!() };
/// assert_eq!((timer.time(), timer.key()), (at(20), &b"user"[..]));
/// wheel.arm_again(timer, at(30));
/// assert!(matches!(wheel.next(at(25)), NextTimer::None));
/// ```
pub struct TimerWheel {
    /// What lies in a slot is after this.
    now: u64,
    heads: Box<[[List; SLOTS]; LEVELS]>,
    /// A bit for each slot with timers.
    used: [u64; LEVELS],
    /// The slot whose timers are being moved.
    emptying: Option<(usize, usize)>,
    /// Timers whose time has come.
    due: List,
    chunks: Chunks,
    len: usize,
}

/// Turns signed times into numbers of the same order.
const SIGN: u64 = 1 << 63;

#[inline]
fn place_of(time: Timestamp) -> u64 {
    time.as_millis() as u64 ^ SIGN
}

impl Default for TimerWheel {
    fn default() -> Self {
        Self::new()
    }
}

impl TimerWheel {
    /// No timers.
    pub fn new() -> Self {
        Self {
            now: 0,
            heads: Box::new([[List::EMPTY; SLOTS]; LEVELS]),
            used: [0; LEVELS],
            emptying: None,
            due: List::EMPTY,
            chunks: Chunks::new(),
            len: 0,
        }
    }

    /// How many timers.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Drops all timers, and lets time begin anew: timers of any time can be armed again. Cheap if there are none.
    pub fn begin_anew(&mut self) {
        match self.is_empty() && self.emptying.is_none() {
            true => self.now = 0,
            false => *self = Self::new(),
        }
    }

    /// Bytes held.
    pub fn bytes_used(&self) -> usize {
        size_of::<Self>() + size_of::<[[List; SLOTS]; LEVELS]>() + self.chunks.bytes_used()
    }

    /// Adds a timer. One whose time has come already is due at once.
    #[inline]
    pub fn arm(&mut self, time: Timestamp, hash: u64, key: &[u8]) {
        self.add(WheelTimer { time: place_of(time), hash, key: TimerKey::of(key) });
    }

    /// Adds a timer that has come out, for another time.
    #[inline]
    pub fn arm_again(&mut self, timer: WheelTimer, time: Timestamp) {
        self.add(WheelTimer { time: place_of(time), ..timer });
    }

    fn add(&mut self, timer: WheelTimer) {
        self.len += 1;
        self.link(timer);
    }

    /// Takes out the first timer whose time is not after `until`.
    pub fn next(&mut self, until: Timestamp) -> NextTimer {
        let until = place_of(until);
        if until < self.now {
            return NextTimer::None; // A clock that was put back.
        }
        let mut moves = 0;
        loop {
            if let Some((level, slot)) = self.emptying {
                if level == 0 && self.due.is_empty() {
                    // All are of one time, which has come.
                    self.due = mem::replace(&mut self.heads[level][slot], List::EMPTY);
                }
                while !self.heads[level][slot].is_empty() {
                    if moves == MOVES_MAX {
                        return NextTimer::NotYet;
                    }
                    moves += 1;
                    if let Some(timer) = self.chunks.pop(&mut self.heads[level][slot]) {
                        self.link(timer);
                    }
                }
                self.used[level] &= !(1 << slot);
                self.emptying = None;
            }
            if let Some(timer) = self.chunks.pop(&mut self.due) {
                self.len -= 1;
                if self.len == 0 {
                    self.chunks.clear();
                }
                return NextTimer::Due(timer);
            }
            // A lower level is before a higher one, as a lower slot is.
            let next = (0..LEVELS).find(|level| self.used[*level] != 0).map(|level| {
                let (slot, shift) = (self.used[level].trailing_zeros() as usize, level * SLOT_BITS);
                let above = self.now >> shift >> SLOT_BITS << SLOT_BITS;
                (level, slot, (above | slot as u64) << shift)
            });
            match next {
                Some((level, slot, first)) if first <= until => {
                    self.now = first;
                    self.emptying = Some((level, slot));
                }
                _ => {
                    self.now = until;
                    return NextTimer::None;
                }
            }
        }
    }

    /// The hash of the timer that comes out after `ahead` others of its time (0: the next one), if that is known without
    /// a search: who asks can have its key's row on the way.
    #[inline]
    pub fn due_ahead(&self, ahead: usize) -> Option<u64> {
        self.chunks.peek(self.due, ahead).map(WheelTimer::hash)
    }

    /// Puts a timer where it belongs.
    #[inline]
    fn link(&mut self, timer: WheelTimer) {
        let list = match timer.time {
            time if time <= self.now => &mut self.due,
            time => {
                let level = (time ^ self.now).ilog2() as usize / SLOT_BITS;
                let slot = (time >> (level * SLOT_BITS)) as usize % SLOTS;
                self.used[level] |= 1 << slot;
                &mut self.heads[level][slot]
            }
        };
        self.chunks.push(list, timer);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// All that are due, in the order in which they come out.
    fn due(wheel: &mut TimerWheel, until: i64) -> Vec<(i64, u64)> {
        let mut out = Vec::new();
        loop {
            match wheel.next(at(until)) {
                NextTimer::Due(timer) => {
                    assert_eq!(timer.key(), key(timer.hash()));
                    out.push((timer.time().as_millis(), timer.hash()));
                }
                NextTimer::NotYet => {}
                NextTimer::None => return out,
            }
        }
    }

    /// From none to sixty bytes.
    fn key(number: u64) -> Vec<u8> {
        vec![number as u8; number as usize % 60]
    }

    #[test]
    fn timers_come_out_in_order_of_their_times() {
        let mut wheel = TimerWheel::new();
        let times = [5, 0, -1, i64::MAX, i64::MIN, 64, 63, 65, 4_096, 4_095, i64::MAX - 1];
        for (number, time) in times.iter().enumerate() {
            wheel.arm(at(*time), number as u64, &key(number as u64));
        }
        assert_eq!(due(&mut wheel, i64::MIN), [(i64::MIN, 4)]);
        assert_eq!(due(&mut wheel, -2), []);
        assert_eq!(due(&mut wheel, 4), [(-1, 2), (0, 1)]);
        assert_eq!(due(&mut wheel, 64), [(5, 0), (63, 6), (64, 5)]);
        wheel.arm(at(-7), 11, &key(11)); // Long due.
        assert_eq!(due(&mut wheel, 63), [], "the clock was put back");
        let rest = [(-7, 11), (65, 7), (4_095, 9), (4_096, 8), (i64::MAX - 1, 10), (i64::MAX, 3)];
        assert_eq!(due(&mut wheel, i64::MAX), rest);
        assert!(wheel.is_empty());
    }

    #[test]
    fn one_that_is_armed_again_comes_in_its_place_within_the_same_pass() {
        let mut wheel = TimerWheel::new();
        (0..3).for_each(|n| wheel.arm(at(10 + n as i64), n, &key(n)));
        let mut out = Vec::new();
        while let NextTimer::Due(timer) = wheel.next(at(1_000)) {
            out.push((timer.time().as_millis(), timer.hash()));
            if timer.time() < at(500) {
                let later = at(timer.time().as_millis() * 11);
                wheel.arm_again(timer, later);
            }
        }
        assert_eq!(out, [(10, 0), (11, 1), (12, 2), (110, 0), (121, 1), (132, 2)]);
        assert_eq!(due(&mut wheel, i64::MAX), [(1_210, 0), (1_331, 1), (1_452, 2)]);
    }

    #[test]
    fn a_call_is_short_and_memory_is_given_back() {
        let mut wheel = TimerWheel::new();
        let empty = wheel.bytes_used();
        (0..100_000).for_each(|n| wheel.arm(at(1_000_000), n, &key(n)));
        assert!(wheel.bytes_used() > empty + 100_000 * size_of::<WheelTimer>());
        let (mut calls, mut taken) = (0, 0);
        while taken < 100_000 {
            calls += 1;
            match wheel.next(at(i64::MAX)) {
                NextTimer::Due(_) => taken += 1,
                NextTimer::NotYet => {}
                NextTimer::None => panic!("{taken} came out"),
            }
        }
        assert!(calls - taken >= 100_000 / MOVES_MAX, "{calls} calls");
        assert!(wheel.bytes_used() <= empty + lists::KEPT_BYTES);
    }

    #[test]
    fn whatever_the_times_are_it_does_what_a_sorted_map_does() {
        for seed in 0..200_u64 {
            let mut state = seed;
            let mut random = move |bound: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) % bound
            };
            let (mut wheel, mut model) = (TimerWheel::new(), BTreeMap::<i64, Vec<u64>>::new());
            let mut now = [i64::MIN, -1_000, 0, 1_700_000_000_000][random(4) as usize];
            for number in 0..500 {
                let span = 1_i64 << random(40);
                if random(3) > 0 {
                    let time = now.saturating_add(random(span as u64) as i64 - span / 8);
                    wheel.arm(at(time), number, &key(number));
                    model.entry(time).or_default().push(number);
                    continue;
                }
                let before = now;
                now = now.saturating_add(random(span as u64 / 4 + 1) as i64);
                let (mut found, mut expected) = (due(&mut wheel, now), Vec::new());
                while let Some(first) = model.first_entry().filter(|first| *first.key() <= now) {
                    let (time, numbers) = first.remove_entry();
                    expected.extend(numbers.into_iter().map(|number| (time, number)));
                }
                // What was armed for a time that had come is in no order.
                let in_time = found.iter().filter(|(time, _)| *time > before);
                assert!(in_time.is_sorted_by_key(|(time, _)| *time), "seed {seed}: {found:?}");
                found.sort_unstable();
                expected.sort_unstable();
                assert_eq!(found, expected, "seed {seed}");
                assert_eq!(wheel.len(), model.values().map(Vec::len).sum::<usize>());
            }
        }
    }
}
