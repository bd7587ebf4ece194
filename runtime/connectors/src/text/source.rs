//! The source of text: where, in which format, with which options.
//!
//! # What is always true
//!
//! 1. Building one touches nothing. Patterns are expanded and names resolved in `enumerator`.
//! 2. Files are read in the order of their paths, splits in the order of their bytes, passes one after the other.
//! 3. What is compressed, or is not a file, is one split.

use std::{path::Path, time::Duration};

use wiesel_core::{Blame, TaskFailure};

use super::{
    BadLines, Format, TextReader, Utf8,
    options::TextOptions,
    split::{Place, TextSplit},
};
use crate::{
    Discovery, ReaderContext, Source, SplitEnumerator, SplitPayload,
    codec::{Words, put_bytes, put_u64},
    enumerators::{Ordered, SplitPlan},
};

/// Lines of files, standard input or a socket, in a format.
#[derive(Clone, Debug)]
pub struct TextSource<F> {
    input: Input,
    format: F,
    options: TextOptions,
}

#[derive(Clone, Debug)]
enum Input {
    Files(Vec<String>),
    Stdin,
    Socket(String),
}

impl<F> TextSource<F> {
    /// Files that match `pattern` (`*`, `**`, `?`, `[..]`), or the one file that has this name. Files whose names begin with
    /// `.` or `_`, and those in folders whose names begin with `.`, are left out unless the pattern says so (`out/.part-*`):
    /// they are being written, as those of a [`FileSink`](crate::FileSink), or are notes about the others.
    pub fn files(format: F, pattern: impl Into<String>) -> Self {
        Self::new(Input::Files(vec![pattern.into()]), format)
    }

    /// Standard input. It cannot be read again: after a restart in the same process it goes on behind the last line that
    /// was read, and what came of the lines since the last checkpoint is lost.
    pub fn stdin(format: F) -> Self {
        Self::new(Input::Stdin, format)
    }

    /// What a server at `host:port` sends. A restart connects again, and a connection begins with a line; what the last one
    /// has sent since the last checkpoint is lost.
    pub fn socket(format: F, address: impl Into<String>) -> Self {
        Self::new(Input::Socket(address.into()), format)
    }

    fn new(input: Input, format: F) -> Self {
        Self { input, format, options: TextOptions::default() }
    }

    /// More files. Nothing to a source that does not read files.
    #[must_use]
    pub fn and_files(mut self, pattern: impl Into<String>) -> Self {
        if let Input::Files(patterns) = &mut self.input {
            patterns.push(pattern.into());
        }
        self
    }

    /// What happens to a line that cannot be read. [`BadLines::Fail`], if nothing is said.
    #[must_use]
    pub fn bad_lines(mut self, bad_lines: BadLines) -> Self {
        self.options.bad_lines = bad_lines;
        self
    }

    /// What happens to bytes that are not UTF-8. [`Utf8::Require`], if nothing is said.
    #[must_use]
    pub fn utf8(mut self, utf8: Utf8) -> Self {
        self.options.utf8 = utf8;
        self
    }

    /// The longest line, in bytes before its `\n`; 1 MiB, if nothing is said.
    #[must_use]
    pub fn line_bytes_max(mut self, bytes: usize) -> Self {
        self.options.line_bytes_max = bytes;
        self
    }

    /// Bytes of a file per split; 16 MiB, if nothing is said. At least 1.
    #[must_use]
    pub fn split_bytes(mut self, bytes: u64) -> Self {
        self.options.split_bytes = bytes.max(1);
        self
    }

    /// Reads the files `passes` times, as if they followed each other; `step` is for formats that move event time
    /// on (`replay`). Nothing to a source that does not read files.
    #[must_use]
    pub fn repeat(mut self, passes: u64, step: Duration) -> Self {
        (self.options.passes, self.options.pass_step) = (passes, step);
        self
    }

    /// What happens to lines that cannot be read, as it was chosen.
    pub fn bad_lines_go(&self) -> BadLines {
        self.options.bad_lines
    }

    pub(super) fn format(&self) -> &F {
        &self.format
    }

    pub(super) fn with_format<G>(self, format: G) -> TextSource<G> {
        TextSource { input: self.input, format, options: self.options }
    }
}

/// The same splits again and again.
struct Passes {
    splits: Vec<TextSplit>,
    passes: u64,
}

impl SplitPlan for Passes {
    fn count(&self) -> u64 {
        (self.splits.len() as u64).saturating_mul(self.passes)
    }

