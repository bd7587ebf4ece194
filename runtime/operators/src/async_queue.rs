//! What waits for answers, and in which order it may go on. Pure.
//!
//! ```text
//!   elements   5   6 │ 7   8 │ 9        numbered as they come; `│` a watermark, or a change of status
//!   ordered    the first, once it has its results
//!   unordered  any before the first `│`, as their results come; then what `│` stands for
//! ```
//!
//! # What is always true
//!
//! 1. A watermark goes on when every element that came before it has, and before any that came after it.
//! 2. Each element goes on once, and nothing is kept of it then, however long one before it waits.

use std::collections::{BTreeMap, VecDeque};

use wiesel_core::{Meta, Nanos, Timestamp};

use crate::Status;

/// What is between elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passing {
    Watermark(Timestamp),
    Status(Status),
}

/// A record that waits.
#[derive(Debug)]
pub(crate) struct Element<T, R> {
    pub(crate) record: T,
    pub(crate) meta: Meta,
    /// How often it was asked about.
    pub(crate) tried: u32,
    /// The number of the future that runs for it.
    pub(crate) running: Option<u64>,
    results: Option<R>,
}

/// What may go on.
#[derive(Debug)]
pub(crate) enum Ready<R> {
    Results(Meta, R),
    Passing(Passing),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct AsyncQueue<T, R> {
    is_ordered: bool,
    /// Those that have not gone on, by number.
    elements: BTreeMap<u64, Element<T, R>>,
    /// The number of the next one.
    end: u64,
    /// When those without results time out: in order of arrival, and so of time.
    deadlines: BTreeMap<u64, Nanos>,
    /// Each with the number of the first element behind it.
    passing: VecDeque<(u64, Passing)>,
    /// With results, before the first `passing`, in the order of their results.
    done: VecDeque<u64>,
    /// With results, behind it.
    done_behind: Vec<u64>,
}

impl<T, R> AsyncQueue<T, R> {
    pub(crate) fn new(is_ordered: bool) -> Self {
        Self {
            is_ordered,
            elements: BTreeMap::new(),
            end: 0,
            deadlines: BTreeMap::new(),
            passing: VecDeque::new(),
            done: VecDeque::new(),
            done_behind: Vec::new(),
        }
    }

    /// Elements that have not gone on.
    pub(crate) fn len(&self) -> usize {
        self.elements.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.elements.is_empty() && self.passing.is_empty()
    }

    /// The number of the first element that is not before a watermark.
    fn boundary(&self) -> u64 {
        self.passing.front().map_or(u64::MAX, |(number, _)| *number)
    }

    /// Takes a record that times out at `deadline`, no earlier than those before it; gives its number.
    pub(crate) fn push(&mut self, record: T, meta: Meta, deadline: Nanos) -> u64 {
        let number = self.end;
        let element = Element { record, meta, tried: 0, running: None, results: None };
        self.elements.insert(number, element);
        self.deadlines.insert(number, deadline);
        self.end += 1;
        number
    }

    /// Takes what stands between the elements before and those after it.
    pub(crate) fn pass(&mut self, passing: Passing) {
        let end = self.end;
        if let (Passing::Watermark(_), Some((number, Passing::Watermark(last)))) =
            (passing, self.passing.back_mut())
            && *number == end
        {
            let Passing::Watermark(next) = passing else { return };
            *last = next.max(*last);
            return;
        }
        self.passing.push_back((end, passing));
    }

    /// The element with this number, if it has no results yet.
    pub(crate) fn waiting(&mut self, number: u64) -> Option<&mut Element<T, R>> {
        self.elements.get_mut(&number).filter(|element| element.results.is_none())
    }

    /// When the next one times out.
    pub(crate) fn next_deadline(&self) -> Option<Nanos> {
        self.deadlines.first_key_value().map(|(_, deadline)| *deadline)
    }

    /// The number of one that has timed out by `now`. Each is given once.
    pub(crate) fn overdue(&mut self, now: Nanos) -> Option<u64> {
        let first = self.deadlines.first_entry().filter(|first| *first.get() <= now)?;
        Some(first.remove_entry().0)
    }

    /// All that have not gone on, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Element<T, R>> {
        self.elements.values()
    }

    /// An element has its results.
    pub(crate) fn complete(&mut self, number: u64, results: R) {
        let Some(element) = self.waiting(number) else { return };
        element.results = Some(results);
        element.running = None;
        self.deadlines.remove(&number);
        if self.is_ordered {
            return;
        }
        match number < self.boundary() {
            true => self.done.push_back(number),
            false => self.done_behind.push(number),
        }
    }

