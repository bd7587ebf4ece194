//! The command line: what to measure, and what is wrong with it.
//!
//! # What is always true
//!
//! 1. What is wrong is said in one line, with what to write instead, before anything runs.
//! 2. The help is the list of options: hints are taken from it.

use std::ffi::OsString;

use lexopt::{Arg, Parser, ValueExt};
use wiesel::UsageError;

use crate::{
    generator::{SEED, WINDOW_MS},
    measure::Mode,
    names,
    peers::Peer,
    workload::Workload,
};

const HELP: &str = "\
wiesel-bench WORKLOAD [OPTIONS]

Workloads:
  gen                 events are made and dropped: the ceiling of q0 to q22 (gen_keys, gen_lines, gen_tweets: of others)
  q0 q1 q2            Nexmark: every bid, with its price converted, those on every 123rd auction
  q3 q8               Nexmark: auctions with their sellers; those who sign up and sell within ten seconds
  q5                  Nexmark: the auctions with the most bids of ten seconds, every two seconds
  q4 q6               Nexmark, ours alone: changing averages of what auctions go for, of categories and of sellers
  q7                  Nexmark: the highest price of ten seconds
  q9                  Nexmark, ours alone: the winning bid of each auction, changing
  q10                 Nexmark, ours alone: every bid as a line in a file of its minute
  q11                 Nexmark: bids by bidder and session, which ten seconds without one end
  q12                 Nexmark, ours alone: bids by bidder and ten seconds of the time of day
  q13 q14 q21 q22     Nexmark, ours alone: bids with a looked up value, calculated, with a channel's number, with folders
  q15 q16 q17         Nexmark, ours alone: changing statistics of days, of channels and days, of auctions and days
  q18 q19             Nexmark, ours alone: each bidder's last bid on each auction, the ten highest bids of each auction
  q20 q23             Nexmark, ours alone: bids with their auctions, of a category; with their bidders and what they sell
  q0shuffle           every bid, whole, to the shard of its auction
  keyed keyed_skew    a running count of 2^20 keys; keyed_skew: half of the records have one key
  wordcount           a running count of words, eight in a line
  trending            the ten most frequent hashtags of each second
  tumbling sliding    a count of 10,000 keys in windows of a minute; sliding: in windows that overlap
  session             a count of 10,000 keys in sessions, which ten seconds without a record end
  chain               3 filters, a projected string, a flat_map that splits it, 2 maps, over archived frames
  exchange            frames from one shard to another, every byte written and read
  handoff             one record to another shard and back, when both are idle
  latency             the keyed count at a steady rate, from when each record was due
  checkpoint          a keyed count with checkpoints and without: how long they hold up records, what they cost
  state               updates of values of 32 bytes, a million keys
  recovery            from the kill of a job to the first right output of the next process

Options:
  --engine wiesel|bare              who runs it (default wiesel); bare is the same work as a loop by hand
  --compare PEER,…                  run ours and theirs alternately, and print ratios: above 1 ours is better; peers are
                                    bare, renoir, timely and flink
  --runs K                          runs (default 1), or with --compare pairs (default 15, at least 3)
  --events N                        events of a run (default: as many as the reference sums are of)
  --parallelism P                   shards (default 1; latency, handoff and exchange: 2)
  --event-rate R                    events per second of event time (default 1000000; trending 200000, tumbling, sliding, session 100000)
  --slides N                        sliding: windows over each time (default 10)
  --disorder P                      session, q11: of a hundred events, how many are up to 5 s late (default 0)
  --seed S                          seed of the generator; 0x… for hexadecimal
  --rate R                          latency: events per second that are sent (default 1000000)
  --mode spin|park                  latency, handoff: how a shard without work rests (default spin)
  --keys N                          checkpoint, state, recovery: keys that are kept (default 1000000)
  --dirty N                         checkpoint: keys that are updated, over and over (default a hundredth of them)
  --interval-ms N                   checkpoint, recovery: from one checkpoint to the next (default 1000; recovery 200)
  --full                            checkpoint: every one whole, not what has changed
  --pairs K                         checkpoint: pairs of runs with and without (default 3; 0 is one run with)
  --kills K                         recovery: processes that are killed (default 20)
  --profile                         says on standard error where the nanoseconds of an event go
  --quick                           small runs, for tests: results are checked, figures mean nothing
  --output json|table               (default table); json is one object a line
  --help
";

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// One object a line.
    Json,
    /// For people.
    Table,
}

/// Who runs a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// We do.
    Wiesel,
    /// A loop by hand.
    Bare,
}

