//! Keys of any length: the word of a row is their hash, and its first block the key. `unsafe`: see `table.rs`.

use super::*;
use crate::blocks::Block;

impl Table {
    /// As [`Table::upsert_at`], for a layout of bytes.
    ///
    /// # Panics
    ///
    /// If the layout keeps its keys as words.
    #[inline(always)]
    pub fn upsert_bytes(&mut self, spot: Spot, hash: u64, key: &[u8]) -> RowMut<'_> {
        assert!(self.word_bytes == 0, "this table keeps its keys as words");
        debug_assert!(spot == self.spot(hash), "the spot is that of another hash");
        self.check_resident(hash, key);
        let (area, inserted) = self.upsert_bytes_parts(spot, hash, key);
        // SAFETY: the area is a live row's, touched or just inserted.
        unsafe { RowMut::new(self, word_from(bytes_hash(hash)), area, inserted) }
    }

    /// The area of a row, touched or just inserted, and whether it is new.
    // Never: what goes in and what comes back are in registers, which a caller that inlines it does not have.
    #[inline(never)]
    fn upsert_bytes_parts(&mut self, spot: Spot, hash: u64, key: &[u8]) -> (*mut u8, bool) {
        let (spot, segment, mut place) = self.locate_bytes_at(spot, hash, key);
        if place.found {
            self.touch(spot, segment, place);
        } else {
            place = self.insert(spot, word_from(bytes_hash(hash)), Some(key));
        }
        (place.area(self.shape), !place.found)
    }

    #[inline(always)]
    pub(super) fn locate_bytes(&self, hash: u64, key: &[u8]) -> (u64, Segment, Place) {
        self.locate_bytes_at(self.spot(hash), hash, key)
    }

    #[inline(always)]
    fn locate_bytes_at(&self, spot: Spot, hash: u64, key: &[u8]) -> (u64, Segment, Place) {
        let Spot(spot) = spot;
        let segment = self.segment_at(spot);
        let sought = self.hints.sought(bytes_hash(hash));
        let place = match Block::inline(key) {
            Some(short) => {
                let key_at = self.shape.key_at;
                // SAFETY: the area of a live row of a layout of bytes: its first block is its key.
                let block = |area: *mut u8| unsafe { &*area.wrapping_add(key_at).cast::<Block>() };
                // SAFETY: in the directory, so live; the word is not empty.
                unsafe { segment.find(self.shape, spot, sought, |area| block(area).is(short)) }
            }
            None => {
                let (at, row, found) = self.find_long(segment, spot, sought, key);
                Place { group: segment.group(self.shape, at), at, row, found }
            }
        };
        if !place.found && self.hints.any {
            return (spot, segment, self.find_bytes_apart(segment, spot, hash, key));
        }
        (spot, segment, place)
    }

    /// The parts of a place, so that they come back in registers.
    // Never: it calls, and what the loop over short keys holds in registers would be on the stack.
    #[inline(never)]
    fn find_long(
        &self,
        segment: Segment,
        spot: u64,
        sought: Sought,
        key: &[u8],
    ) -> (u32, u32, bool) {
        // SAFETY: as for short keys.
        let place = unsafe { segment.find(self.shape, spot, sought, has_key(self.shape, key)) };
        (place.at, place.row, place.found)
    }

    /// The place of a key whatever its row's hint.
    // Never: once for each row and snapshot.
    #[inline(never)]
    fn find_bytes_apart(&self, segment: Segment, spot: u64, hash: u64, key: &[u8]) -> Place {
        let sought = Sought::of_key(word_from(bytes_hash(hash)), segment.key_bits());
        // SAFETY: as for short keys.
        unsafe { segment.find(self.shape, spot, sought, has_key(self.shape, key)) }
    }
}

/// Whether a row has this key, however long: asked of its area.
#[inline(always)]
fn has_key(shape: Shape, key: &[u8]) -> impl Fn(*mut u8) -> bool {
    // SAFETY: the area of a live row of a layout of bytes: its first block is its key, which is live as the row is.
    move |area| unsafe { (*area.wrapping_add(shape.key_at).cast::<Block>()).bytes() == Some(key) }
}