    fn split(&self, index: u64) -> SplitPayload {
        let per_pass = self.splits.len() as u64;
        let split = self.splits[(index % per_pass) as usize].clone();
        TextSplit { pass: index / per_pass, ..split }.encode()
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        put_u64(bytes, self.passes);
        put_u64(bytes, self.splits.len() as u64);
        self.splits.iter().for_each(|split| put_bytes(bytes, &split.encode().0));
    }

    fn read(&self, words: &mut Words<'_>) -> Option<Self> {
        let (passes, count) = (words.u64()?, words.u64()?);
        let splits = (0..count).map(|_| TextSplit::decode(&SplitPayload(words.bytes()?.to_vec())));
        let splits = splits.collect::<Option<Vec<_>>>()?;
        Some(Self { splits, passes })
    }
}

impl<F: Format> Source for TextSource<F> {
    type Record = F::Record;
    type Reader = TextReader<F>;

    fn enumerator(
        &self,
        _parallelism: u32,
        discovery: &dyn Discovery,
    ) -> Result<Box<dyn SplitEnumerator>, TaskFailure> {
        let whole = |place| vec![TextSplit { place, start: 0, end: u64::MAX, pass: 0 }];
        let (splits, passes) = match &self.input {
            Input::Files(patterns) => {
                let mut splits = Vec::new();
                for pattern in patterns {
                    for place in find(pattern, discovery)? {
                        self.split(place, &mut splits);
                    }
                }
                (splits, self.options.passes)
            }
            Input::Stdin => (whole(Place::Stdin), 1),
            Input::Socket(name) => {
                let addresses = discovery.resolve(name).map_err(|error| {
                    TaskFailure::new(Blame::Environment, format!("connect to {name}"), error)
                })?;
                (whole(Place::Socket { name: name.clone(), addresses }), 1)
            }
        };
        Ok(Box::new(Ordered::new(Passes { splits, passes })))
    }

    fn reader(&self, context: &ReaderContext) -> TextReader<F> {
        TextReader::new(&self.format, self.options.clone(), context.clone())
    }

    fn describe(&self) -> String {
        let place = match &self.input {
            Input::Files(patterns) => patterns.join(", "),
            Input::Stdin => "stdin".to_owned(),
            Input::Socket(name) => name.clone(),
        };
        format!("{} of {place}", self.format.name())
    }

    fn is_bounded(&self) -> bool {
        matches!(self.input, Input::Files(_))
    }

    fn can_rewind(&self) -> bool {
        matches!(self.input, Input::Files(_))
    }
}

impl<F> TextSource<F> {
    fn split(&self, place: Place, splits: &mut Vec<TextSplit>) {
        let Place::File { length, .. } = place else { return };
        if place.compression().is_some() {
            splits.push(TextSplit { place, start: 0, end: u64::MAX, pass: 0 });
            return;
        }
        let size = self.options.split_bytes;
        let mut start = 0;
        while start < length {
            let end = start.saturating_add(size).min(length);
            splits.push(TextSplit { place: place.clone(), start, end, pass: 0 });
            start = end;
        }
    }
}

/// The files that a pattern names.
fn find(pattern: &str, discovery: &dyn Discovery) -> Result<Vec<Place>, TaskFailure> {
    let failed = |cause: String| TaskFailure::new(Blame::Job, format!("read {pattern}"), cause);
    let fail = |cause: String| Err(failed(cause));
    let is_pattern = pattern.contains(['*', '?', '[']);
    match discovery.metadata(Path::new(pattern)) {
        Ok(found) if found.is_file => {
            Ok(vec![Place::File { path: pattern.into(), length: found.len }])
        }
        Ok(found) if found.is_dir => fail(format!(
            "it is a folder; for the files in it write {}/*",
            pattern.trim_end_matches('/')
        )),
        Ok(_) => fail("it is neither a file nor a folder; pipe it to standard input".to_owned()),
        Err(error) if !is_pattern => fail(error.to_string()),
        Err(_) => {
            let paths = discovery.list(pattern).map_err(|error| failed(error.to_string()))?;
            let mut places = Vec::new();
            for path in paths {
                match discovery.metadata(&path) {
                    Ok(found) if found.is_file => {
                        places.push(Place::File { path, length: found.len });
                    }
                    Ok(_) => {}
                    Err(error) => return fail(error.to_string()),
                }
            }
            if places.is_empty() {
                return fail(
                    "no file matches; names that begin with . or _ are left out".to_owned(),
                );
            }
            Ok(places)
        }
    }
}