impl Output {
    const ALL: [Self; 2] = [Self::Json, Self::Table];

    const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Table => "table",
        }
    }
}

impl Engine {
    const ALL: [Self; 2] = [Self::Wiesel, Self::Bare];

    /// What the command line calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wiesel => "wiesel",
            Self::Bare => "bare",
        }
    }
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Args {
    pub workload: Workload,
    pub engine: Engine,
    pub compare: Vec<Peer>,
    /// Runs, or pairs.
    pub runs: usize,
    pub events: u64,
    pub parallelism: u32,
    pub event_rate: u64,
    pub slides: u64,
    pub disorder: u64,
    pub seed: u64,
    pub rate: u64,
    pub mode: Mode,
    pub profile: bool,
    pub quick: bool,
    pub output: Output,
    pub state: StateArgs,
}

/// What is said of workloads that are about state.
#[derive(Clone, Copy, Debug, Default)]
pub struct StateArgs {
    /// Keys that are kept.
    pub keys: u64,
    /// Keys that are updated.
    pub dirty: u64,
    /// From one checkpoint to the next.
    pub interval_ms: u64,
    /// Whether checkpoints are whole.
    pub full: bool,
    /// Pairs of runs with and without checkpoints.
    pub pairs: u64,
    /// Processes that are killed.
    pub kills: u64,
}

/// Fewest pairs of which a median says anything.
const PAIRS_MIN: usize = 3;

/// As many events as a run of `--quick` has at most.
const QUICK_EVENTS: u64 = 100_000;

impl Args {
    /// Reads the command line; none if help was asked for and printed.
    ///
    /// # Errors
    ///
    /// If it cannot be used; says what can.
    pub fn parse(parser: Parser) -> Result<Option<Self>, String> {
        match Given::read(parser).map_err(said)? {
            Some(given) => given.complete().map(Some),
            None => {
                print!("{HELP}");
                Ok(None)
            }
        }
    }
}

/// What the command line says.
#[derive(Default)]
struct Given {
    workload: Option<Workload>,
    engine: Option<Engine>,
    compare: Vec<Peer>,
    runs: Option<u64>,
    events: Option<u64>,
    parallelism: Option<u64>,
    event_rate: Option<u64>,
    slides: Option<u64>,
    disorder: Option<u64>,
    seed: Option<u64>,
    rate: Option<u64>,
    mode: Option<Mode>,
    profile: bool,
    quick: bool,
    output: Option<Output>,
    keys: Option<u64>,
    dirty: Option<u64>,
    interval_ms: Option<u64>,
    full: bool,
    pairs: Option<u64>,
    kills: Option<u64>,
}

impl Given {
    /// Reads the command line; none if it asks for help.
    fn read(mut parser: Parser) -> Result<Option<Self>, lexopt::Error> {
        let mut given = Self::default();
        while let Some(arg) = parser.next()? {
            match arg {
                Arg::Long("help") | Arg::Short('h') => return Ok(None),
                Arg::Long("engine") => {
                    let name = parser.value()?.string()?;
                    let engine = names::find("an engine", &name, &Engine::ALL, Engine::name)?;
                    given.engine = Some(engine);
                }
                Arg::Long("compare") => {
                    for name in parser.value()?.string()?.split(',') {
                        let peer = names::find("a peer", name, &Peer::ALL, Peer::name)?;
                        if !given.compare.contains(&peer) {
                            given.compare.push(peer);
                        }
                    }
                }
                Arg::Long("runs") => given.runs = Some(positive(&mut parser, "--runs")?),
                Arg::Long("events") => given.events = Some(positive(&mut parser, "--events")?),
                Arg::Long("parallelism") => {
                    given.parallelism = Some(positive(&mut parser, "--parallelism")?);
                }
                Arg::Long("event-rate") => {
                    given.event_rate = Some(positive(&mut parser, "--event-rate")?)
                }
                Arg::Long("slides") => given.slides = Some(positive(&mut parser, "--slides")?),
                Arg::Long("disorder") => {
                    given.disorder = Some(whole(&mut parser, "--disorder", 0)?);
                }
                Arg::Long("rate") => given.rate = Some(positive(&mut parser, "--rate")?),
                Arg::Long("seed") => given.seed = Some(seed(&parser.value()?.string()?)?),
                Arg::Long("mode") => {
                    let name = parser.value()?.string()?;
                    given.mode = Some(names::find("a mode", &name, &Mode::ALL, Mode::name)?);
                }
                Arg::Long("profile") => given.profile = true,
                Arg::Long("keys") => given.keys = Some(positive(&mut parser, "--keys")?),
                Arg::Long("dirty") => given.dirty = Some(positive(&mut parser, "--dirty")?),
                Arg::Long("interval-ms") => {
                    given.interval_ms = Some(positive(&mut parser, "--interval-ms")?);
                }
                Arg::Long("full") => given.full = true,
                Arg::Long("pairs") => given.pairs = Some(whole(&mut parser, "--pairs", 0)?),
                Arg::Long("kills") => given.kills = Some(positive(&mut parser, "--kills")?),
                Arg::Long("quick") => given.quick = true,
                Arg::Long("output") => {
                    let name = parser.value()?.string()?;
                    given.output =
                        Some(names::find("an output", &name, &Output::ALL, Output::name)?);
                }
                Arg::Value(value) if given.workload.is_none() => {
                    let (name, all) = (value.string()?, &Workload::ALL);
                    given.workload = Some(names::find("a workload", &name, all, Workload::name)?);
                }
                other => return Err(other.unexpected()),
            }
        }
        Ok(Some(given))
    }

