//! What can be wrong with a checkpoint, a folder or a disk.

use std::{error, fmt, io};

/// A place in a file where something is wrong.
///
/// ```
/// use wiesel_storage::Damage;
///
/// let damage = Damage::new("chk-7/_metadata", 24, "vertex 1", "the checksum differs");
/// assert_eq!(damage.to_string(), "chk-7/_metadata is damaged at byte 24: vertex 1: the checksum differs");
/// let missing = Damage::of_file("chk-7/0-0.data", "is missing");
/// assert_eq!(missing.to_string(), "chk-7/0-0.data is missing");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file, below the folder of the job or of the savepoint.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// What stands there; nothing if it is the file as a whole.
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

    /// Something wrong with all of a file.
    pub fn of_file(file: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(file, 0, "", what)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, field, what } = self;
        if field.is_empty() {
            return write!(f, "{file} {what}");
        }
        write!(f, "{file} is damaged at byte {offset}: {field}: {what}")
    }
}

impl error::Error for Damage {}

/// Why something could not be stored, found, read or deleted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// Bytes are not those that were written.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// A job was to be started from something else.
    #[error(
        "it is no savepoint, since there is no `_metadata` in it; name the folder that `savepoint` has printed, or a \
         `chk-<n>` in the folder of a job"
    )]
    NoSavepoint,
    /// There are checkpoints, but none of them is whole. Nothing was started from empty state.
    #[error(
        "{}: {}; restore the files, start from a savepoint with -s, or give up the state with --fresh",
        none_of(.damaged.len(), .folder), join(.damaged)
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
    /// State that the format has no room for; nothing was written.
    #[error(
        "{what} is {size} long, and a checkpoint has room for {max}: give the job less state, or more subtasks to \
         divide it among"
    )]
    TooLarge {
        /// Of what: `the enumerator of vertex `posts``.
        what: String,
        /// How much there is, in bytes or items.
        size: u64,
        /// How much there may be.
        max: u64,
    },
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

fn none_of(count: usize, folder: &str) -> String {
    match count {
        1 => format!("the only checkpoint in {folder} is not whole"),
        _ => format!("none of the {count} checkpoints in {folder} is whole"),
    }
}

fn join(damaged: &[Damage]) -> String {
    damaged.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
