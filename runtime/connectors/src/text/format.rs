//! What is made of a line: a format, and its decoder on the shard.
//!
//! # What is always true
//!
//! 1. A decoder keeps nothing from line to line but memory to use again: a line means the same wherever its split
//!    begins. (A header is given to every decoder of its file.)
//! 2. Every line gives one record, or none, or an error.

use std::{fmt, time::Duration};

use wiesel_record::{Record, Viewed};

use super::TextSource;
use crate::SourceOutput;

/// A format of lines. Part of the graph: options, cloned for every subtask.
pub trait Format: Clone + Send + 'static {
    /// What a line holds.
    type Record: Record;

    /// What reads it.
    type Decoder: Decode<Self::Record>;

    /// Makes a decoder, on a shard.
    fn decoder(&self) -> Self::Decoder;

    /// For `explain`: `JSON lines`.
    fn name(&self) -> &'static str;
}

/// Reads lines into records of type `T`.
pub trait Decode<T: Record>: 'static {
    /// Reads a line (without its end) and gives its record to `out`. Returns what `out` said: whether the turn is
    /// over.
    ///
    /// # Errors
    ///
    /// If the line is not of this format. What happens then is the source's business.
    fn decode<S: SourceOutput<T>>(&mut self, line: &[u8], out: &mut S) -> Result<bool, LineError>;

    /// Whether the first line of each file is a header.
    fn wants_header(&self) -> bool {
        false
    }

    /// Takes the header of the file at hand.
    ///
    /// # Errors
    ///
    /// If it is not a header of this format.
    fn header(&mut self, line: &[u8]) -> Result<(), LineError> {
        let _ = line;
        Ok(())
    }

    /// In a replay: from here on event time is moved on by `by`.
    fn shift(&mut self, by: Duration) {
        let _ = by;
    }
}

/// Why a line cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// The bytes are not text.
    #[error("byte {at} of the line is not UTF-8 (to replace such bytes use .utf8(Utf8::Replace))")]
    NotUtf8 {
        /// From 0.
        at: usize,
    },
    /// More bytes than a line may have.
    #[error("the line has more than {bytes_max} bytes (to allow more use .line_bytes_max(..))")]
    TooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// Not of the format.
    #[error("{0}")]
    Malformed(String),
}

/// How a replay moves the event time of a record.
pub trait Shift<T>: Clone + Send + 'static {
    /// Moves it by `by`.
    fn shift(&self, record: &mut T, by: Duration);
}

/// Records stay as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoShift;

impl<T> Shift<T> for NoShift {
    #[inline]
    fn shift(&self, _record: &mut T, _by: Duration) {}
}

impl<T, F: Fn(&mut T, Duration) + Clone + Send + 'static> Shift<T> for F {
    #[inline]
    fn shift(&self, record: &mut T, by: Duration) {
        self(record, by);
    }
}

/// Lines as they are: records of type `String`. Nothing is allocated per line.
///
/// ```
/// use wiesel_connectors::Lines;
///
/// let source = Lines::files("logs/*.log");
/// # let _ = source;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines;

impl Lines {
    /// The lines of all files that match `pattern`; gzip and zstd by the end of their names.
    pub fn files(pattern: impl Into<String>) -> TextSource<Self> {
        TextSource::files(Self, pattern)
    }

    /// The lines of standard input.
    pub fn stdin() -> TextSource<Self> {
        TextSource::stdin(Self)
    }

    /// The lines that a server at `host:port` sends.
    pub fn socket(address: impl Into<String>) -> TextSource<Self> {
        TextSource::socket(Self, address)
    }
}

impl Format for Lines {
    type Record = String;
    type Decoder = LinesDecoder;

    fn decoder(&self) -> LinesDecoder {
        LinesDecoder
    }

    fn name(&self) -> &'static str {
        "lines"
    }
}

/// See [`Lines`].
#[derive(Clone, Copy, Debug, Default)]
pub struct LinesDecoder;

impl Decode<String> for LinesDecoder {
    #[inline]
    fn decode<S: SourceOutput<String>>(
        &mut self,
        line: &[u8],
        out: &mut S,
    ) -> Result<bool, LineError> {
        Ok(out.collect(Viewed::<String>(text(line)?), None))
    }
}

/// The line as text.
#[inline]
pub(super) fn text(line: &[u8]) -> Result<&str, LineError> {
    simdutf8::basic::from_utf8(line).map_err(|_| not_utf8(line))
}

/// The quick check does not say where.
#[cold]
fn not_utf8(line: &[u8]) -> LineError {
    let at = str::from_utf8(line).err().map_or(line.len(), |error| error.valid_up_to());
    LineError::NotUtf8 { at }
}

impl LineError {
    pub(super) fn malformed(error: impl fmt::Display) -> Self {
        Self::Malformed(error.to_string())
    }
}
