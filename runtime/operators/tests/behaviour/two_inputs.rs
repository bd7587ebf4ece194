//! Random traces of two inputs: records of both interleaved and out of order, a watermark and a status for each input,
//! merged as a task merges them; restores at other parallelisms.
//!
//! A trace is a script like those of the tables, so one that fails is printed and becomes a line of a table.
//! `properties` says how many there are.

use wiesel_core::Timestamp;

use crate::{
    harness::{parse_time, show_time},
    random::Random,
};

/// Merges the watermarks of two inputs by the definition: the least of those that are active and not behind.
struct Valve {
    watermarks: [i64; 2],
    is_idle: [bool; 2],
    last: i64,
}

impl Valve {
    fn merged(&mut self) -> Option<i64> {
        let last = self.last;
        let at = |input: usize| self.watermarks[input];
        let active = (0..2).filter(|input| !self.is_idle[*input] && at(*input) >= last);
        let merged = match self.is_idle {
            [true, true] => self.watermarks.iter().max().copied(),
            _ => active.map(at).min(),
        };
        let merged = merged.filter(|merged| *merged > last)?;
        self.last = merged;
        Some(merged)
    }
}

/// What traces are like.
#[derive(Clone, Copy)]
pub struct Traces {
    /// Whether records and watermarks may lie at the ends of time.
    pub has_extremes: bool,
    /// Numbers of records are below it.
    pub numbers: u64,
}

/// The keys of traces: short and long ones.
const KEYS: [&str; 6] = ["a", "b", "c", "d", "eeeeeeeeeeeeeeeee", "ö"];

/// Records around a time that moves on, some far from it; watermarks of each input behind it; idle inputs; restores.
pub fn random_script(random: &mut Random, traces: Traces) -> String {
    let mut steps = Vec::new();
    let mut valve = Valve { watermarks: [i64::MIN; 2], is_idle: [false; 2], last: i64::MIN };
    let mut now = random.below(100) as i64 - 50;
    let (bound, keys) = (random.below(30) as i64, 1 + random.below(KEYS.len() as u64));
    for _ in 0..10 + random.below(90) {
        let input = random.below(2) as usize;
        match random.below(18) {
            0..=3 => {
                let wanted = match random.below(40) {
                    0 if traces.has_extremes => i64::MAX - random.below(30) as i64,
                    1 if traces.has_extremes => i64::MIN + random.below(30) as i64,
                    _ => now - bound - random.below(6) as i64,
                };
                // Not above all else too early, or all that follows is late.
                if wanted < i64::MAX - 100 || random.one_in(4) {
                    valve.watermarks[input] = valve.watermarks[input].max(wanted);
                }
            }
            4 => valve.is_idle[input] = !valve.is_idle[input],
            5 => steps.push(format!("!{}", 1 + random.below(3))),
            _ => {
                now += random.below(4) as i64;
                let time = match random.below(30) {
                    0 if traces.has_extremes => i64::MAX - random.below(40) as i64,
                    1 if traces.has_extremes => i64::MIN + 1 + random.below(40) as i64,
                    2 => random.below(200) as i64 - 100,
                    _ => now + random.below(2 * bound as u64 + 3) as i64 - bound,
                };
                let key = KEYS[random.below(keys) as usize];
                let time = show_time(Timestamp::from_millis(time));
                let number = random.below(traces.numbers);
                steps.push(format!("{}:{key}{number}@{time}", input + 1));
            }
        }
        if let Some(merged) = valve.merged() {
            steps.push(format!("w{}", show_time(Timestamp::from_millis(merged))));
        }
    }
    steps.extend(["w+".to_owned(), "late?".to_owned()]);
    steps.join(" ")
}

/// A step of a script, read.
pub enum Step<'s> {
    /// A record: input (0 or 1), key, number, time.
    Record(usize, &'s str, i64, i64),
    /// A watermark.
    Watermark(i64),
    /// `late?`
    Late,
    /// A restore: nothing, by definition.
    Restore,
}

/// Reads a step that [`random_script`] wrote.
pub fn read(step: &str) -> Step<'_> {
    if step == "late?" {
        return Step::Late;
    }
    if step.starts_with('!') {
        return Step::Restore;
    }
    if let Some(time) = step.strip_prefix('w') {
        return Step::Watermark(parse_time(time).as_millis());
    }
    let (input, rest) = step.split_once(':').unwrap();
    let (word, time) = rest.split_once('@').unwrap();
    let letters = word.find(|c: char| !c.is_alphabetic()).unwrap();
    let (key, number) = word.split_at(letters);
    let input = input.parse::<usize>().unwrap() - 1;
    Step::Record(input, key, number.parse().unwrap(), parse_time(time).as_millis())
}

/// A time as scripts and tables write it.
pub fn show(millis: i64) -> String {
    show_time(Timestamp::from_millis(millis))
}
