//! Shows what is in a checkpoint or savepoint, verified to the last bit, or what is different between two.
//!
//! ```text
//! cargo run -p wiesel-storage --example inspect -- checkpoints/<job>              the newest whole one
//! cargo run -p wiesel-storage --example inspect -- checkpoints/<job>/chk-7       that one
//! cargo run -p wiesel-storage --example inspect -- savepoints/savepoint-ab12cd-9
//! cargo run -p wiesel-storage --example inspect -- FOLDER OTHER                   what is different in OTHER
//! ```

use std::{path::Path, process::ExitCode};

use wiesel_shard::fs;
use wiesel_storage::{
    CheckpointDirectory, LocalStorage, METADATA, Manifest, StorageError, diff, inspect,
    load_savepoint,
};

fn main() -> ExitCode {
    let folders: Vec<String> = std::env::args().skip(1).collect();
    let shown = match &folders[..] {
        [folder] => load(folder).map(|manifest| inspect(&manifest)),
        [older, newer] => load(older).and_then(|older| Ok(diff(&older, &load(newer)?))),
        _ => {
            eprintln!("usage: inspect FOLDER [OTHER]");
            return ExitCode::from(2);
        }
    };
    match shown {
        Ok(text) => print!("{text}"),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn load(folder: &str) -> Result<Manifest, StorageError> {
    let path = Path::new(folder);
    // Looking at a folder must not make it.
    fs::metadata(path)?;
    let id = path.file_name().and_then(|name| name.to_str()?.strip_prefix("chk-")?.parse().ok());
    if let (Some(id), Some(job)) = (id, path.parent()) {
        let directory = CheckpointDirectory::new(LocalStorage::open(job)?);
        let manifest = directory.load(id)?;
        directory.verify(&manifest)?;
        return Ok(manifest);
    }
    if fs::exists(path.join(METADATA)) {
        return load_savepoint(&LocalStorage::open(path)?);
    }
    let found = CheckpointDirectory::new(LocalStorage::open(path)?).newest()?;
    for (id, damage) in &found.damaged {
        eprintln!("checkpoint {id} is not whole: {damage}");
    }
    let nothing =
        || std::io::Error::new(std::io::ErrorKind::NotFound, format!("no checkpoint in {folder}"));
    found.manifest.ok_or_else(|| nothing().into())
}
