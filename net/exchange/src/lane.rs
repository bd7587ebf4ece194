//! The open end of a partition: one frame for one channel, or for all channels of a broadcast.

use wiesel_core::{Nanos, Timestamp};
use wiesel_wire::{Frame, FrameShape, FrameWriter};

/// A frame under way to being full, for one channel or for all.
#[derive(Debug)]
pub(crate) struct Lane {
    pub writer: FrameWriter,
    pub sequence: u64,
    /// When a check for old frames first saw it.
    pub seen_at: Option<Nanos>,
    /// It was to be flushed when there was no credit.
    pub flush_wanted: bool,
}

impl Lane {
    pub fn new(shape: FrameShape) -> Self {
        let writer = FrameWriter::without_frame(shape);
        Self { writer, sequence: 0, seen_at: None, flush_wanted: false }
    }

    /// Takes the frame out, if there is one. What is in it is closed.
    pub fn take(&mut self, shape: FrameShape) -> Option<Frame> {
        (self.seen_at, self.flush_wanted) = (None, false);
        let writer = std::mem::replace(&mut self.writer, FrameWriter::without_frame(shape));
        writer.has_frame().then(|| writer.close())
    }

    /// Lets a watermark ride behind the records, if there are any. A newer one replaces an older one.
    pub fn carry(&mut self, watermark: Timestamp) -> bool {
        let rides = !self.writer.is_empty();
        if rides {
            let newest = self.writer.watermark().map_or(watermark, |old| old.max(watermark));
            self.writer.set_watermark(newest);
        }
        rides
    }
}
