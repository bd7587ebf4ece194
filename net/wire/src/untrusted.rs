//! Frames as bytes for a socket or a file, and back: the way back believes nothing.
//!
//! ```text
//!   frame   │ header │ records │   free   │ index │
//!   wire    │ header │ records │ index │             what is free is not sent
//! ```
//!
//! # What is always true
//!
//! 1. [`from_wire`] never panics and never reads outside `bytes`, whatever they are.
//! 2. Nothing is allocated before the lengths agree, and at most four times as much as came.
//! 3. A frame that it returns is as good as one that a [`FrameWriter`](crate::FrameWriter) wrote: each column is
//!    inside, region ends rise and are inside, each record was validated as `T`.

use wiesel_record::{Record, Region, validate};

use crate::{
    FRAME_BYTES, Frame, FrameShape,
    crc32c::crc32c,
    frame::{KIND_DATA, LAYOUT_VERSION, at, flag},
    layout::{BLOCK_RECORDS, EMPTY_RECORDS_MAX, HEADER_BYTES, JUMBO_BYTES_LIMIT, align_up},
};

/// Why bytes are not a frame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// There is not even a header, or there are more or fewer bytes than it says.
    #[error("a frame came with {found} bytes, but its header says {expected}")]
    Length {
        /// What came.
        found: usize,
        /// What the header says; the size of a header if there is none.
        expected: usize,
    },
    /// Another release wrote it.
    #[error(
        "a frame has layout version {found}, but this release reads version {LAYOUT_VERSION}: run one release everywhere"
    )]
    Version {
        /// The version in the header.
        found: u16,
    },
    /// The two ends of the edge were built differently.
    #[error(
        "a frame holds other records than {expected}: run the same build of the job everywhere"
    )]
    Schema {
        /// The name of the record type that was expected.
        expected: &'static str,
    },
    /// Bits changed on the way.
    #[error("a frame has checksum {found:08x}, but its bytes give {expected:08x}")]
    Checksum {
        /// The checksum in the header.
        found: u32,
        /// That of the bytes.
        expected: u32,
    },
    /// A field of the header or the index says what cannot be.
    #[error("a frame is malformed: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// The bytes of a record are not one.
    #[error("record {index} of a frame")]
    Record {
        /// Which one.
        index: usize,
        /// Why.
        source: wiesel_record::Invalid,
    },
}

/// The bytes of a closed frame, appended to `bytes`: the header with its checksum, records, index.
pub fn to_wire(frame: &Frame, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    let all = frame.bytes();
    bytes.extend_from_slice(&all[..frame.u32_at(at::RECORDS_END) as usize]);
    bytes.extend_from_slice(&all[frame.u32_at(at::INDEX_START) as usize..]);
    let sum = checksum(&bytes[start..]);
    bytes[start + at::CHECKSUM..start + at::CHECKSUM + 4].copy_from_slice(&sum.to_le_bytes());
}

/// How many bytes the frame has whose header this is.
///
/// # Errors
///
/// [`WireError`] if it is no header of ours, or the frame would be larger than `frame_bytes_max`.
pub fn wire_bytes(header: &[u8; HEADER_BYTES], frame_bytes_max: usize) -> Result<usize, WireError> {
    Ok(Header::read(header, frame_bytes_max)?.wire_bytes())
}

/// A frame from bytes that anyone may have sent.
///
/// # Errors
///
/// [`WireError`], and nothing else whatever the bytes are.
pub fn from_wire<T: Record>(
    bytes: &[u8],
    shape: FrameShape,
    frame_bytes_max: usize,
) -> Result<Frame, WireError> {
    let Some(first) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Err(WireError::Length { found: bytes.len(), expected: HEADER_BYTES });
    };
    let header = Header::read(first, frame_bytes_max)?;
    let expected = header.wire_bytes();
    if bytes.len() != expected {
        return Err(WireError::Length { found: bytes.len(), expected });
    }
    let sum = checksum(bytes);
    if header.checksum != sum {
        return Err(WireError::Checksum { found: header.checksum, expected: sum });
    }
    header.check_shape::<T>(shape)?;

    let mut frame = Frame::allocate(header.capacity);
    let buf = frame.bytes_mut();
    buf[..header.records_end].copy_from_slice(&bytes[..header.records_end]);
    buf[header.index_start..].copy_from_slice(&bytes[header.records_end..]);
    check_records::<T>(&frame, &header, shape)?;
    Ok(frame)
}

/// The header, as numbers that are in order among themselves.
struct Header {
    flags: u8,
    count: usize,
    capacity: usize,
    records_end: usize,
    index_start: usize,
    schema: u64,
    root_size: u32,
    checksum: u32,
}

