//! What `--help` and `--version` print.

use std::fmt::Write;

use wiesel_core::config::options;

/// The page of `--help`.
pub(crate) fn page(program: &str) -> String {
    let mut page = format!("usage: {program} [COMMAND] [FLAGS] [-- ARGUMENTS OF THE PROGRAM]\n");
    page.push_str(
        "
commands to the job that runs (without one, it is run)
  status            what it does
  savepoint [DIR]   takes a savepoint in DIR, or in execution.checkpointing.savepoint-dir; prints its path
  stop              takes a savepoint and then ends the job; prints its path
    -p, --savepointPath DIR
    -d, --drain     ends event time before the savepoint, so that all windows fire
  cancel            ends it at once

flags
  --parallelism N   subtasks of operators that set none; short for -D parallelism.default=N
  -D KEY=VALUE      sets an option; may be repeated
  --config FILE     reads options from a TOML file; else config.toml in the folder WIESEL_CONF_DIR
  --explain[=json]  prints the plan of the job and does not run it
  --fresh           begins anew: the checkpoints that are there are removed
  -s, --fromSavepoint PATH
                    starts from a savepoint or a retained checkpoint; short for
                    -D execution.state-recovery.path=PATH
  -n, --allowNonRestoredState
                    drops state of the checkpoint that no operator has the uid of
  --help            prints this
  --version         prints the version

options: default < file < environment < program < -D
",
    );
    for info in options::describe_all() {
        let _ = writeln!(page, "  {:<48} {}", info.key, info.default);
    }
    page.push_str(
        "  In the environment `parallelism.default` is WIESEL__PARALLELISM__DEFAULT. WIESEL_LOG=info logs more.

exit codes
  0 finished, 1 failed, 2 usage or configuration, 3 not running, 7 machine unfit, 130 Ctrl-C, 143 SIGTERM
",
    );
    page
}

/// The line of `--version`.
pub(crate) fn version(program: &str) -> String {
    format!("{program}, on wiesel {}\n", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_has_every_option_and_fits_a_terminal() {
        let page = super::page("job");
        for info in wiesel_core::config::options::describe_all() {
            assert!(page.contains(info.key), "{}", info.key);
        }
        let wide: Vec<_> = page.lines().filter(|line| line.chars().count() > 110).collect();
        assert_eq!(wide, [""; 0]);
    }
}
