//! The command line, the same for every peer.
//!
//! ```text
//!   BIN WORKLOAD --events N --parallelism P [--event-rate R] [--seed S] [--batch B]
//!   BIN latency --parallelism P [--rate R] [--seconds S] [--events N] [--mode M] [--seed S] [--batch B]
//! ```
//!
//! A latency run ends after `--seconds` or `--events`, whichever is first, or after ten seconds. `--batch` replaces what
//! was found best: records per batch (renoir), or per activation of a source (timely).

use lexopt::{Arg, Parser, ValueExt};

use crate::{Error, generator::SEED};

/// The workload that takes a rate and not a number of events.
const LATENCY: &str = "latency";

/// How long it runs if nothing is said.
const LATENCY_SECONDS: u64 = 10;

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Args {
    /// Its name; whether there is one, the engine says.
    pub workload: String,
    /// Events of all sources together, at least 1; `u64::MAX` if the seconds of `latency` say how many.
    pub events: u64,
    /// Subtasks of each step, at least 1.
    pub parallelism: usize,
    /// Events per second of event time.
    pub event_rate: u64,
    /// Seed of the generator.
    pub seed: u64,
    /// Of `latency`: records a second of all sources together, at least 1.
    pub rate: u64,
    /// Of `latency`: for how long at most.
    pub seconds: Option<u64>,
    /// Of `latency`: how the engine waits or batches, if not as it does best.
    pub mode: Option<String>,
    /// Records per batch or activation, if not the best found; at least 1.
    pub batch: Option<usize>,
}

impl Args {
    /// Reads the command line.
    pub fn parse(mut parser: Parser) -> Result<Self, Error> {
        let (mut workload, mut events, mut parallelism) = (None, None, None);
        let (mut event_rate, mut seed) = (1_000_000, SEED);
        let (mut rate, mut seconds, mut mode, mut batch) = (100_000, None, None, None);
        while let Some(arg) = parser.next()? {
            match arg {
                Arg::Long("events") => events = Some(parser.value()?.parse()?),
                Arg::Long("parallelism") => parallelism = Some(parser.value()?.parse()?),
                Arg::Long("event-rate") => event_rate = parser.value()?.parse()?,
                Arg::Long("seed") => seed = parser.value()?.parse()?,
                Arg::Long("rate") => rate = parser.value()?.parse()?,
                Arg::Long("seconds") => seconds = Some(parser.value()?.parse()?),
                Arg::Long("mode") => mode = Some(parser.value()?.string()?),
                Arg::Long("batch") => batch = Some(parser.value()?.parse()?),
                Arg::Value(value) if workload.is_none() => workload = Some(value.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        let missing = |what: &str| lexopt::Error::from(format!("{what} is missing"));
        let workload = workload.ok_or_else(|| missing("WORKLOAD"))?;
        let events = match events {
            None if workload == LATENCY => {
                seconds = seconds.or(Some(LATENCY_SECONDS));
                u64::MAX
            }
            None => return Err(missing("--events").into()),
            Some(events) => events,
        };
        let parallelism = parallelism.ok_or_else(|| missing("--parallelism"))?;
        let least = [events, parallelism as u64, event_rate, rate, seconds.unwrap_or(1)];
        if least.contains(&0) || batch == Some(0) {
            return Err(lexopt::Error::from("no number but the seed may be 0").into());
        }
        Ok(Self { workload, events, parallelism, event_rate, seed, rate, seconds, mode, batch })
    }

    /// `--batch`, or what was found best for a subtask alone and for several.
    pub fn batch_or(&self, [alone, several]: [usize; 2]) -> usize {
        self.batch.unwrap_or(if self.parallelism == 1 { alone } else { several })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &str) {
        let args = Args::parse(Parser::from_args(line.split_whitespace()));
        let shown = match args {
            Ok(a) => format!(
                "{} {} x{} r{} s{} {}/s {:?} {:?} {:?}",
                a.workload,
                a.events,
                a.parallelism,
                a.event_rate,
                a.seed,
                a.rate,
                a.seconds,
                a.mode,
                a.batch
            ),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "{line}");
    }

    #[test]
    fn a_command_line_is_read_or_refused_in_one_line() {
        let zero = "no number but the seed may be 0";
        for (line, expected) in [
            (
                "q0 --events 5 --parallelism 2",
                "q0 5 x2 r1000000 s6768574230975169895 100000/s None None None",
            ),
            (
                "--seed 7 q1 --parallelism 1 --events 9 --event-rate 3 --batch 64",
                "q1 9 x1 r3 s7 100000/s None None Some(64)",
            ),
            (
                "latency --parallelism 2 --rate 5 --seconds 3 --mode spin --seed 0",
                "latency 18446744073709551615 x2 r1000000 s0 5/s Some(3) Some(\"spin\") None",
            ),
            ("q0 --parallelism 2", "--events is missing"),
            ("q0 --events 5", "--parallelism is missing"),
            ("--events 5 --parallelism 2", "WORKLOAD is missing"),
            ("q0 --events 0 --parallelism 2", zero),
            ("q0 --events 1 --parallelism 0", zero),
            ("q0 --events 1 --parallelism 1 --batch 0", zero),
            (
                "q0 --events x --parallelism 2",
                "cannot parse argument \"x\": invalid digit found in string",
            ),
            ("q0 --event 5", "invalid option '--event'"),
            ("q0 q1", "unexpected argument \"q1\""),
        ] {
            check(line, expected);
        }
    }
}
