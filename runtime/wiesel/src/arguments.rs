//! The command line of a job: what it asks for, and what is wrong with it. Pure.
//!
//! ```text
//!   trending --parallelism 4 -D shard.spin=0 --explain -- posts.jsonl
//!            └───────────── the runtime's ───────────┘    └ the program's ┘
//! ```

use std::{ffi::OsString, path::PathBuf};

use lexopt::{Arg, Parser, ValueExt};
use wiesel_core::config::options;

/// What the command line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// What to do with the job.
    pub(crate) wish: Wish,
    /// The configuration file.
    pub(crate) config: Option<PathBuf>,
    /// `key=value`, in order.
    pub(crate) settings: Vec<String>,
    /// Begin without the checkpoints that are there.
    pub(crate) fresh: bool,
    /// State that no operator takes is dropped.
    pub(crate) allow_non_restored: bool,
    /// What follows `--`.
    pub(crate) program: Vec<String>,
}

/// What to do with the job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Run it.
    #[default]
    Run,
    /// Say what it would run as.
    Explain(PlanFormat),
    /// Say what can be said.
    Help,
    /// Say which version this is.
    Version,
}

/// How a plan is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlanFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// A command line that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UsageError {
    /// There is no such flag.
    #[error("unknown flag `{flag}`: {hint}")]
    UnknownFlag {
        /// As it was written.
        flag: String,
        /// What to write instead.
        hint: String,
    },
    /// Something that is no flag, before the `--`.
    #[error(
        "unexpected argument `{argument}`: the program's own arguments follow `--`, as in `-- {argument}`"
    )]
    Unexpected {
        /// As it was written.
        argument: String,
    },
    /// A flag without its value, a value that is none of those there are, or one that is not text.
    #[error("{0}; see `--help`")]
    Value(String),
    /// The filter of the log cannot be read.
    #[error("`WIESEL_LOG` is not a filter such as `info` or `wiesel_cluster=debug`: {0}")]
    LogFilter(String),
}

impl UsageError {
    /// The one of `known` that is most like `name`, if one is: what to offer to somebody who mistyped a flag, or a
    /// word after it. For programs with flags of their own, which follow `--`.
    ///
    /// ```
    /// # use wiesel::UsageError;
    /// assert_eq!(UsageError::nearest("paralelism", ["runs", "parallelism"]), Some("parallelism"));
    /// assert_eq!(UsageError::nearest("fast", ["runs", "parallelism"]), None);
    /// ```
    pub fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
        let similar = known.into_iter().map(|known| (strsim::jaro_winkler(name, known), known));
        let (similarity, nearest) = similar.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
        (similarity >= SIMILARITY_MIN).then_some(nearest)
    }
}

/// All flags, for hints.
const FLAGS: &[&str] = &[
    "--parallelism",
    "--explain",
    "--fresh",
    "--fromSavepoint",
    "--allowNonRestoredState",
    "--help",
    "--version",
    "--config",
    "-D",
];

/// How similar (Jaro-Winkler, 0 to 1) a name must be to be offered.
const SIMILARITY_MIN: f64 = 0.8;

/// Reads the arguments after the name of the program.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Arguments, UsageError> {
    let mut own: Vec<OsString> = arguments.into_iter().collect();
    let mut parsed = Arguments::default();
    if let Some(end) = own.iter().position(|argument| argument == "--") {
        let program = own.split_off(end).into_iter().skip(1);
        parsed.program = program.map(text).collect::<Result<_, _>>()?;
    }
    let mut parser = Parser::from_args(own);
    let value = |parser: &mut Parser| -> Result<String, UsageError> {
        text(parser.value().map_err(malformed)?)
    };
    while let Some(argument) = parser.next().map_err(malformed)? {
        match argument {
            Arg::Short('D') => parsed.settings.push(value(&mut parser)?),
            Arg::Long("parallelism") => {
                let parallelism = value(&mut parser)?;
                let key = options::PARALLELISM_DEFAULT.key();
                parsed.settings.push(format!("{key}={parallelism}"));
            }
            Arg::Long("config") => {
                parsed.config = Some(parser.value().map_err(malformed)?.into());
            }
            Arg::Long("explain") => {
                parsed.wish = Wish::Explain(match parser.optional_value() {
                    None => PlanFormat::Text,
                    Some(format) => plan_format(text(format)?)?,
                });
            }
            Arg::Long("fromSavepoint") | Arg::Short('s') => {
                let path = value(&mut parser)?;
                let key = options::STATE_RECOVERY_PATH.key();
                parsed.settings.push(format!("{key}={path}"));
            }
            Arg::Long("fresh") => parsed.fresh = true,
            Arg::Long("allowNonRestoredState") | Arg::Short('n') => {
                parsed.allow_non_restored = true;
            }
            Arg::Long("help") | Arg::Short('h') => parsed.wish = Wish::Help,
            Arg::Long("version") | Arg::Short('V') => parsed.wish = Wish::Version,
            Arg::Long(name) => return Err(unknown(format!("--{name}"))),
            Arg::Short(name) => return Err(unknown(format!("-{name}"))),
            Arg::Value(value) => {
                return Err(UsageError::Unexpected { argument: text(value)? });
            }
        }
        if matches!(parsed.wish, Wish::Help | Wish::Version) {
            return Ok(parsed); // Whatever else is wrong: who asks for help gets it.
        }
    }
    Ok(parsed)
}

