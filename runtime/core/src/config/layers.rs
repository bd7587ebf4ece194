//! From the text of a file, of environment variables and of arguments to layers of a [`Configuration`].
//!
//! | written                                                   | read as                              |
//! |-----------------------------------------------------------|--------------------------------------|
//! | `parallelism.default = 4` or `[parallelism]`, `default = 4` | `parallelism.default`                |
//! | `WIESEL__PIPELINE__MAX_PARALLELISM=64`                    | `pipeline.max-parallelism`           |
//! | `WIESEL__TASKMANAGER__NUMBEROFTASKSLOTS=2`, also `NUMBER_OF_…` | `taskmanager.numberOfTaskSlots` |
//! | `-D shard.spin=0`                                         | `shard.spin`                         |

use std::collections::{BTreeMap, BTreeSet};

use toml::{
    Table, Value,
    de::{DeTable, DeValue},
};

use super::{ConfigError, Configuration, Origin, error::nearest, options};

/// How a variable that is an option begins. Others (`WIESEL_CONF_DIR`) are none of our business here.
const VARIABLE_PREFIX: &str = "WIESEL__";

/// The variable that was perhaps meant by one that begins with a single underscore and is none of `known`: the one of an option,
/// or a known one. `None` in the inside: none is similar.
///
/// ```
/// use wiesel_core::config::misspelled_variable;
///
/// let known = ["WIESEL_LOG"];
/// let nearest = misspelled_variable("WIESEL_PARALLELISM_DEFAULT", &known);
/// assert_eq!(nearest, Some(Some("WIESEL__PARALLELISM__DEFAULT".to_owned())));
/// assert_eq!(misspelled_variable("WIESEL_LOGS", &known), Some(Some("WIESEL_LOG".to_owned())));
/// assert_eq!(misspelled_variable("WIESEL_WEATHER", &known), Some(None));
/// for right in ["WIESEL_LOG", "WIESEL__SHARD__SPIN", "PATH"] {
///     assert_eq!(misspelled_variable(right, &known), None);
/// }
/// ```
pub fn misspelled_variable(name: &str, known: &[&str]) -> Option<Option<String>> {
    let key = name.strip_prefix("WIESEL_")?;
    if key.starts_with('_') || known.contains(&name) {
        return None;
    }
    let all = options::describe_all().into_iter().map(|info| info.variable());
    let all = all.chain(known.iter().map(|name| (*name).to_owned()));
    Some(nearest(&plain(name), all.map(|variable| (plain(&variable), variable))))
}

/// A variable without what is often got wrong in it, and without what all begin with.
fn plain(variable: &str) -> String {
    let plain = options::normal_form(variable);
    plain.strip_prefix("wiesel").map(str::to_owned).unwrap_or(plain)
}

impl Configuration {
    /// Adds the layer of a file: `text` is TOML and `name` is what messages call it.
    ///
    /// # Errors
    ///
    /// If it is not TOML, or a key or a value cannot be used.
    pub fn load_toml(&mut self, name: &str, text: &str) -> Result<(), ConfigError> {
        let table: Table = text.parse().map_err(|error| syntax(name, text, &error))?;
        let mut entries = Vec::new();
        flatten("", table, &mut entries);
        let lines = lines(text);
        let line_of = |key: &str| lines.get(key).copied().unwrap_or(1);
        entries.sort_by_key(|(key, _)| line_of(key));
        let mut seen = BTreeSet::new();
        for (key, value) in entries {
            let origin = Origin::File { name: name.to_owned(), line: line_of(&key) };
            let text = match value {
                Value::String(text) => text,
                Value::Integer(number) => number.to_string(),
                Value::Float(number) => number.to_string(),
                Value::Boolean(flag) => flag.to_string(),
                other => other.to_string(), // Arrays and dates: no option reads them, and its check says so.
            };
            if let Some(info) = options::find(&key)
                && !seen.insert(info.key)
            {
                return Err(ConfigError::Twice { key: info.key, origin });
            }
            self.put(&key, text, origin)?;
        }
        Ok(())
    }

