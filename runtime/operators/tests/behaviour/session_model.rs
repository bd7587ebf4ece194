//! Session windows against a naive interpreter: it keeps every record of every session and looks at all of them again.

use std::time::Duration;

use wiesel_core::Timestamp;
use wiesel_operators::{
    Count, Fold, FoldMerging, Folding, KeyedHeadStart, Min, Nothing, OfNumber, Session, SessionGap,
    SessionStart, TaskContext, WindowOptions, side_output,
};

use crate::{
    harness::{self, Mode, Probe, Show, Word, key, number, parse_time, show_time},
    random::Random,
    window_model::random_script,
};

/// What the sessions of a trace are; all in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Setting {
    /// None: each record says.
    gap: Option<i64>,
    lateness: i64,
    has_side: bool,
}

/// The gap that a record with this number says.
fn gap_of(number: i64) -> i64 {
    1 + number * 7 % 23
}

fn duration(millis: i64) -> Duration {
    match millis {
        i64::MAX => Duration::MAX,
        millis => Duration::from_millis(millis as u64),
    }
}

impl Setting {
    fn random(random: &mut Random) -> Self {
        let gap = match random.below(8) {
            0 => Some(1),
            1 => Some(i64::MAX),
            2 | 3 => None,
            _ => Some(1 + random.below(12) as i64),
        };
        let lateness = match random.below(6) {
            0 | 1 => 0,
            2 => i64::MAX,
            _ => random.below(40) as i64,
        };
        Self { gap, lateness, has_side: random.one_in(2) }
    }

    fn options<G>(&self, windows: Session<G>) -> WindowOptions<Session<G>> {
        let late_slot = self.has_side.then_some(0);
        WindowOptions { windows, allowed_lateness: duration(self.lateness), late_slot }
    }
}

/// A session with its records: those of a part that came first in time before those of later parts.
struct Kept {
    key: String,
    start: i64,
    end: i64,
    numbers: Vec<i64>,
}

/// The definition, word by word.
fn interpret(setting: &Setting, script: &str, fold: fn(&[i64]) -> String) -> String {
    let (mut kept, mut out): (Vec<Kept>, Vec<String>) = (Vec::new(), Vec::new());
    let (mut watermark, mut dropped) = (i64::MIN, 0);
    let result = |session: &Kept| {
        let last = show_time(Timestamp::from_millis(session.end.saturating_sub(1)));
        format!("{}={}@{last}", session.key, fold(&session.numbers))
    };
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
            let is_due = |session: &&Kept| {
                watermark < session.end.saturating_sub(1)
                    && session.end.saturating_sub(1) <= reached
            };
            let due = kept.iter().filter(is_due);
            let mut fired: Vec<_> = due
                .map(|session| {
                    (
                        session.end,
                        format!("{}={}", session.key, fold(&session.numbers)),
                        result(session),
                    )
                })
                .collect();
            fired.sort();
            out.extend(fired.into_iter().map(|(.., text)| text));
            if setting.has_side {
                out.push(format!("late:{step}"));
            }
            out.push(step.to_owned());
            watermark = reached;
            kept.retain(|session| {
                session.end.saturating_sub(1).saturating_add(setting.lateness) > watermark
            });
            continue;
        }
        let (word, time) = step.split_once('@').unwrap();
        let letters = word.find(|c: char| !c.is_alphabetic()).unwrap();
        let (key, number) = word.split_at(letters);
        let number: i64 = number.parse().unwrap();
        let start = parse_time(time).as_millis();
        let end = start.saturating_add(setting.gap.unwrap_or_else(|| gap_of(number)));
        let touches =
            |session: &Kept| session.key == key && session.start <= end && start <= session.end;
        let mut touching: Vec<&Kept> = kept.iter().filter(|session| touches(session)).collect();
        touching.sort_by_key(|session| session.start);
        let mut merged = Kept { key: key.to_owned(), start, end, numbers: Vec::new() };
        for session in touching {
            merged.start = merged.start.min(session.start);
            merged.end = merged.end.max(session.end);
            merged.numbers.extend(&session.numbers);
        }
        merged.numbers.push(number);
        let last = merged.end.saturating_sub(1);
        if last.saturating_add(setting.lateness) <= watermark {
            if setting.has_side {
                out.push(format!("late:{step}"));
            } else {
                dropped += 1;
            }
            continue;
        }
        kept.retain(|session| !touches(session));
        if last <= watermark {
            out.push(result(&merged));
        }
        kept.push(merged);
    }
    out.join(" ")
}

fn compare<A: Folding<String, Word>, G: SessionGap<Word>>(
    folding: &A,
    sessions: &Session<G>,
    setting: &Setting,
    script: &str,
    fold: fn(&[i64]) -> String,
    seed: u64,
) where
    A::Out: Show,
{
    let build = |context: &TaskContext, probe: &Probe| {
        context.put_side(0, side_output::<Word>(probe.output("late:")));
        let start = SessionStart::new(folding.clone(), setting.options(sessions.clone()));
        let start = KeyedHeadStart::<Word, String, _, _>::new(key, start);
        harness::head_of(start, Nothing::new(), context, probe)
    };
    let expected = interpret(setting, script, fold);
    let stops = 1 + (seed % 5) as usize;
    for mode in [Mode::Plain, Mode::Stopped(stops), Mode::Spent, Mode::Rescaled] {
        let out = harness::run(&build, mode, script);
        assert_eq!(out, expected, "SEED={seed}, {mode:?}, {setting:?}: {script}");
    }
    assert!(harness::snapshot(&build, script).is_empty(), "SEED={seed}: what is over is gone");
}

/// Session windows of one trace against their definition.
pub fn sessions_are_what_the_definition_says(seed: u64) {
    let append = |list: &mut String, word: (&str, i64)| {
        list.push_str(&word.1.to_string());
        list.push(',');
    };
    // Every record, in order: nothing is added twice, left out or exchanged.
    let list = FoldMerging {
        fold: Fold { initial: String::new(), function: append },
        merge: |list: &mut String, other: &str| list.push_str(other),
    };
    let text = |numbers: &[i64]| numbers.iter().map(|n| format!("{n},")).collect();
    let count = |numbers: &[i64]| numbers.len().to_string();
    let min = |numbers: &[i64]| numbers.iter().min().unwrap().to_string();
    let mut random = Random(seed);
    let setting = Setting::random(&mut random);
    let script = random_script(&mut random);
    match setting.gap {
        Some(gap) => {
            let sessions = Session::with_gap(duration(gap));
            compare(&list, &sessions, &setting, &script, text, seed);
            compare(&Count, &sessions, &setting, &script, count, seed);
            compare(&OfNumber::new(number, Min), &sessions, &setting, &script, min, seed);
        }
        None => {
            let gap_of = |word: (&str, i64)| duration(gap_of(word.1));
            let sessions = Session::with_dynamic_gap::<Word, _>(gap_of);
            compare(&list, &sessions, &setting, &script, text, seed);
            compare(&Count, &sessions, &setting, &script, count, seed);
            compare(&OfNumber::new(number, Min), &sessions, &setting, &script, min, seed);
        }
    }
}
