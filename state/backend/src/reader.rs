//! Reads numbers and byte strings out of bytes that may be anything.

use crate::TableError;

/// The bytes, and how far they are read.
pub(crate) struct Reader<'b> {
    pub(crate) bytes: &'b [u8],
    pub(crate) at: usize,
}

impl<'b> Reader<'b> {
    pub(crate) fn corrupt(&self, what: &'static str) -> TableError {
        TableError::Corrupt { at: self.at, what }
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'b [u8], TableError> {
        let taken = self.bytes[self.at..].get(..len);
        let taken = taken.ok_or_else(|| self.corrupt("fewer bytes than announced"))?;
        self.at += len;
        Ok(taken)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, TableError> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, TableError> {
        Ok(u64::from(self.u32()?) | u64::from(self.u32()?) << 32)
    }

    /// A length, and as many bytes of UTF-8.
    pub(crate) fn text(&mut self) -> Result<String, TableError> {
        let len = self.u32()? as usize;
        let bytes = self.take(len)?;
        let text = std::str::from_utf8(bytes).map_err(|_| self.corrupt("a text that is none"))?;
        Ok(text.to_owned())
    }
}