    /// Adds the layer of the environment: of all variables, those that begin with `WIESEL__`.
    ///
    /// # Errors
    ///
    /// If one of those names no option, or two the same one, or a value cannot be used.
    pub fn load_environment<K: AsRef<str>, V: AsRef<str>>(
        &mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(), ConfigError> {
        let mut seen = BTreeSet::new();
        for (name, value) in variables {
            let (name, value) = (name.as_ref(), value.as_ref());
            let prefix = name.get(..VARIABLE_PREFIX.len());
            if !prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(VARIABLE_PREFIX)) {
                continue;
            }
            let origin = Origin::Environment(name.to_owned());
            let key = name[VARIABLE_PREFIX.len()..].replace("__", ".");
            let wanted = options::normal_form(&key);
            let found = options::describe_all()
                .into_iter()
                .find(|info| options::normal_form(info.key) == wanted)
                .ok_or_else(|| {
                    let key = key.to_lowercase().replace('_', "-");
                    ConfigError::unknown(&key, origin.clone(), |info| info.variable())
                })?;
            if !seen.insert(found.key) {
                return Err(ConfigError::Twice { key: found.key, origin });
            }
            self.put(found.key, value.to_owned(), origin)?;
        }
        Ok(())
    }

    /// Adds `key=value` to the layer of the command line. The last one for a key wins, as with Flink.
    ///
    /// # Errors
    ///
    /// If it is not `key=value`, or the key or the value cannot be used.
    pub fn set_argument(&mut self, argument: &str) -> Result<(), ConfigError> {
        let (key, value) = argument
            .split_once('=')
            .ok_or_else(|| ConfigError::Argument { text: argument.to_owned() })?;
        self.put(key.trim(), value.trim().to_owned(), Origin::CommandLine)
    }

    /// Adds a value to the layer of the command line that stands behind a flag of its own: `--parallelism 4`.
    ///
    /// # Errors
    ///
    /// If there is no such key, or the value cannot be used.
    pub fn set_flag(
        &mut self,
        flag: &'static str,
        key: &str,
        value: &str,
    ) -> Result<(), ConfigError> {
        self.put(key, value.trim().to_owned(), Origin::Flag(flag))
    }
}

/// Joins the keys of nested tables with dots.
fn flatten(prefix: &str, table: Table, entries: &mut Vec<(String, Value)>) {
    for (key, value) in table {
        let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) => flatten(&key, inner, entries),
            value => entries.push((key, value)),
        }
    }
}

/// The line of each value, from 1, by its key. Two spellings of one key have the later one's.
fn lines(text: &str) -> BTreeMap<String, usize> {
    fn add(prefix: &str, table: &DeTable<'_>, text: &str, lines: &mut BTreeMap<String, usize>) {
        for (key, value) in table {
            let key = match prefix {
                "" => key.get_ref().to_string(),
                prefix => format!("{prefix}.{}", key.get_ref()),
            };
            if let DeValue::Table(inner) = value.get_ref() {
                add(&key, inner, text, lines);
            } else {
                let before = text.get(..value.span().start).unwrap_or_default();
                let line = before.matches('\n').count() + 1;
                lines.entry(key).and_modify(|known| *known = line.max(*known)).or_insert(line);
            }
        }
    }
    let mut lines = BTreeMap::new();
    if let Ok(table) = DeTable::parse(text) {
        add("", table.get_ref(), text, &mut lines);
    }
    lines
}

