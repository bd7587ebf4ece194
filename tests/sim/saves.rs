//! Savepoints of a job that crashes: asked for in the middle of a run, and gone on from in other folders.
//!
//! ```text
//!   /out-0  part-0-3 part-0-5 │ part-0-6 …          the savepoint has number 5: what is behind it is written again
//!   /out-1                      part-0-9 …
//! ```
//!
//! # What is always true
//!
//! 1. A savepoint whose path was said is whole, whatever happens to the machine then.
//! 2. What lies in front of it, visible or pending, and what the job writes that goes on from it, is everything, once.

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    sync::mpsc::Receiver,
};

use wiesel_cluster::{JobHandle, SavepointError};
use wiesel_shard::{SimDisk, fs};

const SAVEPOINTS: &str = "/savepoints";

#[derive(Default)]
struct Saves {
    job: Option<JobHandle>,
    asked: Vec<Receiver<Result<PathBuf, SavepointError>>>,
}

thread_local! {
    /// Of the run that is under way, or was last.
    static SAVES: RefCell<Saves> = RefCell::default();
}

/// From now on this job is asked.
pub(crate) fn to(job: JobHandle) {
    SAVES.set(Saves { job: Some(job), asked: Vec::new() });
}

/// Somebody wants a savepoint of the job that runs.
pub(crate) fn ask() {
    SAVES.with_borrow_mut(|Saves { job, asked }| {
        let folder = Path::new(SAVEPOINTS);
        asked.extend(job.as_ref().map(|job| job.request_savepoint(Some(folder), None)));
    });
}

/// The last savepoint that the run has said is there.
pub(crate) fn take() -> Option<PathBuf> {
    let Saves { asked, .. } = SAVES.take();
    asked.iter().filter_map(|answer| answer.try_recv().ok()?.ok()).last()
}

/// Where a job writes, and what it has left elsewhere before.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// What it continues from, and what was before that savepoint: of each folder of output the number of the savepoint.
    before: Vec<(PathBuf, u64)>,
    from: Option<PathBuf>,
}

impl Place {
    fn number(&self) -> usize {
        self.before.len()
    }

    pub(crate) fn out(&self) -> String {
        format!("/out-{}", self.number())
    }

    /// For the second sink of a job.
    pub(crate) fn copies(&self) -> String {
        copies_beside(&self.out())
    }

    pub(crate) fn checkpoints(&self) -> PathBuf {
        PathBuf::from(format!("/checkpoints-{}", self.number()))
    }

    /// The savepoint, as long as it is not there as a checkpoint.
    pub(crate) fn recovery(&self) -> Option<PathBuf> {
        let jobs = fs::read_dir(self.checkpoints()).unwrap_or_default();
        let mut folders = jobs.iter().flat_map(|job| fs::read_dir(job).unwrap_or_default());
        let is_there = folders.any(|folder| fs::exists(folder.join("_metadata")));
        self.from.clone().filter(|_| !is_there)
    }

    /// The next one, which goes on from a savepoint.
    pub(crate) fn after(mut self, savepoint: PathBuf) -> Self {
        let out = PathBuf::from(self.out());
        self.before.push((out, number_of(&savepoint).unwrap_or(0)));
        Self { before: self.before, from: Some(savepoint) }
    }

    /// The lines of all that counts.
    pub(crate) fn lines(&self, disk: &SimDisk, is_clean: bool) -> Result<Vec<String>, String> {
        let last = (PathBuf::from(self.out()), u64::MAX);
        let mut lines = Vec::new();
        for (at, (folder, savepoint)) in self.before.iter().chain([&last]).enumerate() {
            let folders = [folder.clone(), copies_beside(&folder.to_string_lossy()).into()];
            let is_in =
                |path: &&PathBuf| folders.iter().any(|folder| path.parent() == Some(folder));
            for path in disk.files().iter().filter(is_in) {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let is_kept = [".undone", ".pending"].iter().any(|end| name.ends_with(end));
                let may_be_left = at < self.number() || !is_clean;
                if is_kept || may_be_left && name.starts_with('.') {
                    continue; // Taken back, of a savepoint that nobody used, or left by a process that was killed.
                }
                if !name.starts_with("part-") {
                    return Err(format!("left behind: {}", path.display()));
                }
                if number_of(path).is_some_and(|number| number <= *savepoint) {
                    let text = String::from_utf8(disk.get(path).unwrap_or_default());
                    let text = text.map_err(|_| format!("{} is not text", path.display()))?;
                    lines.extend(text.lines().map(str::to_owned));
                }
            }
        }
        Ok(lines)
    }
}

fn copies_beside(out: &str) -> String {
    out.replace("/out", "/copies")
}

/// The number at the end of a name.
fn number_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.rsplit('-').next()?.parse().ok()
}
