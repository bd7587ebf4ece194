//! Tumbling and sliding windows against a naive interpreter: it keeps every record and looks at all of them again.
//!
//! A trace is a script like those of the tables, so one that fails is printed and becomes a line of a table.
//! `properties` says how many there are.

use std::time::Duration;

use wiesel_core::Timestamp;
use wiesel_operators::{
    Count, Fold, Folding, KeyedHeadStart, Min, Nothing, OfNumber, Sliding, SlidingStart, Sum,
    TaskContext, Tumbling, TumblingStart, WindowOptions, side_output,
};

use crate::{
    harness::{self, Mode, Probe, Show, Word, key, number, parse_time, show_time},
    random::Random,
};

/// What the windows of a trace are; all in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Setting {
    size: i64,
    slide: i64,
    offset: i64,
    lateness: i64,
    has_side: bool,
}

impl Setting {
    fn random(random: &mut Random) -> Self {
        let size = match random.below(8) {
            0 => 1,
            1 => i64::MAX,
            _ => 1 + random.below(20) as i64,
        };
        let lateness = match random.below(6) {
            0 | 1 => 0,
            2 => i64::MAX,
            _ => random.below(40) as i64,
        };
        let offset = if random.one_in(2) { 0 } else { random.below(50) as i64 };
        Self { size, slide: size, offset, lateness, has_side: random.one_in(2) }
    }

    /// The same, sliding.
    fn sliding(self, random: &mut Random) -> Self {
        let slide = match self.size {
            i64::MAX => i64::MAX - random.below(3) as i64,
            size if random.one_in(2) => 1 + random.below(size as u64) as i64,
            _ => 1 + random.below(25) as i64,
        };
        Self { slide, ..self }
    }

    fn options<W>(
        &self,
        windows: impl FnOnce(Duration, Duration, Duration) -> W,
    ) -> WindowOptions<W> {
        let duration = |millis: i64| match millis {
            i64::MAX => Duration::MAX,
            millis => Duration::from_millis(millis as u64),
        };
        let windows = windows(duration(self.size), duration(self.slide), duration(self.offset));
        let late_slot = self.has_side.then_some(0);
        WindowOptions { windows, allowed_lateness: duration(self.lateness), late_slot }
    }

    /// First and last time of the windows that hold `at`: `[n * slide + offset, n * slide + offset + size)`, within time.
    fn windows(&self, at: i64) -> Vec<(i64, i64)> {
        let (size, slide) = (i128::from(self.size), i128::from(self.slide));
        // As the API takes it: less than a slide.
        let (at, offset) = (i128::from(at), i128::from(self.offset) % slide);
        let within = |time: i128| time.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        let mut windows = Vec::new();
        let mut n = (at - offset).div_euclid(slide);
        while n * slide + offset + size > at {
            let start = n * slide + offset;
            windows.push((within(start), within(start + size) - 1));
            n -= 1;
        }
        windows.reverse();
        windows
    }
}

/// A record that a window has taken.
struct Kept {
    key: String,
    number: i64,
    window: (i64, i64),
}

/// The definition, word by word. `fold` gives the result of a window's records, in order.
fn interpret(setting: &Setting, script: &str, fold: fn(&[i64]) -> String) -> String {
    let (mut kept, mut out): (Vec<Kept>, Vec<String>) = (Vec::new(), Vec::new());
    let (mut watermark, mut dropped) = (i64::MIN, 0);
    let result = |kept: &[Kept], key: &str, window: (i64, i64)| {
        let same = kept.iter().filter(|kept| kept.key == key && kept.window == window);
        let numbers: Vec<i64> = same.map(|kept| kept.number).collect();
        format!("{key}={}", fold(&numbers))
    };
    let at = |text: &str, last| format!("{text}@{}", show_time(Timestamp::from_millis(last)));
    for step in script.split(' ') {
        if step.starts_with('!') {
            continue; // A restore is nothing.
        }
        if step == "late?" {
            out.push(format!("late={dropped}"));
            continue;
        }
        if let Some(time) = step.strip_prefix('w') {
            let reached = parse_time(time).as_millis();
            let is_due = |window: &(i64, i64)| watermark < window.1 && window.1 <= reached;
            let due = kept.iter().filter(|kept| is_due(&kept.window));
            let mut due: Vec<(i64, String, i64)> =
                due.map(|kept| (kept.window.1, kept.key.clone(), kept.window.0)).collect();
            due.sort();
            due.dedup();
            let mut fired: Vec<(i64, String)> = due
                .iter()
                .map(|(last, key, first)| (*last, result(&kept, key, (*first, *last))))
                .collect();
            fired.sort();
            out.extend(fired.iter().map(|(last, text)| at(text, *last)));
            if setting.has_side {
                out.push(format!("late:{step}"));
            }
            out.push(step.to_owned());
            watermark = reached;
            continue;
        }
        let (word, time) = step.split_once('@').unwrap();
        let letters = word.find(|c: char| !c.is_alphabetic()).unwrap();
        let (key, number) = word.split_at(letters);
        let time = parse_time(time).as_millis();
        let windows = setting.windows(time);
        let is_over = |last: i64| last.saturating_add(setting.lateness) <= watermark;
        if windows.iter().all(|window| is_over(window.1)) {
            if windows.is_empty() && !is_over(time) {
                continue; // In a gap.
            }
            if setting.has_side {
                out.push(format!("late:{step}"));
            } else {
                dropped += 1;
            }
            continue;
        }
        let number: i64 = number.parse().unwrap();
        for window in windows.into_iter().filter(|window| !is_over(window.1)) {
            kept.push(Kept { key: key.to_owned(), number, window });
            if window.1 <= watermark {
                out.push(at(&result(&kept, key, window), window.1));
            }
        }
    }
    out.join(" ")
}

