//! Options: what can be set, who set it, and what is wrong with it.
//!
//! ```text
//!   default  <  file  <  environment  <  program  <  -D key=value
//!      │         │            │             │             │
//!      │    TOML, dotted   WIESEL__A__B   set(&A_B, v)    set_argument("a.b=v")
//!      ▼         ▼            ▼             ▼             ▼
//!   ConfigOption<T>: key, default, example, doc, check   (the registry: `options`)
//!                              │
//!                     get(&A_B) -> T      origin("a.b") -> who set it
//! ```
//!
//! Parsing is pure. Whoever has the file system and the environment passes their text in.
//!
//! # What is always true
//!
//! 1. A value is checked when it is set, so `get` cannot fail.
//! 2. The order of the calls does not matter, the order of the layers does: a program cannot override `-D`.
//! 3. A key that nobody knows is an error wherever it stands, with the nearest one that exists, or what to do about one of
//!    Flink's.

mod choice;
mod error;
mod flink;
mod layers;
mod option;
pub mod options;
mod value;

use std::{collections::BTreeMap, fmt};

pub use choice::{
    CheckpointRetention, CheckpointingMode, FailoverStrategy, RecoveryClaimMode,
    RestartStrategyType,
};
pub use error::ConfigError;
pub use layers::misspelled_variable;
pub use option::{ConfigOption, OptionInfo};
pub use value::{ConfigValue, Folders, MemorySize};

/// Who set a value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody.
    Default,
    /// A line of a configuration file.
    File {
        /// Its name.
        name: String,
        /// From 1.
        line: usize,
    },
    /// An environment variable, by name.
    Environment(String),
    /// The program, through the API.
    Program,
    /// `-D key=value`.
    CommandLine,
    /// A flag of the command line that is short for `-D`: `--parallelism`.
    Flag(&'static str),
}

/// The values of all options.
///
/// ```
/// use wiesel_core::config::{Configuration, Origin, options};
///
/// let mut config = Configuration::new();
/// config.load_toml("config.toml", "parallelism.default = 4\nshard.quantum = '25 us'")?;
/// config.load_environment([("WIESEL__PARALLELISM__DEFAULT", "8"), ("HOME", "/")])?;
/// config.set_argument("taskmanager.numberOfTaskSlots=2")?;
/// assert_eq!(config.get(&options::PARALLELISM_DEFAULT), Some(8));
/// assert_eq!(config.get(&options::SHARD_QUANTUM).as_micros(), 25);
/// let origin = Origin::File { name: "config.toml".into(), line: 2 };
/// assert_eq!(config.origin("shard.quantum"), Some(origin));
///
/// let error = config.set_argument("paralelism.default=4").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "unknown key `paralelism.default` (from -D on the command line): did you mean `parallelism.default`?"
/// );
/// # Ok::<(), wiesel_core::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    /// Lowest layer first; `Origin::Default` has none.
    layers: [BTreeMap<&'static str, Value>; LAYER_COUNT],
}

#[derive(Clone, Debug)]
struct Value {
    /// As it was written. It has passed the check of its option.
    text: String,
    origin: Origin,
}

const LAYER_COUNT: usize = 4;

impl Configuration {
    /// Nothing is set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of an option.
    pub fn get<T: ConfigValue>(&self, option: &ConfigOption<T>) -> T {
        let text = self.value(option.key()).map_or(option.default_text(), |value| &value.text);
        option.parse(text).expect("values were checked when they were set, defaults in a test")
    }

    /// Who set the value of `key`; `None` if there is no such option.
    pub fn origin(&self, key: &str) -> Option<Origin> {
        let info = options::find(key)?;
        Some(self.value(info.key).map_or(Origin::Default, |value| value.origin.clone()))
    }

    /// All options with the text of their value and its origin, in order of the registry.
    pub fn effective(&self) -> impl Iterator<Item = (OptionInfo, &str, Origin)> {
        options::describe_all().into_iter().map(|info| match self.value(info.key) {
            Some(value) => (info, value.text.as_str(), value.origin.clone()),
            None => (info, info.default, Origin::Default),
        })
    }

    /// Sets an option in the layer of the program.
    ///
    /// # Errors
    ///
    /// If the value is out of bounds.
    pub fn set<T: ConfigValue>(
        &mut self,
        option: &ConfigOption<T>,
        value: T,
    ) -> Result<(), ConfigError> {
        self.put(option.key(), value.show(), Origin::Program)
    }

    /// Sets an option by its key in the layer of the program.
    ///
    /// # Errors
    ///
    /// If there is no such key, or the value cannot be read or is out of bounds.
    pub fn set_text(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        self.put(key, value.to_owned(), Origin::Program)
    }