    /// What may go on next, taken out.
    pub(crate) fn next(&mut self) -> Option<Ready<R>> {
        let first = self.elements.first_key_value().map_or(self.end, |(number, _)| *number);
        if let Some((number, passing)) = self.passing.front()
            && *number <= first
        {
            let passing = *passing;
            self.passing.pop_front();
            self.let_through();
            return Some(Ready::Passing(passing));
        }
        let number = if self.is_ordered { first } else { self.done.pop_front()? };
        self.elements.get(&number).filter(|element| element.results.is_some())?;
        let element = self.elements.remove(&number)?;
        element.results.map(|results| Ready::Results(element.meta, results))
    }

    /// Those that stood behind what has just gone on.
    fn let_through(&mut self) {
        let boundary = self.boundary();
        let Self { done, done_behind, .. } = self;
        done_behind.retain(|number| {
            let is_before = *number < boundary;
            if is_before {
                done.push_back(*number);
            }
            !is_before
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps: `+` the next record comes, `w5` a watermark, `i`/`a` a status, `!2` record 2 has its results.
    fn check(is_ordered: bool, script: &str, expected: &str) {
        let mut queue = AsyncQueue::<u64, u64>::new(is_ordered);
        let (mut count, mut out) = (0, Vec::new());
        for step in script.split_whitespace() {
            let (verb, object) = step.split_at(1);
            match verb {
                "+" => {
                    assert_eq!(queue.push(count, Meta::NONE, Nanos(count)), count);
                    count += 1;
                }
                "w" => {
                    let time = Timestamp::from_millis(object.parse().unwrap());
                    queue.pass(Passing::Watermark(time));
                }
                "i" => queue.pass(Passing::Status(Status::Idle)),
                "a" => queue.pass(Passing::Status(Status::Active)),
                _ => {
                    let number = object.parse().unwrap();
                    queue.complete(number, number);
                }
            }
            while let Some(ready) = queue.next() {
                out.push(match ready {
                    Ready::Results(_, number) => number.to_string(),
                    Ready::Passing(Passing::Watermark(time)) => format!("w{}", time.as_millis()),
                    Ready::Passing(Passing::Status(status)) => format!("{status:?}"),
                });
            }
        }
        assert_eq!(out.join(" "), expected, "{script}");
        let left = queue.iter().count();
        assert_eq!(left, queue.len());
        assert_eq!(queue.is_empty(), left == 0 && queue.passing.is_empty());
    }

    #[test]
    fn in_order_each_waits_for_those_before_it() {
        check(true, "+ + + !2 !0 !1", "0 1 2");
        check(true, "+ w5 + !1 !0", "0 w5 1");
        check(true, "w5 + + w6 + !0 w7 !1 !2", "w5 0 1 w6 2 w7");
        check(true, "+ !0 !0 + !1", "0 1");
    }

    #[test]
    fn out_of_order_only_watermarks_keep_their_place() {
        check(false, "+ + + !2 !0 !1", "2 0 1");
        check(false, "+ + w5 + + !3 !1 !0 !2", "1 0 w5 3 2");
        check(false, "+ w5 + w6 + !2 !1 !0", "0 w5 1 w6 2");
        check(false, "+ i a + !1 !0", "0 Idle Active 1");
    }

    #[test]
    fn one_that_hangs_keeps_no_others() {
        let mut queue = AsyncQueue::new(false);
        let hanging = queue.push((), Meta::NONE, Nanos(7));
        for _ in 0..1_000 {
            let number = queue.push((), Meta::NONE, Nanos(8));
            queue.complete(number, ());
            assert!(matches!(queue.next(), Some(Ready::Results(..))));
            assert_eq!((queue.elements.len(), queue.deadlines.len(), queue.done.len()), (1, 1, 0));
        }
        assert_eq!((queue.overdue(Nanos(6)), queue.next_deadline()), (None, Some(Nanos(7))));
        assert_eq!((queue.overdue(Nanos(9)), queue.overdue(Nanos(9))), (Some(hanging), None));
    }

    #[test]
    fn of_neighbouring_watermarks_the_last_is_left() {
        for is_ordered in [true, false] {
            check(is_ordered, "+ w5 w6 i w7 w8 !0", "0 w6 Idle w8");
            check(is_ordered, "w5 w6", "w5 w6");
        }
    }
}
