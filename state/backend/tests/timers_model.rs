//! Timers against a sorted set, at random: registered, deleted, fired, cleared, moved to other subtasks, and walked in slices
//! of any size meanwhile. A failure names its seed; `SEED=n cargo test -p wiesel-state --test timers_model` replays it, and
//! `SEEDS=n` runs so many.
//!
//! Each walk is read back piece by piece: it must be the timers of its flip, each once, and nothing may be kept of it then.

mod random;

use std::collections::BTreeSet;

use random::{Random, mix};
use wiesel_core::{KeyGroup, KeyGroupRange, Timestamp, key_group_of};
use wiesel_state::{Progress, TableError, Timer, TimerQueue};

/// A timer as the model has it, in the order in which timers come out: time, key group, hash, key, namespace.
type Entry = (i64, u16, u64, Vec<u8>, Vec<u8>);

/// What a piece has before its timers, and a timer before its key.
const PIECE_BYTES: usize = 20;
const TIMER_BYTES: usize = 24;

fn entry(timer: &Timer, max_parallelism: u32) -> Entry {
    let group = key_group_of(timer.hash(), max_parallelism).0;
    let (key, namespace) = (timer.key().to_vec(), timer.namespace().to_vec());
    (timer.time().as_millis(), group, timer.hash(), key, namespace)
}

/// The timers of a flip, and what the walk has given of them.
struct Walk {
    flip: BTreeSet<Entry>,
    /// Bytes by group, in order.
    given: Vec<(u16, Vec<u8>)>,
    /// Timers in them.
    count: u64,
    is_discarded: bool,
    /// Taken away since.
    removed: usize,
}

struct Harness {
    range: KeyGroupRange,
    max_parallelism: u32,
    timers: TimerQueue,
    model: BTreeSet<Entry>,
    walk: Option<Walk>,
    keys: u64,
    times: u64,
    longest: u64,
    buffer: Vec<u8>,
}

impl Harness {
    fn new(random: &mut Random) -> Self {
        let max_parallelism = random.pick(&[1, 4, 128]);
        let parallelism = random.pick(&[1, 1, 3]).min(max_parallelism);
        let subtask = random.below(u64::from(parallelism)) as u32;
        let range = KeyGroupRange::of_subtask(subtask, parallelism, max_parallelism);
        Self {
            range,
            max_parallelism,
            timers: TimerQueue::new(range, max_parallelism),
            model: BTreeSet::new(),
            walk: None,
            keys: random.pick(&[1, 10, 1_000]),
            times: random.pick(&[1, 10, 1_000_000]),
            longest: random.pick(&[0, 14, 40]),
            buffer: Vec::new(),
        }
    }

    /// One that may be there or not. Keys of one hash differ, too.
    fn draw(&self, random: &mut Random) -> Option<Entry> {
        let key = random.below(self.keys);
        let hash = mix(key / 2);
        let group = key_group_of(hash, self.max_parallelism);
        let bytes = vec![b'k'; (key % (self.longest + 1)) as usize];
        let key = [&key.to_le_bytes()[..], &bytes].concat();
        let namespace = random.pick(&[&b""[..], b"n", b"a window, 16 of."]).to_vec();
        let time = random.below(self.times) as i64 - 3;
        self.range.contains(group).then_some((time, group.0, hash, key, namespace))
    }

    fn register(&mut self, random: &mut Random) {
        let Some(entry) = self.draw(random) else { return };
        let (time, _, hash, key, namespace) = &entry;
        let is_new = self.timers.register(Timestamp::from_millis(*time), *hash, key, namespace);
        assert_eq!(is_new, self.model.insert(entry));
    }

    fn delete(&mut self, random: &mut Random) {
        let of_model = || self.model.iter().nth(random.0 as usize % self.model.len().max(1));
        let entry = match random.0 % 3 {
            0 => of_model().cloned(),
            _ => self.draw(random),
        };
        let Some(entry) = entry else { return };
        let (time, _, hash, key, namespace) = &entry;
        let was_there = self.timers.delete(Timestamp::from_millis(*time), *hash, key, namespace);
        assert_eq!(was_there, self.model.remove(&entry));
        self.has_removed(usize::from(was_there));
    }

    fn has_removed(&mut self, number: usize) {
        if let Some(walk) = &mut self.walk {
            walk.removed += number;
        }
    }

    /// Fires some.
    fn pop(&mut self, random: &mut Random) {
        let now = self.model.first().map_or(0, |first| first.0) + random.below(3) as i64 - 1;
        for _ in 0..random.below(20) {
            let first = self.model.first().filter(|first| first.0 <= now).cloned();
            let due = self.timers.first().map(|timer| entry(timer, self.max_parallelism));
            assert_eq!(due.as_ref(), self.model.first());
            let popped = self.timers.pop(Timestamp::from_millis(now));
            assert_eq!(popped.map(|timer| entry(&timer, self.max_parallelism)), first);
            let Some(first) = first else { break };
            self.model.remove(&first);
            self.has_removed(1);
        }
    }

