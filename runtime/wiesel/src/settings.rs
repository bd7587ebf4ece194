//! The layers of the configuration, from where they come: a file, the environment, the command line.
//!
//! ```text
//!   default  <  file  <  environment  <  program  <  -D
//!               │            └ WIESEL__SHARD__SPIN
//!               └ --config FILE, else config.toml in the folder WIESEL_CONF_DIR
//! ```

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use wiesel_core::config::{Configuration, misspelled_variable};

use crate::{
    Error,
    arguments::{Arguments, Setting},
    logging,
};

/// The folder of the configuration.
pub(crate) const FOLDER_VARIABLE: &str = "WIESEL_CONF_DIR";
/// The file in it.
pub(crate) const FILE_NAME: &str = "config.toml";

/// All layers but the program's, whose calls come later and rank lower than `-D` all the same.
///
/// # Errors
///
/// If a file that is named is not there, or a key or a value cannot be used.
pub(crate) fn load(
    arguments: &Arguments,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Configuration, Error> {
    let variables: Vec<(String, String)> = environment
        .into_iter()
        .map(|(name, value)| {
            (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        })
        .collect();
    let mut config = Configuration::new();
    let folder =
        variables.iter().find(|(name, value)| name == FOLDER_VARIABLE && !value.is_empty());
    match (&arguments.config, folder) {
        (Some(file), _) => load_file(&mut config, file, "--config")?,
        (None, Some((_, folder))) => {
            load_file(&mut config, &PathBuf::from(folder).join(FILE_NAME), FOLDER_VARIABLE)?;
        }
        (None, None) => {}
    }
    for (name, _) in &variables {
        warn_of(name);
    }
    config.load_environment(variables)?;
    for setting in &arguments.settings {
        match setting {
            Setting::Argument(text) => config.set_argument(text)?,
            Setting::Flag { flag, key, value } => config.set_flag(flag, key, value)?,
        }
    }
    config.validate()?;
    Ok(config)
}

/// Says that a variable is ignored that looks like one of ours, and is none.
fn warn_of(name: &str) {
    if let Some(nearest) = misspelled_variable(name, &[FOLDER_VARIABLE, logging::VARIABLE]) {
        let meant = nearest.map_or_else(
            || "options are spelled as in `WIESEL__PARALLELISM__DEFAULT`".to_owned(),
            |nearest| format!("did you mean `{nearest}`?"),
        );
        tracing::warn!("the environment variable {name} is ignored: {meant}");
    }
}

fn load_file(config: &mut Configuration, file: &Path, named_by: &'static str) -> Result<(), Error> {
    let text = wiesel_shard::fs::read_to_string(file)
        .map_err(|source| Error::ConfigFile { named_by, source })?;
    config.load_toml(&file.display().to_string(), &text)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(settings: &[&str], environment: &[(&str, &str)]) -> String {
        let settings = settings.iter().map(|text| Setting::Argument((*text).to_owned())).collect();
        let arguments = Arguments { settings, ..Arguments::default() };
        let environment = environment.iter().map(|(name, value)| (name.into(), value.into()));
        match load(&arguments, environment) {
            Err(error) => format!("{error:?}"),
            Ok(config) => {
                let origin = config.origin("shard.quantum").map(|origin| origin.to_string());
                origin.unwrap_or_default()
            }
        }
    }

    #[test]
    fn the_layers_come_from_their_places() {
        assert_eq!(outcome(&[], &[("PATH", "/bin")]), "the default");
        let variable = ("WIESEL__SHARD__QUANTUM", "70 us");
        assert_eq!(outcome(&[], &[variable]), "the environment variable WIESEL__SHARD__QUANTUM");
        assert_eq!(outcome(&["shard.quantum=1us"], &[variable]), "-D on the command line");
        assert_eq!(outcome(&[], &[(FOLDER_VARIABLE, "")]), "the default");
        let missing = outcome(&[], &[(FOLDER_VARIABLE, "no-such-folder")]);
        assert!(
            missing.starts_with(
                "cannot read the configuration (WIESEL_CONF_DIR): read no-such-folder/config.toml: "
            ),
            "{missing}"
        );
    }
}
