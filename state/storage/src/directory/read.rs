//! A manifest as it is read: what is wrong with it is damage, and so is that it is missing, or that the medium cannot give
//! it back.

use std::io;

use super::{folder_and_name, id_of, is_ours};
use crate::{CheckpointStorage, Damage, Kind, Manifest, StorageError};

/// EIO: what the medium cannot give back.
const EIO: i32 = 5;

pub(crate) fn load(
    storage: &impl CheckpointStorage,
    path: &str,
    kind: Kind,
) -> Result<Manifest, StorageError> {
    let bytes = named(path, storage.get(path, 0, u64::MAX))?;
    Ok(checked(path, kind, &bytes)?)
}

/// The manifest of a checkpoint from the bytes that stand in its folder.
pub(super) fn decode(checkpoint: u64, path: &str, bytes: &[u8]) -> Result<Manifest, Damage> {
    let manifest = checked(path, Kind::Checkpoint, bytes)?;
    if manifest.checkpoint != checkpoint {
        let what = format!("is {}: it belongs into another folder", manifest.checkpoint);
        return Err(Damage::new(path, 0, "job: checkpoint", what));
    }
    Ok(manifest)
}

fn checked(path: &str, kind: Kind, bytes: &[u8]) -> Result<Manifest, Damage> {
    let manifest = Manifest::decode(path, bytes)?;
    if manifest.kind != kind {
        let what = "a checkpoint and a savepoint are mixed up";
        return Err(Damage::new(path, 0, "job: kind", what));
    }
    for (_, _, file) in manifest.files() {
        let (folder, name) = folder_and_name(&file.path);
        let belongs = match kind {
            Kind::Checkpoint => id_of(folder).is_some(),
            Kind::Savepoint => folder.is_empty(),
        };
        if !belongs || !is_ours(name) {
            let what = format!("`{}` is not the name of a data file", file.path);
            return Err(Damage::new(path, 0, "path of a file", what));
        }
    }
    Ok(manifest)
}

/// A file that is missing, or that the medium cannot give back, is damaged.
pub(super) fn named<T>(path: &str, read: Result<T, StorageError>) -> Result<T, StorageError> {
    read.map_err(|error| match error {
        StorageError::Io(error) => named_error(path, error),
        other => other,
    })
}

pub(crate) fn named_error(path: &str, error: io::Error) -> StorageError {
    if error.kind() == io::ErrorKind::NotFound {
        Damage::of_file(path, "is missing").into()
    } else if is_eio(&error) {
        Damage::of_file(path, format!("cannot be read: {error}")).into()
    } else {
        error.into()
    }
}

pub(super) fn is_eio(error: &io::Error) -> bool {
    error.raw_os_error() == Some(EIO) || error.to_string().contains("(os error 5)")
}
