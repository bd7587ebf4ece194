//! Files in a folder: one part for each subtask, or for each subtask and checkpoint.
//!
//! ```text
//!   out/part-0   out/part-1   …      without checkpoints: complete and on the disk when the job has finished; before
//!                                    that, a beginning
//!   out/part-0-7 out/part-1-7 …      with checkpoints: complete from the moment that they are there (`transaction`)
//! ```
//!
//! # What is always true
//!
//! 1. A folder that holds something is refused, unless `overwrite` is set; then its `part-*` files are removed, and
//!    nothing else. What is kept there for savepoints does not count. That is decided once, in `prepare`, and never for a job that continues.
//! 2. Without checkpoints every subtask writes its part, if only an empty one. With them there are no empty ones.

use std::{
    io,
    marker::PhantomData,
    path::{Path, PathBuf},
};

use serde::Serialize;
use wiesel_core::{CheckpointId, Mutant, SubtaskIndex, TaskFailure};
use wiesel_record::{Item, Record};
use wiesel_shard::Shard;

use super::{
    AsCsv, AsJson, AsLines, Encode, Sink, SinkWriter, WriterContext, WriterStatus, outbox::Outbox,
    stdout::LineWriter, transaction,
};
use crate::Discovery;

/// A sink of text files in a folder.
///
/// ```text
///   without checkpoints     out/part-<subtask>                 grows while the job runs; whole when it has finished
///   with checkpoints        out/.part-<subtask>-<n>.inprogress hidden while it is written
///                           out/part-<subtask>-<checkpoint>    visible, by a rename, when the checkpoint is complete
/// ```
///
/// With checkpoints a file is **exactly once**: it has what its subtask wrote between two checkpoints, it is whole as soon as
/// it has its visible name, and whatever fails, no record of it is in another visible file. So read `part-*` at any time. Results
/// are seen when the next checkpoint is complete, and the last files when the job has finished. A
/// checkpoint that turns out to be damaged takes its files back: they are renamed to `.part-<subtask>-<checkpoint>.undone`.
///
/// A visible file has to **stay until later checkpoints are complete**, or the job has finished: a job that starts, or starts again,
/// from a checkpoint looks whether the files are there that became visible with it, and is refused, or fails, if one is not. So copy
/// what is new, or move a file away when there are files, of any subtask, of two later checkpoints (one is enough, unless a subtask heard
/// late that the one before was complete). If more checkpoints are retained than one, those of the oldest count as well: a
/// damaged checkpoint is replaced by an older one.
///
/// Without checkpoints a job that fails leaves the beginning of its files.
///
/// The folder is this sink's alone while the job runs, which a file `.wiesel-owner` in it says: a second sink is refused, of this job or
/// of another process, whatever it calls the folder.
///
/// The folder must be empty or not there, unless [`overwrite`](Self::overwrite) is set or the job continues from a checkpoint.
/// There is one file for each subtask and checkpoint: no rolling by size or time, and no buckets.
///
/// ```
/// use wiesel_connectors::FileSink;
///
/// let lines = FileSink::lines("out/words");
/// let pairs = FileSink::<(String, u64), _>::csv("out/counts", false).overwrite(true);
/// # let _ = (lines, pairs);
/// ```
#[derive(Debug)]
pub struct FileSink<T, E> {
    folder: PathBuf,
    overwrite: bool,
    encode: E,
    types: PhantomData<fn(T)>,
}

impl FileSink<String, AsLines> {
    /// Strings as lines.
    pub fn lines(folder: impl Into<PathBuf>) -> Self {
        Self::new(folder, AsLines)
    }
}

impl<T: Record + Serialize> FileSink<T, AsJson<T>> {
    /// JSON lines.
    pub fn json(folder: impl Into<PathBuf>) -> Self {
        Self::new(folder, AsJson::new())
    }
}

impl<T: Record + Serialize> FileSink<T, AsCsv<T>> {
    /// CSV; with `header`, each part that is not empty begins with the names of the fields.
    pub fn csv(folder: impl Into<PathBuf>, header: bool) -> Self {
        Self::new(folder, AsCsv::new(header))
    }
}