    fn flip(&mut self) {
        match (self.timers.flip(), self.walk.is_some()) {
            (Err(TableError::WalkUnfinished { .. }), true) => {}
            (Ok(()), false) => {
                assert!(self.timers.is_walking());
                self.walk = Some(Walk {
                    flip: self.model.clone(),
                    given: Vec::new(),
                    count: 0,
                    is_discarded: false,
                    removed: 0,
                });
            }
            (flipped, is_walking) => panic!("{flipped:?}, is walking: {is_walking}"),
        }
    }

    fn discard(&mut self) {
        self.timers.discard_walk();
        if let Some(walk) = &mut self.walk {
            walk.is_discarded = true;
        }
    }

    fn walk(&mut self, budget: usize) {
        let Some(walk) = &mut self.walk else {
            let nothing = &mut |_: wiesel_state::Piece<'_>| panic!("nothing is walked");
            assert_eq!(self.timers.walk_pieces(budget, &mut self.buffer, nothing), Progress::Done);
            return;
        };
        let (mut bytes, mut pieces) = (0, 0);
        let progress = self.timers.walk_pieces(budget, &mut self.buffer, &mut |piece| {
            assert!(!walk.is_discarded, "nobody wants it");
            pieces += 1;
            let last = walk.given.last().map(|(group, _)| *group);
            match piece.begins {
                true => {
                    let next = last.map_or(self.range.first, |last| last + 1);
                    assert_eq!(piece.group.0, next, "each group begins once, in their order");
                    walk.given.push((next, Vec::new()));
                }
                false => assert_eq!(Some(piece.group.0), last, "a group is given at once"),
            }
            assert!(piece.begins || !piece.bytes.is_empty(), "it says something");
            if let Some(number) = piece.bytes[..].get(16..20) {
                bytes += piece.bytes.len() - PIECE_BYTES;
                walk.count += u64::from(u32::from_le_bytes(number.try_into().unwrap()));
            }
            walk.given.last_mut().expect("it has begun").1.extend_from_slice(piece.bytes);
        });
        let longest = TIMER_BYTES + 8 + self.longest as usize + 16;
        assert!(bytes < budget + 2 * longest, "{bytes} bytes of at most {budget}");
        assert!(pieces <= budget / 64 + 1, "{pieces} groups for {budget} bytes");
        if progress == Progress::Done {
            self.is_walked();
        }
    }

    /// A walk is over.
    fn is_walked(&mut self) {
        assert!(!self.timers.is_walking());
        let Some(walk) = self.walk.take().filter(|walk| !walk.is_discarded) else { return };
        assert_eq!(walk.given.len(), self.range.len());
        assert_eq!(walk.count, walk.flip.len() as u64, "each once");
        let mut restored = TimerQueue::new(self.range, self.max_parallelism);
        for (group, bytes) in walk.given {
            restored.import(&bytes).unwrap();
            let are_of_group = |entry: Entry| entry.1 <= group;
            assert!(restored.iter().all(|timer| are_of_group(entry(timer, self.max_parallelism))));
        }
        assert_same(&restored, &walk.flip, self.max_parallelism);
    }

    /// Everything is what the model says, and nothing else is kept than what a walk may need.
    fn check(&self) {
        assert_eq!(
            (self.timers.len(), self.timers.is_empty()),
            (self.model.len(), self.model.is_empty())
        );
        assert_same(&self.timers, &self.model, self.max_parallelism);
        let long = |entry: &Entry| entry.3.len() + entry.4.len();
        let bytes =
            |entry: &Entry| size_of::<Timer>() + if long(entry) > 29 { long(entry) } else { 0 };
        let (used, ours) = (self.timers.bytes_used(), self.model.iter().map(bytes).sum::<usize>());
        match &self.walk {
            None => assert_eq!(used, ours),
            Some(walk) => {
                let most = size_of::<Timer>() + 8 + self.longest as usize + 16;
                assert!((ours..=ours + walk.removed * most).contains(&used), "{ours}: {used}");
            }
        }
    }

    /// Every group goes to one of a few subtasks; together they have the timers.
    fn rescale(&mut self, random: &mut Random) {
        let parallelism = 1 + random.below(u64::from(self.max_parallelism.min(5))) as u32;
        let mut found = BTreeSet::new();
        for subtask in 0..parallelism {
            let range = KeyGroupRange::of_subtask(subtask, parallelism, self.max_parallelism);
            let mut part = TimerQueue::new(range, self.max_parallelism);
            self.timers.export(&mut |group: KeyGroup, bytes| {
                assert_eq!(part.import(bytes).is_ok(), range.contains(group));
            });
            found.extend(part.iter().map(|timer| entry(timer, self.max_parallelism)));
        }
        assert!(found == self.model, "other timers at parallelism {parallelism}");
    }

