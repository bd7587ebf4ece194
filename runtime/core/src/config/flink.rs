//! Keys of Flink's that are no options here, and what to do about each: configurations of Flink get an answer.
//!
//! # What is always true
//!
//! 1. None of them is an option, and none covers one.

use super::options::normal_form;

/// Keys with their answers; `.*` stands for everything below. The first that fits counts.
const KEYS: &[(&str, &str)] = &[
    ("execution.checkpointing.aligned-checkpoint-timeout", ALIGNED),
    ("execution.checkpointing.unaligned", ALIGNED),
    ("execution.checkpointing.unaligned.*", ALIGNED),
    (
        "execution.checkpointing.storage",
        "checkpoints are files in `execution.checkpointing.dir`: set that",
    ),
    (
        "state.checkpoint-storage",
        "checkpoints are files in `execution.checkpointing.dir`: set that",
    ),
    ("state.checkpoints.dir", "set `execution.checkpointing.dir`"),
    ("state.checkpoints.num-retained", "set `execution.checkpointing.num-retained`"),
    ("state.savepoints.dir", "set `execution.checkpointing.savepoint-dir`"),
    ("state.backend.incremental", "set `execution.checkpointing.incremental`"),
    ("state.backend", IN_MEMORY),
    ("state.backend.*", IN_MEMORY),
    (
        "execution.savepoint.path",
        "set `execution.state-recovery.path`, or say -s on the command line",
    ),
    ("execution.savepoint-restore-mode", "set `execution.state-recovery.claim-mode`"),
    ("execution.savepoint.ignore-unclaimed-state", UNCLAIMED),
    ("execution.state-recovery.ignore-unclaimed-state", UNCLAIMED),
    ("execution.buffer-timeout", "set `execution.buffer-timeout.interval`"),
    ("restart-strategy", "set `restart-strategy.type`"),
    ("pipeline.name", "a job has the name that `execute` is given"),
    (
        "pipeline.object-reuse",
        "functions take views, and nothing is copied between them: leave it out",
    ),
    ("pipeline.operator-chaining", "set `pipeline.operator-chaining.enabled`"),
    (
        "pipeline.auto-watermark-interval",
        "watermarks follow the records, at most a millisecond later: leave it out",
    ),
    ("taskmanager.memory.segment-size", "frames have 32 KiB: leave it out"),
    ("taskmanager.memory.*", AS_NEEDED),
    ("jobmanager.memory.*", AS_NEEDED),
    (
        "taskmanager.network.memory.floating-buffers-per-gate",
        "each channel has its own: set `taskmanager.network.memory.buffers-per-channel`",
    ),
    ("jobmanager.rpc.*", ONE_PROCESS),
    ("rest.*", ONE_PROCESS),
    ("high-availability.*", ONE_PROCESS),
    (
        "metrics.*",
        "there are no reporters: ask the job that runs with `status`, or look into its result",
    ),
];

const ALIGNED: &str = "barriers are always aligned: leave it out";
const IN_MEMORY: &str = "state is in memory, and there is no other backend: leave it out";
const UNCLAIMED: &str = "say -n on the command line";
const AS_NEEDED: &str =
    "memory is taken as it is needed, and nobody gets a share beforehand: leave it out";
const ONE_PROCESS: &str =
    "a job runs in its own process, and there is no cluster to reach: leave it out";

/// What to do about `key`, if it is one of them.
pub(super) fn answer(key: &str) -> Option<&'static str> {
    let key = normal_form(key);
    let is = |known: &str| match known.strip_suffix('*') {
        Some(above) => key.starts_with(&normal_form(above)),
        None => key == normal_form(known),
    };
    KEYS.iter().find(|(known, _)| is(known)).map(|(_, answer)| *answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::options::describe_all;

    #[test]
    fn no_option_is_called_flinks() {
        for info in describe_all() {
            assert_eq!(answer(info.key), None, "{}", info.key);
        }
    }

    #[test]
    fn answers_name_options_that_exist() {
        for (_, answer) in KEYS {
            let Some(key) = answer.split('`').nth(1).filter(|name| name.contains('.')) else {
                continue;
            };
            assert!(describe_all().iter().any(|info| info.key == key), "{key}");
        }
    }
}
