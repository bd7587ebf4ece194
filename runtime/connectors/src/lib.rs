//! Sources and sinks: the framework (splits, enumerators, readers; writers) and the light ones.
//!
//! ```text
//!   source      the roles of a source               sink       the roles of a sink
//!   enumerators in order, or pinned to readers       outbox     bytes on their way to a file
//!   text/       lines, JSON, CSV of files, stdin,    encode     records to lines, JSON, CSV
//!               sockets; gzip, zstd                  stdout, files, collect
//!   collection, datagen
//! ```
//!
//! # What is always true
//!
//! 1. Nothing here waits, and nothing is touched before the job runs.
//! 2. What is done per record is static; what can fail per record says where in the input it was.

mod codec;
mod collection;
mod datagen;
mod discovery;
mod enumerators;
mod partitions;
mod sink;
mod source;
#[cfg(test)]
mod testing;
mod text;

pub use collection::{Collection, CollectionReader};
pub use datagen::{DataGen, DataGenReader, Filling, Generate, Making, Tick};
pub use discovery::{Discovery, MachineDiscovery};
pub use enumerators::Pinned;
pub use partitions::{Partitions, PartitionsReader};
pub use sink::{
    AsCsv, AsDebug, AsJson, AsLines, CollectSink, CollectWriter, CollectedRecords, Encode,
    EncodeError, FileSink, FileWriter, FolderOwner, Formatted, Sink, SinkWriter, StdoutSink,
    StdoutWriter, WriterContext, WriterStatus,
};
pub use source::{
    Assignment, ReaderContext, ReaderStatus, Source, SourceOutput, SourceReader, SplitEnumerator,
    SplitPayload,
};
pub use text::{
    BadLines, Csv, CsvDecoder, Decode, Format, JsonDecoder, JsonLines, LineError, Lines,
    LinesDecoder, NoShift, Shift, TextReader, TextSource, Utf8,
};
