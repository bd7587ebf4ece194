//! How values are written: whole numbers, booleans, durations and sizes, with Flink's units.

use std::{fmt, path::PathBuf, time::Duration};

use crate::RuntimeExecutionMode;

/// A type that an option can have.
pub trait ConfigValue: Sized + 'static {
    /// Reads a value; the error says what one looks like.
    fn parse(text: &str) -> Result<Self, String>;

    /// The value as it would be written: `parse(&value.show())` is `value`.
    fn show(&self) -> String;
}

/// A number of bytes. Written `512 mb`; units are powers of 1,024, as in Flink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemorySize(u64);

impl MemorySize {
    /// From a number of bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// From a number of KiB.
    pub const fn from_kb(kb: u64) -> Self {
        Self(kb << 10)
    }

    /// From a number of MiB.
    pub const fn from_mb(mb: u64) -> Self {
        Self(mb << 20)
    }

    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show())
    }
}

/// Some folders, at least one. Written with commas between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folders(Vec<PathBuf>);

impl Folders {
    /// The folder for subtask `subtask`: they take turns.
    pub fn of_subtask(&self, subtask: usize) -> PathBuf {
        self.0[subtask % self.0.len()].clone()
    }
}

/// One folder.
impl From<PathBuf> for Folders {
    fn from(folder: PathBuf) -> Self {
        Self(vec![folder])
    }
}

/// A unit: how many of the smallest one it is, and its spellings, the one we write first.
type Unit = (u64, &'static [&'static str]);

/// Smallest first. Flink's spellings.
const DURATION_UNITS: &[Unit] = &[
    (1, &["ns", "nano", "nanosecond", "nanoseconds"]),
    (1_000, &["us", "µs", "micro", "microsecond", "microseconds"]),
    (1_000_000, &["ms", "milli", "millisecond", "milliseconds"]),
    (1_000_000_000, &["s", "sec", "second", "seconds"]),
    (60_000_000_000, &["min", "m", "minute", "minutes"]),
    (3_600_000_000_000, &["h", "hour", "hours"]),
    (86_400_000_000_000, &["d", "day", "days"]),
];

const SIZE_UNITS: &[Unit] = &[
    (1, &["b", "bytes"]),
    (1 << 10, &["kb", "k", "kibibytes"]),
    (1 << 20, &["mb", "m", "mebibytes"]),
    (1 << 30, &["gb", "g", "gibibytes"]),
    (1 << 40, &["tb", "t", "tebibytes"]),
];

/// A number and its unit in the smallest one; `None` if it is not that, or too large.
fn scaled(text: &str, units: &[Unit], without_unit: u64) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = (text[..digits].parse::<u64>().ok()?, text[digits..].trim());
    let unit = unit.to_lowercase();
    let factor = match units.iter().find(|(_, names)| names.contains(&unit.as_str())) {
        Some((factor, _)) => *factor,
        None if unit.is_empty() => without_unit,
        None => return None,
    };
    number.checked_mul(factor)
}

/// In the largest unit that leaves a whole number.
fn unscaled(count: u64, units: &[Unit]) -> String {
    let fits = |unit: &&Unit| count != 0 && count.is_multiple_of(unit.0);
    let (factor, names) = units.iter().rev().find(fits).unwrap_or(&units[0]);
    format!("{} {}", count / factor, names[0])
}

impl ConfigValue for Duration {
    fn parse(text: &str) -> Result<Self, String> {
        // A bare number is milliseconds, as in Flink.
        let nanos = scaled(text, DURATION_UNITS, 1_000_000);
        nanos.map(Self::from_nanos).ok_or_else(|| {
            "must be a whole number with a unit (ns, us, ms, s, min, h, d)".to_owned()
        })
    }

    fn show(&self) -> String {
        unscaled(u64::try_from(self.as_nanos()).unwrap_or(u64::MAX), DURATION_UNITS)
    }
}

impl ConfigValue for MemorySize {
    fn parse(text: &str) -> Result<Self, String> {
        let bytes = scaled(text, SIZE_UNITS, 1);
        bytes
            .map(Self)
            .ok_or_else(|| "must be a whole number with a unit (b, kb, mb, gb, tb)".to_owned())
    }

