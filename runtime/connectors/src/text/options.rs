//! What a text source is told beside its place and its format.

use std::time::Duration;

/// What happens to a line that cannot be read: not of its format, over the limit, or not UTF-8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BadLines {
    /// The job fails, with the file, the line and what was wrong.
    #[default]
    Fail,
    /// It is left out and counted (`bad_records_skipped`).
    SkipAndCount,
    /// It goes, as text, to the source's side output, and is counted.
    SideOutput,
}

/// What happens to bytes that are not UTF-8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Utf8 {
    /// The line is a bad line.
    #[default]
    Require,
    /// They become U+FFFD, and the line is counted (`text_replaced`).
    Replace,
}

/// Longest line, in bytes before its `\n`: what one reader keeps of a line that chunks share.
pub(super) const LINE_BYTES_MAX: usize = 1 << 20;

/// Bytes of a file per split: at 200 MB/s a tenth of a second, so readers end within that of each other, and the
/// JobMaster is asked ten times a second by each.
pub(super) const SPLIT_BYTES: u64 = 16 << 20;

/// All options of a text source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TextOptions {
    pub(crate) bad_lines: BadLines,
    pub(crate) utf8: Utf8,
    pub(crate) line_bytes_max: usize,
    pub(crate) split_bytes: u64,
    /// How often the input is read, and how far event time moves on each time.
    pub(crate) passes: u64,
    pub(crate) pass_step: Duration,
}

impl Default for TextOptions {
    fn default() -> Self {
        Self {
            bad_lines: BadLines::default(),
            utf8: Utf8::default(),
            line_bytes_max: LINE_BYTES_MAX,
            split_bytes: SPLIT_BYTES,
            passes: 1,
            pass_step: Duration::ZERO,
        }
    }
}
