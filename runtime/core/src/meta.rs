//! What travels beside a record: its event time and the hash of its key.

use crate::Timestamp;

/// Event time and key hash of one record. `Copy`, and dissolved by the optimiser inside a chain.
///
/// A record without an event time carries [`Timestamp::MIN`] in a frame's time column, as in Flink; so
/// `MIN` itself is not an event time a record can have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Event time, if a watermark strategy or a source gave one.
    pub time: Option<Timestamp>,
    /// Key hash, if the record came over a keyed edge.
    pub hash: Option<u64>,
}

impl Meta {
    /// Neither time nor key.
    pub const NONE: Self = Self { time: None, hash: None };

    /// A record with an event time.
    #[inline]
    pub const fn at(time: Timestamp) -> Self {
        Self { time: Some(time), hash: None }
    }

    /// The same record with another event time.
    #[inline]
    #[must_use]
    pub const fn with_time(self, time: Timestamp) -> Self {
        Self { time: Some(time), ..self }
    }

    /// The same record with a key hash.
    #[inline]
    #[must_use]
    pub const fn with_hash(self, hash: u64) -> Self {
        Self { hash: Some(hash), ..self }
    }

    /// The event time as the frame's column holds it.
    #[inline]
    pub const fn time_column(self) -> i64 {
        match self.time {
            Some(time) => time.as_millis(),
            None => i64::MIN,
        }
    }

    /// An event time read back from the frame's column.
    #[inline]
    pub const fn time_from_column(column: i64) -> Option<Timestamp> {
        if column == i64::MIN { None } else { Some(Timestamp::from_millis(column)) }
    }
}
