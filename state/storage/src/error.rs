//! What can be wrong with a checkpoint, a folder or a disk.

use std::io;

/// A place in a file where something is wrong.
///
/// ```
/// let damage = wiesel_storage::Damage::new("chk-7/_metadata", 24, "vertex 1", "the checksum differs");
/// assert_eq!(damage.to_string(), "chk-7/_metadata, byte 24, vertex 1: the checksum differs");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}, byte {offset}, {field}: {what}")]
pub struct Damage {
    /// The file, below the folder of the job or of the savepoint.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// What stands there.
    pub field: String,
    /// What is wrong with it.
    pub what: String,
}

impl Damage {
    /// Something wrong at a place.
    pub fn new(
        file: impl Into<String>,
        offset: u64,
        field: impl Into<String>,
        what: impl Into<String>,
    ) -> Self {
        Self { file: file.into(), offset, field: field.into(), what: what.into() }
    }
}

/// Why something could not be stored, found, read or deleted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// Bytes are not those that were written.
    #[error("{0}")]
    Damaged(#[from] Damage),
    /// There are checkpoints, but none of them is whole. Nothing was started from empty state.
    #[error(
        "none of the {} checkpoints in {folder} is whole: {}; restore the files, start from a savepoint with -s, or \
         give up the state with --fresh",
        .damaged.len(), join(.damaged)
    )]
    NoneWhole {
        /// The folder of the job.
        folder: String,
        /// What is wrong with each, newest first.
        damaged: Vec<Damage>,
    },
    /// Another process uses the folder.
    #[error("{folder} is in use by {owner}: stop it first, or use another folder")]
    Owned {
        /// The folder.
        folder: String,
        /// `process 4711`.
        owner: String,
    },
    /// There is something by this name already.
    #[error("{path} exists already")]
    Exists {
        /// What.
        path: String,
    },
    /// The disk failed; nothing was changed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The disk failed, and what was written may be there or not.
    #[error("{0}; it may have been written all the same")]
    Ambiguous(#[source] io::Error),
    /// A name that could lead out of the folder.
    #[error("`{path}` is not the name of a checkpoint file")]
    Name {
        /// The name.
        path: String,
    },
}

impl StorageError {
    /// Whether what was to be stored may be there all the same.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Ambiguous(_))
    }
}

fn join(damaged: &[Damage]) -> String {
    damaged.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
