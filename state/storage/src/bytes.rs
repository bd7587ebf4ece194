//! Little-endian numbers and texts, written and read back with the place of whatever is wrong.
//!
//! # What is always true
//!
//! 1. No count from the bytes reserves more than the bytes that are left could hold.

use crate::Damage;

/// Writes the fields of a section.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
    /// The first count or length that has no room in its field. What was written is of no use then.
    pub(crate) too_large: Option<usize>,
}

impl Writer {
    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes.extend(value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes.extend(value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes.extend(value.to_le_bytes());
    }

    /// A count or length.
    pub(crate) fn count(&mut self, count: usize) {
        match u32::try_from(count) {
            Ok(count) => self.u32(count),
            Err(_) => self.too_large = self.too_large.or(Some(count)),
        }
    }

    /// Bytes without their length: whoever reads them knows it.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.count(text.len());
        self.raw(text.as_bytes());
    }
}

/// Reads the fields of a section. Each read names its field.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    file: &'a str,
    /// What the section is about: `vertex 1`.
    section: String,
    bytes: &'a [u8],
    at: usize,
    /// Where `bytes` begins in the file.
    base: u64,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(file: &'a str, section: String, bytes: &'a [u8], base: u64) -> Self {
        Self { file, section, bytes, at: 0, base }
    }

    /// Where it stands in the file.
    pub(crate) fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    pub(crate) fn rest(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Something is wrong with the field that begins here.
    pub(crate) fn damage(&self, field: &str, what: impl Into<String>) -> Damage {
        Damage::new(self.file, self.offset(), format!("{}: {field}", self.section), what)
    }

    pub(crate) fn take(&mut self, len: usize, field: &str) -> Result<&'a [u8], Damage> {
        if len > self.rest() {
            let what = format!("needs {len} bytes, {} are left", self.rest());
            return Err(self.damage(field, what));
        }
        let taken = &self.bytes[self.at..self.at + len];
        self.at += len;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self, field: &str) -> Result<[u8; N], Damage> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, field)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self, field: &str) -> Result<u8, Damage> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self, field: &str) -> Result<u16, Damage> {
        self.array(field).map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self, field: &str) -> Result<u32, Damage> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, field: &str) -> Result<u64, Damage> {
        self.array(field).map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self, field: &str) -> Result<i64, Damage> {
        self.array(field).map(i64::from_le_bytes)
    }

    /// A number of items that take at least `item_bytes` each.
    pub(crate) fn count(&mut self, item_bytes: usize, field: &str) -> Result<usize, Damage> {
        let before = self.clone();
        let count = self.u32(field)? as usize;
        if count > self.rest() / item_bytes.max(1) {
            let what = format!("is {count}, but only {} bytes are left", self.rest());
            return Err(before.damage(field, what));
        }
        Ok(count)
    }

    pub(crate) fn bytes(&mut self, field: &str) -> Result<&'a [u8], Damage> {
        let len = self.count(1, field)?;
        self.take(len, field)
    }

    pub(crate) fn text(&mut self, field: &str) -> Result<&'a str, Damage> {
        let before = self.clone();
        let bytes = self.bytes(field)?;
        std::str::from_utf8(bytes).map_err(|_| before.damage(field, "is not UTF-8"))
    }

    pub(crate) fn flag(&mut self, field: &str) -> Result<bool, Damage> {
        let before = self.clone();
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(before.damage(field, format!("is {other}, neither 0 nor 1"))),
        }
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), Damage> {
        match self.rest() {
            0 => Ok(()),
            rest => Err(self.damage("end", format!("{rest} bytes more than its fields"))),
        }
    }
}
