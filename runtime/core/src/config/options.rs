//! The registry: every option there is. Keys are Flink's where Flink has them; others say "ours".
//!
//! # What is always true
//!
//! 1. Every default and every example passes the option's own check.
//! 2. No key is the beginning of another (`a.b` and `a.b.c`): TOML could not hold both.
//! 3. No two keys have the same normal form, so an environment variable names at most one.

use std::time::Duration;

use super::{
    CheckpointRetention, CheckpointingMode, ConfigOption, ConfigValue, FailoverStrategy, Folders,
    MemorySize, OptionInfo, RecoveryClaimMode, RestartStrategyType,
};
use crate::{MAX_PARALLELISM_LIMIT, RuntimeExecutionMode};

/// Declares the options and the list of them in one place, so that none is forgotten in the other.
macro_rules! options {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident: $type:ty = $key:literal, default $default:literal, example $example:literal, $check:expr;
    )+) => {
        $(
            $(#[doc = $doc])+
            #[doc = concat!("\n\n`", $key, "`, by default `", $default, "`; for example `", $example, "`.")]
            pub static $name: ConfigOption<$type> = ConfigOption {
                info: OptionInfo {
                    key: $key,
                    default: $default,
                    example: $example,
                    doc: concat!($($doc),+).trim_ascii_start(),
                    probe: |text| $name.parse(text).map(|_| ()),
                },
                check: $check,
            };
        )+

        /// All options, for help pages and checks, in order of declaration.
        pub fn describe_all() -> Vec<OptionInfo> {
            vec![$($name.info),+]
        }
    };
}

