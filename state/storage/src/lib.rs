//! Checkpoints and savepoints as files.
//!
//! ```text
//!   <checkpoint folder>/<job>/          a CheckpointDirectory            <savepoint folder>/savepoint-<job>-<n>/
//!     _owner                            who uses it, locked                _metadata
//!     chk-7/_metadata                   the manifest, written last         1-0.data
//!     chk-7/1-0.data                    parts of vertex 1, subtask 0
//!
//!   a task:  DataFileWriter ──bytes──▶ RingFile ──▶ FileEntry ──acknowledgement──▶ the JobMaster
//!   JobMaster:  Manifest ──▶ CheckpointDirectory::store ──▶ complete
//!   restore:    CheckpointDirectory::newest ──▶ Manifest ──▶ a task: RingReader ──▶ bytes of parts
//!   savepoint:  write_savepoint, from a checkpoint; Restorable::import, into one
//! ```
//!
//! # What is always true
//!
//! 1. A checkpoint is there when its manifest is, and then all its files are durable. The manifest appears at once, whole.
//! 2. Any wrong bit is found when it is read, and the error names file, byte and field.
//! 3. The newest whole checkpoint is found, whatever is wrong with newer ones; and where there are checkpoints but none is
//!    whole, that is an error, never an empty start.
//! 4. Only files are deleted that a manifest named or that have a name which only this crate gives; none that another
//!    manifest names, and none at all while a manifest cannot be read.
//! 5. Lengths and counts from a file are checked before memory is taken for them.
//!
//! Encoders and decoders are pure. `state/README.md` has the bytes.

mod bytes;
mod data_file;
mod directory;
mod disk;
mod error;
mod lock;
mod manifest;
mod report;
mod ring_file;
mod ring_reader;
mod savepoint;
mod storage;

pub use data_file::{BLOCK_BYTES, DataFileWriter, read_part, verify_file};
pub use directory::{
    CONTROL, CheckpointDirectory, Found, Leftovers, METADATA, data_file_name, folder_of,
    load_savepoint, savepoint_folder, store_savepoint,
};
pub use disk::{Disk, SeamDisk};
pub use error::{Damage, StorageError};
pub use lock::OwnerLock;
pub use manifest::{
    Ending, FORMAT_VERSION, FileEntry, Hash, Kind, Manifest, PartEntry, PartKind, SubtaskState,
    VertexState,
};
pub use report::{diff, inspect};
pub use ring_file::{RingFile, Written};
pub use ring_reader::RingReader;
pub use savepoint::{Restorable, write_savepoint};
pub use storage::{CheckpointStorage, LocalStorage, Object, PutMode};
