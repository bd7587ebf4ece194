//! States of every kind, mixed, against plain collections: what is told is the same whatever order they are used in, and
//! wherever the state is restored.
//!
//! A trace is a script like those of the tables. `properties` says how many.

use std::{collections::BTreeMap, time::Duration};

use wiesel_operators::{
    Head, KeyedHeadStart, KeyedProcessStart, Nothing, StateTtl, TaskContext, TtlUpdate,
    TtlVisibility,
};
use wiesel_record::Key;

use crate::{
    harness::{self, Mode, Probe, Word},
    random::Random,
    states::{self, Everything, Ttls, map_key, note_of},
};

/// How the model sees a time to live.
#[derive(Clone, Copy, Debug, Default)]
struct Ttl {
    /// None for ever.
    ms: Option<i64>,
    by_reading: bool,
    shows_expired: bool,
}

impl Ttl {
    fn random(random: &mut Random) -> Self {
        if random.one_in(2) {
            return Self::default();
        }
        let ms = Some(1 + random.below(60) as i64);
        Self { ms, by_reading: random.one_in(2), shows_expired: random.one_in(3) }
    }

    fn real(self) -> Option<StateTtl> {
        let ttl = StateTtl::new(Duration::from_millis(self.ms?.unsigned_abs()));
        let update = match self.by_reading {
            true => TtlUpdate::OnReadAndWrite,
            false => TtlUpdate::OnCreateAndWrite,
        };
        let visibility = match self.shows_expired {
            true => TtlVisibility::ReturnExpiredIfNotCleanedUp,
            false => TtlVisibility::NeverReturnExpired,
        };
        Some(ttl.with_update(update).with_visibility(visibility))
    }

    fn is_expired(self, at: i64, now: i64) -> bool {
        self.ms.is_some_and(|ms| at + ms <= now)
    }

    fn is_seen(self, at: i64, now: i64) -> bool {
        self.shows_expired || !self.is_expired(at, now)
    }
}

/// A value, and when it was last used.
#[derive(Clone, Debug)]
struct Used<T>(T, i64);

/// A state of one value.
#[derive(Clone, Debug)]
struct Single<T>(Option<Used<T>>);

impl<T> Default for Single<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Clone> Single<T> {
    fn peek(&self, ttl: Ttl, now: i64) -> Option<T> {
        self.0.as_ref().filter(|used| ttl.is_seen(used.1, now)).map(|used| used.0.clone())
    }

    fn settle(&mut self, ttl: Ttl, now: i64) {
        if self.0.as_ref().is_some_and(|used| ttl.is_expired(used.1, now)) {
            self.0 = None;
        } else if let Some(used) = self.0.as_mut().filter(|_| ttl.by_reading) {
            used.1 = now;
        }
    }

    fn read(&mut self, ttl: Ttl, now: i64) -> Option<T> {
        let seen = self.peek(ttl, now);
        self.settle(ttl, now);
        seen
    }
}

/// Elements of a list, or entries of a map in the order of their numbers.
#[derive(Clone, Debug)]
struct Many<T>(Vec<Used<T>>);

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Clone> Many<T> {
    fn peek(&self, ttl: Ttl, now: i64) -> Vec<T> {
        let seen = self.0.iter().filter(|used| ttl.is_seen(used.1, now));
        seen.map(|used| used.0.clone()).collect()
    }

    fn refresh(&mut self, ttl: Ttl, now: i64) {
        if ttl.by_reading {
            let alive = self.0.iter_mut().filter(|used| !ttl.is_expired(used.1, now));
            alive.for_each(|used| used.1 = now);
        }
    }

    fn read_list(&mut self, ttl: Ttl, now: i64) -> Vec<T> {
        let seen = self.peek(ttl, now);
        let expired = self.0.iter().take_while(|used| ttl.is_expired(used.1, now)).count();
        self.0.drain(..expired);
        self.refresh(ttl, now);
        seen
    }

    fn read_map(&mut self, ttl: Ttl, now: i64) -> Vec<T> {
        let seen = self.peek(ttl, now);
        for at in (0..self.0.len()).rev() {
            if ttl.is_expired(self.0[at].1, now) {
                self.0.swap_remove(at);
            }
        }
        self.refresh(ttl, now);
        seen
    }
}

