//! The command line of the simulator.

use std::env;

use wiesel_core::Mutant;

/// What to run.
pub(crate) struct Args {
    /// How many seeds.
    pub(crate) seeds: u64,
    /// The first; the others follow it.
    pub(crate) first: u64,
    /// A fault that is to happen: the run must fail.
    pub(crate) canary: Option<Mutant>,
    /// Only print the hash of each seed: what the other process does.
    pub(crate) hashes: bool,
}

const USAGE: &str = "usage: sim [--seeds N] [--seed X] [--canary[=FAULT]] [--hashes]";

impl Args {
    /// From the command line; `SEED` in the environment replays one seed.
    pub(crate) fn parse() -> Result<Self, String> {
        let mut args = Self { seeds: 500, first: fresh_seed(), canary: None, hashes: false };
        if let Ok(seed) = env::var("SEED")
            && !seed.is_empty()
        {
            (args.first, args.seeds) = (number("SEED", &seed)?, 1);
        }
        let mut words = env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = |name| words.next().ok_or(format!("{name} needs a value; {USAGE}"));
            match word.as_str() {
                "--seeds" if env::var("SEED").is_ok_and(|seed| !seed.is_empty()) => {
                    value("--seeds")?; // The Makefile gives it always.
                }
                "--seeds" => args.seeds = number("--seeds", &value("--seeds")?)?,
                "--seed" => args.first = number("--seed", &value("--seed")?)?,
                "--hashes" => args.hashes = true,
                "--canary" => args.canary = Some(Mutant::FrameKept),
                other => match other.strip_prefix("--canary=") {
                    Some(name) => args.canary = Some(mutant(name)?),
                    None => return Err(format!("unknown argument `{other}`; {USAGE}")),
                },
            }
        }
        Ok(args)
    }
}

fn mutant(name: &str) -> Result<Mutant, String> {
    let named =
        |mutant: &Mutant| format!("{mutant:?}").eq_ignore_ascii_case(&name.replace('-', ""));
    let known = || Mutant::ALL.map(|mutant| format!("{mutant:?}")).join(", ");
    Mutant::ALL
        .into_iter()
        .find(named)
        .ok_or_else(|| format!("no fault `{name}`; there are {}", known()))
}

fn number(name: &str, text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{name} takes a whole number, not `{text}`; {USAGE}"))
}

/// Small enough to be read out, different in every run.
fn fresh_seed() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let ns = since.map_or(0, |since| since.as_nanos() as u64);
    (ns ^ (u64::from(std::process::id()) << 20)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16
}
