//! Reads splits of text into records, on a shard.
//!
//! ```text
//!   splits ─▶ Open split: byte stream ─▶ [decompressor] ─▶ chunk ─▶ cutter ─▶ decoder ─▶ SourceOutput
//!                                                            ▲         │ position, next line: the cursor
//!                                                            └─ kept between turns
//! ```
//!
//! # What is always true
//!
//! 1. A turn ends right after the line at which the output said so; the next begins with the line after it.
//! 2. Per line the reader does nothing for messages: positions are worked out from the cutter when asked for.
//! 3. A split that is not the first of its file reads the file's first line beforehand, if the format has a header.
//! 4. Only a file has a range: a connection begins with a line, and standard input goes on where it was left.

use std::{borrow::Cow, collections::VecDeque};

use wiesel_core::{Blame, TaskFailure};
use wiesel_shard::Shard;

use super::{
    BadLines, Decode, Format, LineError, Utf8,
    byte_stream::{ByteStream, Fed},
    cutter::{Cut, LineCutter},
    decompress::{Decompressor, Pulled},
    options::TextOptions,
    split::{Place, TextSplit},
    stdin::stdin,
};
use crate::{
    ReaderContext, ReaderStatus, SourceOutput, SourceReader, SplitPayload, codec::malformed,
};

/// Reads the splits of a [`super::TextSource`].
pub struct TextReader<F: Format> {
    lines: Lines<F>,
    splits: VecDeque<TextSplit>,
    no_more_splits: bool,
    open: Option<Open>,
    /// Where the last record was, when its split has been read to the end.
    last: Option<String>,
}

/// What lines are made into, and how.
struct Lines<F: Format> {
    decoder: F::Decoder,
    options: TextOptions,
    context: ReaderContext,
}

/// A split that is being read.
struct Open {
    split: TextSplit,
    bytes: ByteStream,
    decompressor: Option<Decompressor>,
    cutter: LineCutter,
    chunk: Vec<u8>,
    at: usize,
    /// Bytes of text before the first that the cutter wants: a decompressed text begins at 0.
    discard: u64,
    input_ended: bool,
    /// The next line is a header.
    header: bool,
    /// Only the header is wanted.
    header_only: bool,
}

/// What reading a split came to.
enum Step {
    TurnOver,
    Waiting,
    Ended,
}

impl<F: Format> TextReader<F> {
    pub(super) fn new(format: &F, options: TextOptions, context: ReaderContext) -> Self {
        let lines = Lines { decoder: format.decoder(), options, context };
        Self { lines, splits: VecDeque::new(), no_more_splits: false, open: None, last: None }
    }
}

impl<F: Format> SourceReader<F::Record> for TextReader<F> {
    fn poll<S: SourceOutput<F::Record>>(
        &mut self,
        shard: &Shard,
        out: &mut S,
    ) -> Result<ReaderStatus, TaskFailure> {
        loop {
            if self.open.is_none() {
                let Some(split) = self.splits.pop_front() else {
                    return Ok(match self.no_more_splits {
                        true => ReaderStatus::Finished,
                        false => ReaderStatus::NeedSplit,
                    });
                };
                let header = self.lines.wants_header(&split.place)?;
                self.lines.decoder.shift(self.lines.shift_of(&split));
                self.open = Some(Open::new(shard, split, header, &self.lines.options)?);
            }
            let Some(open) = &mut self.open else { continue };
            match open.read(&mut self.lines, out).map_err(|failure| open.at(failure))? {
                Step::TurnOver => return Ok(ReaderStatus::MoreAvailable),
                Step::Waiting => return Ok(ReaderStatus::Waiting(None)),
                Step::Ended if open.header_only => {
                    let split = open.split.clone();
                    *open = Open::new(shard, split, false, &self.lines.options)?;
                }
                Step::Ended => {
                    self.last = open.position();
                    self.open = None;
                }
            }
        }
    }

    fn add_split(&mut self, split: SplitPayload) -> Result<(), TaskFailure> {
        let split = TextSplit::decode(&split).ok_or_else(|| malformed("a split"))?;
        self.splits.push_back(split);
        Ok(())
    }

    fn sort(splits: &mut [SplitPayload]) {
        splits.sort_by_cached_key(|split| TextSplit::decode(split).map(|split| split.order()));
    }

    fn no_more_splits(&mut self) {
        self.no_more_splits = true;
    }

    fn unread(&self) -> Vec<SplitPayload> {
        let open = self.open.as_ref().map(Open::rest);
        open.iter().chain(&self.splits).map(TextSplit::encode).collect()
    }

    fn position(&self) -> Option<String> {
        self.open.as_ref().and_then(Open::position).or_else(|| self.last.clone())
    }
}