impl Header {
    fn read(bytes: &[u8; HEADER_BYTES], frame_bytes_max: usize) -> Result<Self, WireError> {
        let malformed = |what| Err(WireError::Malformed { what });
        let size_at = |at| u32_at(bytes, at) as usize;
        let version = u16::from_le_bytes([bytes[at::VERSION], bytes[at::VERSION + 1]]);
        if version != LAYOUT_VERSION {
            return Err(WireError::Version { found: version });
        }
        if bytes[at::KIND] != KIND_DATA {
            return malformed("its kind is unknown");
        }
        let header = Self {
            flags: bytes[at::FLAGS],
            count: size_at(at::COUNT),
            capacity: size_at(at::CAPACITY),
            records_end: size_at(at::RECORDS_END),
            index_start: size_at(at::INDEX_START),
            schema: u64::from(u32_at(bytes, at::SCHEMA))
                | u64::from(u32_at(bytes, at::SCHEMA + 4)) << 32,
            root_size: u32_at(bytes, at::ROOT_SIZE),
            checksum: u32_at(bytes, at::CHECKSUM),
        };
        let capacity = header.capacity;
        let capacity_max = frame_bytes_max.clamp(FRAME_BYTES, JUMBO_BYTES_LIMIT);
        if !capacity.is_power_of_two() || !(FRAME_BYTES..=capacity_max).contains(&capacity) {
            return malformed("it is no power of two in size, or larger than allowed");
        }
        let (end, index) = (header.records_end, header.index_start);
        if !(HEADER_BYTES <= end && end <= index && index <= capacity) {
            return malformed("its records and its index overlap or lie outside");
        }
        if capacity > FRAME_BYTES && header.wire_bytes() < capacity / 4 {
            return malformed("it is much larger than what it holds");
        }
        Ok(header)
    }

    fn wire_bytes(&self) -> usize {
        self.records_end + (self.capacity - self.index_start)
    }

    fn check_shape<T: Record>(&self, shape: FrameShape) -> Result<(), WireError> {
        let malformed = |what| Err(WireError::Malformed { what });
        if self.schema != T::SCHEMA.hash || self.root_size as usize != size_of::<T::Archived>() {
            return Err(WireError::Schema { expected: T::SCHEMA.name });
        }
        let has = |bit| self.flags & bit != 0;
        let known = flag::WATERMARK | flag::TIME | flag::HASH | flag::PACKED;
        if self.flags & !known != 0
            || has(flag::TIME) != shape.has_time
            || has(flag::HASH) != shape.has_hash
            || has(flag::PACKED) != T::PACKED
            || shape.schema != T::SCHEMA.hash
        {
            return malformed("its columns are not those of the edge");
        }
        if self.count > self.capacity.max(EMPTY_RECORDS_MAX as usize) {
            return malformed("it has more records than bytes");
        }
        if self.capacity - self.index_start != shape.block().index_bytes(self.count) {
            return malformed("its index does not have a block for each 32 records");
        }
        Ok(())
    }
}

/// Region ends rise and end where the records end, and each record is a `T`.
fn check_records<T: Record>(
    frame: &Frame,
    header: &Header,
    shape: FrameShape,
) -> Result<(), WireError> {
    let malformed = |what| Err(WireError::Malformed { what });
    let (block, buf) = (shape.block(), frame.bytes());
    let mut before = HEADER_BYTES;
    for index in 0..header.count {
        let start = align_up(before, T::ALIGN);
        let end = if T::PACKED {
            start + size_of::<T::Archived>()
        } else {
            let block_start = header.capacity - (index / BLOCK_RECORDS + 1) * block.bytes;
            frame.u32_at(block_start + index % BLOCK_RECORDS * size_of::<u32>()) as usize
        };
        if end < start || end - start < size_of::<T::Archived>() || end > header.records_end {
            return malformed("a region ends before its record or outside");
        }
        let region = Region { start: start as u32, end: end as u32 };
        validate::<T>(buf, region).map_err(|source| WireError::Record { index, source })?;
        before = end;
    }
    if before != header.records_end {
        return malformed("there are bytes behind the last record");
    }
    Ok(())
}

/// Over all bytes, with the checksum's own counted as zero.
fn checksum(bytes: &[u8]) -> u32 {
    let (before, after) = bytes.split_at(at::CHECKSUM);
    crc32c(crc32c(crc32c(0, before), &[0; 4]), &after[4..])
}