fn plan_format(format: String) -> Result<PlanFormat, UsageError> {
    match format.as_str() {
        "text" => Ok(PlanFormat::Text),
        "json" => Ok(PlanFormat::Json),
        _ => Err(UsageError::Value(format!("`--explain={format}` is neither `text` nor `json`"))),
    }
}

fn unknown(flag: String) -> UsageError {
    let hint = match UsageError::nearest(&flag, FLAGS.iter().copied()) {
        Some(known) => format!("did you mean `{known}`?"),
        None => "see `--help`; the program's own flags follow `--`".to_owned(),
    };
    UsageError::UnknownFlag { flag, hint }
}

fn text(value: OsString) -> Result<String, UsageError> {
    value.string().map_err(malformed)
}

fn malformed(error: lexopt::Error) -> UsageError {
    UsageError::Value(error.to_string().replace('\'', "`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The arguments, as `Debug` shows what is not the default, or the error.
    #[track_caller]
    fn check(line: &str, expected: &str) {
        let words = line.split_whitespace().map(OsString::from);
        let found = match parse(words) {
            Err(error) => error.to_string(),
            Ok(Arguments { wish, config, settings, fresh, allow_non_restored, program }) => {
                let config = config.map_or(String::new(), |path| format!(" {}", path.display()));
                let fresh = if fresh { " fresh" } else { "" };
                let drop = if allow_non_restored { " drop" } else { "" };
                let (settings, program) = (settings.join(" "), program.join(" "));
                format!("{wish:?}{config}{fresh}{drop} [{settings}] [{program}]")
            }
        };
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn flags_are_the_runtimes_and_what_follows_two_hyphens_is_the_programs() {
        check("", "Run [] []");
        check("--parallelism 4", "Run [parallelism.default=4] []");
        check("--parallelism=4 -D a=b -Dc=d", "Run [parallelism.default=4 a=b c=d] []");
        check("--config x.toml -- --config y -D z", "Run x.toml [] [--config y -D z]");
        check("-- -- x", "Run [] [-- x]");
        check("--explain", "Explain(Text) [] []");
        check("--explain=json -- posts", "Explain(Json) [] [posts]");
        check("--help --nonsense", "Help [] []");
        check("-h", "Help [] []");
        check("--version", "Version [] []");
        check("--fresh -n", "Run fresh drop [] []");
        check("-s there", "Run [execution.state-recovery.path=there] []");
        check("--fromSavepoint=a/b -n", "Run drop [execution.state-recovery.path=a/b] []");
        check("--allowNonRestoredState", "Run drop [] []");
    }

    #[test]
    fn a_wrong_line_says_what_to_write() {
        check("--paralelism 4", "unknown flag `--paralelism`: did you mean `--parallelism`?");
        check("--demo", "unknown flag `--demo`: see `--help`; the program's own flags follow `--`");
        check("-x", "unknown flag `-x`: see `--help`; the program's own flags follow `--`");
        check(
            "posts.jsonl",
            "unexpected argument `posts.jsonl`: the program's own arguments follow `--`, as in `-- posts.jsonl`",
        );
        check("--parallelism", "missing argument for option `--parallelism`; see `--help`");
        check("--explain=yaml", "`--explain=yaml` is neither `text` nor `json`; see `--help`");
        check("--help=me", "Help [] []");
    }
}