impl Open {
    fn new(
        shard: &Shard,
        split: TextSplit,
        header: bool,
        options: &TextOptions,
    ) -> Result<Self, TaskFailure> {
        let is_file = matches!(split.place, Place::File { .. });
        let split = if is_file { split } else { TextSplit { start: 0, ..split } }; // Invariant 4.
        let header_only = header && split.start > 0;
        let (start, end) = if header_only { (0, 1) } else { (split.start, split.end) };
        let first_byte = LineCutter::first_byte(start);
        let decompressor = split.place.compression().map(Decompressor::new).transpose();
        let decompressor = decompressor.map_err(|error| input_failure(&split.place, error))?;
        let bytes = match &split.place {
            Place::File { path, .. } if decompressor.is_some() => {
                ByteStream::file(shard, path, 0, u64::MAX)
            }
            Place::File { path, .. } => ByteStream::file(shard, path, first_byte, end),
            Place::Stdin => ByteStream::stdin(shard),
            Place::Socket { addresses, .. } => ByteStream::socket(shard, addresses),
        };
        let left = if split.place == Place::Stdin { stdin().left.take() } else { None };
        let fresh = || (LineCutter::new(start, end, options.line_bytes_max), Vec::new());
        let (cutter, chunk) = left.unwrap_or_else(fresh);
        Ok(Self {
            discard: if decompressor.is_some() { first_byte } else { 0 },
            cutter,
            split,
            bytes,
            decompressor,
            chunk,
            at: 0,
            input_ended: false,
            header,
            header_only,
        })
    }

    /// Reads lines until the turn is over, the bytes run out, or the split is read.
    fn read<F: Format, S: SourceOutput<F::Record>>(
        &mut self,
        lines: &mut Lines<F>,
        out: &mut S,
    ) -> Result<Step, TaskFailure> {
        loop {
            let over = match self.cutter.next(&self.chunk, &mut self.at) {
                Cut::Line(line) if !self.header => lines.line(line, out)?,
                Cut::Line(header) => {
                    self.header = false;
                    lines.header(&self.split.place, header)?
                }
                Cut::TooLong(line) => lines.too_long(line, out)?,
                Cut::End => return Ok(Step::Ended),
                // After the last line one more round finds the end.
                Cut::More if self.input_ended => match self.cutter.finish() {
                    Some(line) if !self.header => lines.line(line, out)?,
                    Some(header) => lines.header(&self.split.place, header)?,
                    None => return Ok(Step::Ended),
                },
                Cut::More => match self.next_chunk()? {
                    Fed::Waiting => return Ok(Step::Waiting),
                    Fed::Chunk(_) | Fed::End => false,
                },
            };
            if over {
                return Ok(Step::TurnOver);
            }
        }
    }

    /// Replaces the chunk, which is used up. An empty `Fed::Chunk` stands for "look again".
    fn next_chunk(&mut self) -> Result<Fed, TaskFailure> {
        let fed = self.feed().map_err(|error| input_failure(&self.split.place, error))?;
        if let Fed::End = fed {
            self.input_ended = true;
            self.check_length()?;
        }
        if self.discard > 0 {
            let count = self.discard.min(self.chunk.len() as u64);
            self.discard -= count;
            self.at = count as usize;
        }
        Ok(fed)
    }

    fn feed(&mut self) -> std::io::Result<Fed> {
        let Some(decompressor) = &mut self.decompressor else {
            let fed = self.bytes.poll()?;
            if let Fed::Chunk(chunk) = fed {
                let used = std::mem::replace(&mut self.chunk, chunk);
                self.bytes.give_back(used);
                self.at = 0;
                return Ok(Fed::Chunk(Vec::new()));
            }
            return Ok(fed);
        };
        loop {
            self.at = 0;
            match decompressor.pull(&mut self.chunk)? {
                Pulled::Piece => return Ok(Fed::Chunk(Vec::new())),
                Pulled::End => return Ok(Fed::End),
                Pulled::Hungry => match self.bytes.poll()? {
                    Fed::Chunk(chunk) => self.bytes.give_back(decompressor.feed(chunk)),
                    Fed::Waiting => return Ok(Fed::Waiting),
                    Fed::End => decompressor.end(),
                },
            }
        }
    }

    /// A file that has become shorter has lost lines: that is no end.
    fn check_length(&self) -> Result<(), TaskFailure> {
        match &self.split.place {
            Place::File { length, .. } if self.decompressor.is_none() => {
                let found = self.cutter.offset();
                if found >= (*length).min(self.split.end) || self.header_only {
                    return Ok(());
                }
                let cause = format!("it had {length} bytes when the job started, and now {found}");
                let doing = format!("read {}", self.split.place.name());
                Err(TaskFailure::new(Blame::Environment, doing, cause))
            }
            _ => Ok(()),
        }
    }

