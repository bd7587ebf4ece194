//! From a hash to the place where a table looks: key group and lower half.
//!
//! The group is murmur3's finaliser over the hash's upper half, modulo max parallelism, as everywhere else
//! (`wiesel_core::key_group_of`). A division takes more than 20 cycles; here it is two multiplications (Lemire,
//! Kaser and Kurz: Faster remainder by direct computation), done once per record for prefetch and look-up.

use super::*;

/// Where a table looks for a key: the key group's index, and below it the lower half of the hash. It depends
/// on the table's key groups alone: made once per record, for the prefetch, it is still good when the row is
/// looked up, whatever has grown in between, and for all tables of the operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spot(pub(super) u64);

/// Finds the spots of one subtask's keys, whatever table of its operator they are for.
///
/// ```
/// use wiesel_core::KeyGroupRange;
/// use wiesel_state::{KeyLayout, RowLayout, Spots, Table};
///
/// let layout = RowLayout::of_value(KeyLayout::Word { bytes: 8 }, |_| 77, 8)?;
/// let table = Table::new(layout, KeyGroupRange::all(128), 128);
/// assert_eq!(Spots::new(KeyGroupRange::all(128), 128).of(77), table.spot(77));
/// # Ok::<(), wiesel_state::TableError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Spots {
    first: u32,
    max_parallelism: u32,
    /// `u64::MAX / max_parallelism + 1`: for the modulo.
    magic: u64,
}

impl Spots {
    /// For the key groups `range` of `max_parallelism`, which is not zero.
    pub const fn new(range: KeyGroupRange, max_parallelism: u32) -> Self {
        let magic = (u64::MAX / max_parallelism as u64).wrapping_add(1);
        Self { first: range.first as u32, max_parallelism, magic }
    }

    /// Where tables look for a key of this hash.
    #[inline(always)]
    pub fn of(&self, hash: u64) -> Spot {
        let group = modulo(fmix32((hash >> 32) as u32), self.max_parallelism, self.magic);
        self.spot(group, hash)
    }

    /// As [`Spots::of`] for each of `hashes`, into as many of `spots` as there are: several at a time, where the
    /// processor can.
    // Never: its constants would be loaded again for each record that is applied, behind the calls that lose them.
    #[inline(never)]
    pub fn of_all(&self, hashes: &[u64], spots: &mut [Spot]) {
        let pairs = spots.iter_mut().zip(hashes);
        if self.max_parallelism.is_power_of_two() {
            // Without 64-bit multiplications, which few processors do side by side.
            let mask = self.max_parallelism - 1;
            pairs.for_each(|(spot, hash)| {
                *spot = self.spot(fmix32((hash >> 32) as u32) & mask, *hash);
            });
        } else {
            pairs.for_each(|(spot, hash)| *spot = self.of(*hash));
        }
    }

    #[inline(always)]
    fn spot(&self, group: u32, hash: u64) -> Spot {
        Spot(u64::from(group.wrapping_sub(self.first)) << 32 | hash & 0xffff_ffff)
    }
}

impl Table {
    /// Where the table looks for a key of this hash.
    #[inline(always)]
    pub fn spot(&self, hash: u64) -> Spot {
        self.spots.of(hash)
    }

    /// The key group of a spot of this table.
    pub(super) fn group_of(&self, spot: u64) -> KeyGroup {
        KeyGroup(self.range.first + (spot >> 32) as u16)
    }
}

/// `a % d`; `magic` is `u64::MAX / d + 1`. Exact for 32 bits.
#[inline(always)]
fn modulo(a: u32, d: u32, magic: u64) -> u32 {
    let fraction = magic.wrapping_mul(a.into());
    ((u128::from(fraction) * u128::from(d)) >> 64) as u32
}

/// Murmur3's finaliser, as in `wiesel_core::key_group_of`; a test holds them together.
#[inline(always)]
fn fmix32(mut h: u32) -> u32 {
    h ^= h >> 16;
    h = h.wrapping_mul(0x85eb_ca6b);
    h ^= h >> 13;
    h = h.wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}

#[cfg(test)]
mod tests {
    use wiesel_core::key_group_of;

    use super::*;

    #[test]
    fn spots_are_in_the_key_group() {
        let layout = RowLayout::of_value(KeyLayout::Bytes, |_| 0, 8).unwrap();
        for max in [1, 2, 3, 7, 127, 128, 1_000, 32_767, 32_768] {
            let table = Table::new(layout.clone(), KeyGroupRange::all(max), max);
            let mut hash = 1_u64;
            for _ in 0..20_000 {
                hash = (hash ^ (hash >> 29)).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
                assert_eq!(
                    table.group_of(table.spot(hash).0),
                    key_group_of(hash, max),
                    "{hash} {max}"
                );
                assert_eq!(table.spot(hash).0 as u32, hash as u32);
            }
            let hashes: [u64; 21] = std::array::from_fn(|at| hash.wrapping_mul(2 * at as u64 + 1));
            let mut spots = [Spot::default(); 21];
            table.spots.of_all(&hashes, &mut spots);
            assert_eq!(spots, hashes.map(|hash| table.spot(hash)));
        }
    }
}
