//! The rules of the general window operator, interpreted naively: every record is kept, the next timer is looked for among
//! all, and what fires is evaluated from the beginning.

use std::collections::BTreeSet;

use wiesel_core::Timestamp;

use crate::{
    harness::{parse_time, show_time},
    random::Random,
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    Count(u64),
    Event,
    Processing,
    Continuous(i64),
    ContinuousProcessing(i64),
    Delta(i64),
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Windows {
    Global,
    /// Size and slide.
    Sliding(i64, i64),
    /// Gap.
    Session(i64),
}

/// What is done with the elements when a window fires.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kept {
    /// They were aggregated.
    Folded,
    /// They are printed, with what is kept of window and key.
    Listed,
    /// The last so many, before or behind.
    Count(usize, bool),
    /// Those so close to the latest.
    Time(i64, bool),
    /// Those so close to the last.
    Delta(i64, bool),
}

/// What the windows of a trace are; all in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub windows: Windows,
    pub follows_clock: bool,
    pub lateness: i64,
    pub has_side: bool,
    pub rule: Rule,
    pub purges: bool,
    pub kept: Kept,
}

impl Setting {
    pub fn random(random: &mut Random) -> Self {
        let size = 1 + random.below(20) as i64;
        let windows = match random.below(4) {
            0 => Windows::Global,
            1 => Windows::Sliding(size, size),
            2 => Windows::Sliding(size, 1 + random.below(20) as i64),
            _ => Windows::Session(1 + random.below(12) as i64),
        };
        let follows_clock = windows != Windows::Global && random.one_in(3);
        let is_sliding = matches!(windows, Windows::Sliding(size, slide) if size != slide);
        let rule = match random.below(7) {
            0 => Rule::Count(1 + random.below(4)),
            // What is between two windows that become one is not defined.
            1 if !matches!(windows, Windows::Session(_)) => Rule::Delta(random.below(50) as i64),
            // Results that are in no order of their times are no table.
            2 if !is_sliding && !follows_clock => Rule::Continuous(1 + random.below(9) as i64),
            3 if windows == Windows::Global => {
                Rule::ContinuousProcessing(1 + random.below(9) as i64)
            }
            4 => Rule::Never,
            _ if follows_clock => Rule::Processing,
            _ => Rule::Event,
        };
        let lateness = match random.below(6) {
            0 | 1 => 0,
            2 => i64::MAX,
            _ => random.below(40) as i64,
        };
        let is_behind = random.one_in(2);
        let kept = match random.below(6) {
            0 | 1 => Kept::Folded,
            2 => Kept::Listed,
            3 => Kept::Count(random.below(4) as usize, is_behind),
            4 => Kept::Time(random.below(15) as i64, is_behind),
            _ => Kept::Delta(random.below(60) as i64, is_behind),
        };
        let (has_side, purges) = (random.one_in(2), random.one_in(2));
        Self { windows, follows_clock, lateness, has_side, rule, purges, kept }
    }

    /// Start and end of the windows over `at`.
    fn windows(&self, at: i64) -> Vec<(i64, i64)> {
        let (size, slide) = match self.windows {
            Windows::Global => return vec![(i64::MIN, i64::MAX)],
            Windows::Session(gap) => return vec![(at, at.saturating_add(gap))],
            Windows::Sliding(size, slide) => (i128::from(size), i128::from(slide)),
        };
        let at = i128::from(at);
        let within = |time: i128| time.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        let starts = (0..).map(|back| at.div_euclid(slide) * slide - back * slide);
        let mut windows: Vec<_> = starts
            .take_while(|start| start + size > at)
            .map(|start| (within(start), within(start + size)))
            .collect();
        windows.reverse();
        windows
    }
}

/// A key and window.
struct Window {
    key: String,
    window: (i64, i64),
    elements: Vec<(i64, Option<i64>)>,
    /// What the trigger keeps.
    seen: Option<i64>,
    event_timers: BTreeSet<i64>,
    clock_timers: BTreeSet<i64>,
    fired: u64,
}

