//! A record as it is sorted: what it is ordered by, then its bytes. The same in memory and in a file.
//!
//! ```text
//!   hash u64 │ time i64 │ key length u32 │ region length and input u32 │ key │ region
//! ```
//!
//! # What is always true
//!
//! 1. Records of one key are neighbours in the order: of two keys with one hash the canonical bytes decide.
//! 2. What is read from bytes is inside of them, whatever they are.

use std::cmp::Ordering;

use wiesel_core::Meta;

const HEADER_BYTES: usize = 24;

/// The bit of the input in the length of the region. There are two inputs, and a region has less than 2^31 bytes.
const INPUT_BIT: u32 = 1 << 31;

/// One record of a keyed input.
#[derive(Clone, Copy, Debug)]
pub struct SortedRecord<'r> {
    /// Which input of the head it came on, 0 or 1.
    pub(crate) input: usize,
    /// The hash of its key.
    pub(crate) hash: u64,
    /// The event time as frames have it.
    pub(crate) time: i64,
    /// The canonical bytes of its key.
    pub(crate) key: &'r [u8],
    /// Its region, at any address.
    pub(crate) region: &'r [u8],
}

impl<'r> SortedRecord<'r> {
    /// Appends its bytes.
    #[inline]
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        debug_assert!(self.region.len() < INPUT_BIT as usize && self.input < 2);
        let input = if self.input == 0 { 0 } else { INPUT_BIT };
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&self.hash.to_le_bytes());
        header[8..16].copy_from_slice(&self.time.to_le_bytes());
        header[16..20].copy_from_slice(&(self.key.len() as u32).to_le_bytes());
        header[20..].copy_from_slice(&(self.region.len() as u32 | input).to_le_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(self.key);
        out.extend_from_slice(self.region);
    }

    /// The record at the front of `bytes`, if it is there in full, and how long it is.
    #[inline]
    pub(super) fn read(bytes: &'r [u8]) -> Option<(Self, usize)> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let (hash, header) = header.split_first_chunk::<8>()?;
        let (time, header) = header.split_first_chunk::<8>()?;
        let (key_len, region_len) = header.split_first_chunk::<4>()?;
        let key_len = u32::from_le_bytes(*key_len) as usize;
        let tagged = u32::from_le_bytes(*region_len.first_chunk::<4>()?);
        let region_len = (tagged & !INPUT_BIT) as usize;
        let (key, rest) = rest.split_at_checked(key_len)?;
        let region = rest.get(..region_len)?;
        let record = Self {
            input: usize::from(tagged & INPUT_BIT != 0),
            hash: u64::from_le_bytes(*hash),
            time: i64::from_le_bytes(*time),
            key,
            region,
        };
        Some((record, HEADER_BYTES + key_len + region_len))
    }

    /// Time and hash.
    pub(crate) fn meta(&self) -> Meta {
        Meta { time: Meta::time_from_column(self.time), hash: Some(self.hash) }
    }

    /// By key, then time, then input. Equal ones stay in the order of their arrival.
    pub(super) fn order(&self, other: &SortedRecord<'_>) -> Ordering {
        let by_hash = self.hash.cmp(&other.hash);
        by_hash.then_with(|| self.order_of_one_hash(other))
    }

    /// As [`order`](Self::order), if the hashes are equal.
    pub(super) fn order_of_one_hash(&self, other: &SortedRecord<'_>) -> Ordering {
        let by_key = self.key.cmp(other.key);
        by_key.then(self.time.cmp(&other.time)).then(self.input.cmp(&other.input))
    }
}

/// Records in the order of their arrival, until there are enough to be sorted in one go.
#[derive(Default)]
pub(super) struct Chunk {
    bytes: Vec<u8>,
    /// The hash of each record, and where it is.
    places: Vec<(u64, u32)>,
}

impl Chunk {
    #[inline]
    pub(super) fn push(&mut self, record: &SortedRecord<'_>) {
        self.places.push((record.hash, self.bytes.len() as u32));
        record.write(&mut self.bytes);
    }

    pub(super) fn records(&self) -> usize {
        self.places.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Its records in order; it is empty then.
    pub(super) fn take_sorted(&mut self) -> Vec<u8> {
        let Self { bytes, places } = self;
        let at = |place: u32| SortedRecord::read(&bytes[place as usize..]);
        places.sort_unstable_by(|(hash, a), (other, b)| {
            hash.cmp(other).then_with(|| {
                let order = at(*a).zip(at(*b)).map(|((a, _), (b, _))| a.order_of_one_hash(&b));
                order.unwrap_or(Ordering::Equal).then(a.cmp(b))
            })
        });
        let mut sorted = Vec::with_capacity(bytes.len());
        for (_, place) in places.iter() {
            if let Some((_, len)) = at(*place) {
                sorted.extend_from_slice(&bytes[*place as usize..*place as usize + len]);
            }
        }
        bytes.clear();
        places.clear();
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(input: usize, hash: u64, time: i64, key: &'static str) -> SortedRecord<'static> {
        SortedRecord { input, hash, time, key: key.as_bytes(), region: b"region" }
    }

    #[test]
    fn a_record_is_read_as_it_was_written_or_not_at_all() {
        let mut bytes = Vec::new();
        record(1, u64::MAX, i64::MIN, "key").write(&mut bytes);
        let whole = bytes.len();
        record(0, 0, 7, "").write(&mut bytes);
        let (first, len) = SortedRecord::read(&bytes).expect("whole");
        assert_eq!((first.input, first.hash, first.time, len), (1, u64::MAX, i64::MIN, whole));
        assert_eq!((first.key, first.region), (&b"key"[..], &b"region"[..]));
        assert_eq!(first.meta(), Meta { time: None, hash: Some(u64::MAX) });
        let (second, _) = SortedRecord::read(&bytes[len..]).expect("whole");
        assert_eq!((second.input, second.key), (0, &b""[..]));
        for cut in 0..whole {
            assert!(SortedRecord::read(&bytes[..cut]).is_none(), "{cut} of {whole}");
        }
        for at in 16..24 {
            let mut damaged = bytes[..whole].to_vec();
            damaged[at] ^= 0x7F;
            if let Some((read, len)) = SortedRecord::read(&damaged) {
                assert!(len <= whole && read.key.len() + read.region.len() < whole);
            }
        }
    }

    #[test]
    fn a_chunk_is_sorted_by_key_time_input_and_arrival() {
        let mut chunk = Chunk::default();
        let regions: Vec<String> = (0..6).map(|n| n.to_string()).collect();
        let order =
            [(0, 9, 5, "b"), (1, 9, 5, "a"), (0, 9, 5, "a"), (0, 9, 4, "a"), (0, 3, 8, "z")];
        for (n, (input, hash, time, key)) in order.into_iter().chain([(0, 9, 5, "b")]).enumerate() {
            let region = regions[n].as_bytes();
            chunk.push(&SortedRecord { region, ..record(input, hash, time, key) });
        }
        assert_eq!(chunk.records(), 6);
        let sorted = chunk.take_sorted();
        assert_eq!((chunk.records(), chunk.bytes()), (0, 0));
        let (mut rest, mut found) = (&sorted[..], String::new());
        while let Some((record, len)) = SortedRecord::read(rest) {
            found += std::str::from_utf8(record.region).expect("digits");
            rest = &rest[len..];
        }
        assert_eq!(found, "432105");
    }
}
