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
//! 3. A table that a later checkpoint has begun to write keeps its number, whatever an earlier one says.
//! 4. No step costs more than [`STEP_PARTS`] parts and one file: there may be thousands, and records wait meanwhile.

use wiesel_core::KeyGroup;
use wiesel_storage::{FileEntry, PartEntry};

/// Parts of earlier files that are gone through in one step.
const STEP_PARTS: usize = 64;

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

impl Contents {
    fn needs(&self, part: PartOf) -> bool {
        match part {
            PartOf::Checkpoint => false,
            PartOf::Group(table, group) => {
                self.tables.binary_search(&table).is_ok()
                    && self.begun.binary_search(&(table, group)).is_err()
            }
        }
    }
}

/// A checkpoint on its way into [`StateFiles`].
pub(crate) struct Advance {
    file: Option<FileEntry>,
    /// Sorted but for its parts.
    contents: Contents,
    /// The first file that it has not gone through.
    at: usize,
    needed: Vec<FileEntry>,
}

impl Advance {
    /// Of a checkpoint that is durable, with this file if there was anything to write.
    pub(crate) fn new(file: Option<FileEntry>, mut contents: Contents) -> Self {
        contents.tables.sort_unstable();
        contents.begun.sort_unstable();
        Self { file, contents, at: 0, needed: Vec::new() }
    }
}

/// A file with the parts that are needed.
struct Live {
    /// Without parts.
    entry: FileEntry,
    parts: Vec<(PartOf, PartEntry)>,
}

impl Live {
    fn whole(&self) -> FileEntry {
        FileEntry {
            path: self.entry.path.clone(),
            len: self.entry.len,
            hash: self.entry.hash,
            parts: self.parts.iter().map(|(_, part)| part.clone()).collect(),
        }
    }
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

    /// The next step of a checkpoint that has become durable; in the end all files that it needs.
    pub(crate) fn step(&mut self, advance: &mut Advance) -> Option<Vec<FileEntry>> {
        let Advance { file, contents, at, needed } = advance;
        let mut parts = 0;
        while let Some(live) = self.files.get_mut(*at) {
            if parts >= STEP_PARTS {
                return None;
            }
            parts += live.parts.len();
            live.parts.retain(|(of, _)| contents.needs(*of));
            if live.parts.is_empty() {
                self.files.remove(*at);
            } else {
                needed.push(live.whole());
                *at += 1;
            }
        }
        if let Some(mut entry) = file.take() {
            let parts = std::mem::take(&mut entry.parts);
            let parts = std::mem::take(&mut contents.parts).into_iter().zip(parts).collect();
            let live = Live { entry, parts };
            if !live.parts.is_empty() {
                needed.push(live.whole());
                self.files.push(live);
            }
        }
        let first_of_later = contents.tables.last().map_or(0, |last| last + 1);
        self.tables.retain(|(number, ..)| {
            *number >= first_of_later || contents.tables.binary_search(number).is_ok()
        });
        Some(std::mem::take(needed))
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
            writer.part("counts", "rows", kind, path.as_bytes());
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
        let mut advance = Advance::new(entry, contents);
        let needed = std::iter::repeat_with(|| files.step(&mut advance)).flatten().next();
        let needed = needed.into_iter().flatten();
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
    }

    #[test]
    fn a_later_checkpoint_that_is_being_written_keeps_its_tables() {
        let mut files = StateFiles::default();
        let a = files.number_of("rows", b"a");
        let group = |table| PartOf::Group(table, KeyGroup(1));
        let keyed = || vec![PartKind::Keyed(KeyGroup(1))];
        advance(&mut files, "1", &[group(a)], &[a], &[(a, 1)]);
        // 3 is written, with a table of its own, when 2 becomes durable.
        let b = files.number_of("rows", b"b");
        advance(&mut files, "2", &[], &[a], &[]);
        assert_eq!(files.number_of("rows", b"b"), b);
        advance(&mut files, "3", &[group(b)], &[a, b], &[(b, 1)]);
        // 4 is an increment of 3, in which nothing has changed.
        let (a, b) = (files.number_of("rows", b"a"), files.number_of("rows", b"b"));
        let found = advance(&mut files, "4", &[], &[a, b], &[]);
        assert_eq!(found, [("1".to_owned(), keyed()), ("3".to_owned(), keyed())]);
        // A table that is gone gets another number if it comes back behind one that has stayed.
        advance(&mut files, "5", &[], &[b], &[]);
        assert!(files.number_of("rows", b"a") > b);
    }

    #[test]
    fn many_parts_are_gone_through_in_steps() {
        let mut files = StateFiles::default();
        let table = files.number_of("rows", b"");
        let groups = |range: std::ops::Range<u16>| -> Vec<PartOf> {
            range.map(|group| PartOf::Group(table, KeyGroup(group))).collect()
        };
        for number in 0..10 {
            advance(&mut files, &number.to_string(), &groups(0..100), &[table], &[]);
        }
        let begun = vec![(table, KeyGroup(7))];
        let contents = Contents { parts: groups(7..8), tables: vec![table], begun };
        let mut last = Advance::new(Some(file("10", &groups(7..8))), contents);
        let steps: Vec<_> = (0..10).map(|_| files.step(&mut last)).collect();
        let needed = steps.iter().flatten().next().expect("at the last step");
        assert_eq!(steps.iter().position(Option::is_some), Some(9), "a file of 100 parts a step");
        let parts: Vec<_> = needed.iter().map(|file| file.parts.len()).collect();
        assert_eq!(parts, [[99; 10].as_slice(), &[1]].concat());
    }
}