options! {
    /// Subtasks of an operator that sets no parallelism of its own. `auto` is one per slot, that is one per usable core.
    PARALLELISM_DEFAULT: Option<u32> = "parallelism.default", default "auto", example "4",
        |parallelism| within_if_set(parallelism, 1, MAX_PARALLELISM_LIMIT);

    /// Key groups of a job: the most subtasks that its keyed state can ever be spread over. `auto` leaves each operator
    /// room for half as much again as its parallelism, and at least 128.
    MAX_PARALLELISM: Option<u32> = "pipeline.max-parallelism", default "auto", example "128",
        |parallelism| within_if_set(parallelism, 1, MAX_PARALLELISM_LIMIT);

    /// Whether a stateful operator without a uid gets one from its place in the graph, as in Flink. Such a uid changes with
    /// the graph, and a checkpoint's state is then not found: give uids to a job that is changed and started again.
    AUTO_GENERATE_UIDS: bool = "pipeline.auto-generate-uids", default "true", example "false",
        |_| Ok(());

    /// Known, so that configurations of Flink get an answer. Only `true` is accepted: chains are fused by the compiler.
    OPERATOR_CHAINING: bool = "pipeline.operator-chaining.enabled", default "true", example "true",
        |enabled| if *enabled { Ok(()) } else { Err(CHAINING_IS_IN_THE_PROGRAM.to_owned()) };

    /// `streaming` updates results with every record; `batch` gives final results only, sorts the inputs of keyed operators
    /// by key, and wants sources that end; `automatic` is `batch` if every source ends, else `streaming`.
    RUNTIME_MODE: RuntimeExecutionMode = "execution.runtime-mode", default "streaming", example "batch",
        |_| Ok(());

    // 128 mb: Flink's. The least holds some blocks of 4 KiB to merge.
    /// Batch mode: memory of one subtask of a keyed operator to sort its inputs in, and of one with a broadcast input for
    /// what has to wait until that has ended. What is more goes to files in `io.tmp.dirs`.
    SORTED_INPUTS_MEMORY: MemorySize = "execution.sorted-inputs.memory", default "128 mb", example "512 mb",
        |size| within(size, MemorySize::from_kb(64), MemorySize::from_mb(1_024 * 1_024));

    /// Folders for files that a job writes for itself, separated by commas: subtasks are spread over them. `auto` is the
    /// system's (`TMPDIR`, else `/tmp`). Files there have no name, so they are gone when the job is, however it ends.
    TMP_DIRS: Option<Folders> = "io.tmp.dirs", default "auto", example "/mnt/ssd0/tmp,/mnt/ssd1/tmp",
        |_| Ok(());

    /// How long a frame may stay open while its task is busy; an idle task flushes at once. `0` flushes after every turn.
    /// Flink's default is 100 ms.
    BUFFER_TIMEOUT: Duration = "execution.buffer-timeout.interval", default "1 ms", example "200 us",
        |age| within(age, Duration::ZERO, Duration::from_secs(10));

    /// From one checkpoint to the next; `0` is off. Ours: the first one begins after a whole interval.
    CHECKPOINTING_INTERVAL: Duration = "execution.checkpointing.interval", default "0", example "1 s",
        |interval| within(interval, Duration::ZERO, Duration::from_secs(7 * 86_400));

    /// How long a checkpoint may take until the last task has acknowledged it; then it is aborted.
    CHECKPOINTING_TIMEOUT: Duration = "execution.checkpointing.timeout", default "10 min", example "1 min",
        |timeout| within(timeout, Duration::from_millis(1), Duration::from_secs(7 * 86_400));

    /// The shortest time from the end of a checkpoint to the beginning of the next one.
    CHECKPOINTING_MIN_PAUSE: Duration = "execution.checkpointing.min-pause", default "0", example "500 ms",
        |pause| within(pause, Duration::ZERO, Duration::from_secs(7 * 86_400));

    /// How many checkpoints may be under way at a time.
    CHECKPOINTING_MAX_CONCURRENT: u32 = "execution.checkpointing.max-concurrent-checkpoints", default "1", example "1",
        |count| within(count, 1, 64);

    /// How many checkpoints in a row may fail before the job does.
    CHECKPOINTING_TOLERABLE_FAILURES: u32 = "execution.checkpointing.tolerable-failed-checkpoints", default "0", example "3",
        |_| Ok(());

    /// How many completed checkpoints are kept.
    CHECKPOINTING_NUM_RETAINED: u32 = "execution.checkpointing.num-retained", default "1", example "3",
        |count| within(count, 1, 10_000);

    /// Whether barriers are aligned (`EXACTLY_ONCE`) or records may be seen again after a restore (`AT_LEAST_ONCE`).
    CHECKPOINTING_MODE: CheckpointingMode = "execution.checkpointing.mode", default "EXACTLY_ONCE", example "AT_LEAST_ONCE",
        |_| Ok(());

    /// What is left of the checkpoints of a job that is cancelled. Ours: they are kept by default, so that Ctrl-C loses nothing.
    CHECKPOINTING_RETENTION: CheckpointRetention = "execution.checkpointing.externalized-checkpoint-retention",
        default "RETAIN_ON_CANCELLATION", example "DELETE_ON_CANCELLATION",
        |_| Ok(());

    /// Whether checkpoints go on when some tasks have finished. The final one, of a job that has read all, is taken in any case.
    CHECKPOINTING_AFTER_TASKS_FINISH: bool = "execution.checkpointing.checkpoints-after-tasks-finish", default "true", example "true",
        |_| Ok(());

    /// Whether a checkpoint writes of the tables of keyed state what has changed since the last one. Ours: it does by
    /// default, since nothing is merged in the background.
    CHECKPOINTING_INCREMENTAL: bool = "execution.checkpointing.incremental", default "true", example "false",
        |_| Ok(());

    /// The folder in which each job has its folder of checkpoints. `auto`: none, so that no checkpoint can be taken.
    CHECKPOINTING_DIRECTORY: Option<String> = "execution.checkpointing.dir", default "auto", example "checkpoints",
        |_| Ok(());

    /// The folder in which savepoints are made that name no folder of their own. `auto`: there is none.
    SAVEPOINT_DIRECTORY: Option<String> = "execution.checkpointing.savepoint-dir", default "auto", example "savepoints",
        |_| Ok(());

    /// The savepoint, or the checkpoint, to start from: its folder. Short: `-s`. `auto` is the newest checkpoint of the job.
    STATE_RECOVERY_PATH: Option<String> = "execution.state-recovery.path", default "auto", example "savepoints/savepoint-0f1e2d-7",
        |_| Ok(());

    /// Whose the savepoint is after the start: the user's still (`NO_CLAIM`), or the job's, which removes it (`CLAIM`).
    STATE_RECOVERY_CLAIM_MODE: RecoveryClaimMode = "execution.state-recovery.claim-mode", default "NO_CLAIM", example "CLAIM",
        |_| Ok(());

    /// What follows a failure: `none`, `fixed-delay`, `exponential-delay` or `failure-rate`. `auto` is `exponential-delay`
    /// with checkpoints and `none` without.
    RESTART_STRATEGY: Option<RestartStrategyType> = "restart-strategy.type", default "auto", example "fixed-delay",
        |_| Ok(());

    /// Which tasks are started again after the failure of one: its pipelined region, which are those that it exchanges records
    /// with, however indirectly (`region`), or all of the job (`full`).
    FAILOVER_STRATEGY: FailoverStrategy = "jobmanager.execution.failover-strategy", default "region", example "full",
        |_| Ok(());

    /// Restarts in the life of a job.
    RESTART_FIXED_ATTEMPTS: u32 = "restart-strategy.fixed-delay.attempts", default "1", example "3",
        |_| Ok(());

    /// From a failure to the restart.
    RESTART_FIXED_DELAY: Duration = "restart-strategy.fixed-delay.delay", default "1 s", example "100 ms",
        |_| Ok(());

    /// From the first failure to the restart.
    RESTART_INITIAL_BACKOFF: Duration = "restart-strategy.exponential-delay.initial-backoff", default "1 s", example "100 ms",
        |_| Ok(());

    /// The longest time from a failure to the restart.
    RESTART_MAX_BACKOFF: Duration = "restart-strategy.exponential-delay.max-backoff", default "1 min", example "1 min",
        |_| Ok(());

    /// Each delay is the one before times this.
    RESTART_BACKOFF_MULTIPLIER: f64 = "restart-strategy.exponential-delay.backoff-multiplier", default "1.5", example "2",
        |factor| within(factor, 1.0, 1_000.0);

    /// After so long without a failure the delays begin anew.
    RESTART_RESET_THRESHOLD: Duration = "restart-strategy.exponential-delay.reset-backoff-threshold", default "1 h", example "10 min",
        |_| Ok(());

    /// The part of a delay that is random, so that jobs which fail together do not restart together.
    RESTART_JITTER_FACTOR: f64 = "restart-strategy.exponential-delay.jitter-factor", default "0.1", example "0.1",
        |factor| within(factor, 0.0, 1.0);

    /// Restarts before the delays begin anew; one more failure is the end. `auto` is no limit.
    RESTART_EXPONENTIAL_ATTEMPTS: Option<u32> = "restart-strategy.exponential-delay.attempts-before-reset-backoff", default "auto", example "10",
        |_| Ok(());

    /// Failures in `restart-strategy.failure-rate.failure-rate-interval` that are followed by a restart; one more is the end.
    RESTART_RATE_MAX_FAILURES: u32 = "restart-strategy.failure-rate.max-failures-per-interval", default "1", example "3",
        |_| Ok(());

    /// The time in which failures are counted.
    RESTART_RATE_INTERVAL: Duration = "restart-strategy.failure-rate.failure-rate-interval", default "1 min", example "5 min",
        |_| Ok(());

    /// From a failure to the restart.
    RESTART_RATE_DELAY: Duration = "restart-strategy.failure-rate.delay", default "1 s", example "100 ms",
        |_| Ok(());

    /// Slots of a TaskManager, each a shard with a thread of its own. `auto` is as many as the job needs.
    NUMBER_OF_TASK_SLOTS: Option<u32> = "taskmanager.numberOfTaskSlots", default "auto", example "4",
        |slots| within_if_set(slots, 1, SLOTS_LIMIT);

    /// Cores that get no shard, left to helper threads and the control thread. Ours.
    CPU_RESERVED: u32 = "taskmanager.cpu.reserved", default "0", example "1",
        |cores| within(cores, 0, SLOTS_LIMIT);

    /// Whether each shard is pinned to a core of its own. With more shards than cores none is. Ours.
    CPU_PIN: bool = "taskmanager.cpu.pin", default "true", example "false",
        |_| Ok(());

    // 4 = one that the consumer reads, one that waits behind it, one on its way home, one that is being sent.
    /// Credits: how many frames of 32 KiB may be in flight on one channel. Flink's default is 2.
    NETWORK_BUFFERS_PER_CHANNEL: u32 = "taskmanager.network.memory.buffers-per-channel", default "4", example "2",
        |credits| within(credits, 1, 1_024);

    /// What one task may write beyond its credits before it fails: the expansion of one record or one timer. Ours.
    MAX_OVERDRAFT_SIZE: MemorySize = "taskmanager.network.memory.max-overdraft-size", default "64 mb", example "64 mb",
        |size| within(size, MemorySize::from_kb(32), MemorySize::from_mb(64 * 1_024));

    // 256 mb: with header and index it still fits the largest jumbo frame, 512 mb.
    /// The largest record that may travel between tasks. One that is larger fails the job, which names the operator. Ours.
    RECORD_BYTES_MAX: MemorySize = "taskmanager.network.record-bytes-max", default "16 mb", example "16 mb",
        |size| within(size, MemorySize::from_kb(32), MemorySize::from_mb(256));

    /// How long a shard polls after its last work before it sleeps. `auto` is 50 us with cores to spare, 20 us with a
    /// shard on every core and `0` with more shards than cores. Longer is lower latency for more CPU. Ours.
    SHARD_SPIN: Option<Duration> = "shard.spin", default "auto", example "50 us",
        |spin| within_if_set(spin, Duration::ZERO, Duration::from_secs(3_600));

    /// How long a task may work before the next one on its shard has its turn. Ours.
    SHARD_QUANTUM: Duration = "shard.quantum", default "50 us", example "50 us",
        |quantum| within(quantum, Duration::from_micros(1), Duration::from_millis(10));
}