    /// What single options cannot know.
    ///
    /// # Errors
    ///
    /// If two values contradict each other.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let record = self.get(&options::RECORD_BYTES_MAX);
        let overdraft = &options::MAX_OVERDRAFT_SIZE;
        if self.get(overdraft) < record {
            return Err(ConfigError::Value {
                key: overdraft.key(),
                value: self.get(overdraft).show(),
                wrong: format!("must hold one record of `{}`", options::RECORD_BYTES_MAX.key()),
                example: Some(record.show()),
                origin: self.origin(overdraft.key()).unwrap_or(Origin::Default),
            });
        }
        Ok(())
    }

    /// The value of the highest layer that has one.
    fn value(&self, key: &str) -> Option<&Value> {
        self.layers.iter().rev().find_map(|layer| layer.get(key))
    }

    /// The only way in: the key exists and the value passes its check.
    fn put(&mut self, key: &str, text: String, origin: Origin) -> Result<(), ConfigError> {
        let info = options::find(key)
            .ok_or_else(|| ConfigError::unknown(key, origin.clone(), |info| info.key.to_owned()))?;
        info.check(&text).map_err(|wrong| ConfigError::Value {
            key: info.key,
            value: text.clone(),
            wrong,
            example: (!info.has_one_value()).then(|| info.example.to_owned()),
            origin: origin.clone(),
        })?;
        if let Some(layer) = origin.layer() {
            self.layers[layer].insert(info.key, Value { text, origin });
        }
        Ok(())
    }
}

impl Origin {
    /// The position in the order of layers; the default is below all.
    fn layer(&self) -> Option<usize> {
        match self {
            Self::Default => None,
            Self::File { .. } => Some(0),
            Self::Environment(_) => Some(1),
            Self::Program => Some(2),
            Self::CommandLine | Self::Flag(_) => Some(LAYER_COUNT - 1),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File { name, line } => write!(f, "the file {name}, line {line}"),
            Self::Environment(name) => write!(f, "the environment variable {name}"),
            Self::Program => f.write_str("the program"),
            Self::CommandLine => f.write_str("-D on the command line"),
            Self::Flag(flag) => write!(f, "{flag} on the command line"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_layer_wins_in_whatever_order_they_come() {
        let mut config = Configuration::new();
        let mut seen = Vec::new();
        let mut look = |config: &Configuration| {
            let value = config.get(&options::NETWORK_BUFFERS_PER_CHANNEL);
            let origin = config.origin("taskmanager.network.memory.buffers-per-channel").unwrap();
            seen.push(format!("{value} from {origin}"));
        };
        look(&config);
        config.load_toml("a.toml", "taskmanager.network.memory.buffers-per-channel = 5").unwrap();
        look(&config);
        config.set(&options::NETWORK_BUFFERS_PER_CHANNEL, 6).unwrap();
        look(&config);
        let variable = "WIESEL__TASKMANAGER__NETWORK__MEMORY__BUFFERS_PER_CHANNEL";
        config.load_environment([(variable, "7")]).unwrap();
        look(&config);
        config.set_argument("taskmanager.network.memory.buffers-per-channel=8").unwrap();
        config.set(&options::NETWORK_BUFFERS_PER_CHANNEL, 9).unwrap();
        look(&config);
        assert_eq!(
            seen,
            [
                "4 from the default",
                "5 from the file a.toml, line 1",
                "6 from the program",
                "6 from the program",
                "8 from -D on the command line",
            ]
        );
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        let mut config = Configuration::new();
        assert!(config.validate().is_ok());
        config.set_text("taskmanager.network.memory.max-overdraft-size", "8 mb").unwrap();
        assert_eq!(
            config.validate().unwrap_err().to_string(),
            "`taskmanager.network.memory.max-overdraft-size` is `8 mb` (from the program): must hold one \
             record of `taskmanager.network.record-bytes-max`, for example `16 mb`"
        );
    }

    #[test]
    fn the_effective_values_name_their_origin() {
        let mut config = Configuration::new();
        config.set_argument("shard.spin = 10us").unwrap();
        let set = config.effective().filter(|(_, _, origin)| *origin != Origin::Default);
        let set: Vec<_> =
            set.map(|(info, text, origin)| format!("{} {text} {origin}", info.key)).collect();
        assert_eq!(set, ["shard.spin 10us -D on the command line"]);
        assert_eq!(config.effective().count(), options::describe_all().len());
        assert_eq!(config.origin("no.such.key"), None);
    }
}