fn u32_at(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

#[cfg(test)]
mod tests {
    use wiesel_core::{Meta, Timestamp};
    use wiesel_record::Scratch;

    use super::*;
    use crate::{FrameView, FrameWriter};

    type Post = (u64, String, Vec<String>);

    fn posts() -> Vec<Post> {
        let tags = |i: u64| (0..i % 4).map(|t| format!("tag{t}")).collect();
        (0..100).map(|i| (i, "x".repeat(i as usize % 40), tags(i))).collect()
    }

    fn frame_of<T: Record>(shape: FrameShape, records: &[T]) -> Frame {
        let mut writer = FrameWriter::open(Frame::allocate(FRAME_BYTES), shape);
        let mut scratch = Scratch::new();
        for (i, record) in records.iter().enumerate() {
            let meta = Meta::at(Timestamp::from_millis(i as i64)).with_hash(i as u64 * 3);
            writer.append::<T, _>(&record, meta, &mut scratch).unwrap();
        }
        writer.set_watermark(Timestamp::from_millis(-5));
        let mut frame = writer.close();
        frame.address(3, 9);
        frame
    }

    fn wire_of<T: Record>(shape: FrameShape, records: &[T]) -> Vec<u8> {
        let mut bytes = Vec::new();
        to_wire(&frame_of(shape, records), &mut bytes);
        bytes
    }

    /// The record of each index, as its view prints.
    fn read<T: Record>(frame: &Frame) -> Vec<String> {
        FrameView::<T>::new(frame)
            .iter()
            .map(|(r, meta)| format!("{:?} {meta:?}", r.get()))
            .collect()
    }

    #[track_caller]
    fn check_round_trip<T: Record>(records: &[T]) {
        for (time, hash) in [(false, false), (true, false), (false, true), (true, true)] {
            let shape = FrameShape::of::<T>(time, hash);
            let sent = frame_of(shape, records);
            let bytes = wire_of(shape, records);
            assert_eq!(bytes.len(), sent.payload_bytes());
            let header = bytes.first_chunk().unwrap();
            assert_eq!(wire_bytes(header, FRAME_BYTES).unwrap(), bytes.len());
            let came = from_wire::<T>(&bytes, shape, FRAME_BYTES).unwrap();
            assert_eq!(read::<T>(&came), read::<T>(&sent));
            assert_eq!((came.channel(), came.sequence()), (3, 9));
            assert_eq!(came.watermark(), Some(Timestamp::from_millis(-5)));
        }
    }

    #[test]
    fn a_frame_survives_the_wire() {
        check_round_trip(&posts());
        check_round_trip(&(0..500_u64).map(|i| (i, !i)).collect::<Vec<_>>());
        check_round_trip(&["".to_owned(), "weasel".to_owned()]);
        check_round_trip(&[(), (), ()]);
        check_round_trip::<String>(&[]);
    }

    #[test]
    fn a_frame_of_another_kind_is_refused_with_the_reason() {
        let shape = FrameShape::of::<Post>(true, true);
        let good = wire_of(shape, &posts());
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            let sum = checksum(&bytes);
            bytes[at::CHECKSUM..at::CHECKSUM + 4].copy_from_slice(&sum.to_le_bytes());
            bytes
        };
        let mut flipped = good.clone();
        flipped[200] ^= 1;
        for (bytes, expected) in [
            (good[..40].to_vec(), "a frame came with 40 bytes, but its header says 64"),
            (with(at::VERSION, 2), "a frame has layout version 2"),
            (with(at::KIND, 9), "its kind is unknown"),
            (with(at::FLAGS, 1), "its columns are not those of the edge"),
            (with(at::CAPACITY + 2, 1), "no power of two"),
            (with(at::RECORDS_END + 3, 1), "overlap or lie outside"),
            (with(at::SCHEMA, 0), "other records than"),
            (with(at::COUNT, 0), "a block for each 32 records"),
            (with(at::COUNT, 101), "a region ends before its record"),
            (good[..good.len() - 1].to_vec(), "bytes, but its header says"),
            (flipped, "a frame has checksum"),
        ] {
            let error = from_wire::<Post>(&bytes, shape, FRAME_BYTES).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    /// Flipped bytes, with the checksum made right again so that the checks behind it are reached.
    #[test]
    fn no_bytes_make_it_panic() {
        let shape = FrameShape::of::<Post>(true, true);
        let good = wire_of(shape, &posts()[..40]);
        let packed_shape = FrameShape::of::<(u64, bool)>(false, true);
        let packed = wire_of(packed_shape, &[(1_u64, true), (2, false), (3, true)]);
        let (mut accepted, mut refused) = (0, 0);
        let mut seed = 0x5eed_u64;
        let mut random = |below: usize| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below
        };
        for round in 0..20_000 {
            let good = if round % 4 == 0 { &packed } else { &good };
            let mut bytes = good.clone();
            for _ in 0..1 + random(3) {
                // Half of them in the header and the first records.
                let at =
                    if random(2) == 0 { random(bytes.len()) } else { random(160.min(good.len())) };
                bytes[at] =
                    if random(2) == 0 { random(256) as u8 } else { bytes[at] ^ (1 << random(8)) };
            }
            if random(8) == 0 {
                bytes.truncate(random(good.len() + 1));
            }
            if bytes.len() >= HEADER_BYTES && random(16) > 0 {
                let sum = checksum(&bytes);
                bytes[at::CHECKSUM..at::CHECKSUM + 4].copy_from_slice(&sum.to_le_bytes());
            }
            let kept = if round % 4 == 0 {
                from_wire::<(u64, bool)>(&bytes, packed_shape, 1 << 20)
                    .map(|frame| read::<(u64, bool)>(&frame).len())
            } else {
                from_wire::<Post>(&bytes, shape, 1 << 20).map(|frame| read::<Post>(&frame).len())
            };
            match kept {
                Ok(_) => accepted += 1, // A changed number is still a number.
                Err(error) => {
                    refused += 1;
                    assert!(!error.to_string().is_empty());
                }
            }
        }
        assert!(accepted > 1_000 && refused > 5_000, "{accepted} accepted, {refused} refused");
    }
}
