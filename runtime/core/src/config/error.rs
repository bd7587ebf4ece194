//! What can be wrong with a configuration: where it stands, and what to write instead.

use std::{error, fmt};

use super::{OptionInfo, Origin, flink, options};

/// A configuration that cannot be used. The process ends with code 2.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no such option.
    UnknownKey {
        /// As it was written.
        key: String,
        /// Where it stands.
        origin: Origin,
        /// The option with the most similar name, if one is similar.
        nearest: Option<String>,
    },
    /// There is no such option here, but in Flink.
    KeyOfFlink {
        /// As it was written.
        key: String,
        /// Where it stands.
        origin: Origin,
        /// What to do about it.
        answer: &'static str,
    },
    /// The value cannot be used.
    Value {
        /// The option.
        key: &'static str,
        /// As it was written.
        value: String,
        /// What is wrong with it.
        wrong: String,
        /// One that can be used, unless that is plain: there is only one.
        example: Option<String>,
        /// Where it stands.
        origin: Origin,
    },
    /// One layer sets an option more than once.
    Twice {
        /// The option.
        key: &'static str,
        /// Where it stands the second time.
        origin: Origin,
    },
    /// The file is not TOML.
    Syntax {
        /// Its name.
        file: String,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What the parser says.
        message: String,
    },
    /// `-D` without `key=value`.
    Argument {
        /// What stands after `-D`.
        text: String,
    },
}

/// How similar (Jaro-Winkler, 0 to 1) a key must be to be offered. Words of unrelated keys reach about 0.7.
const SIMILARITY_MIN: f64 = 0.8;

impl ConfigError {
    /// `key` is unknown; `spelled` says how the nearest option is written at this place.
    pub(super) fn unknown(
        key: &str,
        origin: Origin,
        spelled: impl Fn(&OptionInfo) -> String,
    ) -> Self {
        if let Some(answer) = flink::answer(key) {
            return Self::KeyOfFlink { key: key.to_owned(), origin, answer };
        }
        let all = options::describe_all().into_iter();
        let nearest = nearest(
            &options::normal_form(key),
            all.map(|info| (options::normal_form(info.key), info)),
        );
        Self::UnknownKey {
            key: key.to_owned(),
            origin,
            nearest: nearest.map(|info| spelled(&info)),
        }
    }
}

/// What belongs to the most similar name, if one is similar.
pub(super) fn nearest<T>(wanted: &str, names: impl Iterator<Item = (String, T)>) -> Option<T> {
    names
        .map(|(name, of)| (strsim::jaro_winkler(wanted, &name), of))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .map(|(_, of)| of)
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { key, origin, nearest: Some(nearest) } => {
                write!(f, "unknown key `{key}` (from {origin}): did you mean `{nearest}`?")
            }
            Self::UnknownKey { key, origin, nearest: None } => {
                write!(f, "unknown key `{key}` (from {origin}): no option has a similar name")
            }
            Self::KeyOfFlink { key, origin, answer } => {
                write!(f, "`{key}` (from {origin}) is an option of Flink, and none here: {answer}")
            }
            Self::Value { key, value, wrong, example, origin } => {
                write!(f, "`{key}` is `{value}` (from {origin}): {wrong}")?;
                match example {
                    Some(example) => write!(f, ", for example `{example}`"),
                    None => Ok(()),
                }
            }
            Self::Twice { key, origin } => {
                write!(f, "`{key}` is set twice (again by {origin}): remove one of them")
            }
            Self::Syntax { file, line, column, message } => {
                write!(f, "{file} is not TOML (line {line}, column {column}): {message}")
            }
            Self::Argument { text } => {
                write!(f, "`-D {text}` has no value: write `-D key=value`")
            }
        }
    }
}

impl error::Error for ConfigError {}
