//! CSV: one record a line, fields by position or by the names of a header.
//!
//! # What is always true
//!
//! 1. A record is one line: fields may be quoted, and hold delimiters and doubled quotes, but no line ends. That is
//!    what lets a file be split at any byte. So a quote that is not closed at the end of its line is an error, and a `\r`
//!    is part of its field, but for one at the end of the line.
//! 2. With a header every split of a file reads that file's first line, and fields go by name; without, they go in
//!    the order of `T`'s fields. What `T` has no field for is left out, by name or behind its last. Each connection has a
//!    header of its own; that of standard input is read once.
//! 3. Empty lines are left out.

use std::{fmt, marker::PhantomData, time::Duration};

use csv::ByteRecord;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};
use serde::de::DeserializeOwned;
use wiesel_record::{Owned, Record};

use super::{Decode, Format, LineError, NoShift, Shift, TextSource, format::text};
use crate::SourceOutput;

/// CSV: each line is a `T`.
///
/// ```
/// use serde::Deserialize;
/// use wiesel_connectors::Csv;
/// use wiesel_record::Record;
///
/// #[derive(Record, Deserialize)]
/// struct Trade {
///     symbol: String,
///     price: f64,
/// }
///
/// let source = Csv::<Trade>::files("trades.csv").header(true).delimiter(b';');
/// # let _ = source;
/// ```
pub struct Csv<T, S = NoShift> {
    delimiter: u8,
    header: bool,
    shift: S,
    types: PhantomData<fn() -> T>,
}

impl<T: Record + DeserializeOwned> Csv<T> {
    const FORMAT: Self =
        Self { delimiter: b',', header: false, shift: NoShift, types: PhantomData };

    /// All files that match `pattern`; gzip and zstd by the end of their names.
    pub fn files(pattern: impl Into<String>) -> TextSource<Self> {
        TextSource::files(Self::FORMAT, pattern)
    }

    /// Standard input.
    pub fn stdin() -> TextSource<Self> {
        TextSource::stdin(Self::FORMAT)
    }

    /// What a server at `host:port` sends.
    pub fn socket(address: impl Into<String>) -> TextSource<Self> {
        TextSource::socket(Self::FORMAT, address)
    }
}

impl<T: Record + DeserializeOwned, S: Shift<T>> TextSource<Csv<T, S>> {
    /// Whether the first line of each file, of each connection, and of standard input names the fields. No, if nothing is
    /// said.
    #[must_use]
    pub fn header(self, header: bool) -> Self {
        let format = Csv { header, ..self.format().clone() };
        self.with_format(format)
    }

    /// What stands between fields; a comma, if nothing is said.
    #[must_use]
    pub fn delimiter(self, delimiter: u8) -> Self {
        let format = Csv { delimiter, ..self.format().clone() };
        self.with_format(format)
    }
}

impl<T: Record + DeserializeOwned> TextSource<Csv<T>> {
    /// As for JSON lines: see [`TextSource::<JsonLines<T>>::replay`](crate::JsonLines).
    pub fn replay<S: Fn(&mut T, Duration) + Clone + Send + 'static>(
        self,
        passes: u64,
        step: Duration,
        shift: S,
    ) -> TextSource<Csv<T, S>> {
        let Csv { delimiter, header, .. } = *self.format();
        let format = Csv { delimiter, header, shift, types: PhantomData };
        self.repeat(passes, step).with_format(format)
    }
}

impl<T, S: Clone> Clone for Csv<T, S> {
    fn clone(&self) -> Self {
        Self { shift: self.shift.clone(), types: PhantomData, ..*self }
    }
}

impl<T, S> fmt::Debug for Csv<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Csv").field("header", &self.header).finish_non_exhaustive()
    }
}

impl<T: Record + DeserializeOwned, S: Shift<T>> Format for Csv<T, S> {
    type Record = T;
    type Decoder = CsvDecoder<T, S>;

    fn decoder(&self) -> CsvDecoder<T, S> {
        CsvDecoder {
            fields: Fields {
                reader: ReaderBuilder::new()
                    .delimiter(self.delimiter)
                    .terminator(Terminator::Any(b'\n'))
                    .build(),
                text: vec![0; 256],
                ends: vec![0; 16],
                record: ByteRecord::new(),
            },
            names: None,
            header: self.header,
            shift: self.shift.clone(),
            by: Duration::ZERO,
            types: PhantomData,
        }
    }

    fn name(&self) -> &'static str {
        "CSV"
    }
}

/// See [`Csv`].
pub struct CsvDecoder<T, S> {
    fields: Fields,
    names: Option<ByteRecord>,
    header: bool,
    shift: S,
    by: Duration,
    types: PhantomData<fn() -> T>,
}

/// Cuts a line into fields; all memory is used again.
struct Fields {
    reader: Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
    record: ByteRecord,
}