    fn step(&mut self, random: &mut Random) {
        match random.below(1_000) {
            0..450 => self.register(random),
            450..600 => self.delete(random),
            600..680 => self.pop(random),
            680..720 => self.flip(),
            720..725 => self.discard(),
            725..980 => self.walk(random.pick(&[1, 100, 1_000, 100_000])),
            980..995 => self.check(),
            995..999 => self.rescale(random),
            _ => {
                self.timers.clear();
                self.has_removed(self.model.len());
                self.model.clear();
            }
        }
    }
}

fn assert_same(timers: &TimerQueue, expected: &BTreeSet<Entry>, max_parallelism: u32) {
    let found: BTreeSet<Entry> = timers.iter().map(|timer| entry(timer, max_parallelism)).collect();
    let other = found.symmetric_difference(expected).next();
    assert_eq!(other, None, "{} timers, not {}", found.len(), expected.len());
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let mut harness = Harness::new(&mut random);
    for _ in 0..random.pick(&[100, 1_000, 3_000]) {
        harness.step(&mut random);
    }
    while harness.walk.is_some() {
        harness.walk(1_000);
    }
    harness.check();
    harness.rescale(&mut random);
    while !harness.timers.is_empty() {
        harness.pop(&mut random);
    }
    assert_eq!((harness.model.len(), harness.timers.bytes_used()), (0, 0));
}

#[test]
fn timers_are_a_sorted_set_and_their_snapshots_are_the_flips() {
    let number = |name| std::env::var(name).ok().map(|n| n.parse::<u64>().expect("a number"));
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(300),
    };
    for seed in seeds {
        let run = std::panic::catch_unwind(|| run(seed));
        assert!(run.is_ok(), "SEED={seed}");
    }
}

/// A queue with so many timers of one key group, or of all.
fn many(number: u64, max_parallelism: u32) -> TimerQueue {
    let mut timers = TimerQueue::new(KeyGroupRange::all(max_parallelism), max_parallelism);
    for key in 0..number {
        let time = Timestamp::from_millis(mix(key) as i64 >> 20);
        assert!(timers.register(time, mix(key), &key.to_le_bytes(), b""));
    }
    timers
}

#[test]
fn a_slice_is_as_long_however_many_timers_there_are_and_what_is_kept_goes_in_slices() {
    const BUDGET: usize = 4 << 10;
    for (number, max_parallelism) in [(1_000, 1), (100_000, 1), (100_000, 128)] {
        let mut timers = many(number, max_parallelism);
        let mut buffer = Vec::new();
        for (is_fired, is_discarded) in [(false, false), (true, false), (true, true)] {
            let used = timers.bytes_used();
            timers.flip().unwrap();
            assert_eq!(timers.bytes_used(), used, "a flip keeps nothing");
            if is_fired {
                // All of them before the walk has begun: it is given what is kept.
                while timers.pop(Timestamp::MAX).is_some() {}
                assert_eq!((timers.len(), timers.bytes_used()), (0, used));
            }
            if is_discarded {
                timers.discard_walk();
            }
            let (mut given, mut slices) = (0, 0);
            loop {
                let (mut bytes, before) = (0, timers.bytes_used());
                let progress = timers.walk_pieces(BUDGET, &mut buffer, &mut |piece| {
                    bytes += piece.bytes.len();
                });
                assert!(bytes <= BUDGET + 2 * 32 + PIECE_BYTES * (BUDGET / 64), "{bytes}");
                let freed = (before - timers.bytes_used()) / size_of::<Timer>();
                assert!(freed <= BUDGET / 96 + 1, "{freed} timers at once");
                (given, slices) = (given + bytes, slices + 1);
                if progress == Progress::Done {
                    break;
                }
            }
            if is_discarded {
                assert_eq!(given, 0);
            } else {
                assert!(given >= number as usize * 32);
                assert!(slices >= given / (2 * BUDGET), "{slices} slices of {given} bytes");
            }
            if is_fired {
                assert_eq!(timers.bytes_used(), 0);
                timers = many(number, max_parallelism);
            }
        }
    }
}

#[test]
fn one_that_is_registered_while_others_are_passed_over_costs_the_walk_little() {
    let mut timers = many(10, 1);
    timers.flip().unwrap();
    for key in 10..10_000 {
        timers.register(Timestamp::from_millis(0), mix(key), &u64::to_le_bytes(key), b"");
    }
    let (mut restored, mut slices) = (TimerQueue::new(KeyGroupRange::all(1), 1), 0);
    let mut buffer = Vec::new();
    while timers.walk_pieces(1_000, &mut buffer, &mut |piece| {
        restored.import(piece.bytes).unwrap();
    }) == Progress::More
    {
        slices += 1;
    }
    assert_eq!(restored.len(), 10);
    assert!(slices > 10, "passing over them is work, too: {slices} slices");
}
