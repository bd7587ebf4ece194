//! Subtasks that flood each other all to all through the tightest channels: the protocol of a chain, stop and resume.
//!
//! ```text
//!   shard 0:  source ──hash──┬─▶ × 1000 ──hash──┬─▶ sum
//!   shard 1:  source ────────┴─▶ × 1000 ────────┴─▶ sum
//! ```

use wiesel_connectors::{CollectedRecords, DataGen};
use wiesel_datastream::Environment;
use wiesel_operators::Aggregated;
use wiesel_record::Record;

use crate::case::Draw;

/// Records that each record becomes.
const EXPANSION: u64 = 1_000;

/// What a flood carries.
#[derive(Clone, Debug, PartialEq, Record)]
struct Droplet {
    number: u64,
    padding: String,
}

/// A flood that a seed draws.
#[derive(Clone, Debug)]
pub(crate) struct Flood {
    records: u64,
    padding: usize,
    pub(crate) parallelism: u32,
    pub(crate) credits: usize,
    pub(crate) overdraft_kib: usize,
}

impl Flood {
    /// What `seed` draws.
    pub(crate) fn of(seed: u64) -> Self {
        let draw = &mut Draw::new(seed);
        let padding = draw.of(&[0, 30, 200]);
        Self {
            records: draw.within(2, 16),
            padding,
            parallelism: draw.of(&[2, 2, 2, 3]),
            credits: draw.within(1, 2) as usize,
            // One expansion: the records with 16 to 40 bytes of lengths, hashes and index each, and a frame that is not
            // full for each channel.
            overdraft_kib: (EXPANSION as usize * (padding + 56)).div_ceil(1_024) + 32 * 4,
        }
    }

    /// Says the job.
    pub(crate) fn build(
        &self,
        environment: &Environment,
    ) -> CollectedRecords<Aggregated<u64, u64>> {
        let padding = "~".repeat(self.padding);
        environment
            .source(
                DataGen::new(move |tick| Droplet { number: tick.number, padding: padding.clone() })
                    .count(self.records),
            )
            .partition_custom::<u64>(
                |hash, channels| (hash % u64::from(channels)) as u32,
                |drop| drop.number,
            )
            .flat_map::<Droplet>(|drop, out| {
                for copy in 0..EXPANSION {
                    out.emit(DropletView { number: drop.number * EXPANSION + copy, ..drop });
                }
            })
            .key_by::<u64>(|drop| drop.number)
            .sum::<u64, _>(|_| 1)
            .filter(|sum| sum.key % EXPANSION == 0 || sum.value != 1)
            .collect()
    }

    /// What must come out, by key: a record of each source record, seen once.
    pub(crate) fn expected(&self) -> Vec<(u64, u64)> {
        (0..self.records).map(|number| (number * EXPANSION, 1)).collect()
    }

    /// Records that the sums must have read.
    pub(crate) fn records_summed(&self) -> u64 {
        self.records * EXPANSION
    }
}