const CHAINING_IS_IN_THE_PROGRAM: &str = "chains are fused when the program is compiled, so break them in the program \
     with `disable_chaining()` or `start_new_chain()`";

/// Shards of one process: more than the cores of any machine there is.
const SLOTS_LIMIT: u32 = 1_024;

/// The option with this key.
pub(super) fn find(key: &str) -> Option<OptionInfo> {
    describe_all().into_iter().find(|info| info.key == key)
}

/// What is left of a key when it is spelled as an environment variable: lower case, no hyphens.
pub(super) fn normal_form(key: &str) -> String {
    key.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}

fn within<T: ConfigValue + PartialOrd>(value: &T, min: T, max: T) -> Result<(), String> {
    if (&min..=&max).contains(&value) {
        return Ok(());
    }
    Err(format!("must be between {} and {}", min.show(), max.show()))
}

fn within_if_set<T: ConfigValue + PartialOrd>(
    value: &Option<T>,
    min: T,
    max: T,
) -> Result<(), String> {
    value.as_ref().map_or(Ok(()), |value| within(value, min, max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_and_example_passes_its_own_check() {
        for info in describe_all() {
            assert_eq!(info.check(info.default), Ok(()), "default of {}", info.key);
            assert_eq!(info.check(info.example), Ok(()), "example of {}", info.key);
            assert!(info.doc.ends_with('.') && info.doc.len() > 20, "doc of {}", info.key);
        }
    }

    #[test]
    fn keys_can_be_told_apart_in_every_layer() {
        let keys: Vec<_> = describe_all().iter().map(|info| info.key).collect();
        for (at, key) in keys.iter().enumerate() {
            for other in keys.iter().skip(at + 1) {
                assert_ne!(normal_form(key), normal_form(other));
                assert!(!other.starts_with(&format!("{key}.")), "{key} is a prefix of {other}");
                assert!(!key.starts_with(&format!("{other}.")), "{other} is a prefix of {key}");
            }
        }
    }

    #[test]
    fn values_have_bounds() {
        let check = |key: &str, text: &str| find(key).unwrap().check(text);
        let wrong = |text: &str| Err(text.to_owned());
        assert_eq!(check("parallelism.default", "32768"), Ok(()));
        assert_eq!(check("parallelism.default", "32769"), wrong("must be between 1 and 32768"));
        assert_eq!(check("parallelism.default", "-1"), wrong("must be a whole number or `auto`"));
        assert_eq!(check("shard.quantum", "0"), wrong("must be between 1 us and 10 ms"));
        assert_eq!(
            check("taskmanager.network.record-bytes-max", "1 kb"),
            wrong("must be between 32 kb and 256 mb")
        );
        assert_eq!(check("taskmanager.cpu.pin", "maybe"), wrong("must be `true` or `false`"));
        assert_eq!(check("execution.buffer-timeout.interval", "0"), Ok(()));
        assert_eq!(check("taskmanager.numberOfTaskSlots", "auto"), Ok(()));
    }

    #[test]
    fn the_defaults_are_these() {
        let lines = describe_all().iter().map(|info| format!("{info:?}")).collect::<Vec<_>>();
        assert_eq!(
            lines.join("\n"),
            "\
parallelism.default = auto
pipeline.max-parallelism = auto
pipeline.auto-generate-uids = true
pipeline.operator-chaining.enabled = true
execution.runtime-mode = streaming
execution.sorted-inputs.memory = 128 mb
io.tmp.dirs = auto
execution.buffer-timeout.interval = 1 ms
execution.checkpointing.interval = 0
execution.checkpointing.timeout = 10 min
execution.checkpointing.min-pause = 0
execution.checkpointing.max-concurrent-checkpoints = 1
execution.checkpointing.tolerable-failed-checkpoints = 0
execution.checkpointing.num-retained = 1
execution.checkpointing.mode = EXACTLY_ONCE
execution.checkpointing.externalized-checkpoint-retention = RETAIN_ON_CANCELLATION
execution.checkpointing.checkpoints-after-tasks-finish = true
execution.checkpointing.incremental = true
execution.checkpointing.dir = auto
execution.checkpointing.savepoint-dir = auto
execution.state-recovery.path = auto
execution.state-recovery.claim-mode = NO_CLAIM
restart-strategy.type = auto
jobmanager.execution.failover-strategy = region
restart-strategy.fixed-delay.attempts = 1
restart-strategy.fixed-delay.delay = 1 s
restart-strategy.exponential-delay.initial-backoff = 1 s
restart-strategy.exponential-delay.max-backoff = 1 min
restart-strategy.exponential-delay.backoff-multiplier = 1.5
restart-strategy.exponential-delay.reset-backoff-threshold = 1 h
restart-strategy.exponential-delay.jitter-factor = 0.1
restart-strategy.exponential-delay.attempts-before-reset-backoff = auto
restart-strategy.failure-rate.max-failures-per-interval = 1
restart-strategy.failure-rate.failure-rate-interval = 1 min
restart-strategy.failure-rate.delay = 1 s
taskmanager.numberOfTaskSlots = auto
taskmanager.cpu.reserved = 0
taskmanager.cpu.pin = true
taskmanager.network.memory.buffers-per-channel = 4
taskmanager.network.memory.max-overdraft-size = 64 mb
taskmanager.network.record-bytes-max = 16 mb
shard.spin = auto
shard.quantum = 50 us"
        );
    }
}
