//! Counts per key and session, by hand: the last session of a key is in a map, others in a vector beside it.
//!
//! ```text
//!   key ─▶ [start, end) count │ others, if the input is out of order
//!   due: by the second in which a session may end, keys to look at; a key waits once
//! ```
//!
//! # What is always true
//!
//! 1. A session is seen once, when no event of any thread can be in it any more.
//! 2. Nothing is allocated for an event that makes the last session of its key longer.

use std::{collections::BTreeMap, hash::Hash, hint::black_box};

use rustc_hash::FxHashMap;

use super::threads::{self, Work};
use crate::{
    generator::{
        Check, DISORDER_MS, Event, Generator, PersonText, SESSION_GAP_MS, WINDOWED_KEYS, mix,
        window_x,
    },
    measure::Run,
};

#[derive(Clone, Copy)]
struct Session {
    start_ms: u64,
    end_ms: u64,
    count: u64,
}

struct OfKey {
    last: Session,
    /// Before the last, in no order.
    others: Vec<Session>,
}

/// Counts in sessions.
pub struct Sessions<K> {
    open: FxHashMap<K, OfKey>,
    /// By second.
    due: BTreeMap<u64, Vec<K>>,
}

impl<K: Hash + Eq + Copy> Sessions<K> {
    /// Without any.
    pub fn new() -> Self {
        Self { open: FxHashMap::default(), due: BTreeMap::new() }
    }

    /// Counts a key.
    #[inline(always)]
    pub fn add(&mut self, key: K, time_ms: u64) {
        let own = Session { start_ms: time_ms, end_ms: time_ms + SESSION_GAP_MS, count: 1 };
        let Some(of_key) = self.open.get_mut(&key) else {
            self.open.insert(key, OfKey { last: own, others: Vec::new() });
            self.due.entry(second_of(own.end_ms)).or_default().push(key);
            return;
        };
        let last = &mut of_key.last;
        if of_key.others.is_empty() && time_ms >= last.start_ms && time_ms <= last.end_ms {
            last.end_ms = last.end_ms.max(own.end_ms);
            last.count += 1;
        } else {
            of_key.merge(own);
        }
    }

    /// Shows the sessions that end at or before `time_ms`: there is nothing more to come before it.
    #[inline(always)]
    pub fn close(&mut self, time_ms: u64, see: impl FnMut(K, u64, u64)) {
        if self.due.first_key_value().is_some_and(|(second, _)| *second <= second_of(time_ms)) {
            self.close_all(time_ms, see);
        }
    }

    #[cold]
    fn close_all(&mut self, time_ms: u64, mut see: impl FnMut(K, u64, u64)) {
        let now = second_of(time_ms);
        let mut later: Vec<(u64, K)> = Vec::new();
        while let Some(due) = self.due.first_entry().filter(|due| *due.key() <= now) {
            for key in due.remove() {
                let Some(of_key) = self.open.get_mut(&key) else { continue };
                let mut all = std::mem::take(&mut of_key.others);
                all.push(of_key.last);
                all.iter()
                    .filter(|session| session.end_ms <= time_ms)
                    .for_each(|session| see(key, session.count, session.end_ms));
                all.retain(|session| session.end_ms > time_ms);
                all.sort_by_key(|session| session.end_ms);
                match (all.first().copied(), all.pop()) {
                    (Some(first), Some(last)) => {
                        *of_key = OfKey { last, others: all };
                        later.push((second_of(first.end_ms), key));
                    }
                    _ => drop(self.open.remove(&key)),
                }
            }
        }
        later.into_iter().for_each(|(second, key)| self.due.entry(second).or_default().push(key));
    }
}

impl OfKey {
    /// Merges a session with those that it overlaps or touches.
    #[cold]
    fn merge(&mut self, mut own: Session) {
        let mut all = std::mem::take(&mut self.others);
        all.push(self.last);
        all.retain(|session| {
            let touches = session.start_ms <= own.end_ms && own.start_ms <= session.end_ms;
            if touches {
                own.start_ms = own.start_ms.min(session.start_ms);
                own.end_ms = own.end_ms.max(session.end_ms);
                own.count += session.count;
            }
            !touches
        });
        all.push(own);
        all.sort_by_key(|session| session.end_ms);
        if let Some(last) = all.pop() {
            *self = Self { last, others: all };
        }
    }
}

/// A session is due in the second in which it ends, or has ended.
fn second_of(end_ms: u64) -> u64 {
    end_ms / 1_000
}

/// Outputs every session.
struct All {
    sessions: Sessions<u64>,
    generator: Generator,
    disorder_ms: u64,
    check: Check,
}

/// A key and its time.
type Keyed = (u64, u64);

impl Work<Keyed> for All {
    #[inline(always)]
    fn take(&mut self, (key, time_ms): Keyed) {
        self.sessions.add(key, time_ms);
    }

    fn passed(&mut self, number: u64) {
        let before = self.generator.time_before(number);
        let before = if before == u64::MAX { before } else { before - self.disorder_ms };
        self.sessions.close(before, |key, count, end_ms| {
            self.check.add(window_x(key, count, end_ms));
        });
    }

    fn check(self) -> Check {
        self.check
    }
}

impl All {
    fn new(run: &Run, generator: Generator) -> Self {
        let disorder_ms = if run.disorder == 0 { 0 } else { DISORDER_MS };
        Self { sessions: Sessions::new(), generator, disorder_ms, check: Check::default() }
    }
}

/// `session`: counts ten thousand keys in sessions.
pub fn count(run: &Run, generator: Generator) -> Check {
    let (threads, late) = (u64::from(run.parallelism), run.disorder);
    let works = threads::run_works(
        run,
        || All::new(run, generator),
        move |number, router| {
            let at = generator.time_ms(number) - generator.delay_ms(number, late);
            let keyed = (generator.key(number, WINDOWED_KEYS), at);
            let (key, _) = *black_box(&keyed);
            router.send(((mix(key) >> 32) % threads) as u32, keyed);
        },
    );
    total(works)
}

/// Bids by bidder and session.
pub fn q11(run: &Run, generator: Generator) -> Check {
    let (threads, late) = (u64::from(run.parallelism), run.disorder);
    let mut text = PersonText::default();
    let works = threads::run_works(
        run,
        || All::new(run, generator),
        move |number, router| {
            let event = generator.event(number, &mut text);
            if let Event::Bid(bid) = *black_box(&event) {
                let at = bid.date_time - generator.delay_ms(number, late);
                router.send(((mix(bid.bidder) >> 32) % threads) as u32, (bid.bidder, at));
            }
        },
    );
    total(works)
}

fn total(works: Vec<All>) -> Check {
    let mut total = Check::default();
    works.into_iter().for_each(|work| total.merge(work.check()));
    total
}
