//! What an append does when its frame has no room: the next frame, or one of the record's own.
//!
//! ```text
//!   full ─▶ close, open the next frame ─▶ append ─┬─ fits
//!                                                  └─ does not ─▶ jumbo: 64 KiB, 128 KiB … to the limit ─▶ or fail
//! ```

use super::*;

impl ResultPartition {
    #[cold]
    #[inline(never)]
    pub(super) fn append_slow<T: Record, I: Item<T>>(
        &mut self,
        index: usize,
        item: &I,
        time: Option<Timestamp>,
        hash: Option<u64>,
    ) {
        let meta = Meta { time, hash };
        if index >= self.lanes.len() {
            let (channel, channels) = (index as u32, self.lanes.len() as u32);
            return self.fail(ExchangeError::NoSuchChannel { channel, channels });
        }
        if self.failed {
            return self.stop.set();
        }
        if !self.lanes[index].writer.is_empty() {
            self.close(index);
        }
        if !self.lanes[index].writer.has_frame()
            && let Err(error) = self.open(index)
        {
            return self.fail(error);
        }
        let writer = &mut self.lanes[index].writer;
        if append_cold::<T, I>(writer, item, meta, &mut self.scratch) == Err(Full)
            && let Err(error) = self.append_jumbo::<T, I>(index, item, meta)
        {
            self.fail(error);
        }
    }

    /// Sends one record alone, in the smallest frame that holds it. The lane's frame is open and empty.
    fn append_jumbo<T: Record, I: Item<T>>(
        &mut self,
        index: usize,
        item: &I,
        meta: Meta,
    ) -> Result<(), ExchangeError> {
        let mut capacity = JUMBO_BYTES_MIN;
        while capacity <= self.frame_bytes_max {
            let borrows = self.is_blocked(index) || !self.frames.jumbo_fits(capacity);
            if borrows {
                self.overdraft.borrow(capacity)?;
                self.jumbo_borrowed += capacity;
                self.set_stop();
            }
            let frame = self.frames.take_jumbo(capacity);
            let mut writer = FrameWriter::open(frame, self.shape);
            let appended = append_cold::<T, I>(&mut writer, item, meta, &mut self.scratch);
            let frame = writer.close();
            if appended.is_ok() {
                self.send(index, frame);
                return Ok(());
            }
            self.take_frame_home(frame);
            capacity *= 2;
        }
        Err(ExchangeError::too_large::<T>(item.view(), self.frame_bytes_max))
    }
}

/// One copy of the append path for all that is not the hot loop.
#[inline(never)]
fn append_cold<T: Record, I: Item<T>>(
    writer: &mut FrameWriter,
    item: &I,
    meta: Meta,
    scratch: &mut Scratch,
) -> Result<(), Full> {
    writer.append::<T, I>(item, meta, scratch)
}
