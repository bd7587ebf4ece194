//! A split of text: where it lies, which lines of it, in which pass.

use std::{ffi::OsStr, net::SocketAddr, os::unix::ffi::OsStrExt, path::PathBuf};

use super::decompress::Compression;
use crate::{
    SplitPayload,
    codec::{Words, put_bytes, put_u64},
};

/// Where text comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A file and its length when it was found, in bytes.
    File {
        path: PathBuf,
        length: u64,
    },
    Stdin,
    /// Its name for messages, and its addresses.
    Socket {
        name: String,
        addresses: Vec<SocketAddr>,
    },
}

impl Place {
    /// For messages.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::File { path, .. } => path.display().to_string(),
            Self::Stdin => "stdin".to_owned(),
            Self::Socket { name, .. } => name.clone(),
        }
    }

    pub(crate) fn compression(&self) -> Option<Compression> {
        match self {
            Self::File { path, .. } => Compression::of(&path.to_string_lossy()),
            _ => None,
        }
    }
}

/// The lines that begin in `start..end` (bytes of text, once decompressed) of a file. Of a stream it is all that comes,
/// whatever was read of it before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TextSplit {
    pub(crate) place: Place,
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// From 0.
    pub(crate) pass: u64,
}

const FILE: u64 = 0;
const STDIN: u64 = 1;
const SOCKET: u64 = 2;

impl TextSplit {
    pub(crate) fn encode(&self) -> SplitPayload {
        let mut bytes = Vec::new();
        match &self.place {
            Place::File { path, length } => {
                put_u64(&mut bytes, FILE);
                put_bytes(&mut bytes, path.as_os_str().as_bytes());
                put_u64(&mut bytes, *length);
            }
            Place::Stdin => put_u64(&mut bytes, STDIN),
            Place::Socket { name, addresses } => {
                put_u64(&mut bytes, SOCKET);
                put_bytes(&mut bytes, name.as_bytes());
                put_u64(&mut bytes, addresses.len() as u64);
                addresses.iter().for_each(|a| put_bytes(&mut bytes, a.to_string().as_bytes()));
            }
        }
        [self.start, self.end, self.pass].into_iter().for_each(|word| put_u64(&mut bytes, word));
        SplitPayload(bytes)
    }

    /// Splits of one pass lie side by side, those of one file behind each other.
    pub(crate) fn order(&self) -> (u64, String, u64) {
        (self.pass, self.place.name(), self.start)
    }

    pub(crate) fn decode(payload: &SplitPayload) -> Option<Self> {
        let mut words = Words(&payload.0);
        let place = match words.u64()? {
            FILE => {
                let path = PathBuf::from(OsStr::from_bytes(words.bytes()?));
                Place::File { path, length: words.u64()? }
            }
            STDIN => Place::Stdin,
            SOCKET => {
                let name = words.text()?;
                let addresses = (0..words.u64()?).map(|_| words.text()?.parse().ok());
                Place::Socket { name, addresses: addresses.collect::<Option<_>>()? }
            }
            _ => return None,
        };
        let split = Self { place, start: words.u64()?, end: words.u64()?, pass: words.u64()? };
        words.end(split)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_travels_as_bytes() {
        let address = "[::1]:7".parse().expect("an address");
        for place in [
            Place::File { path: OsStr::from_bytes(b"odd \xff name.gz").into(), length: 9 },
            Place::Stdin,
            Place::Socket { name: "localhost:7".to_owned(), addresses: vec![address] },
        ] {
            let split = TextSplit { place, start: 1, end: u64::MAX, pass: 3 };
            let SplitPayload(bytes) = split.encode();
            assert_eq!(TextSplit::decode(&SplitPayload(bytes.clone())), Some(split));
            for length in 0..bytes.len() {
                assert_eq!(TextSplit::decode(&SplitPayload(bytes[..length].to_vec())), None);
            }
        }
        assert_eq!(TextSplit::decode(&SplitPayload(vec![3; 64])), None);
    }
}
