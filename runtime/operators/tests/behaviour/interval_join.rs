//! Interval joins against a naive interpreter that keeps every record and looks at all of them again.

use std::time::Duration;

use wiesel_core::{Meta, Timestamp};
use wiesel_operators::{
    FunctionError, Head, IntervalJoinStart, IntervalOptions, KeyedCoHeadStart, Nothing,
    ProcessJoinContext, ProcessJoinFunction, Snapshot, TaskContext, TimeBound, after, before,
    side_output,
};
use wiesel_record::{Key, Out};

use crate::{
    harness::{self, Frames, Mode, Probe, Word, key, show_time},
    random::Random,
    two_inputs::{Step, Traces, random_script, read, show},
};

/// Tells pairs; those whose numbers are equal go aside.
#[derive(Clone)]
struct Tell;

impl ProcessJoinFunction<Word, Word> for Tell {
    type Out = String;
    type Side = i64;

    fn process(
        &mut self,
        left: (&str, i64),
        right: (&str, i64),
        context: &mut ProcessJoinContext<'_, i64>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        assert_eq!(left.0, right.0);
        assert_eq!(context.timestamp(), context.left_timestamp().max(context.right_timestamp()));
        if left.1 == right.1 {
            context.side(left.1);
            return Ok(());
        }
        let times = [context.left_timestamp(), context.right_timestamp()].map(show_time);
        out.emit(&format!("{}{}({})+{}({})", left.0, left.1, times[0], right.1, times[1]));
        Ok(())
    }
}

/// The bounds, inclusive or not, and whether late records have side outputs.
#[derive(Clone, Copy, Debug)]
struct Setting {
    lower: i64,
    upper: i64,
    excludes: [bool; 2],
    has_side: bool,
}

fn bound(millis: i64) -> TimeBound {
    let duration = Duration::from_millis(millis.unsigned_abs());
    if millis < 0 { before(duration) } else { after(duration) }
}

impl Setting {
    fn random(random: &mut Random) -> Self {
        let (lower, upper) = match random.below(8) {
            0 => (-i64::MAX, i64::MAX),
            1 => (0, 0),
            2 => (0, 5_000_000),
            3 => (-3_000, -2_990),
            _ => {
                let lower = random.below(60) as i64 - 30;
                (lower, lower + random.below(30) as i64)
            }
        };
        let excludes = [random.one_in(3), random.one_in(3)];
        Self { lower, upper, excludes, has_side: random.one_in(2) }
    }

    fn build(self) -> impl Fn(&TaskContext, &Probe) -> Box<dyn Head> {
        let mut options = IntervalOptions::between(bound(self.lower), bound(self.upper));
        if self.excludes[0] {
            options = options.lower_bound_exclusive();
        }
        if self.excludes[1] {
            options = options.upper_bound_exclusive();
        }
        if self.has_side {
            options.late_slots = [Some(0), Some(1)];
        }
        move |context, probe| {
            context.put_side(0, side_output::<Word>(probe.output("left:")));
            context.put_side(1, side_output::<Word>(probe.output("right:")));
            context.put_side(2, side_output::<i64>(probe.output("equal:")));
            let start = IntervalJoinStart::new(Tell, options, Some(2));
            let start = KeyedCoHeadStart::<Word, Word, String, _, _, _>::new(key, key, start);
            harness::head_of(start, Nothing::new(), context, probe)
        }
    }

    /// The definition, word by word.
    fn interpret(&self, script: &str) -> String {
        let lower = i128::from(self.lower) + i128::from(self.excludes[0]);
        let upper = i128::from(self.upper) - i128::from(self.excludes[1]);
        // Until when a record of either side is kept.
        let keep = [upper.max(0), (-lower).max(0)];
        let over_at =
            |side: usize, time: i64| (i128::from(time) + keep[side]).min(i64::MAX.into()) as i64;
        let mut kept: Vec<(usize, &str, i64, i64)> = Vec::new();
        let (mut watermark, mut dropped, mut out) = (i64::MIN, 0, Vec::new());
        for step in script.split(' ') {
            match read(step) {
                Step::Restore => {}
                Step::Late => out.push(format!("late={dropped}")),
                Step::Watermark(reached) => {
                    watermark = reached;
                    out.push(format!("equal:{step}"));
                    if self.has_side {
                        out.extend([format!("left:{step}"), format!("right:{step}")]);
                    }
                    out.push(step.to_owned());
                }
                Step::Record(side, key, number, time) if time < watermark => match self.has_side {
                    true => out.push(format!(
                        "{}:{key}{number}@{}",
                        ["left", "right"][side],
                        show(time)
                    )),
                    false => dropped += 1,
                },
                Step::Record(side, key, number, time) => {
                    kept.push((side, key, number, time));
                    for (other_side, other_key, other, at) in kept.iter().copied() {
                        if other_side == side
                            || other_key != key
                            || over_at(other_side, at) <= watermark
                        {
                            continue;
                        }
                        let ((left, l), (right, r)) = match side {
                            0 => ((number, time), (other, at)),
                            _ => ((other, at), (number, time)),
                        };
                        let distance = i128::from(r) - i128::from(l);
                        if distance < lower || distance > upper {
                            continue;
                        }
                        let at = show(l.max(r));
                        out.push(match left == right {
                            true => format!("equal:{left}@{at}"),
                            false => format!("{key}{left}({})+{right}({})@{at}", show(l), show(r)),
                        });
                    }
                }
            }
        }
        sorted(&out.join(" "))
    }
}

