//! What a checkpoint consists of: the contents of `_metadata`.
//!
//! ```text
//!   Manifest ── vertex `counts` ── subtask 0 ── file chk-7/1-0.data ── part counts, key group 3, bytes 16..90
//!                      │               │
//!              enumerator's state   finished, then without state
//! ```
//!
//! # What is always true
//!
//! 1. A manifest names every file with its length and hash, and every part with its place. A file that none names is of
//!    no checkpoint.
//! 2. The state of an operator is found by uid and name, never by its position in the graph.
//!
//! `manifest/codec.rs` has the bytes.

mod codec;

use std::{fmt, sync::Arc};

use wiesel_core::{JobId, KeyGroup, Timestamp};

pub use codec::FORMAT_VERSION;

/// Whom a checkpoint belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The engine: files may be shared with other checkpoints of the job.
    Checkpoint,
    /// The user: self-contained; its folder can be moved.
    Savepoint,
}

/// A checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Whose.
    pub job: JobId,
    /// What the job is called.
    pub job_name: String,
    /// Its number.
    pub checkpoint: u64,
    /// Checkpoint or savepoint.
    pub kind: Kind,
    /// When its barriers were sent, by the wall clock.
    pub triggered: Timestamp,
    /// When its last task had acknowledged, by the wall clock.
    pub completed: Timestamp,
    /// Whether the job had processed all its input: there is nothing to go on with.
    pub is_final: bool,
    /// The vertices of the job graph.
    pub vertices: Vec<VertexState>,
}

/// The state of a vertex: a chain of operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VertexState {
    /// The uid by which it is found at restore.
    pub uid: String,
    /// What it is called.
    pub name: String,
    /// The uids of its operators, in order of the chain.
    pub operators: Vec<String>,
    /// Subtasks.
    pub parallelism: u32,
    /// Key groups.
    pub max_parallelism: u32,
    /// What the enumerator of a source wrote.
    pub enumerator: Option<Vec<u8>>,
    /// One for each subtask, in order.
    pub subtasks: Vec<SubtaskState>,
}

/// The state of a subtask: what it hands in with its acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubtaskState {
    /// Whether it had finished: then it has no files.
    pub finished: bool,
    /// Where its parts are. Later files come after earlier ones (an increment after its base).
    pub files: Vec<FileEntry>,
}

/// A file of parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Below the folder of the job (`chk-7/1-0.data`), or of the savepoint (`1-0.data`).
    pub path: String,
    /// Its length in bytes.
    pub len: u64,
    /// BLAKE3 of all of it.
    pub hash: Hash,
    /// What is in it, in order.
    pub parts: Vec<PartEntry>,
}

/// A part of a file: opaque bytes that an operator wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartEntry {
    /// The operator's name for it.
    pub name: Arc<str>,
    /// What it is.
    pub kind: PartKind,
    /// Where its first block begins in the file.
    pub offset: u64,
    /// Bytes of its blocks.
    pub stored_len: u64,
    /// Its own bytes.
    pub len: u64,
}

/// What a part is, and so who gets it at restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartKind {
    /// Keyed state and timers of a key group.
    Keyed(KeyGroup),
    /// An element of operator list state.
    List,
    /// An element of operator union list state.
    Union,
    /// A copy of broadcast state.
    Broadcast,
    /// A split of a source's reader, with its position.
    Split,
    /// What a sink has yet to commit.
    Committable,
}

impl fmt::Display for PartKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keyed(group) => write!(f, "key group {group}"),
            Self::List => f.write_str("list"),
            Self::Union => f.write_str("union list"),
            Self::Broadcast => f.write_str("broadcast"),
            Self::Split => f.write_str("split"),
            Self::Committable => f.write_str("committable"),
        }
    }
}

/// A BLAKE3 hash. Displayed as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// That of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Manifest {
    /// All files, with vertex and subtask.
    pub fn files(&self) -> impl Iterator<Item = (&VertexState, usize, &FileEntry)> {
        self.vertices.iter().flat_map(|vertex| {
            let subtasks = vertex.subtasks.iter().enumerate();
            subtasks.flat_map(move |(index, subtask)| {
                subtask.files.iter().map(move |file| (vertex, index, file))
            })
        })
    }

    /// The bytes of all files that it names.
    pub fn state_bytes(&self) -> u64 {
        self.files().map(|(_, _, file)| file.len).fold(0, u64::saturating_add)
    }
}