/// Records around a time that moves on, some far from it; watermarks behind it; restores.
pub fn random_script(random: &mut Random) -> String {
    let mut steps = Vec::new();
    let (mut now, mut watermark) = (random.below(100) as i64 - 50, i64::MIN);
    let bound = random.below(30) as i64;
    for _ in 0..10 + random.below(80) {
        match random.below(16) {
            0 | 1 => {
                let wanted = match random.below(20) {
                    0 => i64::MAX - random.below(30) as i64,
                    1 => i64::MIN + random.below(30) as i64,
                    _ => now - bound,
                };
                // Not above all else too early, or all that follows is late.
                if wanted < i64::MAX - 100 || random.one_in(4) {
                    watermark = watermark.max(wanted);
                    steps.push(format!("w{}", show_time(Timestamp::from_millis(watermark))));
                }
            }
            2 => steps.push(format!("!{}", 1 + random.below(3))),
            _ => {
                now += random.below(4) as i64;
                let time = match random.below(24) {
                    0 => i64::MAX - random.below(40) as i64,
                    1 => i64::MIN + 1 + random.below(40) as i64,
                    2 => random.below(200) as i64 - 100,
                    _ => now + random.below(2 * bound as u64 + 3) as i64 - bound,
                };
                let keys = ["a", "b", "c", "d", "eeeeeeeeeeeee", "ö"];
                let key = keys[random.below(keys.len() as u64) as usize];
                let time = show_time(Timestamp::from_millis(time));
                steps.push(format!("{key}{}@{time}", random.below(100)));
            }
        }
    }
    steps.extend(["w+".to_owned(), "late?".to_owned()]);
    steps.join(" ")
}

fn compare<A: Folding<String, Word>>(
    is_sliding: bool,
    folding: &A,
    fold: fn(&[i64]) -> String,
    seed: u64,
) where
    A::Out: Show,
{
    let mut random = Random(seed);
    let mut setting = Setting::random(&mut random);
    if is_sliding {
        setting = setting.sliding(&mut random);
    }
    let script = random_script(&mut random);
    let build = |context: &TaskContext, probe: &Probe| {
        context.put_side(0, side_output::<Word>(probe.output("late:")));
        if is_sliding {
            let windows =
                |size, slide, offset| Sliding::event_time(size, slide).with_offset(offset);
            let start = SlidingStart::new(folding.clone(), setting.options(windows));
            let start = KeyedHeadStart::<Word, String, _, _>::new(key, start);
            return harness::head_of(start, Nothing::new(), context, probe);
        }
        let windows = |size, _, offset| Tumbling::event_time(size).with_offset(offset);
        let start = TumblingStart::new(folding.clone(), setting.options(windows));
        let start = KeyedHeadStart::<Word, String, _, _>::new(key, start);
        harness::head_of(start, Nothing::new(), context, probe)
    };
    let expected = interpret(&setting, &script, fold);
    let stops = 1 + random.below(5) as usize;
    for mode in [Mode::Plain, Mode::Stopped(stops), Mode::Spent] {
        let out = harness::run(&build, mode, &script);
        assert_eq!(out, expected, "SEED={seed}, {mode:?}, {setting:?}: {script}");
    }
}

/// Tumbling and sliding windows of one trace against their definition.
pub fn windows_are_what_the_definition_says(seed: u64) {
    let append = |list: &mut String, word: (&str, i64)| {
        list.push_str(&word.1.to_string());
        list.push(',');
    };
    // Every record, in order: nothing is added twice, left out or exchanged.
    let list = Fold { initial: String::new(), function: append };
    for is_sliding in [false, true] {
        let text = |numbers: &[i64]| numbers.iter().map(|n| format!("{n},")).collect();
        compare(is_sliding, &list, text, seed);
        compare(is_sliding, &Count, |numbers| numbers.len().to_string(), seed);
        let least = OfNumber::new(number, Min);
        let min = |numbers: &[i64]| numbers.iter().min().unwrap().to_string();
        compare(is_sliding, &least, min, seed);
        let sum = |numbers: &[i64]| numbers.iter().sum::<i64>().to_string();
        compare(is_sliding, &OfNumber::new(number, Sum), sum, seed);
    }
}