impl Fields {
    /// The fields of `line`; none if it is empty.
    fn cut(&mut self, line: &[u8]) -> Result<Option<&ByteRecord>, LineError> {
        // The last line of an input may have half of an end.
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Ok(None);
        }
        // Unquoting only shortens, and there is at most one field more than there are bytes.
        self.text.resize(self.text.len().max(line.len() + 1), 0);
        self.ends.resize(self.ends.len().max(line.len() + 2), 0);
        self.reader.reset();
        let (result, used, written, count) =
            self.reader.read_record(line, &mut self.text, &mut self.ends);
        debug_assert!(result == ReadRecordResult::InputEmpty && used == line.len(), "one record");
        // The end of the line ends the record, or is taken for a part of a quoted field.
        let (result, _, _, ends) =
            self.reader.read_record(b"\n", &mut self.text[written..], &mut self.ends[count..]);
        if result != ReadRecordResult::Record {
            return Err(LineError::malformed("a quote is not closed; a field holds no line ends"));
        }
        let count = count + ends;
        self.record.clear();
        let mut start = 0;
        for end in &self.ends[..count] {
            self.record.push_field(&self.text[start..*end]);
            start = *end;
        }
        Ok(Some(&self.record))
    }
}

impl<T: Record + DeserializeOwned, S: Shift<T>> Decode<T> for CsvDecoder<T, S> {
    fn decode<O: SourceOutput<T>>(&mut self, line: &[u8], out: &mut O) -> Result<bool, LineError> {
        text(line)?;
        let Some(fields) = self.fields.cut(line)? else { return Ok(out.skip()) };
        let mut record: T = fields.deserialize(self.names.as_ref()).map_err(|e| explain(&e))?;
        self.shift.shift(&mut record, self.by);
        Ok(out.collect(Owned(record), None))
    }

    fn wants_header(&self) -> bool {
        self.header
    }

    fn header(&mut self, line: &[u8]) -> Result<(), LineError> {
        text(line)?;
        let mut names = self.fields.cut(line)?.cloned().unwrap_or_default();
        names.trim();
        self.names = Some(names);
        Ok(())
    }

    fn shift(&mut self, by: Duration) {
        self.by = by;
    }
}

#[cold]
fn explain(error: &csv::Error) -> LineError {
    match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => match err.field() {
            Some(field) => LineError::Malformed(format!("field {}: {}", field + 1, err.kind())),
            None => LineError::malformed(err.kind()),
        },
        _ => LineError::malformed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Collected;

    #[derive(Record, serde::Deserialize, Debug, PartialEq)]
    struct Trade {
        symbol: String,
        price: f64,
        size: Option<u32>,
    }

    fn check(header: Option<&str>, lines: &[(&str, &str)]) {
        let source = Csv::<Trade>::files("x").header(header.is_some()).delimiter(b';');
        let mut decoder = source.format().decoder();
        assert_eq!(decoder.wants_header(), header.is_some());
        header.map(|line| decoder.header(line.as_bytes())).transpose().expect("a header");
        for (line, expected) in lines {
            let mut out = Collected::default();
            let got = match decoder.decode(line.as_bytes(), &mut out) {
                Ok(_) => out.records.iter().map(|trade: &Trade| format!("{trade:?}")).collect(),
                Err(error) => error.to_string(),
            };
            assert_eq!(got, *expected, "{line}");
        }
    }

    #[test]
    fn by_position() {
        check(
            None,
            &[
                ("a;1.5;7", r#"Trade { symbol: "a", price: 1.5, size: Some(7) }"#),
                ("\"a;\"\"b\";2;", r#"Trade { symbol: "a;\"b", price: 2.0, size: None }"#),
                ("", ""),
                ("é;1;2", r#"Trade { symbol: "é", price: 1.0, size: Some(2) }"#),
                ("a;1;2\r", r#"Trade { symbol: "a", price: 1.0, size: Some(2) }"#),
                ("\r", ""),
                ("a\rb;1;2", r#"Trade { symbol: "a\rb", price: 1.0, size: Some(2) }"#),
                ("a;1\r;2", "field 2: invalid float literal"),
                ("\"a\r\";1;", r#"Trade { symbol: "a\r", price: 1.0, size: None }"#),
                ("\"\";1;\"\"", r#"Trade { symbol: "", price: 1.0, size: None }"#),
                ("a;1;\"2", "a quote is not closed; a field holds no line ends"),
                ("\"a;1;2", "a quote is not closed; a field holds no line ends"),
                ("\"", "a quote is not closed; a field holds no line ends"),
                ("a;1;2;3", r#"Trade { symbol: "a", price: 1.0, size: Some(2) }"#),
                ("a;x;2", "field 2: invalid float literal"),
                ("a", "invalid length 1, expected struct Trade with 3 elements"),
            ],
        );
    }

    #[test]
    fn a_header_is_a_line_as_well() {
        let mut decoder = Csv::<Trade>::files("x").header(true).format().decoder();
        let refused = decoder.header(b"\"price;symbol").expect_err("a quote is open").to_string();
        assert_eq!(refused, "a quote is not closed; a field holds no line ends");
    }

    #[test]
    fn by_name() {
        check(
            Some("price; symbol ;other;size"),
            &[
                ("1.5;a;x;7", r#"Trade { symbol: "a", price: 1.5, size: Some(7) }"#),
                ("1.5;a;x;", r#"Trade { symbol: "a", price: 1.5, size: None }"#),
                ("1.5;a;x;-1", "field 4: invalid digit found in string"),
            ],
        );
    }
}