#[derive(Clone, Debug, Default)]
struct OfKey {
    value: Single<i64>,
    note: Single<String>,
    list: Many<i64>,
    map: Many<(String, i64)>,
    reduced: Single<i64>,
    mean: Single<(i64, u64)>,
    names: Many<((u32, String), String)>,
    lines: Many<String>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Setting {
    value: Ttl,
    note: Ttl,
    list: Ttl,
    map: Ttl,
    reduced: Ttl,
    mean: Ttl,
    names: Ttl,
}

impl Setting {
    fn random(random: &mut Random) -> Self {
        if random.one_in(3) {
            return Self::default();
        }
        let mut ttl = || Ttl::random(random);
        Self {
            value: ttl(),
            note: ttl(),
            list: ttl(),
            map: ttl(),
            reduced: ttl(),
            mean: ttl(),
            names: ttl(),
        }
    }

    fn all(&self) -> [Ttl; 7] {
        [self.value, self.note, self.list, self.map, self.reduced, self.mean, self.names]
    }

    fn ttls(&self) -> Ttls {
        Ttls {
            value: self.value.real(),
            note: self.note.real(),
            list: self.list.real(),
            map: self.map.real(),
            reduced: self.reduced.real(),
            mean: self.mean.real(),
            names: self.names.real(),
        }
    }
}

impl OfKey {
    fn put<M: PartialEq, V>(map: &mut Many<(M, V)>, map_key: M, value: V, now: i64) {
        match map.0.iter_mut().find(|entry| entry.0.0 == map_key) {
            Some(entry) => *entry = Used((map_key, value), now),
            None => map.0.push(Used((map_key, value), now)),
        }
    }

    fn obey(&mut self, setting: &Setting, number: i64, now: i64) -> Option<String> {
        let (order, about) = (number / 1_000, number % 1_000);
        match order {
            states::SET if about == 0 => self.value.0 = None,
            states::SET => self.value.0 = Some(Used(about, now)),
            states::BUMP => {
                let value = self.value.peek(setting.value, now).unwrap_or(0) + about;
                self.value.0 = Some(Used(value, now));
                return Some(format!("{value}={value}"));
            }
            states::NOTE if about == 0 => self.note.0 = None,
            states::NOTE => self.note.0 = Some(Used(note_of(about), now)),
            states::LIST_ADD => self.list.0.push(Used(about, now)),
            states::LIST_UPDATE => {
                self.list.0 = (0..about % 4).map(|n| Used(about + n, now)).collect();
            }
            states::LIST_CLEAR => self.list.0.clear(),
            states::PUT => Self::put(&mut self.map, map_key(about), about, now),
            states::REMOVE => {
                let at = self.map.0.iter().position(|entry| entry.0.0 == map_key(about));
                at.map(|at| self.map.0.swap_remove(at));
            }
            states::MAP_CLEAR => self.map.0.clear(),
            states::LOOK => {
                let at = self.map.0.iter().position(|entry| entry.0.0 == map_key(about));
                let Some(at) = at else { return Some("None".to_owned()) };
                let entry = self.map.0[at].clone();
                if setting.map.is_expired(entry.1, now) {
                    self.map.0.swap_remove(at);
                } else if setting.map.by_reading {
                    self.map.0[at].1 = now;
                }
                let seen = Some(entry).filter(|entry| setting.map.is_seen(entry.1, now));
                return Some(format!("{:?}", seen.map(|entry| entry.0.1)));
            }
            states::RETAIN => {
                let mut at = 0;
                while at < self.map.0.len() {
                    let entry = &self.map.0[at];
                    let is_kept = entry.0.1 % 2 == about % 2;
                    if setting.map.is_seen(entry.1, now) && !is_kept {
                        self.map.0.swap_remove(at);
                    } else {
                        at += 1;
                    }
                }
            }
            states::REDUCE => {
                let old = self.reduced.peek(setting.reduced, now);
                let new = old.map_or(about % 5, |old| 2 * old + about % 5);
                self.reduced.0 = Some(Used(new, now));
            }
            states::AVERAGE => {
                let (sum, count) = self.mean.peek(setting.mean, now).unwrap_or((0, 0));
                // Two are added: the second one finds the first.
                self.mean.0 = Some(Used((sum + about + 1, count + 2), now));
            }
            states::FOLDS_CLEAR => {
                self.reduced.0 = None;
                self.mean.0 = None;
            }
            states::TELL => return Some(self.tell(setting, now)),
            states::NAME => {
                let map_key = (about as u32 % 3, map_key(about));
                Self::put(&mut self.names, map_key, note_of(about), now);
                self.lines.0.push(Used(note_of(about), now));
            }
            states::NAMES_CLEAR => {
                self.names.0.clear();
                self.lines.0.clear();
            }
            states::CLEAR_ALL => *self = Self::default(),
            states::COUNT => {
                let list = self.list.read_list(setting.list, now).len();
                let map = self.map.read_map(setting.map, now).len();
                let names = self.names.peek(setting.names, now).len();
                return Some(format!("{list}.{map}.{names}"));
            }
            _ => panic!("no order is {order}"),
        }
        None
    }

