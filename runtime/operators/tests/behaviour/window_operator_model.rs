//! The general window operator against a naive interpreter of the rules, over random traces.

use std::time::Duration;

use wiesel_core::Timestamp;
use wiesel_operators::{
    AggregatingStart, AssignWindows, ContentsStart, ContinuousEventTimeTrigger,
    ContinuousProcessingTimeTrigger, CountEvictor, CountTrigger, DeltaEvictor, DeltaTrigger,
    EventTimeTrigger, Evictable, Evictor, Fold, FoldMerging, Global, KeyedHeadStart, ListingStart,
    NeverTrigger, NoEvictor, Nothing, PassOn, ProcessingTimeTrigger, Session, Sliding, TaskContext,
    TimeEvictor, TimeWindow, Trigger, TriggerContext, TriggerResult, WindowContents,
    WindowOperatorStart, WindowOptions, side_output,
};

use crate::{
    harness::{self, Mode, Probe, Show, Word, key},
    random::{Random, seeds},
    window_functions::Print,
    window_model::random_script,
    window_operator_rules::{Kept, Rule, Setting, Windows, interpret},
};

/// A trigger that purges or not: one type for both.
#[derive(Clone)]
struct MaybePurging<R> {
    trigger: R,
    purges: bool,
}

impl<R: Trigger<Word>> MaybePurging<R> {
    fn said(&self, result: TriggerResult) -> TriggerResult {
        match result {
            TriggerResult::Fire if self.purges => TriggerResult::FireAndPurge,
            result => result,
        }
    }
}

impl<R: Trigger<Word>> Trigger<Word> for MaybePurging<R> {
    type State = R::State;

    const CAN_MERGE: bool = R::CAN_MERGE;

    fn on_element(
        &self,
        word: (&str, i64),
        time: Option<Timestamp>,
        window: TimeWindow,
        context: &mut TriggerContext<'_, R::State>,
    ) -> TriggerResult {
        self.said(self.trigger.on_element(word, time, window, context))
    }

    fn on_event_time(
        &self,
        time: Timestamp,
        window: TimeWindow,
        context: &mut TriggerContext<'_, R::State>,
    ) -> TriggerResult {
        self.said(self.trigger.on_event_time(time, window, context))
    }

    fn on_processing_time(
        &self,
        time: Timestamp,
        window: TimeWindow,
        context: &mut TriggerContext<'_, R::State>,
    ) -> TriggerResult {
        self.said(self.trigger.on_processing_time(time, window, context))
    }

    fn on_merge(
        &self,
        merged: &[R::State],
        window: TimeWindow,
        context: &mut TriggerContext<'_, R::State>,
    ) {
        self.trigger.on_merge(merged, window, context);
    }

    fn clear(&self, window: TimeWindow, context: &mut TriggerContext<'_, R::State>) {
        self.trigger.clear(window, context);
    }
}

/// The evictor that a setting says.
#[derive(Clone)]
struct AnyEvictor(Kept);

impl AnyEvictor {
    fn evict(&self, all: &mut Evictable<'_, Word>, window: TimeWindow, at: Timestamp, after: bool) {
        let far = |word: (&str, i64), last: (&str, i64)| (word.1 - last.1).abs() as f64;
        fn call(
            evictor: &impl Evictor<Word>,
            all: &mut Evictable<'_, Word>,
            window: TimeWindow,
            at: Timestamp,
            after: bool,
        ) {
            match after {
                true => evictor.evict_after(all, window, at),
                false => evictor.evict_before(all, window, at),
            }
        }
        match self.0 {
            Kept::Count(count, false) => call(&CountEvictor::of(count), all, window, at, after),
            Kept::Count(count, true) => {
                call(&CountEvictor::of(count).after(), all, window, at, after);
            }
            Kept::Time(span, false) => {
                call(&TimeEvictor::of(duration(span)), all, window, at, after);
            }
            Kept::Time(span, true) => {
                call(&TimeEvictor::of(duration(span)).after(), all, window, at, after);
            }
            Kept::Delta(threshold, false) => {
                call(&DeltaEvictor::of(threshold as f64, far), all, window, at, after);
            }
            Kept::Delta(threshold, true) => {
                call(&DeltaEvictor::of(threshold as f64, far).after(), all, window, at, after);
            }
            Kept::Folded | Kept::Listed => {}
        }
    }
}

impl Evictor<Word> for AnyEvictor {
    fn evict_before(&self, all: &mut Evictable<'_, Word>, window: TimeWindow, at: Timestamp) {
        self.evict(all, window, at, false);
    }

    fn evict_after(&self, all: &mut Evictable<'_, Word>, window: TimeWindow, at: Timestamp) {
        self.evict(all, window, at, true);
    }
}

fn duration(millis: i64) -> Duration {
    match millis {
        i64::MAX => Duration::MAX,
        millis => Duration::from_millis(millis as u64),
    }
}

struct Trace<'t> {
    setting: &'t Setting,
    script: &'t str,
    seed: u64,
}

