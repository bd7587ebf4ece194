//! Where the state of a task is: the files of its last checkpoint, and what of each is still needed.
//!
//! ```text
//!   chk-5/1-0.data   ▓▓▓▓▓▓▓▓   the base of all key groups           what a part begins anew, or whose table is gone,
//!   chk-6/1-0.data   ▓▓   ▓     what had changed                     drops the parts before it; a file without parts
//!   chk-7/1-0.data   ▓ ▓        what had changed then                is not named any more
//! ```
//!
//! # What is always true
//!
//! 1. Read in order, the parts of the files are the state of the task.
//! 2. It changes with a checkpoint whose files are durable, in the order of checkpoints.

use wiesel_core::KeyGroup;
use wiesel_storage::{FileEntry, PartEntry};

/// What a part is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PartOf {
    /// The checkpoint that it was written for, and of no other.
    Checkpoint,
    /// A key group of a table, by the table's number.
    Group(u32, KeyGroup),
}

/// What was written for a checkpoint beside the file itself.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// One for each part of the file, in order.
    pub(crate) parts: Vec<PartOf>,
    /// The tables, by number. What there is of others is not needed any more.
    pub(crate) tables: Vec<u32>,
    /// Groups whose parts in earlier files are not needed any more.
    pub(crate) begun: Vec<(u32, KeyGroup)>,
}

/// A file with the parts that are needed.
struct Live {
    /// Without parts.
    entry: FileEntry,
    parts: Vec<(PartOf, PartEntry)>,
}

/// The files of a task.
#[derive(Default)]
pub(crate) struct StateFiles {
    files: Vec<Live>,
    /// Names and headers of tables, with their numbers.
    tables: Vec<(u32, String, Vec<u8>)>,
    next: u32,
}

impl StateFiles {
    /// The number of a table.
    pub(crate) fn number_of(&mut self, name: &str, header: &[u8]) -> u32 {
        let known = self.tables.iter().find(|(_, n, h)| n == name && h == header);
        if let Some((number, ..)) = known {
            return *number;
        }
        let number = self.next;
        self.next += 1;
        self.tables.push((number, name.to_owned(), header.to_vec()));
        number
    }

    /// A checkpoint is durable, with this file if there was anything to write: all files that it needs.
    pub(crate) fn advance(
        &mut self,
        file: Option<FileEntry>,
        mut contents: Contents,
    ) -> Vec<FileEntry> {
        contents.tables.sort_unstable();
        contents.begun.sort_unstable();
        let is_needed = |part: &PartOf| match part {
            PartOf::Checkpoint => false,
            PartOf::Group(table, group) => {
                contents.tables.binary_search(table).is_ok()
                    && contents.begun.binary_search(&(*table, *group)).is_err()
            }
        };
        for live in &mut self.files {
            live.parts.retain(|(of, _)| is_needed(of));
        }
        if let Some(mut entry) = file {
            let parts = std::mem::take(&mut entry.parts);
            let parts = contents.parts.into_iter().zip(parts).collect();
            self.files.push(Live { entry, parts });
        }
        self.files.retain(|live| !live.parts.is_empty());
        self.tables.retain(|(number, ..)| contents.tables.binary_search(number).is_ok());
        let whole = self.files.iter().map(|Live { entry, parts }| FileEntry {
            path: entry.path.clone(),
            len: entry.len,
            hash: entry.hash,
            parts: parts.iter().map(|(_, part)| part.clone()).collect(),
        });
        whole.collect()
    }
}

#[cfg(test)]
mod tests {
    use wiesel_storage::{DataFileWriter, PartKind};

    use super::*;

    /// A file with these parts.
    fn file(path: &str, parts: &[PartOf]) -> FileEntry {
        let mut writer = DataFileWriter::new();
        for part in parts {
            let kind = match part {
                PartOf::Checkpoint => PartKind::List,
                PartOf::Group(_, group) => PartKind::Keyed(*group),
            };
            writer.part("rows", kind, path.as_bytes());
        }
        writer.finish(path).1
    }

    fn advance(
        files: &mut StateFiles,
        path: &str,
        parts: &[PartOf],
        tables: &[u32],
        begun: &[(u32, u16)],
    ) -> Vec<(String, Vec<PartKind>)> {
        let entry = (!parts.is_empty()).then(|| file(path, parts));
        let begun = begun.iter().map(|(table, group)| (*table, KeyGroup(*group))).collect();
        let contents = Contents { parts: parts.to_vec(), tables: tables.to_vec(), begun };
        let needed = files.advance(entry, contents).into_iter();
        let kinds = |file: FileEntry| file.parts.iter().map(|part| part.kind).collect();
        needed.map(|file| (file.path.clone(), kinds(file))).collect()
    }

    #[test]
    fn a_file_is_named_as_long_as_a_part_of_it_is_needed() {
        let mut files = StateFiles::default();
        let (a, b) = (files.number_of("rows", b"a"), files.number_of("rows", b"b"));
        assert_eq!((a, b, files.number_of("rows", b"a")), (0, 1, 0));
        let group = |table, group| PartOf::Group(table, KeyGroup(group));
        let keyed = |group| PartKind::Keyed(KeyGroup(group));
        let named = |path: &str, kinds: &[PartKind]| (path.to_owned(), kinds.to_vec());
        let base = [PartOf::Checkpoint, group(a, 1), group(a, 2), group(b, 1)];
        let all = [(a, 1), (a, 2), (b, 1)];
        let found = advance(&mut files, "1", &base, &[a, b], &all);
        assert_eq!(found, [named("1", &[PartKind::List, keyed(1), keyed(2), keyed(1)])]);
        // Nothing has changed: what was of that checkpoint alone goes.
        let found = advance(&mut files, "2", &[], &[a, b], &[]);
        assert_eq!(found, [named("1", &[keyed(1), keyed(2), keyed(1)])]);
        // An increment, and a group that begins anew.
        let found = advance(&mut files, "3", &[group(a, 1), group(b, 1)], &[b, a], &[(b, 1)]);
        assert_eq!(found, [named("1", &[keyed(1), keyed(2)]), named("3", &[keyed(1), keyed(1)])]);
        // A group that became empty; a table that is gone.
        let found = advance(&mut files, "4", &[], &[a], &[(a, 1)]);
        assert_eq!(found, [named("1", &[keyed(2)])]);
        assert!(advance(&mut files, "5", &[], &[], &[]).is_empty());
        assert!(files.number_of("rows", b"a") > b, "a number is given once");
    }
}
