//! Temporal joins: each left record meets the version that is valid at its time, once the watermark has passed; tables, and
//! random traces against a naive interpreter.

use std::collections::BTreeMap;

use wiesel_core::{Meta, Timestamp};
use wiesel_operators::{
    EndsWhen, Head, InnerTemporal, KeyedCoHeadStart, LeftTemporal, Nothing, Snapshot, TaskContext,
    TemporalJoinStart,
};
use wiesel_record::{Key, Out};
use wiesel_shard::at_once;

use crate::{
    frames::keyed_bytes,
    harness::{self, KEYED, MAX_PARALLELISM, Mode, Nature, Probe, Word, key},
    probe::Event,
    random::Random,
    two_inputs::{Step, Traces, random_script, read, show},
};

/// Multiples of five are no version but the end of one.
fn is_end((_, number): (&str, i64)) -> bool {
    number % 5 == 0
}

fn left_outer(context: &TaskContext, probe: &Probe) -> Box<dyn Head> {
    let join = LeftTemporal::<_, String>::new(
        |(key, left): (&str, i64), version: Option<(&str, i64)>, out: &mut dyn Out<String>| {
            let version = version.map_or("none".to_owned(), |(of, number)| format!("{of}{number}"));
            out.emit(&format!("{key}{left}+{version}"));
        },
    );
    let join = TemporalJoinStart::new(join, EndsWhen(is_end));
    let start = KeyedCoHeadStart::<Word, Word, String, _, _, _>::new(key, key, join);
    harness::head_of(start, Nothing::new(), context, probe)
}

pub fn inner(context: &TaskContext, probe: &Probe) -> Box<dyn Head> {
    let join = InnerTemporal::<_, String>::new(
        |(key, left): (&str, i64), (of, number): (&str, i64), out: &mut dyn Out<String>| {
            out.emit(&format!("{key}{left}+{of}{number}"));
        },
    );
    let join = TemporalJoinStart::new(join, EndsWhen(is_end));
    let start = KeyedCoHeadStart::<Word, Word, String, _, _, _>::new(key, key, join);
    harness::head_of(start, Nothing::new(), context, probe)
}

/// What a key has.
#[derive(Default)]
struct OfKey {
    left: Vec<(i64, i64)>,
    versions: BTreeMap<i64, i64>,
    /// Times of records that no timer has seen yet.
    is_unseen: Vec<i64>,
}

/// The definition.
fn interpret(is_left: bool, script: &str) -> String {
    let mut out = Vec::new();
    let mut keys = BTreeMap::<&str, OfKey>::new();
    for step in script.split(' ') {
        match read(step) {
            Step::Restore => {}
            Step::Late => out.push("late=0".to_owned()),
            Step::Record(input, key, number, time) => {
                let of_key = keys.entry(key).or_default();
                match input {
                    0 => of_key.left.push((time, number)),
                    _ => *of_key.versions.entry(time).or_default() = number,
                }
                of_key.is_unseen.push(time);
            }
            Step::Watermark(reached) => {
                let mut joined = Vec::new();
                for (key, of_key) in &mut keys {
                    // Versions are dropped only when a record makes the key be looked at.
                    if !of_key.is_unseen.iter().any(|time| *time <= reached) {
                        continue;
                    }
                    let is_due = |left: &&(i64, i64)| left.0 <= reached;
                    for (time, number) in of_key.left.iter().filter(is_due) {
                        let valid = of_key.versions.range(..=time).next_back();
                        let text = match valid.filter(|(_, number)| *number % 5 != 0) {
                            Some((_, version)) => format!("{key}{number}+{key}{version}"),
                            None if is_left => format!("{key}{number}+none"),
                            None => continue,
                        };
                        joined.push((*time, text));
                    }
                    of_key.left.retain(|left| left.0 > reached);
                    of_key.is_unseen = of_key.left.iter().map(|left| left.0).collect();
                    if let Some((last, _)) = of_key.versions.range(..=reached).next_back() {
                        let last = *last;
                        of_key.versions = of_key.versions.split_off(&last);
                    }
                }
                joined.sort();
                out.extend(joined.into_iter().map(|(time, text)| format!("{text}@{}", show(time))));
                out.push(step.to_owned());
            }
        }
    }
    out.join(" ")
}

#[track_caller]
fn check(build: harness::Build<'_>, script: &str, expected: &str) {
    for mode in KEYED.iter().filter(|mode| **mode != Mode::Exact) {
        let out = harness::run_as(Nature::Loose, build, *mode, script);
        assert_eq!(out, expected, "{script}, {mode:?}");
    }
}