impl Trace<'_> {
    fn compare(&self) {
        match self.setting.rule {
            Rule::Count(count) => self.fired_by(&CountTrigger::of(count)),
            Rule::Event => self.fired_by(&EventTimeTrigger),
            Rule::Processing => self.fired_by(&ProcessingTimeTrigger),
            Rule::Never => self.fired_by(&NeverTrigger),
            Rule::Continuous(interval) => {
                self.fired_by(&ContinuousEventTimeTrigger::of(duration(interval)));
            }
            Rule::ContinuousProcessing(interval) => {
                self.fired_by(&ContinuousProcessingTimeTrigger::of(duration(interval)));
            }
            Rule::Delta(threshold) => {
                let delta = |last: (&str, i64), word: (&str, i64)| (word.1 - last.1) as f64;
                let delta = DeltaTrigger::of(threshold as f64, delta);
                match self.setting.windows {
                    Windows::Global => self.in_windows(&Global, &delta),
                    Windows::Sliding(..) => self.in_time(&delta),
                    Windows::Session(_) => unreachable!(),
                }
            }
        }
    }

    /// In all windows, also those that grow together.
    fn fired_by<R: Trigger<Word>>(&self, trigger: &R) {
        match (self.setting.windows, self.setting.follows_clock) {
            (Windows::Global, _) => self.in_windows(&Global, trigger),
            (Windows::Session(gap), false) => {
                self.in_windows(&Session::with_gap(duration(gap)), trigger);
            }
            (Windows::Session(gap), true) => {
                self.in_windows(&Session::processing_time(duration(gap)), trigger);
            }
            (Windows::Sliding(..), _) => self.in_time(trigger),
        }
    }

    fn in_time<R: Trigger<Word>>(&self, trigger: &R) {
        let Windows::Sliding(size, slide) = self.setting.windows else { unreachable!() };
        let (size, slide) = (duration(size), duration(slide));
        match self.setting.follows_clock {
            false => self.in_windows(&Sliding::event_time(size, slide), trigger),
            true => self.in_windows(&Sliding::processing_time(size, slide), trigger),
        }
    }

    fn in_windows<W: AssignWindows<Word>, R: Trigger<Word>>(&self, windows: &W, trigger: &R) {
        let trigger = &MaybePurging { trigger: trigger.clone(), purges: self.setting.purges };
        if self.setting.kept == Kept::Folded {
            let append = |list: &mut String, word: (&str, i64)| {
                list.push_str(&word.1.to_string());
                list.push(',');
            };
            let fold = Fold { initial: String::new(), function: append };
            let merge = |list: &mut String, other: &str| list.push_str(other);
            let contents = AggregatingStart::new(FoldMerging { fold, merge }, PassOn, None);
            return self.run(windows, trigger, contents);
        }
        let function = Print::new(!W::MERGES);
        match self.setting.kept {
            Kept::Listed => {
                self.run(windows, trigger, ListingStart::new(NoEvictor, function, None));
            }
            kept => self.run(windows, trigger, ListingStart::new(AnyEvictor(kept), function, None)),
        }
    }

    fn run<W, R, B>(&self, windows: &W, trigger: &R, contents: B)
    where
        W: AssignWindows<Word>,
        R: Trigger<Word>,
        B: ContentsStart<String, Word>,
        <B::Contents as WindowContents<String, Word>>::Out: Show,
    {
        let Self { setting, script, seed } = self;
        let options = WindowOptions {
            windows: windows.clone(),
            allowed_lateness: duration(setting.lateness),
            late_slot: setting.has_side.then_some(0),
        };
        let build = |context: &TaskContext, probe: &Probe| {
            context.put_side(0, side_output::<Word>(probe.output("late:")));
            let start =
                WindowOperatorStart::new(contents.clone(), trigger.clone(), options.clone());
            let start = KeyedHeadStart::<Word, String, _, _>::new(key, start);
            harness::head_of(start, Nothing::new(), context, probe)
        };
        let expected = interpret(setting, script);
        let mut modes = vec![Mode::Plain, Mode::Stopped(1 + (seed % 5) as usize), Mode::Spent];
        if !matches!(setting.rule, Rule::Continuous(_)) {
            modes.push(Mode::Rescaled);
        }
        for mode in modes {
            let out = harness::run(&build, mode, script);
            assert_eq!(out, expected, "SEED={seed}, {mode:?}, {setting:?}: {script}");
        }
        if setting.windows != Windows::Global {
            let snapshot = harness::snapshot(&build, script);
            let mut names = snapshot.keyed_names();
            names.retain(|name| *name != "window.global"); // That of the key stays.
            assert!(names.is_empty(), "SEED={seed}, {setting:?}: {names:?} of what is over");
        }
    }
}

/// Adds steps of the clock to a script, which ends it.
fn with_clock(random: &mut Random, script: &str) -> String {
    let (mut clock, mut steps) = (0, Vec::new());
    for step in script.split(' ') {
        if random.one_in(6) {
            clock += random.below(15);
            steps.push(format!("C{clock}!"));
        }
        steps.push(step.to_owned());
    }
    steps.push(format!("C{}!", clock + 1_000));
    steps.join(" ")
}

#[test]
fn windows_are_what_the_definition_says() {
    for seed in seeds(600) {
        let mut random = Random(seed);
        let setting = Setting::random(&mut random);
        let script = random_script(&mut random);
        let mut script = with_clock(&mut random, &script);
        if matches!(setting.rule, Rule::Continuous(_)) {
            // A timer for a time that has passed fires with the next watermark, which a restore tells again. And results
            // of several sessions would be in no order of their times: one key has one at a time.
            let steps = script.split(' ').filter(|step| !step.starts_with('!'));
            let of_a = |step: &str| match step.split_once(|c: char| !c.is_alphabetic()) {
                Some((key, _)) if step.contains('@') => format!("a{}", &step[key.len()..]),
                _ => step.to_owned(),
            };
            script = match setting.windows {
                Windows::Session(_) => steps.map(of_a).collect::<Vec<_>>().join(" "),
                _ => steps.collect::<Vec<_>>().join(" "),
            };
        }
        Trace { setting: &setting, script: &script, seed }.compare();
    }
}
