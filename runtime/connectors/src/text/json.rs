//! JSON lines: one value a line, read by serde.
//!
//! # What is always true
//!
//! 1. A line is read into the record of the line before it, so its strings and lists keep their memory: once warm, a
//!    line without escapes allocates nothing. (serde's `deserialize_in_place`; this crate switches on the feature of
//!    serde's derive that makes it so for structs.)
//! 2. Of a line that fails halfway nothing is seen: the record is only given out when it was read in full.
//! 3. Lines of nothing but white space are left out.

use std::{fmt, marker::PhantomData, time::Duration};

use serde::de::DeserializeOwned;
use wiesel_record::Record;

use super::{Decode, Format, LineError, NoShift, Shift, TextSource, format::text};
use crate::SourceOutput;

/// JSON lines: each line is a `T`.
///
/// ```
/// use serde::Deserialize;
/// use wiesel_connectors::{BadLines, JsonLines};
/// use wiesel_core::Timestamp;
/// use wiesel_record::Record;
///
/// #[derive(Record, Deserialize)]
/// struct Post {
///     at: Timestamp, // A number: milliseconds since the Unix epoch.
///     user: u64,
///     text: String,
/// }
///
/// let source = JsonLines::<Post>::files("posts/*.jsonl.gz").bad_lines(BadLines::SkipAndCount);
/// # let _ = source;
/// ```
pub struct JsonLines<T, S = NoShift> {
    shift: S,
    types: PhantomData<fn() -> T>,
}

impl<T: Record + DeserializeOwned> JsonLines<T> {
    const FORMAT: Self = Self { shift: NoShift, types: PhantomData };

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

impl<T: Record + DeserializeOwned> TextSource<JsonLines<T>> {
    /// Reads the files `passes` times. In pass `k`, from 0, `shift` is given each record and `k * step`, to move its
    /// event time on. Choose `step` larger than the span of event time in the files, and a multiple of the windows'
    /// size: then no record of a pass is late after the pass before it.
    pub fn replay<S: Fn(&mut T, Duration) + Clone + Send + 'static>(
        self,
        passes: u64,
        step: Duration,
        shift: S,
    ) -> TextSource<JsonLines<T, S>> {
        self.repeat(passes, step).with_format(JsonLines { shift, types: PhantomData })
    }
}

impl<T, S: Clone> Clone for JsonLines<T, S> {
    fn clone(&self) -> Self {
        Self { shift: self.shift.clone(), types: PhantomData }
    }
}

impl<T, S> fmt::Debug for JsonLines<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JsonLines")
    }
}

impl<T: Record + DeserializeOwned, S: Shift<T>> Format for JsonLines<T, S> {
    type Record = T;
    type Decoder = JsonDecoder<T, S>;

    fn decoder(&self) -> JsonDecoder<T, S> {
        JsonDecoder { place: None, shift: self.shift.clone(), by: Duration::ZERO }
    }

    fn name(&self) -> &'static str {
        "JSON lines"
    }
}

/// See [`JsonLines`].
pub struct JsonDecoder<T, S> {
    /// The record of the line before.
    place: Option<T>,
    shift: S,
    by: Duration,
}

impl<T: Record + DeserializeOwned, S: Shift<T>> Decode<T> for JsonDecoder<T, S> {
    #[inline]
    fn decode<O: SourceOutput<T>>(&mut self, line: &[u8], out: &mut O) -> Result<bool, LineError> {
        let text = text(line)?; // All at once: serde_json would check string by string, a byte at a time.
        let mut json = serde_json::Deserializer::from_str(text);
        let read = match &mut self.place {
            Some(place) => T::deserialize_in_place(&mut json, place),
            None => T::deserialize(&mut json).map(|record| self.place = Some(record)),
        };
        match read.and_then(|()| json.end()) {
            Ok(()) => {}
            Err(_) if text.trim_ascii().is_empty() => return Ok(out.skip()),
            Err(error) => return Err(explain(&error)),
        }
        let record = self.place.as_mut().expect("it was read just now");
        self.shift.shift(record, self.by);
        Ok(out.collect(&*record, None))
    }

    fn shift(&mut self, by: Duration) {
        self.by = by;
    }
}

#[cold]
fn explain(error: &serde_json::Error) -> LineError {
    // A line has no lines: only the column says something.
    let text = error.to_string();
    let (what, _) = text.split_once(" at line ").unwrap_or((&text, ""));
    LineError::Malformed(format!("{what} (column {})", error.column()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Collected;

    #[derive(Record, serde::Deserialize, Debug, PartialEq)]
    struct Post {
        user: u64,
        text: String,
        tags: Vec<String>,
        reply: Option<u64>,
    }

    fn check(lines: &[(&str, &str)]) {
        let mut decoder = JsonLines::<Post>::FORMAT.decoder();
        for (line, expected) in lines {
            let mut out = Collected::default();
            let got = match decoder.decode(line.as_bytes(), &mut out) {
                Ok(_) => out.records.iter().map(|post: &Post| format!("{post:?}")).collect(),
                Err(error) => error.to_string(),
            };
            assert_eq!(got, *expected, "{line}");
        }
    }

    #[test]
    fn each_line_is_read_into_the_record_before() {
        check(&[
            (
                r#"{"user": 1, "text": "a\n\"b\" \u00e9 \ud83e\udda6", "tags": ["x", "y"], "reply": 9}"#,
                r#"Post { user: 1, text: "a\n\"b\" é 🦦", tags: ["x", "y"], reply: Some(9) }"#,
            ),
            (
                r#"{"tags": [], "text": "", "user": 2}"#,
                r#"Post { user: 2, text: "", tags: [], reply: None }"#,
            ),
            ("  ", ""),
            ("", ""),
            (r#"{"user": 3, "text": "half"#, "EOF while parsing a string (column 25)"),
            (r#"{"user": 3, "tags": []}"#, "missing field `text` (column 23)"),
            (
                r#"{"user": "x", "text": "", "tags": []}"#,
                "invalid type: string \"x\", expected u64 (column 12)",
            ),
            (
                r#"{"user": 4, "text": "whole", "tags": ["z"]} "#,
                r#"Post { user: 4, text: "whole", tags: ["z"], reply: None }"#,
            ),
            (r#"{"user": 4, "text": "", "tags": []} x"#, "trailing characters (column 37)"),
        ]);
    }

    #[test]
    fn bytes_that_are_not_text_are_named() {
        let mut decoder = JsonLines::<String>::FORMAT.decoder();
        let error = decoder.decode(b"\"ab\xff\"", &mut Collected::default());
        assert_eq!(error, Err(LineError::NotUtf8 { at: 3 }));
    }

    #[test]
    fn strings_keep_their_memory() {
        let mut decoder = JsonLines::<Post>::FORMAT.decoder();
        let mut seen = Vec::new();
        for text in ["a long text for the first line", "short", ""] {
            let line = format!(r#"{{"user": 1, "text": "{text}", "tags": []}}"#);
            let read = decoder.decode(line.as_bytes(), &mut Collected::default());
            assert_eq!(read, Ok(false));
            seen.push(decoder.place.as_ref().map(|post| post.text.as_ptr()));
        }
        assert!(seen[0].is_some() && seen[0] == seen[1] && seen[1] == seen[2]);
    }
}