    fn tell(&mut self, setting: &Setting, now: i64) -> String {
        let show = |value: Option<i64>| value.map_or("-".to_owned(), |value| value.to_string());
        let value = show(self.value.read(setting.value, now));
        let note = show(self.note.read(setting.note, now).map(|note| note.len() as i64));
        let list = self.list.read_list(setting.list, now);
        let map = self.map.read_map(setting.map, now);
        let map: Vec<String> = map.iter().map(|(k, v)| format!("{}:{v}", k.len())).collect();
        let reduced = show(self.reduced.read(setting.reduced, now));
        let mean = self.mean.read(setting.mean, now);
        let mean = mean.map_or("-".to_owned(), |(sum, count)| format!("{sum}/{count}"));
        let names = self.names.read_map(setting.names, now);
        let names = names.iter().map(|((n, text), v)| format!("{n}{}{}", text.len(), v.len()));
        let names = names.collect::<Vec<_>>().join(",");
        let lines = self.lines.read_list(setting.names, now);
        let lines: Vec<usize> = lines.iter().map(String::len).collect();
        let map = map.join(",");
        format!("{value} {note} {list:?} {{{map}}} {reduced} {mean} {{{names}}} {lines:?}")
            .replace(' ', "_")
    }
}

/// The definition: a plain collection for each state of each key.
fn interpret(setting: &Setting, script: &str) -> String {
    let (mut keys, mut now, mut out) = (BTreeMap::<&str, OfKey>::new(), 0, Vec::new());
    for step in script.split(' ') {
        if let Some(time) = step.strip_prefix('C') {
            now = time.trim_end_matches('!').parse().unwrap();
            continue;
        }
        if step.starts_with('!') {
            continue; // A restore is nothing.
        }
        if step == "state?" {
            out.push("state=none".to_owned());
            continue;
        }
        let letters = step.find(|c: char| !c.is_alphabetic()).unwrap();
        let (key, number) = step.split_at(letters);
        let of_key = keys.entry(key).or_default();
        out.extend(of_key.obey(setting, number.parse().unwrap(), now));
    }
    out.join(" ")
}

/// Orders for a few keys, while time goes on and, if passes make no difference, somebody cleans up; at the end
/// everything is cleared, or expires.
fn random_script(random: &mut Random, setting: &Setting) -> String {
    let keys = ["a", "b", "e", "eeeeeeeeeeeeeeeeee", "ö"];
    let is_swept = setting.all().iter().all(|ttl| !ttl.shows_expired);
    let all_expire = setting.all().iter().all(|ttl| ttl.ms.is_some());
    let (mut steps, mut now) = (Vec::new(), 0);
    for _ in 0..20 + random.below(150) {
        match random.below(12) {
            0 => {
                now += random.below(25);
                let told = if is_swept && random.one_in(2) { "!" } else { "" };
                steps.push(format!("C{now}{told}"));
            }
            1 => steps.push(format!("!{}", 1 + random.below(3))),
            2 | 3 => {
                let key = keys[random.below(keys.len() as u64) as usize];
                steps.push(format!("{key}{}", 1_000 * states::TELL));
            }
            _ => {
                let key = keys[random.below(keys.len() as u64) as usize];
                // Clearing everything is rare.
                let order = match random.below(30) {
                    0 => states::CLEAR_ALL,
                    1 => states::COUNT,
                    _ => 1 + random.below(17) as i64,
                };
                steps.push(format!("{key}{}", 1_000 * order + random.below(90) as i64));
            }
        }
    }
    if all_expire {
        // Nobody comes again.
        (0..200).for_each(|step| steps.push(format!("C{}!", now + step)));
    } else {
        keys.iter().for_each(|key| steps.push(format!("{key}{}", 1_000 * states::CLEAR_ALL)));
    }
    steps.push("state?".to_owned());
    steps.join(" ")
}

/// What is told, with the entries of maps sorted. Where they expire their order is not the model's: who goes when (a
/// sweep, a snapshot) leaves its place to the last one.
fn with_sorted_maps(text: &str) -> String {
    let mut parts = text.split('{');
    let mut sorted = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (entries, rest) = part.split_once('}').unwrap();
        let mut entries: Vec<&str> = entries.split(',').collect();
        entries.sort_unstable();
        sorted = format!("{sorted}{{{}}}{rest}", entries.join(","));
    }
    sorted
}

