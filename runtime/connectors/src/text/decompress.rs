//! gzip and zstd, a piece at a time: compressed chunks are fed, bounded pieces of text are pulled.
//!
//! # What is always true
//!
//! 1. Members (gzip) and frames (zstd) that follow each other are one text, as `zcat` has it.
//! 2. An input that ends within a member is an error, never a shorter text.
//! 3. A pull gives at most [`PIECE_BYTES`], however well the input was compressed.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;

/// Bytes of a piece: a chunk of a few thousand lines that stays in the second-level cache.
pub(crate) const PIECE_BYTES: usize = 256 << 10;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    /// By the end of the file's name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        match name.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
            "gz" | "gzip" => Some(Self::Gzip),
            "zst" | "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// What a pull came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pulled {
    /// There is text in the buffer.
    Piece,
    /// Feed another chunk.
    Hungry,
    /// The text has ended.
    End,
}

/// The chunk that a decoder reads from.
#[derive(Debug, Default)]
pub(crate) struct Input {
    chunk: Vec<u8>,
    at: usize,
    ended: bool,
}

pub(crate) enum Decompressor {
    Gzip(Box<MultiGzDecoder<Input>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Input>>),
}

impl Decompressor {
    pub(crate) fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(Input::default()))),
            Compression::Zstd => {
                Self::Zstd(Box::new(zstd::stream::read::Decoder::with_buffer(Input::default())?))
            }
        })
    }

    fn input(&mut self) -> &mut Input {
        match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
        }
    }

    /// The next chunk of the compressed input; the last one, used up, comes back.
    pub(crate) fn feed(&mut self, chunk: Vec<u8>) -> Vec<u8> {
        let input = self.input();
        input.at = 0;
        std::mem::replace(&mut input.chunk, chunk)
    }

    /// The compressed input has ended.
    pub(crate) fn end(&mut self) {
        self.input().ended = true;
    }

    /// Puts the next piece into `piece`, in place of what it held.
    pub(crate) fn pull(&mut self, piece: &mut Vec<u8>) -> io::Result<Pulled> {
        piece.resize(PIECE_BYTES, 0);
        let mut filled = 0;
        let pulled = loop {
            let read = match self {
                Self::Gzip(decoder) => decoder.read(&mut piece[filled..]),
                Self::Zstd(decoder) => decoder.read(&mut piece[filled..]),
            };
            match read {
                Ok(0) if filled == 0 => break Ok(Pulled::End),
                Ok(0) => break Ok(Pulled::Piece),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && filled == 0 => {
                    break Ok(Pulled::Hungry);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(Pulled::Piece),
                Err(error) => break Err(error),
            }
            if filled == piece.len() {
                break Ok(Pulled::Piece);
            }
        };
        piece.truncate(filled);
        pulled
    }
}

impl Read for Input {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(out)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let Self { chunk, at, ended } = self;
        if *at < chunk.len() {
            Ok(&chunk[*at..])
        } else if *ended {
            Ok(&[])
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).expect("memory");
        encoder.finish().expect("memory")
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        zstd::encode_all(text, 1).expect("memory")
    }

    fn decompress(compression: Compression, bytes: &[u8], chunk: usize) -> io::Result<Vec<u8>> {
        let mut decompressor = Decompressor::new(compression)?;
        let mut chunks = bytes.chunks(chunk);
        let (mut piece, mut text) = (Vec::new(), Vec::new());
        loop {
            match decompressor.pull(&mut piece)? {
                Pulled::Piece => text.extend(&piece),
                Pulled::End => return Ok(text),
                Pulled::Hungry => match chunks.next() {
                    Some(chunk) => drop(decompressor.feed(chunk.to_vec())),
                    None => decompressor.end(),
                },
            }
            assert!(piece.len() <= PIECE_BYTES);
        }
    }

    #[test]
    fn members_in_chunks_of_any_size_are_one_text() {
        let text: Vec<u8> = (0..2_000_000_u32).map(|n| (n / 700) as u8).collect();
        for (compression, pack) in
            [(Compression::Gzip, gzip as fn(&[u8]) -> Vec<u8>), (Compression::Zstd, zstd)]
        {
            let mut packed = pack(&text[..1_000]);
            packed.extend(pack(b""));
            packed.extend(pack(&text[1_000..]));
            for chunk in [1, 7, 1_000, 1 << 20] {
                let got = decompress(compression, &packed, chunk).expect("sound");
                assert!(got == text, "{compression:?}, chunks of {chunk}: {} bytes", got.len());
            }
            let short = decompress(compression, &packed[..packed.len() - 3], 100);
            assert!(short.is_err(), "{compression:?} cut short");
            assert!(decompress(compression, b"not compressed at all", 100).is_err());
        }
    }

    #[test]
    fn compression_goes_by_the_name() {
        let of = Compression::of;
        assert_eq!(of("a/changelog.Debian.gz"), Some(Compression::Gzip));
        assert_eq!((of("x.ZST"), of("x.jsonl"), of("gz")), (Some(Compression::Zstd), None, None));
    }
}