    fn show(&self) -> String {
        unscaled(self.0, SIZE_UNITS)
    }
}

impl ConfigValue for u32 {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "must be a whole number".to_owned())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// A factor: not negative, finite.
impl ConfigValue for f64 {
    fn parse(text: &str) -> Result<Self, String> {
        let parsed = text.parse().ok().filter(|value: &Self| value.is_finite() && *value >= 0.0);
        parsed.ok_or_else(|| "must be a number such as 1.5".to_owned())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// Any text but none.
impl ConfigValue for String {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(text.to_owned()) }
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl ConfigValue for bool {
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("must be `true` or `false`".to_owned()),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl ConfigValue for RuntimeExecutionMode {
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_lowercase().as_str() {
            "streaming" => Ok(Self::Streaming),
            "batch" => Ok(Self::Batch),
            "automatic" => Ok(Self::Automatic),
            _ => Err("must be `streaming`, `batch` or `automatic`".to_owned()),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl ConfigValue for Folders {
    fn parse(text: &str) -> Result<Self, String> {
        let folders: Vec<PathBuf> = text.split(',').map(|part| part.trim().into()).collect();
        match folders.iter().any(|folder| folder.as_os_str().is_empty()) {
            true => Err("must be a folder, or several with commas between them".to_owned()),
            false => Ok(Self(folders)),
        }
    }

    fn show(&self) -> String {
        let folders: Vec<_> = self.0.iter().map(|folder| folder.display().to_string()).collect();
        folders.join(",")
    }
}

/// `None` is written `auto`: the option's documentation says what is then chosen.
impl<T: ConfigValue> ConfigValue for Option<T> {
    fn parse(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("auto") {
            return Ok(None);
        }
        T::parse(text).map(Some).map_err(|wrong| match wrong.rsplit_once("` or `") {
            Some((words, last)) => format!("{words}`, `{last} or `auto`"),
            None => format!("{wrong} or `auto`"),
        })
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "auto".to_owned(), T::show)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each text as a value, written again; what cannot be read is `-`.
    #[track_caller]
    fn check<T: ConfigValue>(texts: &[&str], expected: &[&str]) {
        let written = texts.iter().map(|text| T::parse(text).map_or("-".into(), |v| v.show()));
        assert_eq!(written.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn durations_take_flinks_units() {
        check::<Duration>(
            &["10 s", "200 ms", "1min", "60 sec", "50 µs", "1500 us", "7", "0", "2 Days"],
            &["10 s", "200 ms", "1 min", "1 min", "50 us", "1500 us", "7 ms", "0 ns", "2 d"],
        );
        check::<Duration>(&["", "s", "-1 s", "1.5 s", "1 s 2", "999999999999 d"], &["-"; 6]);
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        check::<MemorySize>(
            &["32 kb", "512mb", "1024 M", "77", "0", "1 Tb"],
            &["32 kb", "512 mb", "1 gb", "77 b", "0 b", "1 tb"],
        );
        check::<MemorySize>(&["kb", "1 pb", "-1", "99999999 tb"], &["-"; 4]);
        assert_eq!(MemorySize::parse("32 kb").unwrap().bytes(), 32_768);
    }

    #[test]
    fn numbers_and_flags() {
        check::<u32>(
            &["0", "4294967295", "4294967296", "-1", "1e3"],
            &["0", "4294967295", "-", "-", "-"],
        );
        check::<f64>(
            &["1.5", "2", "0", "-1", "NaN", "inf", "x"],
            &["1.5", "2", "0", "-", "-", "-", "-"],
        );
        check::<Option<String>>(&["auto", "a/b", ""], &["auto", "a/b", "-"]);
        check::<RuntimeExecutionMode>(
            &["streaming", "BATCH", "Automatic", "bounded"],
            &["streaming", "batch", "automatic", "-"],
        );
        check::<Option<Folders>>(
            &["auto", "/tmp", "/a, /b", "", "/a,,/b"],
            &["auto", "/tmp", "/a,/b", "-", "-"],
        );
        check::<bool>(&["true", "FALSE", "yes"], &["true", "false", "-"]);
        check::<Option<u32>>(&["auto", "Auto", "3", "three"], &["auto", "auto", "3", "-"]);
    }
}
