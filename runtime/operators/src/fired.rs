//! Up to where windows have fired, in snapshots: a part per subtask, beside the tables of its windows.
//!
//! ```text
//!   part   first key group u16 │ end u16 │ (whether any) u8 │ last time of the window i64 │ its start i64
//! ```
//!
//! # What is always true
//!
//! 1. Subtasks whose watermarks differed (idle channels can do that) are told apart by their key groups: what one of them
//!    has not fired must fire, and what others have fired then comes once more, as behind a late record. Those that had no
//!    row in the window do not count.

use wiesel_core::{KeyGroup, KeyGroupRange, Timestamp};

use crate::Snapshot;

/// The last time of a window and its start: windows are fired in this order.
pub(crate) type Place = (Timestamp, Timestamp);

const BYTES: usize = 2 + 2 + 1 + 8 + 8;

/// What the subtasks of a snapshot say.
pub(crate) struct Fired(Vec<(KeyGroupRange, Option<Place>)>);

/// Adds what this subtask says.
pub(crate) fn put(
    snapshot: &mut Snapshot,
    name: &str,
    groups: KeyGroupRange,
    up_to: Option<Place>,
) {
    let (last, start) = up_to.unwrap_or((Timestamp::MIN, Timestamp::MIN));
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.extend(groups.first.to_le_bytes());
    bytes.extend(groups.end.to_le_bytes());
    bytes.push(up_to.is_some().into());
    bytes.extend(last.as_millis().to_le_bytes());
    bytes.extend(start.as_millis().to_le_bytes());
    snapshot.put(name, None, bytes);
}

impl Fired {
    /// Reads all parts; none if one is damaged.
    pub(crate) fn read(snapshot: &Snapshot, name: &str) -> Option<Self> {
        let read = |part: &[u8]| {
            let [a, b, c, d, is_some, times @ ..] = *part.first_chunk::<BYTES>()?;
            let (last, start) = times.split_first_chunk::<8>()?;
            let time = |bytes| Timestamp::from_millis(i64::from_le_bytes(bytes));
            let place = (time(*last), time(*start.first_chunk()?));
            let (first, end) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
            let is_whole = part.len() == BYTES && first <= end && is_some <= 1;
            is_whole.then_some((KeyGroupRange { first, end }, (is_some == 1).then_some(place)))
        };
        snapshot.operator(name).map(read).collect::<Option<_>>().map(Self)
    }

    /// Up to where the windows with rows in those groups of `mine` that `has_rows` names have fired: in all subtasks that
    /// had them.
    pub(crate) fn up_to(
        &self,
        mine: KeyGroupRange,
        mut has_rows: impl FnMut(KeyGroup) -> bool,
    ) -> Option<Place> {
        let counts = self.0.iter().filter(|(range, _)| {
            let (first, end) = (range.first.max(mine.first), range.end.min(mine.end));
            (first..end).any(|group| has_rows(KeyGroup(group)))
        });
        counts.map(|(_, up_to)| *up_to).min().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_without_rows_do_not_count_and_damage_is_seen() {
        let mut snapshot = Snapshot::default();
        let at = |ms| Some((Timestamp::from_millis(ms), Timestamp::MAX));
        put(&mut snapshot, "fired", KeyGroupRange { first: 0, end: 4 }, at(10));
        put(&mut snapshot, "fired", KeyGroupRange { first: 4, end: 6 }, at(5));
        put(&mut snapshot, "fired", KeyGroupRange { first: 6, end: 8 }, None);
        let fired = Fired::read(&snapshot, "fired").expect("as it was written");
        let up_to = |mine, has: &[u16]| fired.up_to(mine, |group| has.contains(&group.0));
        assert_eq!(up_to(KeyGroupRange::all(8), &[1, 3]), at(10));
        assert_eq!(up_to(KeyGroupRange::all(8), &[1, 4]), at(5));
        assert_eq!(up_to(KeyGroupRange { first: 0, end: 4 }, &[1, 4]), at(10));
        assert_eq!(up_to(KeyGroupRange::all(8), &[1, 4, 7]), None);
        assert_eq!(up_to(KeyGroupRange::all(8), &[]), None);
        for damaged in [vec![0; BYTES - 1], vec![0; BYTES + 1], vec![9; BYTES]] {
            let mut snapshot = Snapshot::default();
            snapshot.put("fired", None, damaged);
            assert!(Fired::read(&snapshot, "fired").is_none());
        }
    }
}