impl<T: Record, E: Encode<T>> FileSink<T, E> {
    /// Records as `encode` writes them.
    pub fn new(folder: impl Into<PathBuf>, encode: E) -> Self {
        Self { folder: folder.into(), overwrite: false, encode, types: PhantomData }
    }

    /// Whether part files of an earlier job may be replaced.
    #[must_use]
    pub fn overwrite(self, overwrite: bool) -> Self {
        Self { overwrite, ..self }
    }

    /// What is in the folder and in the way, if it may be: not what is hidden. Nothing if there is no folder.
    fn held(&self, discovery: &dyn Discovery) -> Result<Vec<PathBuf>, TaskFailure> {
        transaction::check_name(&self.folder)?;
        let mut held = match discovery.read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            held => held.map_err(|error| transaction::unfit(&self.folder, &error))?,
        };
        held.retain(|path| !transaction::name_of(path).is_some_and(transaction::is_ours));
        if !held.is_empty() && !self.overwrite {
            let hint = "choose another, or replace its part files with .overwrite(true)";
            let refused = io::Error::other(format!("the folder is not empty; {hint}"));
            return Err(transaction::unfit(&self.folder, &refused));
        }
        Ok(held)
    }
}

impl<T, E: Clone> Clone for FileSink<T, E> {
    fn clone(&self) -> Self {
        Self {
            folder: self.folder.clone(),
            encode: self.encode.clone(),
            types: PhantomData,
            ..*self
        }
    }
}

impl<T: Record, E: Encode<T>> Sink for FileSink<T, E> {
    type Record = T;
    type Writer = FileWriter<E>;

    fn check(&self, discovery: &dyn Discovery) -> Result<(), TaskFailure> {
        self.held(discovery).map(drop)
    }

    fn prepare(&self, discovery: &dyn Discovery) -> Result<(), TaskFailure> {
        let held = self.held(discovery)?;
        let unfit = |error: io::Error| transaction::unfit(&self.folder, &error);
        discovery.create_dir_all(&self.folder).map_err(unfit)?;
        transaction::clean_up(&self.folder, None, discovery)?;
        let mut parts = held.iter().filter(|path| is_part(path));
        parts.try_for_each(|path| discovery.remove_file(path)).map_err(unfit)
    }

    fn writer(&self, context: &WriterContext) -> FileWriter<E> {
        let encode = self.encode.clone();
        if !context.takes_checkpoints {
            let path = self.folder.join(format!("part-{}", context.subtask));
            return FileWriter {
                lines: LineWriter::new(encode, Outbox::file(path)),
                transactions: None,
            };
        }
        let mut transactions = Transactions {
            folder: self.folder.clone(),
            subtask: context.subtask.0,
            encode: self.encode.clone(),
            started: 0,
            closing: Vec::new(),
            pending: Vec::new(),
            has_ended: false,
        };
        let lines = transactions.begin();
        FileWriter { lines, transactions: Some(transactions) }
    }

    fn commit(
        &self,
        committables: &[Vec<u8>],
        discovery: &dyn Discovery,
    ) -> Result<(), TaskFailure> {
        transaction::commit(&self.folder, committables, discovery)
    }

    fn pin(&self, committables: &[Vec<u8>], discovery: &dyn Discovery) -> Result<(), TaskFailure> {
        transaction::pin(&self.folder, committables, discovery)
    }

    fn clean_up(
        &self,
        subtasks: Option<&[SubtaskIndex]>,
        discovery: &dyn Discovery,
    ) -> Result<(), TaskFailure> {
        transaction::clean_up(&self.folder, subtasks, discovery)
    }

    fn newest_visible(
        &self,
        discovery: &dyn Discovery,
    ) -> Result<Option<CheckpointId>, TaskFailure> {
        transaction::newest_visible(&self.folder, discovery)
    }

    fn take_back(
        &self,
        checkpoint: CheckpointId,
        discovery: &dyn Discovery,
    ) -> Result<(), TaskFailure> {
        transaction::take_back(&self.folder, checkpoint, discovery)
    }

    fn folder(&self) -> Option<&Path> {
        Some(&self.folder)
    }