impl Window {
    fn last(&self) -> i64 {
        self.window.1.saturating_sub(1)
    }

    fn on_element(&mut self, rule: Rule, number: i64, time: i64, now: (i64, i64)) -> bool {
        let (watermark, clock) = now;
        let last = self.last();
        match rule {
            Rule::Never => false,
            Rule::Count(n) => {
                let count = self.seen.unwrap_or(0) + 1;
                let fires = count >= n as i64;
                self.seen = (!fires).then_some(count);
                fires
            }
            Rule::Delta(threshold) => {
                let fires = self.seen.is_some_and(|seen| number - seen > threshold);
                if fires || self.seen.is_none() {
                    self.seen = Some(number);
                }
                fires
            }
            Rule::Event | Rule::Continuous(_) if last <= watermark => true,
            Rule::Event => {
                self.event_timers.insert(last);
                false
            }
            Rule::Processing => {
                self.clock_timers.insert(last);
                false
            }
            Rule::Continuous(interval) => {
                self.event_timers.insert(last);
                if self.seen.is_none() {
                    let next = time
                        .div_euclid(interval)
                        .saturating_add(1)
                        .saturating_mul(interval)
                        .min(last);
                    self.seen = Some(next);
                    self.event_timers.insert(next);
                }
                false
            }
            Rule::ContinuousProcessing(interval) => {
                if self.seen.is_none() {
                    let next = (clock.div_euclid(interval) + 1) * interval;
                    self.seen = Some(next);
                    self.clock_timers.insert(next);
                }
                false
            }
        }
    }

    fn on_timer(&mut self, rule: Rule, time: i64, watermark: i64) -> bool {
        let last = self.last();
        match rule {
            Rule::Event => time == last,
            Rule::Processing => true,
            Rule::Continuous(_) if time == last => true,
            Rule::Continuous(interval) if self.seen == Some(time) => {
                let until = i128::from(watermark.min(last));
                let mut next = i128::from(time) + i128::from(interval);
                if until - i128::from(time) > 65_537 * i128::from(interval) {
                    // More than are done one by one: the first behind all of them.
                    next = (until.div_euclid(interval.into()) + 1) * i128::from(interval);
                }
                let next = next.min(last.into()) as i64;
                self.seen = Some(next);
                self.event_timers.insert(next);
                true
            }
            Rule::ContinuousProcessing(interval) if self.seen == Some(time) => {
                self.seen = Some(time + interval);
                self.clock_timers.insert(time + interval);
                true
            }
            _ => false,
        }
    }
}

/// A result as it is printed.
fn show((time, text): (i64, String)) -> String {
    format!("{text}@{}", show_time(Timestamp::from_millis(time)))
}

struct Interpreter<'s> {
    setting: &'s Setting,
    kept: Vec<Window>,
    out: Vec<String>,
    watermark: i64,
    clock: i64,
    dropped: u64,
    /// By key.
    ended: Vec<(String, u64)>,
}

