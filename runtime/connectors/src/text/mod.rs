//! Text: lines of files, of standard input and of sockets, and what is made of them.
//!
//! ```text
//!   splits ──▶ byte_stream ──▶ decompress ──▶ cutter ──▶ format ──▶ records
//!              chunks, one      gzip, zstd     lines      lines, JSON, CSV
//!              read ahead
//! ```

mod byte_stream;
mod csv;
mod cutter;
mod decompress;
mod format;
mod json;
mod options;
mod reader;
mod source;
mod split;
mod stdin;

#[cfg(all(test, not(sim)))] // In simulation there is no folder that they could write to.
mod tests;

pub use csv::{Csv, CsvDecoder};
pub use format::{Decode, Format, LineError, Lines, LinesDecoder, NoShift, Shift};
pub use json::{JsonDecoder, JsonLines};
pub use options::{BadLines, Utf8};
pub use reader::TextReader;
pub use source::TextSource;