    fn describe(&self) -> String {
        format!("{} in {}", self.encode.name(), self.folder.display())
    }
}

fn is_part(path: &Path) -> bool {
    transaction::name_of(path).is_some_and(transaction::is_visible)
}

/// See [`FileSink`].
pub struct FileWriter<E> {
    lines: LineWriter<E>,
    /// There if the job takes checkpoints.
    transactions: Option<Transactions<E>>,
}

/// The files of a subtask that become visible with checkpoints.
struct Transactions<E> {
    folder: PathBuf,
    subtask: u32,
    /// Before it has written anything.
    encode: E,
    /// Files that were begun.
    started: u64,
    /// Files behind which a barrier lies and that are not durable yet.
    closing: Vec<LineWriter<E>>,
    /// What no complete checkpoint has committed, as far as this writer has heard.
    pending: Vec<(CheckpointId, Vec<u8>)>,
    has_ended: bool,
}

impl<E: Clone> Transactions<E> {
    /// The next file. It is not there until something is written.
    fn begin(&mut self) -> LineWriter<E> {
        self.started += 1;
        let path = self.folder.join(self.hidden());
        LineWriter::new(self.encode.clone(), Outbox::file_with_content(path))
    }

    /// The name of the file that is being written.
    fn hidden(&self) -> String {
        transaction::hidden_name(self.subtask, self.started)
    }
}

impl<T: Record, E: Encode<T>> SinkWriter<T> for FileWriter<E> {
    #[inline]
    fn write<I: Item<T>>(&mut self, item: I) {
        self.lines.write(item);
    }

    #[inline]
    fn wants_pause(&self) -> bool {
        self.lines.wants_pause()
    }

    fn flush(&mut self) {
        self.lines.flush();
    }

    fn pre_commit(&mut self, checkpoint: CheckpointId) {
        let Some(transactions) = self.transactions.as_mut() else { return self.lines.flush() };
        if self.lines.is_untouched() {
            return;
        }
        let hidden = transactions.hidden();
        let folder = &transactions.folder;
        let committable =
            transaction::committable(folder, &hidden, transactions.subtask, checkpoint);
        transactions.pending.push((checkpoint, committable));
        let mut full = std::mem::replace(&mut self.lines, transactions.begin());
        full.finish();
        transactions.closing.push(full);
    }

    fn is_pre_committed(&self) -> bool {
        let is_closed = |transactions: &Transactions<E>| transactions.closing.is_empty();
        self.transactions.as_ref().is_none_or(is_closed) || Mutant::PreCommittedEarly.is_chosen()
    }

    fn committables(&self) -> Vec<Vec<u8>> {
        let pending = self.transactions.iter().flat_map(|transactions| &transactions.pending);
        pending.map(|(_, committable)| committable.clone()).collect()
    }

    fn completed(&mut self, checkpoint: CheckpointId) {
        if let Some(transactions) = &mut self.transactions {
            transactions.pending.retain(|(pending, _)| *pending > checkpoint);
        }
    }

    fn poll(&mut self, shard: &Shard) -> Result<WriterStatus, TaskFailure> {
        let Some(transactions) = &mut self.transactions else { return self.lines.poll(shard) };
        let mut moved = false;
        let mut at = 0;
        while at < transactions.closing.len() {
            match transactions.closing[at].poll(shard)? {
                WriterStatus::Finished => {
                    transactions.closing.remove(at);
                    moved = true;
                }
                status => {
                    moved |= status == WriterStatus::Moved;
                    at += 1;
                }
            }
        }
        if transactions.has_ended && transactions.closing.is_empty() && self.lines.is_untouched() {
            return Ok(WriterStatus::Finished);
        }
        match self.lines.poll(shard)? {
            WriterStatus::Waiting | WriterStatus::Idle if moved => Ok(WriterStatus::Moved),
            WriterStatus::Idle if !transactions.closing.is_empty() => Ok(WriterStatus::Waiting),
            status => Ok(status),
        }
    }

    /// What was written behind the last barrier waits for the last one.
    fn finish(&mut self) {
        match &mut self.transactions {
            Some(transactions) => transactions.has_ended = true,
            None => self.lines.finish(),
        }
    }
}

