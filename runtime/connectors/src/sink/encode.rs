//! Records as lines of text: as they are, by a closure, JSON, CSV.

use std::{error, fmt, marker::PhantomData};

use serde::Serialize;
use wiesel_record::{Item, Record};

/// Why a record has no text.
pub type EncodeError = Box<dyn error::Error + Send + Sync>;

/// Appends records to text. Cloned for every subtask.
pub trait Encode<T: Record>: Clone + Send + 'static {
    /// Appends the line of a record, with its `\n`.
    ///
    /// # Errors
    ///
    /// If the record cannot be written in this format. What was appended is then taken back by the caller.
    fn encode<I: Item<T>>(&mut self, item: I, bytes: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// For `explain`: `CSV`.
    fn name(&self) -> &'static str;
}

/// Strings as lines. A string that holds a `\n` becomes several.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsLines;

impl Encode<String> for AsLines {
    #[inline]
    fn encode<I: Item<String>>(&mut self, item: I, bytes: &mut Vec<u8>) -> Result<(), EncodeError> {
        bytes.extend_from_slice(item.view().as_bytes());
        bytes.push(b'\n');
        Ok(())
    }

    fn name(&self) -> &'static str {
        "lines"
    }
}

/// Views as `{:?}` writes them.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsDebug;

impl<T: Record> Encode<T> for AsDebug {
    fn encode<I: Item<T>>(&mut self, item: I, bytes: &mut Vec<u8>) -> Result<(), EncodeError> {
        fmt::Write::write_fmt(&mut Text(bytes), format_args!("{:?}\n", item.view()))?;
        Ok(())
    }

    fn name(&self) -> &'static str {
        "debug lines"
    }
}

/// Views as a closure writes them; the `\n` is added.
#[derive(Clone, Debug)]
pub struct Formatted<F>(pub F);

impl<T, F> Encode<T> for Formatted<F>
where
    T: Record,
    F: for<'a> Fn(T::View<'a>, &mut dyn fmt::Write) -> fmt::Result + Clone + Send + 'static,
{
    #[inline]
    fn encode<I: Item<T>>(&mut self, item: I, bytes: &mut Vec<u8>) -> Result<(), EncodeError> {
        (self.0)(item.view(), &mut Text(bytes))?;
        bytes.push(b'\n');
        Ok(())
    }

    fn name(&self) -> &'static str {
        "formatted lines"
    }
}

/// JSON, one value a line.
#[derive(Debug)]
pub struct AsJson<T>(PhantomData<fn(T)>);

/// CSV, one record a line.
#[derive(Debug)]
pub struct AsCsv<T> {
    header: bool,
    types: PhantomData<fn(T)>,
}

impl<T> AsJson<T> {
    /// JSON lines.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for AsJson<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for AsJson<T> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<T> AsCsv<T> {
    /// CSV; with `header`, the names of the fields stand before the first record.
    pub const fn new(header: bool) -> Self {
        Self { header, types: PhantomData }
    }
}

impl<T> Clone for AsCsv<T> {
    fn clone(&self) -> Self {
        Self::new(self.header)
    }
}

impl<T: Record + Serialize> Encode<T> for AsJson<T> {
    fn encode<I: Item<T>>(&mut self, item: I, bytes: &mut Vec<u8>) -> Result<(), EncodeError> {
        serde_json::to_writer(&mut *bytes, &item.into_owned())?;
        bytes.push(b'\n');
        Ok(())
    }

    fn name(&self) -> &'static str {
        "JSON lines"
    }
}

impl<T: Record + Serialize> Encode<T> for AsCsv<T> {
    fn encode<I: Item<T>>(&mut self, item: I, bytes: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut builder = csv::WriterBuilder::new();
        builder.has_headers(self.header).buffer_capacity(256);
        let mut writer = builder.from_writer(bytes);
        writer.serialize(item.into_owned())?;
        writer.flush()?;
        self.header = false; // It has been written.
        Ok(())
    }

    fn name(&self) -> &'static str {
        "CSV"
    }
}

/// Bytes that text is written to.
struct Text<'b>(&'b mut Vec<u8>);

impl fmt::Write for Text<'_> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wiesel_record::Owned;

    use super::*;

    #[derive(Record, Serialize, Clone)]
    struct Trade {
        symbol: String,
        price: u32,
    }

    fn check(mut encode: impl Encode<Trade>, expected: &str) {
        let mut bytes = Vec::new();
        for (symbol, price) in [("a", 1), ("é,\"x\"", 2)] {
            let trade = Trade { symbol: symbol.to_owned(), price };
            encode.encode(Owned(trade), &mut bytes).expect("it has text");
        }
        assert_eq!(String::from_utf8_lossy(&bytes), expected);
    }

    #[test]
    fn each_format_writes_lines() {
        check(
            AsJson::new(),
            "{\"symbol\":\"a\",\"price\":1}\n{\"symbol\":\"é,\\\"x\\\"\",\"price\":2}\n",
        );
        check(AsCsv::new(true), "symbol,price\na,1\n\"é,\"\"x\"\"\",2\n");
        check(AsCsv::new(false), "a,1\n\"é,\"\"x\"\"\",2\n");
        let formatted = |trade: TradeView<'_>, out: &mut dyn fmt::Write| {
            write!(out, "{} {}", trade.price, trade.symbol)
        };
        check(Formatted(formatted), "1 a\n2 é,\"x\"\n");
        let mut bytes = Vec::new();
        AsLines.encode(Owned("weasel".to_owned()), &mut bytes).expect("it has text");
        AsDebug.encode(Owned("weasel".to_owned()), &mut bytes).expect("it has text");
        assert_eq!(bytes, b"weasel\n\"weasel\"\n");
    }
}