impl Interpreter<'_> {
    /// When a window is over, by its clock.
    fn over_at(&self, last: i64) -> Option<i64> {
        match self.setting.windows {
            Windows::Global => None,
            _ if self.setting.follows_clock => Some(last),
            _ => Some(last.saturating_add(self.setting.lateness)),
        }
    }

    fn is_over(&self, last: i64) -> bool {
        !self.setting.follows_clock && self.over_at(last).is_some_and(|at| at <= self.watermark)
    }

    /// The window fires. Gives its time and result, if it holds something.
    fn fire(&mut self, at: usize) -> Option<(i64, String)> {
        let Self { setting, kept, ended, .. } = self;
        let window = &mut kept[at];
        let time = if setting.windows == Windows::Global { i64::MAX } else { window.last() };
        if window.elements.is_empty() {
            return None;
        }
        let evict = |elements: &mut Vec<(i64, Option<i64>)>, is_behind: bool| match setting.kept {
            Kept::Count(count, when) if when == is_behind => {
                elements.drain(..elements.len().saturating_sub(count));
            }
            Kept::Time(span, when) if when == is_behind => {
                let latest = elements.iter().filter_map(|element| element.1).max();
                if let Some(latest) = latest {
                    let is_close = |time: i64| time > latest.saturating_sub(span);
                    elements.retain(|element| element.1.is_none_or(is_close));
                }
            }
            Kept::Delta(threshold, when) if when == is_behind => {
                if let Some((last, _)) = elements.last().copied() {
                    elements.retain(|element| (element.0 - last).abs() < threshold);
                }
            }
            _ => {}
        };
        evict(&mut window.elements, false);
        let numbers: String = window.elements.iter().map(|(n, _)| format!("{n},")).collect();
        let mut text = format!("{}={numbers}", window.key);
        if setting.kept != Kept::Folded {
            window.fired += 1;
            if !matches!(setting.windows, Windows::Session(_)) {
                text.push_str(&format!("#{}", window.fired));
            }
            let count = ended.iter().find(|ended| ended.0 == window.key).map_or(0, |ended| ended.1);
            text.push_str(&format!("/{count}"));
        }
        evict(&mut window.elements, true);
        if setting.purges {
            window.elements.clear();
        }
        Some((time, text))
    }

    /// Does what is due on a clock.
    fn advance(&mut self, now: i64, is_clock: bool) {
        let mut fired = Vec::new();
        loop {
            let ends_windows = is_clock == self.setting.follows_clock;
            let next_of = |(at, window): (usize, &Window)| {
                let timers = if is_clock { &window.clock_timers } else { &window.event_timers };
                let over = self.over_at(window.last()).filter(|_| ends_windows);
                // Which of several at one time is first is up to the timers: the bytes of the window.
                let (start, end) = window.window;
                let order = [start.to_le_bytes(), end.to_le_bytes()];
                let first = [timers.first().copied(), over].into_iter().flatten().min();
                first.map(|time| (time, order, at))
            };
            let next = self.kept.iter().enumerate().filter_map(next_of).min();
            let Some((time, _, at)) = next.filter(|(time, ..)| *time <= now) else { break };
            let window = &mut self.kept[at];
            match is_clock {
                true => window.clock_timers.remove(&time),
                false => window.event_timers.remove(&time),
            };
            if window.on_timer(self.setting.rule, time, self.watermark) {
                fired.extend(self.fire(at));
            }
            if ends_windows && self.over_at(self.kept[at].last()) == Some(time) {
                // At the end of time nobody is told any more.
                let key = self.kept.remove(at).key;
                match self.ended.iter_mut().find(|ended| ended.0 == key) {
                    Some(ended) => ended.1 += 1,
                    None => self.ended.push((key, 1)),
                }
            }
        }
        fired.sort(); // As the harness does it: by what is printed before the time.
        self.out.extend(fired.into_iter().map(show));
    }

    /// The window that a record of `key` comes into, merged with those that it touches; none if it is over.
    fn place(&mut self, key: &str, window: (i64, i64)) -> Option<usize> {
        let merges = matches!(self.setting.windows, Windows::Session(_));
        let touches = |kept: &Window| {
            kept.key == key
                && match merges {
                    true => kept.window.0 <= window.1 && window.0 <= kept.window.1,
                    false => kept.window == window,
                }
        };
        let mut touching: Vec<usize> =
            (0..self.kept.len()).filter(|at| touches(&self.kept[*at])).collect();
        if touching.is_empty() {
            if self.is_over(window.1.saturating_sub(1)) {
                return None;
            }
            self.kept.push(Window {
                key: key.to_owned(),
                window,
                elements: Vec::new(),
                seen: None,
                event_timers: BTreeSet::new(),
                clock_timers: BTreeSet::new(),
                fired: 0,
            });
            return Some(self.kept.len() - 1);
        }
        if !merges {
            return (!self.is_over(window.1.saturating_sub(1))).then_some(touching[0]);
        }
        touching.sort_by_key(|at| self.kept[*at].window.0);
        let start = self.kept[touching[0]].window.0.min(window.0);
        let end = touching.iter().map(|at| self.kept[*at].window.1).max().unwrap().max(window.1);
        if touching.len() == 1 && self.kept[touching[0]].window == (start, end) {
            return Some(touching[0]);
        }
        let parts = touching.iter().map(|at| &self.kept[*at]);
        let seen = parts.clone().filter_map(|part| part.seen);
        let (rule, now) = (self.setting.rule, (self.watermark, self.clock));
        let seen = match rule {
            Rule::Count(_) => Some(seen.sum()).filter(|sum| *sum > 0),
            _ => seen.min(),
        };
        let elements = parts.flat_map(|part| part.elements.clone()).collect();
        let (event_timers, clock_timers) = (BTreeSet::new(), BTreeSet::new());
        let mut merged = Window {
            key: key.to_owned(),
            window: (start, end),
            elements,
            seen,
            event_timers,
            clock_timers,
            fired: 0,
        };
        match rule {
            Rule::Event if merged.last() > now.0 => {
                merged.event_timers.insert(merged.last());
            }
            Rule::Continuous(_) => {
                merged.event_timers.extend(seen);
                if merged.last() > now.0 {
                    merged.event_timers.insert(merged.last());
                }
            }
            Rule::Processing if merged.last() > now.1 => {
                merged.clock_timers.insert(merged.last());
            }
            _ => {}
        }
        touching.sort_unstable();
        touching.iter().rev().for_each(|at| drop(self.kept.remove(*at)));
        self.kept.push(merged);
        Some(self.kept.len() - 1)
    }

    fn record(&mut self, step: &str) {
        let (word, time) = step.split_once('@').unwrap();
        let letters = word.find(|c: char| !c.is_alphabetic()).unwrap();
        let (key, number) = word.split_at(letters);
        let (time, number) = (parse_time(time).as_millis(), number.parse::<i64>().unwrap());
        let windows =
            self.setting.windows(if self.setting.follows_clock { self.clock } else { time });
        let (is_in_gap, mut is_taken) = (windows.is_empty(), false);
        for window in windows {
            let Some(at) = self.place(key, window) else { continue };
            is_taken = true;
            let now = (self.watermark, self.clock);
            let kept = &mut self.kept[at];
            kept.elements.push((number, Some(time)));
            if kept.on_element(self.setting.rule, number, time, now) {
                let fired = self.fire(at);
                self.out.extend(fired.map(show));
            }
        }
        let is_late = !is_taken
            && (!is_in_gap
                || !self.setting.follows_clock
                    && time.saturating_add(self.setting.lateness) <= self.watermark);
        if is_late && self.setting.has_side {
            self.out.push(format!("late:{step}"));
        } else if is_late {
            self.dropped += 1;
        }
    }
}

/// The definition, word by word.
pub fn interpret(setting: &Setting, script: &str) -> String {
    let (kept, out, ended) = (Vec::new(), Vec::new(), Vec::new());
    let (watermark, clock, dropped) = (i64::MIN, 0, 0);
    let mut all = Interpreter { setting, kept, out, watermark, clock, dropped, ended };
    for step in script.split(' ') {
        if step.starts_with('!') {
            continue; // A restore is nothing.
        }
        if step == "late?" {
            all.out.push(format!("late={}", all.dropped));
        } else if let Some(time) = step.strip_prefix('w') {
            all.watermark = parse_time(time).as_millis();
            all.advance(all.watermark, false);
            if setting.has_side {
                all.out.push(format!("late:{step}"));
            }
            all.out.push(step.to_owned());
        } else if let Some(time) = step.strip_prefix('C') {
            all.clock = time.trim_end_matches('!').parse().unwrap();
            all.advance(all.clock - 1, true); // What comes at the last time of a window is in it.
        } else {
            all.record(step);
        }
    }
    all.out.join(" ")
}