    /// What the workload does with state.
    fn state(&self, workload: Workload) -> Result<StateArgs, String> {
        let given = [
            ("--keys", self.keys.is_some(), workload.is_of_state()),
            ("--dirty", self.dirty.is_some(), workload == Workload::Checkpoint),
            ("--full", self.full, workload == Workload::Checkpoint),
            ("--pairs", self.pairs.is_some(), workload == Workload::Checkpoint),
            ("--kills", self.kills.is_some(), workload == Workload::Recovery),
            (
                "--interval-ms",
                self.interval_ms.is_some(),
                matches!(workload, Workload::Checkpoint | Workload::Recovery),
            ),
        ];
        if let Some((flag, ..)) = given.iter().find(|(_, is_given, fits)| *is_given && !fits) {
            return Err(format!("{workload} has no use for {flag}: leave it out"));
        }
        let keys = self.keys.unwrap_or(if self.quick { 1_000 } else { 1_000_000 });
        let dirty = self.dirty.unwrap_or((keys / 100).max(1));
        if dirty > keys {
            return Err(format!("--dirty is at most the {keys} of --keys, not {dirty}"));
        }
        let interval_ms = if workload == Workload::Recovery { 200 } else { 1_000 };
        Ok(StateArgs {
            keys,
            dirty,
            interval_ms: self.interval_ms.unwrap_or(interval_ms),
            full: self.full,
            pairs: self.pairs.unwrap_or(if self.quick { 1 } else { 3 }),
            kills: self.kills.unwrap_or(if self.quick { 2 } else { 20 }),
        })
    }

    /// Fills in what was not said, and refuses what does not go together.
    fn complete(self) -> Result<Args, String> {
        let Some(workload) = self.workload else {
            let names = Workload::ALL.map(Workload::name).join(", ");
            return Err(format!(
                "which workload? there are {names}: for example `wiesel-bench q0`"
            ));
        };
        let compares = !self.compare.is_empty();
        if compares && self.engine.is_some() {
            return Err("--engine is for runs; --compare always measures wiesel against its peers"
                .to_owned());
        }
        if let Some(peer) = self.compare.iter().find(|peer| !peer.can_run(workload)) {
            return Err(format!("{peer} has no {workload}: leave it out of --compare"));
        }
        if self.engine == Some(Engine::Bare) && !Peer::Bare.can_run(workload) {
            return Err(format!("{workload} has no loop by hand: leave out --engine bare"));
        }
        let by_hand = self.engine == Some(Engine::Bare) || self.compare.contains(&Peer::Bare);
        if workload == Workload::Latency && by_hand && self.mode == Some(Mode::Park) {
            return Err("the loop by hand spins: leave out --mode park".to_owned());
        }
        let disorder = self.disorder.unwrap_or(0);
        if !workload.is_of_sessions() && self.disorder.is_some() {
            return Err(format!("{workload} has its events in order: leave out --disorder"));
        }
        if disorder > 100 {
            return Err(format!("--disorder is of a hundred events, not {disorder}"));
        }
        let state = self.state(workload)?;
        let slides = self.slides.unwrap_or(10);
        if workload != Workload::Sliding && self.slides.is_some() {
            return Err(format!("{workload} does not slide: leave out --slides"));
        }
        if !WINDOW_MS.is_multiple_of(slides) {
            return Err(format!(
                "--slides {slides}: windows of {WINDOW_MS} ms slide by whole milliseconds: take 10, 60 or 600"
            ));
        }
        let runs = self.runs.map_or_else(
            || match (compares, self.quick) {
                (true, true) => PAIRS_MIN,
                (true, false) => 15,
                (false, _) => 1,
            },
            |runs| usize::try_from(runs).unwrap_or(usize::MAX),
        );
        if compares && runs < PAIRS_MIN {
            return Err(format!("--runs must be at least {PAIRS_MIN} with --compare, not {runs}"));
        }
        let parallelism = self
            .parallelism
            .map_or(workload.parallelism(), |shards| u32::try_from(shards).unwrap_or(u32::MAX));
        if let Some(needed) = workload.parallelism_needed().filter(|needed| *needed != parallelism)
        {
            let shards = if needed == 1 { "shard" } else { "shards" };
            return Err(format!("{workload} runs on {needed} {shards}: leave out --parallelism"));
        }
        if parallelism > 128 {
            return Err("--parallelism is at most 128, the key groups of a job".to_owned());
        }
        let rate = self.rate.unwrap_or(1_000_000);
        let events = self.events.unwrap_or(match workload {
            Workload::Latency => rate.saturating_mul(10), // Ten seconds.
            other => other.events(),
        });
        Ok(Args {
            workload,
            engine: self.engine.unwrap_or(Engine::Wiesel),
            compare: self.compare,
            runs,
            events: if self.quick && self.events.is_none() {
                events.min(QUICK_EVENTS)
            } else {
                events
            },
            parallelism,
            event_rate: self.event_rate.unwrap_or(workload.event_rate()),
            slides,
            disorder,
            seed: self.seed.unwrap_or(SEED),
            rate,
            mode: self.mode.unwrap_or(Mode::Spin),
            profile: self.profile,
            quick: self.quick,
            state,
            output: self.output.unwrap_or(Output::Table),
        })
    }
}

