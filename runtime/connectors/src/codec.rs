//! How splits become bytes: little-endian words and length-prefixed bytes, read back with every length checked.

use wiesel_core::{Blame, TaskFailure};

pub(crate) fn put_u64(bytes: &mut Vec<u8>, word: u64) {
    bytes.extend(word.to_le_bytes());
}

pub(crate) fn put_bytes(bytes: &mut Vec<u8>, part: &[u8]) {
    put_u64(bytes, part.len() as u64);
    bytes.extend(part);
}

/// Reads what the functions above wrote. `None`: the bytes end too early.
pub(crate) struct Words<'b>(pub(crate) &'b [u8]);

impl<'b> Words<'b> {
    pub(crate) fn u64(&mut self) -> Option<u64> {
        let (word, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*word))
    }

    pub(crate) fn bytes(&mut self) -> Option<&'b [u8]> {
        let length = usize::try_from(self.u64()?).ok()?;
        let (part, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(part)
    }

    pub(crate) fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    /// The value, if nothing is left behind it.
    pub(crate) fn end<T>(self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}

/// The failure for bytes that do not decode.
pub(crate) fn malformed(what: &str) -> TaskFailure {
    let cause = format!("the bytes are not {what} of this source");
    TaskFailure::new(Blame::Runtime, format!("read {what}"), cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shorter_prefix_is_refused() {
        let mut bytes = Vec::new();
        put_u64(&mut bytes, 7);
        put_bytes(&mut bytes, "weasel".as_bytes());
        let read = |bytes: &[u8]| {
            let mut words = Words(bytes);
            let value = (words.u64()?, words.text()?);
            words.end(value)
        };
        assert_eq!(read(&bytes), Some((7, "weasel".to_owned())));
        assert!((0..bytes.len()).all(|length| read(&bytes[..length]).is_none()));
        bytes.push(0);
        assert_eq!(read(&bytes), None);
        put_u64(&mut bytes, u64::MAX);
        assert_eq!(Words(&u64::MAX.to_le_bytes()).bytes(), None);
    }
}