fn syntax(name: &str, text: &str, error: &toml::de::Error) -> ConfigError {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    let before = text.get(..at).unwrap_or("");
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    ConfigError::Syntax {
        file: name.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        message: error.message().replace('\n', ", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What loading `text` does: the values that are set, or the error.
    fn outcome(load: impl FnOnce(&mut Configuration) -> Result<(), ConfigError>) -> String {
        let mut config = Configuration::new();
        if let Err(error) = load(&mut config) {
            return error.to_string();
        }
        let set = config.effective().filter(|(_, _, origin)| *origin != Origin::Default);
        set.map(|(info, text, _)| format!("{}={text}", info.key)).collect::<Vec<_>>().join(" ")
    }

    #[track_caller]
    fn file(text: &str, expected: &str) {
        assert_eq!(outcome(|config| config.load_toml("config.toml", text)), expected);
    }

    #[track_caller]
    fn environment(variables: &[(&str, &str)], expected: &str) {
        let load = |config: &mut Configuration| config.load_environment(variables.iter().copied());
        assert_eq!(outcome(load), expected);
    }

    #[track_caller]
    fn argument(text: &str, expected: &str) {
        assert_eq!(outcome(|config| config.set_argument(text)), expected);
    }

    #[test]
    fn a_file_may_nest_its_keys_or_not() {
        file("", "");
        file("[empty]", "");
        file("parallelism.default = 4", "parallelism.default=4");
        file("'parallelism.default' = '4'", "parallelism.default=4");
        file("[parallelism]\ndefault = 4", "parallelism.default=4");
        file(
            "[taskmanager]\ncpu.reserved = 1\n[taskmanager.network.memory]\n\
              max-overdraft-size = '32 mb'",
            "taskmanager.cpu.reserved=1 taskmanager.network.memory.max-overdraft-size=32 mb",
        );
        file("pipeline.auto-generate-uids = false", "pipeline.auto-generate-uids=false");
    }

    #[test]
    fn a_file_that_cannot_be_used_says_where_and_what_to_write() {
        file(
            "paralelism.default = 4",
            "unknown key `paralelism.default` (from the file config.toml, line 1): did you mean `parallelism.default`?",
        );
        file(
            "[weather]\nrain = 'yes'",
            "unknown key `weather.rain` (from the file config.toml, line 2): no option has a similar name",
        );
        file(
            "parallelism.default = 0",
            "`parallelism.default` is `0` (from the file config.toml, line 1): must be between 1 and 32768, for example `4`",
        );
        file(
            "parallelism.default = [4]",
            "`parallelism.default` is `[4]` (from the file config.toml, line 1): must be a whole number or `auto`, for example `4`",
        );
        file(
            "parallelism = 4",
            "unknown key `parallelism` (from the file config.toml, line 1): did you mean `parallelism.default`?",
        );
        file(
            "'shard.spin' = 0\n[shard]\nspin = 1",
            "`shard.spin` is set twice (again by the file config.toml, line 3): remove one of them",
        );
        file(
            "# Ours.\n[shard]\nspin = 1\n\nquantum = [\n  2,\n]\n",
            "`shard.quantum` is `[2]` (from the file config.toml, line 5): must be a whole number with a unit (ns, us, ms, s, \
             min, h, d), for example `50 us`",
        );
        let error = Configuration::new().load_toml("config.toml", "a = 1\nb = = 2").unwrap_err();
        assert!(matches!(&error, ConfigError::Syntax { line: 2, column: 5, .. }), "{error:?}");
        assert!(error.to_string().starts_with("config.toml is not TOML (line 2, column 5): "));
    }

    #[test]
    fn variables_spell_dots_as_two_underscores() {
        environment(
            &[("PATH", "x"), ("WIESEL_CONF_DIR", "y"), ("WIESEL", "z"), ("Ä_LONG_NAME", "")],
            "",
        );
        environment(&[("WIESEL__PARALLELISM__DEFAULT", "4")], "parallelism.default=4");
        environment(&[("wiesel__parallelism__default", "4")], "parallelism.default=4");
        environment(&[("WIESEL__PIPELINE__MAX_PARALLELISM", "64")], "pipeline.max-parallelism=64");
        environment(
            &[("WIESEL__TASKMANAGER__NUMBEROFTASKSLOTS", "2")],
            "taskmanager.numberOfTaskSlots=2",
        );
        environment(
            &[("WIESEL__TASKMANAGER__NUMBER_OF_TASK_SLOTS", "2")],
            "taskmanager.numberOfTaskSlots=2",
        );
        environment(
            &[("WIESEL__PIPELINE__MAX_PARALELISM", "64")],
            "unknown key `pipeline.max-paralelism` (from the environment variable \
             WIESEL__PIPELINE__MAX_PARALELISM): did you mean `WIESEL__PIPELINE__MAX_PARALLELISM`?",
        );
        environment(
            &[("WIESEL__", "")],
            "unknown key `` (from the environment variable WIESEL__): no option has a similar name",
        );
        environment(
            &[("WIESEL__SHARD__SPIN", "1 parsec")],
            "`shard.spin` is `1 parsec` (from the environment variable WIESEL__SHARD__SPIN): must be a whole \
             number with a unit (ns, us, ms, s, min, h, d) or `auto`, for example `50 us`",
        );
        environment(
            &[("WIESEL__SHARD__SPIN", "1us"), ("Wiesel__Shard__Spin", "2us")],
            "`shard.spin` is set twice (again by the environment variable Wiesel__Shard__Spin): remove one of them",
        );
    }

    #[test]
    fn keys_of_flink_get_an_answer() {
        argument(
            "state.checkpoints.dir=x",
            "`state.checkpoints.dir` (from -D on the command line) is an option of Flink, and none here: set \
             `execution.checkpointing.dir`",
        );
        file(
            "[taskmanager.memory]\nprocess.size = '1 gb'",
            "`taskmanager.memory.process.size` (from the file config.toml, line 2) is an option of Flink, and none here: \
             memory is taken as it is needed, and nobody gets a share beforehand: leave it out",
        );
        environment(
            &[("WIESEL__EXECUTION__CHECKPOINTING__UNALIGNED__ENABLED", "true")],
            "`execution.checkpointing.unaligned.enabled` (from the environment variable \
             WIESEL__EXECUTION__CHECKPOINTING__UNALIGNED__ENABLED) is an option of Flink, and none here: barriers are \
             always aligned: leave it out",
        );
        argument(
            "restart-strategy.typ=none",
            "unknown key `restart-strategy.typ` (from -D on the command line): did you mean `restart-strategy.type`?",
        );
    }

    #[test]
    fn a_flag_ranks_as_arguments_do_and_is_named() {
        let flag = |config: &mut Configuration, value| {
            config.set_flag("--parallelism", "parallelism.default", value)
        };
        let last = |config: &mut Configuration| {
            config.set_argument("parallelism.default=2")?;
            flag(config, " 3")?;
            config.set_text("parallelism.default", "4")
        };
        assert_eq!(outcome(last), "parallelism.default=3");
        assert_eq!(
            outcome(|config| flag(config, "-1")),
            "`parallelism.default` is `-1` (from --parallelism on the command line): must be a whole number or `auto`, \
             for example `4`"
        );
    }

    #[test]
    fn arguments_are_key_and_value() {
        argument("shard.quantum=10us", "shard.quantum=10us");
        argument(" shard.quantum = 10 us ", "shard.quantum=10 us");
        argument("shard.quantum", "`-D shard.quantum` has no value: write `-D key=value`");
        argument(
            "shard.quantum=",
            "`shard.quantum` is `` (from -D on the command line): must be a whole number with a \
             unit (ns, us, ms, s, min, h, d), for example `50 us`",
        );
        argument(
            "pipeline.operator-chaining.enabled=false",
            "`pipeline.operator-chaining.enabled` is `false` (from -D on the command line): chains are fused when the \
             program is compiled, so break them in the program with `disable_chaining()` or `start_new_chain()`",
        );
    }
}