/// A number of at least one.
fn positive(parser: &mut Parser, option: &str) -> Result<u64, lexopt::Error> {
    whole(parser, option, 1)
}

/// A number of at least `least`; underscores may group its digits.
fn whole(parser: &mut Parser, option: &str, least: u64) -> Result<u64, lexopt::Error> {
    let text = parser.value()?.string()?;
    match text.replace('_', "").parse() {
        Ok(number) if number >= least => Ok(number),
        _ => {
            Err(format!("{option} must be a whole number of at least {least}, not `{text}`").into())
        }
    }
}

fn seed(text: &str) -> Result<u64, String> {
    let digits = text.replace('_', "");
    let parsed = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    parsed.map_err(|_| format!("--seed must be a 64-bit number, not `{text}`"))
}

/// The options, as the help shows each: `--events N`.
fn options() -> impl Iterator<Item = &'static str> {
    let shown = |line: &'static str| line.trim_start().split("  ").next();
    HELP.lines().filter_map(shown).filter(|shown| shown.starts_with("--"))
}

/// An option without what it takes: `--events` of `--events N`.
fn flag_of(shown: &str) -> &str {
    shown.split_once(' ').map_or(shown, |(flag, _)| flag)
}

/// What is wrong with the command line, and what to write instead.
fn said(error: lexopt::Error) -> String {
    use lexopt::Error;
    let text = |value: OsString| value.to_string_lossy().into_owned();
    match error {
        Error::UnexpectedOption(option) => {
            // Without the hyphens, which make all of them similar.
            let flags = options().map(|shown| flag_of(shown).trim_start_matches('-'));
            match UsageError::nearest(option.trim_start_matches('-'), flags) {
                Some(flag) => format!("unknown option `{option}`: did you mean `--{flag}`?"),
                None => format!("unknown option `{option}`: see `wiesel-bench --help`"),
            }
        }
        Error::MissingValue { option: Some(option) } => {
            let shown = options().find(|shown| flag_of(shown) == option).unwrap_or(&option);
            format!("{option} has no value: write `{shown}`")
        }
        Error::UnexpectedValue { option, value } => {
            format!("{option} takes no value: leave out `={}`", text(value))
        }
        Error::UnexpectedArgument(value) => {
            format!("unexpected argument `{}`: a run has one workload", text(value))
        }
        Error::NonUnicodeValue(value) => format!("`{}` is not UTF-8", text(value)),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_of_the_help_is_known_and_asks_for_what_it_takes() {
        for shown in options() {
            let flag = flag_of(shown);
            let found = Given::read(Parser::from_args([flag])).map(|_| ()).map_err(said);
            let expected = match shown == flag {
                true => Ok(()),
                false => Err(format!("{flag} has no value: write `{shown}`")),
            };
            assert_eq!(found, expected);
        }
        assert_eq!(options().count(), HELP.matches("\n  --").count());
    }
}
