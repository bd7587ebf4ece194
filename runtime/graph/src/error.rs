//! What can be wrong with a job before it runs. All of it is for the user's program to fix.

/// A graph that cannot run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// No stream ends anywhere.
    #[error("nothing to run: no sink (end a stream with a sink such as `print()`)")]
    NoSink,
    /// A stream leads nowhere.
    #[error(
        "the stream of `{operator}` does not end in a sink: add one such as `print()`, or remove the stream"
    )]
    OpenStream {
        /// The last operator of the stream.
        operator: String,
    },
    /// Two operators have the same uid.
    #[error(
        "uid `{uid}` is used twice, by `{first}` and by `{second}`: give each operator its own"
    )]
    DuplicateUid {
        /// The uid.
        uid: String,
        /// An operator that has it.
        first: String,
        /// Another one.
        second: String,
    },
    /// Two sinks would write files of the same names.
    #[error("`{first}` and `{second}` both write to {folder}: give each sink a folder of its own")]
    SharedFolder {
        /// The folder.
        folder: String,
        /// An operator that writes to it.
        first: String,
        /// Another one.
        second: String,
    },
    /// An operator has an empty uid.
    #[error("the uid of `{operator}` is empty: give it a name, or none")]
    EmptyUid {
        /// The operator.
        operator: String,
    },
    /// An operator keeps state and has no uid.
    #[error(
        "`{operator}` keeps state but has no uid: add `.uid(\"...\")` after it, or set \
         `pipeline.auto-generate-uids = true`"
    )]
    MissingUid {
        /// The operator.
        operator: String,
    },
    /// Parallelism zero.
    #[error("the parallelism of `{operator}` is 0: it must be at least 1")]
    ZeroParallelism {
        /// The chain.
        operator: String,
    },
    /// More key groups than there can be, or none.
    #[error(
        "the max parallelism of `{operator}` is {max_parallelism}: it must be between 1 and 32768"
    )]
    MaxParallelism {
        /// The chain.
        operator: String,
        /// What was set.
        max_parallelism: u32,
    },
    /// More subtasks than key groups.
    #[error(
        "the parallelism of `{operator}` is {parallelism}, above its max parallelism of {max_parallelism}: \
         lower one or raise the other"
    )]
    AboveMaxParallelism {
        /// The chain.
        operator: String,
        /// Its subtasks.
        parallelism: u32,
        /// Its key groups.
        max_parallelism: u32,
    },
    /// A forward edge between chains of different width.
    #[error(
        "`{source_name}` (parallelism {source_parallelism}) cannot forward to `{target_name}` (parallelism \
         {target_parallelism}): use `rebalance()` or `rescale()` between them, or make them equal"
    )]
    UnequalForward {
        /// The chain before the edge.
        source_name: String,
        /// Its subtasks.
        source_parallelism: u32,
        /// The chain behind the edge.
        target_name: String,
        /// Its subtasks.
        target_parallelism: u32,
    },
    /// A slot sharing group whose profile cannot be.
    #[error("slot sharing group `{group}` cannot be used: {problem}")]
    SlotSharingGroup {
        /// Its name.
        group: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// A chain that nobody feeds.
    #[error("`{operator}` has no input and is not a source: connect a stream to it")]
    NoInput {
        /// The chain.
        operator: String,
    },
    /// A source with an edge into it.
    #[error("`{operator}` is a source but has an input: remove the edge into it")]
    SourceWithInput {
        /// The chain.
        operator: String,
    },
    /// A source that does not end, in batch mode.
    #[error(
        "`{operator}` does not end, and in batch mode there are no results before the end: use a source that ends, or \
         set `execution.runtime-mode` to `streaming` or `automatic`"
    )]
    UnboundedSource {
        /// The source.
        operator: String,
    },
    /// The inputs of a chain are not numbered from zero, each once.
    #[error(
        "input {input} of `{operator}` has {edges} edges instead of one: merge streams with `union()`"
    )]
    Inputs {
        /// The chain.
        operator: String,
        /// The input.
        input: u32,
        /// How many edges end there.
        edges: usize,
    },
    /// What the program asks of an operator cannot be.
    #[error("`{operator}`: {what}")]
    Mistake {
        /// The operator.
        operator: String,
        /// What is wrong, and what to write instead.
        what: String,
    },
    /// Records could come back to where they were.
    #[error("`{operator}` is part of a cycle: a stream cannot flow back into itself")]
    Cycle {
        /// A chain on the cycle, or behind it.
        operator: String,
    },
}