#[cfg(all(test, not(sim)))]
#[allow(clippy::disallowed_methods)] // The tests look at the files behind the seam's back.
mod tests {
    use std::fs;

    use wiesel_record::Viewed;

    use super::*;
    use crate::MachineDiscovery;

    fn write_all(sink: &FileSink<String, AsLines>, subtask: u32, lines: &[&str]) {
        let shard = Shard::detached();
        let context = WriterContext {
            subtask: SubtaskIndex(subtask),
            parallelism: 2,
            shard: Shard::detached(),
            takes_checkpoints: false,
        };
        let mut writer = sink.writer(&context);
        let mut pauses = 0;
        for line in lines {
            writer.write(Viewed::<String>(line));
            while SinkWriter::<String>::wants_pause(&writer) {
                pauses += 1;
                shard.look();
                SinkWriter::<String>::poll(&mut writer, &shard).expect("a disk");
            }
        }
        assert_eq!(pauses > 0, lines.len() > 1_000);
        SinkWriter::<String>::finish(&mut writer);
        loop {
            shard.look();
            let status = SinkWriter::<String>::poll(&mut writer, &shard).expect("a disk");
            if status == WriterStatus::Finished {
                return;
            }
        }
    }

    #[test]
    fn each_subtask_writes_its_part() {
        let folder = tempfile::tempdir().expect("a folder");
        let sink = FileSink::lines(folder.path().join("a/b"));
        sink.prepare(&MachineDiscovery).expect("a new folder");
        let line = "weasel ".repeat(20);
        let many = vec![line.as_str(); 5_000];
        write_all(&sink, 0, &many);
        write_all(&sink, 1, &[]);
        let read = |part: &str| fs::read_to_string(folder.path().join("a/b").join(part));
        let part = read("part-0").expect("a part");
        assert!(part.lines().count() == 5_000 && part.lines().all(|read| read == line));
        assert_eq!(read("part-1").ok().as_deref(), Some(""));
    }

    #[test]
    fn a_folder_without_a_name_is_refused() {
        let sink = FileSink::lines("");
        // With checkpoints the second is asked first, also by a job that continues.
        let asked = sink.newest_visible(&MachineDiscovery).map(drop);
        for refused in [sink.check(&MachineDiscovery), sink.prepare(&MachineDiscovery), asked] {
            let refused = refused.expect_err("no name");
            assert!(!refused.retryable);
            let text = format!("{refused}: {}", refused.source);
            assert!(text.contains("the name of its folder is empty; name one"), "{text}");
        }
        FileSink::lines(".").overwrite(true).check(&MachineDiscovery).expect("a name");
    }

    #[test]
    fn a_folder_in_use_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let sink = FileSink::lines(folder.path());
        sink.prepare(&MachineDiscovery).expect("an empty folder");
        for name in ["part-0", "part-x", "notes"] {
            fs::write(folder.path().join(name), "old").expect("a disk");
        }
        let refused = sink.prepare(&MachineDiscovery).expect_err("not empty").source.to_string();
        assert!(refused.contains("not empty") && refused.contains("overwrite"), "{refused}");
        let overwriting = sink.clone().overwrite(true);
        overwriting.check(&MachineDiscovery).expect("allowed");
        assert!(folder.path().join("part-0").exists(), "a look changes nothing");
        overwriting.prepare(&MachineDiscovery).expect("allowed");
        let left = MachineDiscovery.read_dir(folder.path()).expect("a folder");
        assert_eq!(left, ["notes", "part-x"].map(|name| folder.path().join(name)));
        let file = FileSink::lines(folder.path().join("notes")).overwrite(true);
        let refused = file.prepare(&MachineDiscovery).expect_err("a file").source.to_string();
        assert_eq!(refused, "it is not a folder; name one that is, or a new one");
        // A job that takes checkpoints asks this first.
        let asked = file.newest_visible(&MachineDiscovery).expect_err("a file");
        assert_eq!(asked.source.to_string(), refused);
        let new = FileSink::lines(folder.path().join("new"));
        new.check(&MachineDiscovery).expect("a new folder");
        assert!(!folder.path().join("new").exists());
    }
}
