//! One option: its key, its type, and everything a help page says about it.

use std::fmt;

use super::ConfigValue;

/// An option of type `T`. All there are stand in [`options`](super::options).
pub struct ConfigOption<T> {
    pub(super) info: OptionInfo,
    pub(super) check: fn(&T) -> Result<(), String>,
}

/// What is the same for options of all types.
#[derive(Clone, Copy)]
pub struct OptionInfo {
    /// Flink's name where Flink has the option.
    pub key: &'static str,
    /// The value when nobody sets one, as it would be written.
    pub default: &'static str,
    /// A value that can be used.
    pub example: &'static str,
    /// What it is for, in one paragraph. `auto` is explained here.
    pub doc: &'static str,
    /// Reads and checks a value for this option, and forgets it.
    pub(super) probe: fn(&str) -> Result<(), String>,
}

impl<T: ConfigValue> ConfigOption<T> {
    /// The key.
    pub const fn key(&self) -> &'static str {
        self.info.key
    }

    /// The default, as it would be written.
    pub const fn default_text(&self) -> &'static str {
        self.info.default
    }

    /// Reads and checks a value. The error says what is wrong with it.
    pub(super) fn parse(&self, text: &str) -> Result<T, String> {
        let value = T::parse(text.trim())?;
        (self.check)(&value)?;
        Ok(value)
    }
}

impl OptionInfo {
    /// The environment variable that sets it: `WIESEL__PARALLELISM__DEFAULT`.
    pub fn variable(&self) -> String {
        format!("WIESEL__{}", self.key.replace('.', "__").replace('-', "_").to_uppercase())
    }

    /// Whether it is a flag that takes only one of the two values.
    pub(super) fn has_one_value(&self) -> bool {
        self.check("true").is_ok() != self.check("false").is_ok()
    }

    /// Whether `text` is a value for this option; the error says what is wrong with it.
    pub(super) fn check(&self, text: &str) -> Result<(), String> {
        (self.probe)(text)
    }
}

impl fmt::Debug for OptionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.key, self.default)
    }
}

impl<T> fmt::Debug for ConfigOption<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.info.fmt(f)
    }
}
