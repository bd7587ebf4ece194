//! The command line.

use lexopt::{Arg, Parser, ValueExt};

const HELP: &str = "\
wiesel-bench WORKLOAD [OPTIONS]

Workloads:
  chain               3 filters, a projected string, a flat_map that splits it, 2 maps, over archived frames

Options:
  --compare bare      measure against the same loop written by hand (the only peer today, and the default)
  --runs K            alternating pairs (default 15, at least 3)
  --events N          records in a run (default 2000000)
  --output json|table (default table)
  --quick             one small pair, for tests: the result is checked, the figures mean nothing
  --help
";

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// One object.
    Json,
    /// For people.
    Table,
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Args {
    /// Alternating pairs.
    pub runs: usize,
    /// Records in a run.
    pub events: usize,
    /// How to print.
    pub output: Output,
    /// A smoke run.
    pub quick: bool,
}

impl Args {
    /// Reads the command line; none if help was asked for and printed.
    pub fn parse(mut parser: Parser) -> Result<Option<Self>, lexopt::Error> {
        let mut args = Self { runs: 15, events: 2_000_000, output: Output::Table, quick: false };
        let mut workload = None;
        while let Some(arg) = parser.next()? {
            match arg {
                Arg::Long("help") | Arg::Short('h') => {
                    print!("{HELP}");
                    return Ok(None);
                }
                Arg::Long("runs") => args.runs = parser.value()?.parse()?,
                Arg::Long("events") => args.events = parser.value()?.parse()?,
                Arg::Long("quick") => args.quick = true,
                Arg::Long("compare") => {
                    let peer = parser.value()?.string()?;
                    if peer != "bare" {
                        return Err(format!("`{peer}` cannot be compared yet: use bare").into());
                    }
                }
                Arg::Long("output") => {
                    args.output = match parser.value()?.string()?.as_str() {
                        "json" => Output::Json,
                        "table" => Output::Table,
                        other => return Err(format!("`{other}` is not json or table").into()),
                    }
                }
                Arg::Value(value) if workload.is_none() => workload = Some(value.string()?),
                other => return Err(other.unexpected()),
            }
        }
        match workload.as_deref() {
            Some("chain") => {}
            Some(other) => {
                return Err(format!("`{other}` is not a workload: there is `chain`").into());
            }
            None => return Err("which workload? there is `chain`".into()),
        }
        if args.quick {
            (args.runs, args.events) = (3, 20_000);
        }
        if args.runs < 3 || args.events == 0 {
            return Err("--runs must be at least 3 and --events at least 1".into());
        }
        Ok(Some(args))
    }
}