/// Every kind of keyed state against plain collections.
pub fn states_are_what_plain_collections_are(seed: u64) {
    let mut random = Random(seed);
    let setting = Setting::random(&mut random);
    let script = random_script(&mut random, &setting);
    let function = Everything::new(setting.ttls());
    let maps_expire = setting.map.ms.or(setting.names.ms).is_some();
    let shown = |text: String| if maps_expire { with_sorted_maps(&text) } else { text };
    let expected = shown(interpret(&setting, &script));
    let by_text = |context: &TaskContext, probe: &Probe| states::head(&function, context, probe);
    // A key that is kept as a word.
    let letter_of = |word: (&str, i64)| word.0.as_bytes()[0];
    let by_letter = |context: &TaskContext, probe: &Probe| -> Box<dyn Head> {
        let start = KeyedProcessStart::new(function.clone(), None);
        let start = KeyedHeadStart::<Word, u8, _, _>::new(letter_of, start);
        harness::head_of(start, Nothing::new(), context, probe)
    };
    let hash_of_letter = |word: &Word| u8::key_hash(word.0.as_bytes()[0]);
    let mode = [Mode::Plain, Mode::Stopped(2), Mode::Spent, Mode::Restored, Mode::Rescaled];
    let mode = mode[random.below(5) as usize];
    let out = shown(harness::run(&by_text, mode, &script));
    assert_eq!(out, expected, "SEED={seed}, {mode:?}, {setting:?}: {script}");
    let letters = script.replace("eeeeeeeeeeeeeeeeee", "f");
    let out = shown(harness::run_routed(&by_letter, hash_of_letter, mode, &letters));
    assert_eq!(out, expected, "SEED={seed}, {mode:?}, by letter, {setting:?}: {letters}");
}
