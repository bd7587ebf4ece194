//! The command line of a job: what it asks for, and what is wrong with it. Pure.
//!
//! ```text
//!   trending --parallelism 4 -D shard.spin=0 --explain -- posts.jsonl
//!            └───────────── the runtime's ───────────┘    └ the program's ┘
//!   trending stop -p savepoints --drain -- posts.jsonl         asks the one that runs
//! ```

use std::{ffi::OsString, path::PathBuf};

use lexopt::{Arg, Parser, ValueExt};
use wiesel_core::config::options;
use wiesel_rpc::control::Ask;

/// What the command line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// What to do with the job.
    pub(crate) wish: Wish,
    /// The configuration file.
    pub(crate) config: Option<PathBuf>,
    /// What sets options, in order.
    pub(crate) settings: Vec<Setting>,
    /// Begin without the checkpoints that are there.
    pub(crate) fresh: bool,
    /// State that no operator takes is dropped.
    pub(crate) allow_non_restored: bool,
    /// What follows `--`.
    pub(crate) program: Vec<String>,
}

/// What sets an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    /// `-D key=value`.
    Argument(String),
    /// A flag that is short for that.
    Flag {
        /// As it is written.
        flag: &'static str,
        /// The option.
        key: &'static str,
        /// Its value.
        value: String,
    },
}

/// What to do with the job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Run it.
    #[default]
    Run,
    /// Say what it would run as.
    Explain(PlanFormat),
    /// Ask the job that runs already.
    Ask(Ask),
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
    /// There is no such flag, or command.
    #[error("unknown {what} `{flag}`: {hint}", what = if .flag.starts_with('-') { "flag" } else { "command" })]
    UnknownFlag {
        /// As it was written.
        flag: String,
        /// What to write instead.
        hint: String,
    },
    /// Something that is no flag and no command, before the `--`.
    #[error(
        "unexpected argument `{argument}`: the program's own arguments follow `--`, as in `-- {argument}`"
    )]
    Unexpected {
        /// As it was written.
        argument: String,
    },
    /// More arguments of the program than it has.
    #[error("unexpected argument `{argument}`: the program takes {}", at_most(*.max))]
    Surplus {
        /// The first of them.
        argument: String,
        /// How many it takes.
        max: usize,
    },
    /// A flag of one command, or of none, with another.
    #[error("`{flag}` is a flag of {of}; see `--help`")]
    Misplaced {
        /// As it was written.
        flag: String,
        /// What it belongs to.
        of: &'static str,
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
    "--savepointPath",
    "--drain",
];

/// All commands, for hints.
const COMMANDS: &[&str] = &["status", "savepoint", "stop", "cancel"];

/// How similar (Jaro-Winkler, 0 to 1) a name must be to be offered.
const SIMILARITY_MIN: f64 = 0.8;

/// Reads the arguments after the name of the program.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Arguments, UsageError> {
    let mut own: Vec<OsString> = arguments.into_iter().collect();
    let (mut parsed, mut explains, mut from_savepoint) = (Arguments::default(), false, false);
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
            Arg::Short('D') => parsed.settings.push(Setting::Argument(value(&mut parser)?)),
            Arg::Long("parallelism") => parsed.settings.push(Setting::Flag {
                flag: "--parallelism",
                key: options::PARALLELISM_DEFAULT.key(),
                value: value(&mut parser)?,
            }),
            Arg::Long("config") => {
                parsed.config = Some(parser.value().map_err(malformed)?.into());
            }
            Arg::Long("explain") => {
                let format = match parser.optional_value() {
                    None => PlanFormat::Text,
                    Some(format) => plan_format(text(format)?)?,
                };
                match parsed.wish {
                    Wish::Ask(_) => explains = true,
                    _ => parsed.wish = Wish::Explain(format),
                }
            }
            Arg::Long("fromSavepoint") | Arg::Short('s') => {
                parsed.settings.push(Setting::Flag {
                    flag: "--fromSavepoint",
                    key: options::STATE_RECOVERY_PATH.key(),
                    value: value(&mut parser)?,
                });
                from_savepoint = true;
            }
            Arg::Long("fresh") => parsed.fresh = true,
            Arg::Long("allowNonRestoredState") | Arg::Short('n') => {
                parsed.allow_non_restored = true;
            }
            Arg::Long("help") | Arg::Short('h') => parsed.wish = Wish::Help,
            Arg::Long("version") | Arg::Short('V') => parsed.wish = Wish::Version,
            Arg::Long("savepointPath") | Arg::Short('p') => {
                let given = value(&mut parser)?;
                match &mut parsed.wish {
                    Wish::Ask(Ask::Stop { folder, .. }) => *folder = Some(absolute(&given)?),
                    _ => return Err(misplaced("--savepointPath")),
                }
            }
            Arg::Long("drain") | Arg::Short('d') => match &mut parsed.wish {
                Wish::Ask(Ask::Stop { drain, .. }) => *drain = true,
                _ => return Err(misplaced("--drain")),
            },
            Arg::Long(name) => return Err(unknown(format!("--{name}"))),
            Arg::Short(name) => return Err(unknown(format!("-{name}"))),
            Arg::Value(value) => {
                let argument = text(value)?;
                match &mut parsed.wish {
                    Wish::Run => parsed.wish = Wish::Ask(command(argument)?),
                    Wish::Ask(Ask::Savepoint { folder: folder @ None }) => {
                        *folder = Some(absolute(&argument)?);
                    }
                    _ => return Err(UsageError::Unexpected { argument }),
                }
            }
        }
        if matches!(parsed.wish, Wish::Help | Wish::Version) {
            return Ok(parsed); // Whatever else is wrong: who asks for help gets it.
        }
    }
    let starts = [
        (explains, "--explain"),
        (parsed.fresh, "--fresh"),
        (parsed.allow_non_restored, "--allowNonRestoredState"),
        (from_savepoint, "--fromSavepoint"),
    ];
    if let (Wish::Ask(_), Some((_, flag))) =
        (&parsed.wish, starts.iter().find(|(is_set, _)| *is_set))
    {
        let of = "a job that is started, not of a command to one that runs";
        return Err(UsageError::Misplaced { flag: (*flag).to_owned(), of });
    }
    Ok(parsed)
}

