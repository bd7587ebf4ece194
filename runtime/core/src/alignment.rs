//! Which sources wait for each other, and what one of them says about itself.

use std::time::Duration;

use crate::Timestamp;

/// Sources whose watermarks are aligned: none reads much further ahead in event time than the slowest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlignmentGroup {
    /// Sources that give the same name are in the same group, also if they are different sources.
    pub name: String,
    /// How far ahead of the group's smallest watermark a split may be read.
    pub max_drift: Duration,
    /// How often watermarks are reported, and the limit is told.
    pub update_interval: Duration,
}

/// Where a member of a group is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlignmentReport {
    /// Its group, as it knows it.
    pub group: AlignmentGroup,
    /// Its watermark; [`Timestamp::MAX`] if it is idle and holds nobody back.
    pub watermark: Timestamp,
}