#[test]
fn a_record_meets_the_version_of_its_time() {
    let script = "2:a1@10 2:a2@20 1:a7@9 1:a8@10 1:a9@19 1:b6@19 w18 1:a6@25 w20 w30";
    check(&inner, script, "a8+a1@10 w18 a9+a1@19 w20 a6+a2@25 w30");
    check(&left_outer, script, "a7+none@9 a8+a1@10 w18 a9+a1@19 b6+none@19 w20 a6+a2@25 w30");
    // Versions may come behind the record, and the later of one time is valid.
    check(&inner, "1:a7@9 2:a1@5 2:a2@5 w8 w9", "w8 a7+a2@9 w9");
    // The end of a version.
    check(
        &left_outer,
        "2:a1@1 2:a5@4 2:a2@6 1:a1@3 1:a2@4 1:a3@6 w9",
        "a1+a1@3 a2+none@4 a3+a2@6 w9",
    );
    check(&inner, "2:a1@1 2:a5@4 1:a1@3 1:a2@4 w9", "a1+a1@3 w9");
    // Late records are joined at the next watermark, with what is there.
    check(&left_outer, "2:a1@1 2:a2@9 w9 1:a7@5 1:a8@9 2:a3@8 w10", "w9 a7+none@5 a8+a2@9 w10");
    check(&inner, "1:a1@-+2 2:a2@-+1 1:a3@+ 2:a4@+-1 w5 w+", "a1+a2@-+2 w5 a3+a4@+ w+");
    let untimed = harness::run_as(Nature::Loose, &inner, Mode::Plain, "1:a1");
    assert_eq!(
        untimed,
        "could not join a record by its time (operator `op`, subtask 0): the record has no event \
         time: call `watermarks` before the join"
    );
}

pub fn temporal_joins_are_what_the_definition_says(seed: u64) {
    let mut random = Random(seed);
    let script = random_script(&mut random, Traces { has_extremes: true, numbers: 40 });
    let is_left = random.one_in(2);
    let build: harness::Build<'_> = if is_left { &left_outer } else { &inner };
    let expected = interpret(is_left, &script);
    let stops = 1 + random.below(5) as usize;
    for mode in [Mode::Plain, Mode::Stopped(stops), Mode::Spent, Mode::Rescaled] {
        let out = harness::run_as(Nature::Loose, build, mode, &script);
        assert_eq!(out, expected, "SEED={seed}, {mode:?}: {script}");
    }
}

#[test]
fn what_is_due_of_a_key_comes_in_the_order_of_its_arrival() {
    let context = harness::context(0, 1, &Default::default());
    let probe = Probe::new(context.stop(), 0);
    let mut head = left_outer(&context, &probe);
    let mut frames = harness::Frames::<Word>::new();
    let hash = <String as Key>::key_hash("a");
    let words: Vec<(Word, Meta)> = [(1, 30), (2, 10), (3, 90), (4, 20), (5, 10)]
        .map(|(number, time)| {
            let meta = Meta::at(Timestamp::from_millis(time)).with_hash(hash);
            (("a".to_owned(), number), meta)
        })
        .into();
    let frame = frames.frame(words.iter().map(|(word, meta)| (word, *meta)));
    let _ = head.frame(0, &frame, &mut 0, &mut harness::pace(&context, Mode::Plain));
    frames.give(frame);
    let pace = &mut harness::pace(&context, Mode::Plain);
    let _ = head.watermark(Timestamp::from_millis(50), pace);
    let texts: Vec<String> = probe
        .take()
        .into_iter()
        .filter_map(|event| match event {
            Event::Record(text, _) => Some(text),
            Event::Other(_) => None,
        })
        .collect();
    assert_eq!(texts, ["a1+none", "a2+none", "a4+none", "a5+none"]);
}

#[test]
fn only_the_last_version_of_a_key_is_kept() {
    check(&inner, "1:a1@1 1:b2@5 w9 state?", "w9 state=none");
    let versions: Vec<String> = (0..300).map(|n| format!("2:a{}@{n}", 1 + n)).collect();
    let many = harness::snapshot(&left_outer, &format!("{} 1:a7@250 w299", versions.join(" ")));
    let last = harness::snapshot(&left_outer, "2:a300@299 w299");
    assert_eq!(keyed_bytes(&many), keyed_bytes(&last));
    // With the watermark behind them the others stay, for records that may come.
    let early = harness::snapshot(&left_outer, &format!("{} w100", versions.join(" ")));
    let size = |snapshot: &Snapshot| -> usize {
        keyed_bytes(snapshot).iter().map(|(_, _, bytes)| bytes.len()).sum()
    };
    assert!(size(&early) > 20 * size(&last), "{} and {}", size(&early), size(&last));
}

#[test]
fn damage_is_an_error_and_nothing_panics() {
    let whole = harness::snapshot(&inner, "2:a1@10 2:a2@20 1:a7@9 1:bb8@30 2:bb3@5 w8");
    let context = harness::context(0, 1, &Default::default());
    let restored = |snapshot: &Snapshot| {
        at_once(inner(&context, &Probe::new(context.stop(), 0)).restore(snapshot))
    };
    restored(&whole).unwrap();
    let mut parts = Vec::new();
    for name in whole.keyed_names() {
        for group in 0..MAX_PARALLELISM as u16 {
            let only = wiesel_core::KeyGroupRange { first: group, end: group + 1 };
            parts.extend(whole.keyed(name, only).map(|bytes| (name, group, bytes.to_vec())));
        }
    }
    let mut refused = 0;
    for (which, (_, _, bytes)) in parts.iter().enumerate() {
        for at in 0..bytes.len() {
            let mut snapshot = Snapshot::default();
            for (index, (name, group, bytes)) in parts.iter().enumerate() {
                let mut bytes = bytes.clone();
                if index == which {
                    bytes[at] ^= 0xff;
                }
                snapshot.put(name, Some(wiesel_core::KeyGroup(*group)), bytes);
            }
            refused += usize::from(restored(&snapshot).is_err());
        }
    }
    assert!(refused > 100, "{refused} refused");
}