    /// What is left of the split.
    fn rest(&self) -> TextSplit {
        let start = if self.header_only { self.split.start } else { self.cutter.next_line() };
        TextSplit { start, ..self.split.clone() }
    }

    /// Where the last line was: with its number, if the split begins where its file does.
    fn position(&self) -> Option<String> {
        let (byte, count) = self.cutter.last_line();
        let name = self.split.place.name();
        match (count, self.split.start) {
            (0, _) => None,
            (_, 0) => Some(format!("{name}, line {count}, byte {byte}")),
            _ => Some(format!("{name}, byte {byte}")),
        }
    }

    /// Adds the position to a failure.
    fn at(&self, failure: TaskFailure) -> TaskFailure {
        match self.position() {
            Some(position) => failure.position(position),
            None => failure.position(self.split.place.name()),
        }
    }
}

/// What was read of standard input and not cut is for whoever reads it next. A read that is under way is cancelled.
impl Drop for Open {
    fn drop(&mut self) {
        if self.split.place == Place::Stdin {
            let mut chunk = self.chunk.split_off(self.at);
            chunk.append(&mut self.bytes.take_read());
            let cutter = std::mem::replace(&mut self.cutter, LineCutter::new(0, 0, 0));
            stdin().left = Some((cutter, chunk));
        }
    }
}

impl<F: Format> Lines<F> {
    /// Whether the next line of `place` is a header. That of standard input may be known.
    fn wants_header(&mut self, place: &Place) -> Result<bool, TaskFailure> {
        let wants_header = self.decoder.wants_header();
        let is_stdin = wants_header && *place == Place::Stdin;
        match if is_stdin { stdin().header.clone() } else { None } {
            Some(header) => self.header(place, &header),
            None => Ok(wants_header),
        }
    }

    fn shift_of(&self, split: &TextSplit) -> std::time::Duration {
        let pass = u32::try_from(split.pass).unwrap_or(u32::MAX);
        self.options.pass_step.saturating_mul(pass)
    }

    #[inline]
    fn line<S: SourceOutput<F::Record>>(
        &mut self,
        line: &[u8],
        out: &mut S,
    ) -> Result<bool, TaskFailure> {
        if self.options.utf8 == Utf8::Replace {
            return self.line_replaced(line, out);
        }
        match self.decoder.decode(line, out) {
            Ok(over) => Ok(over),
            Err(error) => self.bad(line, error, out),
        }
    }

    #[inline(never)]
    fn line_replaced<S: SourceOutput<F::Record>>(
        &mut self,
        line: &[u8],
        out: &mut S,
    ) -> Result<bool, TaskFailure> {
        let text = match simdutf8::basic::from_utf8(line) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => {
                self.context.metrics.text_replaced.add(1);
                String::from_utf8_lossy(line)
            }
        };
        match self.decoder.decode(text.as_bytes(), out) {
            Ok(over) => Ok(over),
            Err(error) => self.bad(line, error, out),
        }
    }

    #[cold]
    fn too_long<S: SourceOutput<F::Record>>(
        &mut self,
        line: &[u8],
        out: &mut S,
    ) -> Result<bool, TaskFailure> {
        let error = LineError::TooLong { bytes_max: self.options.line_bytes_max };
        self.bad(line, error, out)
    }

    #[cold]
    fn header(&mut self, place: &Place, line: &[u8]) -> Result<bool, TaskFailure> {
        if *place == Place::Stdin {
            stdin().header = Some(line.to_vec());
        }
        let read = self.decoder.header(line);
        read.map_err(|error| TaskFailure::new(Blame::Job, "read a header", error))?;
        Ok(false)
    }

    #[cold]
    fn bad<S: SourceOutput<F::Record>>(
        &mut self,
        line: &[u8],
        error: LineError,
        out: &mut S,
    ) -> Result<bool, TaskFailure> {
        match self.options.bad_lines {
            BadLines::Fail => {
                let skip = "to skip and count such lines use .bad_lines(BadLines::SkipAndCount)";
                let cause = match error {
                    LineError::Malformed(what) => format!("{what} ({skip})"),
                    other => format!("{other} ({skip})"),
                };
                Err(TaskFailure::new(Blame::Job, "read a line", cause))
            }
            BadLines::SkipAndCount => {
                self.context.metrics.bad_records_skipped.add(1);
                Ok(out.skip())
            }
            BadLines::SideOutput => {
                self.context.metrics.bad_records_skipped.add(1);
                Ok(out.bad_line(&String::from_utf8_lossy(line)))
            }
        }
    }
}

/// The input itself cannot be read.
#[cold]
fn input_failure(place: &Place, error: std::io::Error) -> TaskFailure {
    TaskFailure::new(Blame::Environment, format!("read {}", place.name()), error)
}