/// A command by its name.
fn command(name: String) -> Result<Ask, UsageError> {
    match name.as_str() {
        "status" => Ok(Ask::Status),
        "savepoint" => Ok(Ask::Savepoint { folder: None }),
        "stop" => Ok(Ask::Stop { folder: None, drain: false }),
        "cancel" => Ok(Ask::Cancel),
        _ => Err(match UsageError::nearest(&name, COMMANDS.iter().copied()) {
            Some(known) => {
                let hint = format!("did you mean `{known}`?");
                UsageError::UnknownFlag { flag: name, hint }
            }
            None => UsageError::Unexpected { argument: name },
        }),
    }
}

/// So many arguments, in words.
fn at_most(max: usize) -> String {
    match max {
        0 => "no arguments of its own".to_owned(),
        1 => "at most 1 argument".to_owned(),
        max => format!("at most {max} arguments"),
    }
}

fn misplaced(flag: &str) -> UsageError {
    UsageError::Misplaced { flag: flag.to_owned(), of: "the command `stop`, and follows it" }
}

/// A folder as the job has to know it, which may run elsewhere.
fn absolute(folder: &str) -> Result<String, UsageError> {
    let unusable = |cause: &str| UsageError::Value(format!("`{folder}` is no folder: {cause}"));
    let path = std::path::absolute(folder).map_err(|error| unusable(&error.to_string()))?;
    path.to_str().map(str::to_owned).ok_or_else(|| unusable("it is in one whose name is no text"))
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
                let settings = settings.into_iter().map(|setting| match setting {
                    Setting::Argument(text) => text,
                    Setting::Flag { key, value, .. } => format!("{key}={value}"),
                });
                let (settings, program) = (Vec::from_iter(settings).join(" "), program.join(" "));
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
    fn a_command_asks_the_job_that_runs() {
        check("status", "Ask(Status) [] []");
        check("cancel -- status", "Ask(Cancel) [] [status]");
        check("-D a=b savepoint", "Ask(Savepoint { folder: None }) [a=b] []");
        check("savepoint /x", r#"Ask(Savepoint { folder: Some("/x") }) [] []"#);
        check("stop", "Ask(Stop { folder: None, drain: false }) [] []");
        check("stop --drain -p /x", r#"Ask(Stop { folder: Some("/x"), drain: true }) [] []"#);
        check("stop --savepointPath=/x", r#"Ask(Stop { folder: Some("/x"), drain: false }) [] []"#);
        let parsed = parse(["savepoint", "here"].map(OsString::from)).expect("a command");
        let Wish::Ask(Ask::Savepoint { folder: Some(folder) }) = parsed.wish else {
            panic!("{parsed:?}")
        };
        assert!(folder.starts_with('/') && folder.ends_with("/here"), "{folder}");
        check("statu", "unknown command `statu`: did you mean `status`?");
        check(
            "savepoint /x /y",
            "unexpected argument `/y`: the program's own arguments follow `--`, as in `-- /y`",
        );
        let stops = "is a flag of the command `stop`, and follows it; see `--help`";
        check("--drain", &format!("`--drain` {stops}"));
        check("savepoint -p x", &format!("`--savepointPath` {stops}"));
        let starts = "is a flag of a job that is started, not of a command to one that runs";
        check("status --fresh", &format!("`--fresh` {starts}; see `--help`"));
        check("cancel --explain", &format!("`--explain` {starts}; see `--help`"));
        check(
            "--explain cancel",
            "unexpected argument `cancel`: the program's own arguments follow `--`, as in `-- cancel`",
        );
        check("-s x cancel", &format!("`--fromSavepoint` {starts}; see `--help`"));
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
