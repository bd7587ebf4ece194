//! The files that checkpoints leave on the simulated disk: what is there, and what a manifest says should be.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use wiesel_shard::SimDisk;
use wiesel_storage::Manifest;

/// The manifests of the checkpoints, oldest first.
pub(crate) fn manifests(disk: &SimDisk, folder: &Path) -> Vec<PathBuf> {
    let number = |path: &PathBuf| {
        let folder = path.parent()?.file_name()?.to_str()?;
        folder.strip_prefix("chk-")?.parse::<u64>().ok()
    };
    let mut found = disk.files();
    found.retain(|path| path.starts_with(folder) && path.ends_with("_metadata"));
    found.sort_by_key(number);
    found
}

/// The files that a manifest names, if it can be read.
pub(crate) fn named_by(disk: &SimDisk, manifest: &Path) -> Option<BTreeSet<PathBuf>> {
    let decoded = Manifest::decode("_metadata", &disk.get(manifest)?).ok()?;
    let folder = manifest.parent()?.parent()?;
    Some(decoded.files().map(|(_, _, file)| folder.join(&file.path)).collect())
}

/// No file leaks: what is left are the manifests of the last checkpoints, at most as many as are retained, the files that
/// they name, the lock, and manifests that were set aside.
pub(crate) fn only_the_last_checkpoints_are_left(
    disk: &SimDisk,
    place: &Path,
    retained: Option<u32>,
) -> Result<(), String> {
    let files = disk.files();
    let mut left: BTreeSet<&Path> = files.iter().map(PathBuf::as_path).collect();
    let is_aside = |path: &Path| path.extension().is_some_and(|end| end == "damaged");
    left.retain(|path| path.starts_with(place) && !path.ends_with("_owner") && !is_aside(path));
    let manifests = manifests(disk, place);
    if manifests.is_empty() || retained.is_some_and(|most| manifests.len() > most as usize) {
        return Err(format!("{} checkpoints are left, not {retained:?}", manifests.len()));
    }
    let mut named = BTreeSet::new();
    for manifest in &manifests {
        left.remove(manifest.as_path());
        let files = named_by(disk, manifest);
        named.extend(files.ok_or_else(|| format!("{} cannot be read", manifest.display()))?);
    }
    let named: BTreeSet<&Path> = named.iter().map(PathBuf::as_path).collect();
    if let Some(strange) = left.difference(&named).next() {
        return Err(format!("left behind: {}", strange.display()));
    }
    match named.difference(&left).next() {
        Some(missing) => Err(format!("named and not there: {}", missing.display())),
        None => Ok(()),
    }
}