/// Pairs of one record come slice by slice: in no order that a definition should know. Between watermarks they are
/// sorted.
fn sorted(text: &str) -> String {
    let is_told = |word: &&str| !word.contains('w') && !word.starts_with("late=");
    let mut words: Vec<&str> = text.split(' ').collect();
    words.chunk_by_mut(|a, b| is_told(a) && is_told(b)).for_each(<[&str]>::sort_unstable);
    words.join(" ")
}

/// An interval join against its definition.
pub fn interval_joins_are_what_the_definition_says(seed: u64) {
    let mut random = Random(seed);
    let setting = Setting::random(&mut random);
    let script = random_script(&mut random, Traces { has_extremes: true, numbers: 30 });
    let expected = setting.interpret(&script);
    let stops = 1 + random.below(5) as usize;
    for mode in [Mode::Plain, Mode::Stopped(stops), Mode::Spent] {
        let out = harness::run(&setting.build(), mode, &script);
        assert_eq!(sorted(&out), expected, "SEED={seed}, {mode:?}, {setting:?}: {script}");
    }
}

#[track_caller]
fn check(setting: Setting, script: &str, expected: &str) {
    let modes = [Mode::Plain, Mode::Stopped(2), Mode::Spent, Mode::Restored, Mode::Rescaled];
    harness::check(&setting.build(), &modes, script, expected);
}

#[test]
fn a_pair_is_within_its_bounds_and_has_the_later_time() {
    let setting = Setting { lower: -2, upper: 3, excludes: [false; 2], has_side: false };
    check(setting, "1:a1@10 2:a2@8", "a1(10)+2(8)@10");
    check(setting, "1:a1@10 2:a2@7 2:a3@13 2:a4@14", "a1(10)+3(13)@13");
    check(setting, "2:a1@10 1:a2@7 1:a3@6 1:a4@13 1:a5@12", "a2(7)+1(10)@10 a5(12)+1(10)@12");
    let exclusive = Setting { excludes: [true; 2], ..setting };
    check(exclusive, "1:a1@10 2:a2@8 2:a3@9 2:a4@12 2:a5@13", "a1(10)+3(9)@10 a1(10)+4(12)@12");
}

#[test]
fn a_record_is_late_below_the_watermark_and_over_when_nothing_can_meet_it() {
    let setting = Setting { lower: -2, upper: 3, excludes: [false; 2], has_side: false };
    check(setting, "1:a1@10 w9 2:a2@8 2:a3@9 late?", "equal:w9 w9 a1(10)+3(9)@10 late=1");
    // The left one is over at 13, the right one at 12.
    check(
        setting,
        "1:a1@10 w12 2:a2@13 w13 2:a3@13",
        "equal:w12 w12 a1(10)+2(13)@13 equal:w13 w13",
    );
    check(
        setting,
        "2:a1@10 w11 1:a2@12 w12 1:a3@12",
        "equal:w11 w11 a2(12)+1(10)@12 equal:w12 w12",
    );
    let aside = Setting { has_side: true, ..setting };
    check(
        aside,
        "w9 1:a1@8 2:b2@8 late? idle",
        "equal:w9 left:w9 right:w9 w9 left:a1@8 right:b2@8 late=0 equal:idle left:idle right:idle idle",
    );
}

#[test]
fn at_the_end_there_is_no_state() {
    for (lower, upper) in [(-2, 3), (0, 0), (500, 100_000), (-i64::MAX, i64::MAX)] {
        let setting = Setting { lower, upper, excludes: [false; 2], has_side: false };
        let context = harness::context(0, 1, &Default::default());
        let mut head = setting.build()(&context, &Probe::new(context.stop(), 0));
        let mut frames = Frames::<Word>::new();
        for number in 0..500 {
            let word = (format!("k{}", number % 7), number);
            let meta =
                Meta::at(Timestamp::from_millis(number)).with_hash(String::key_hash(&word.0));
            let frame = frames.frame([(&word, meta)].into_iter());
            let pace = &mut harness::pace(&context, Mode::Plain);
            let _ = head.frame(number as usize % 2, &frame, &mut 0, pace);
            frames.give(frame);
        }
        let mut snapshot = Snapshot::default();
        head.snapshot(&mut snapshot);
        assert!(!snapshot.is_empty());
        let _ = head.watermark(Timestamp::MAX, &mut harness::pace(&context, Mode::Plain));
        let mut snapshot = Snapshot::default();
        head.snapshot(&mut snapshot);
        assert!(snapshot.is_empty(), "slices are left");
    }
}

#[test]
fn a_record_without_a_time_fails() {
    let setting = Setting { lower: 0, upper: 3, excludes: [false; 2], has_side: false };
    check(
        setting,
        "2:a1",
        "could not join a record by its time (operator `op`, subtask 0): the record has no event time: \
         call `watermarks` before the join",
    );
}
