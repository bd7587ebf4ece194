//! Cuts chunks of bytes into lines, wherever the chunks begin and end.
//!
//! ```text
//!   chunks   the first li│ne\nthe sec│ond\r\n│the last
//!   carry    ───────────▶└┘          └──▶     └──────── finish
//!   lines    "the first line"  "the second"  "the last"
//! ```
//!
//! # What is always true
//!
//! 1. The lines do not depend on where chunks end. They are those of `str::lines`: a line ends at `\n`, a `\r`
//!    before it belongs to the end, and what follows the last `\n` is a line if it is not empty.
//! 2. A split owns the lines that start in its range. So it cuts from one byte before its start, drops what is
//!    before the first `\n`, and reads its last line to the end, wherever that is.
//! 3. Of a line over the limit at most the limit is kept, and it is reported once.
//! 4. Only a line that two chunks share is copied.

use memchr::memchr;

const BOM: &[u8] = "\u{feff}".as_bytes();

/// The state between two chunks.
#[derive(Debug)]
pub(crate) struct LineCutter {
    /// The beginning of a line whose end has not come.
    carry: Vec<u8>,
    /// The carry was given out as a line; it is cleared at the next call.
    carry_used: bool,
    /// The rest of this line is not wanted.
    dropping: bool,
    /// Where the next byte of the chunk lies in the input.
    offset: u64,
    /// Where the line begins that is being cut.
    begin: u64,
    /// Lines that begin here or later are not wanted.
    end: u64,
    /// Where the line began that was cut last.
    line: u64,
    /// How many lines were cut.
    count: u64,
    bytes_max: usize,
}

/// What was cut.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cut<'c> {
    /// A line, without its end and without a byte order mark.
    Line(&'c [u8]),
    /// A line over the limit: its first bytes.
    TooLong(&'c [u8]),
    /// The chunk is used up.
    More,
    /// Every line of the range has been cut.
    End,
}

impl LineCutter {
    /// Cuts the lines that begin in `start..end` of an input, with at most `bytes_max` bytes before their `\n`. The
    /// first chunk begins at [`LineCutter::first_byte`].
    pub(crate) fn new(start: u64, end: u64, bytes_max: usize) -> Self {
        let offset = Self::first_byte(start);
        Self {
            carry: Vec::new(),
            carry_used: false,
            dropping: start > 0,
            offset,
            begin: start,
            end,
            line: start,
            count: 0,
            bytes_max,
        }
    }

    /// Where the input has to be read from for lines that begin at or after `start`.
    pub(crate) fn first_byte(start: u64) -> u64 {
        start.saturating_sub(1)
    }

    /// The next line of `chunk`, from `at` on; `at` is moved behind what was used.
    #[inline]
    pub(crate) fn next<'c>(&'c mut self, chunk: &'c [u8], at: &mut usize) -> Cut<'c> {
        if self.carry_used || self.dropping || !self.carry.is_empty() {
            return self.next_slow(chunk, at);
        }
        if self.begin >= self.end {
            return Cut::End;
        }
        let rest = &chunk[*at..];
        match memchr(b'\n', rest) {
            Some(length) if length <= self.bytes_max => {
                *at += length + 1;
                self.ended(length + 1);
                Cut::Line(trim(&rest[..length], self.line))
            }
            _ => self.next_slow(chunk, at),
        }
    }

    #[cold]
    #[inline(never)]
    fn next_slow<'c>(&'c mut self, chunk: &'c [u8], at: &mut usize) -> Cut<'c> {
        if self.carry_used {
            self.carry.clear();
            self.carry_used = false;
        }
        if self.dropping {
            let rest = &chunk[*at..];
            let Some(length) = memchr(b'\n', rest) else {
                return self.used_up(rest.len(), chunk, at);
            };
            *at += length + 1;
            self.offset += length as u64 + 1;
            self.begin = self.offset;
            self.dropping = false;
        }
        if self.begin >= self.end {
            return Cut::End;
        }
        let rest = &chunk[*at..];
        let found = memchr(b'\n', rest);
        let length = found.unwrap_or(rest.len());
        let room = self.bytes_max - self.carry.len();
        if length > room {
            self.carry.extend_from_slice(&rest[..room]);
            self.carry_used = true;
            match found {
                Some(_) => {
                    *at += length + 1;
                    self.ended(length + 1);
                }
                None => {
                    let _ = self.used_up(length, chunk, at);
                    self.line = self.begin;
                    self.count += 1;
                    // Whoever goes on from here drops the rest of the line and does not report it again.
                    self.begin = self.offset;
                    self.dropping = true;
                }
            }
            return Cut::TooLong(trim(&self.carry, self.line));
        }
        if found.is_none() {
            self.carry.extend_from_slice(rest);
            return self.used_up(length, chunk, at);
        }
        *at += length + 1;
        self.ended(length + 1);
        if self.carry.is_empty() {
            return Cut::Line(trim(&rest[..length], self.line));
        }
        self.carry.extend_from_slice(&rest[..length]);
        self.carry_used = true;
        Cut::Line(trim(&self.carry, self.line))
    }

    fn used_up(&mut self, length: usize, chunk: &[u8], at: &mut usize) -> Cut<'static> {
        self.offset += length as u64;
        *at = chunk.len();
        Cut::More
    }

    /// A line has ended, `length` bytes on.
    #[inline]
    fn ended(&mut self, length: usize) {
        self.offset += length as u64;
        self.line = self.begin;
        self.begin = self.offset;
        self.count += 1;
    }

    /// The input has ended: its last line, if that has no end of its own.
    pub(crate) fn finish(&mut self) -> Option<&[u8]> {
        if self.carry.is_empty() || self.carry_used || self.dropping {
            return None;
        }
        self.ended(0);
        self.carry_used = true;
        let bom = self.line == 0 && self.carry.starts_with(BOM);
        Some(&self.carry[if bom { BOM.len() } else { 0 }..])
    }

    /// Where the line began that was cut last: byte, and its number from 1 among those cut.
    pub(crate) fn last_line(&self) -> (u64, u64) {
        (self.line, self.count)
    }

    /// Where the first line begins that was not cut.
    pub(crate) fn next_line(&self) -> u64 {
        self.begin
    }

    /// Where the first byte of the input lies that was not used.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }
}

/// Without `\r`, and at the start of the input without a byte order mark.
#[inline]
fn trim(line: &[u8], begin: u64) -> &[u8] {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if begin == 0 { line.strip_prefix(BOM).unwrap_or(line) } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// splitmix64: the seed is in every message.
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: usize) -> usize {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) % end as u64) as usize
        }
    }

    /// The lines of `text` that begin in `start..end`, in chunks of random length; too long ones marked.
    fn cut(text: &str, start: u64, end: u64, bytes_max: usize, random: &mut Random) -> Vec<String> {
        let mut cutter = LineCutter::new(start, end, bytes_max);
        let mut rest = &text.as_bytes()[LineCutter::first_byte(start) as usize..];
        let mut lines = Vec::new();
        let own = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at((1 + random.below(9)).min(rest.len()));
            let mut at = 0;
            loop {
                match cutter.next(chunk, &mut at) {
                    Cut::Line(line) => lines.push(own(line)),
                    Cut::TooLong(line) => lines.push(own(line) + "…"),
                    Cut::More => break,
                    Cut::End => return lines,
                }
                let (line, _) = cutter.last_line();
                assert!(start <= line && line < end && line < cutter.next_line() + 1);
            }
            assert_eq!(at, chunk.len());
            rest = after;
        }
        lines.extend(cutter.finish().map(own));
        assert_eq!(cutter.finish(), None);
        lines
    }

    fn random_text(random: &mut Random) -> String {
        let parts = ["a", "bc", "\n", "\n", "\r\n", "\r", "é", "defghijk", "", " "];
        let mut text = if random.below(4) == 0 { "\u{feff}".to_owned() } else { String::new() };
        text.extend((0..random.below(30)).map(|_| parts[random.below(parts.len())]));
        text
    }

    #[test]
    fn lines_are_those_of_str_lines_however_chunks_end() {
        for seed in 0..5_000 {
            let mut random = Random(seed);
            let text = random_text(&mut random);
            let expected: Vec<&str> =
                text.strip_prefix('\u{feff}').unwrap_or(&text).lines().collect();
            // A text that is only a byte order mark is one empty line here, and none there.
            if text == "\u{feff}" {
                continue;
            }
            assert_eq!(cut(&text, 0, u64::MAX, 1 << 20, &mut random), expected, "seed {seed}");
        }
    }

    #[test]
    fn splits_give_every_line_exactly_once() {
        for seed in 0..5_000 {
            let mut random = Random(seed);
            let text = random_text(&mut random);
            let whole = cut(&text, 0, u64::MAX, 1 << 20, &mut random);
            let size = 1 + random.below(12) as u64;
            let length = text.len() as u64;
            let mut parts = Vec::new();
            for start in (0..length).step_by(size as usize) {
                parts.extend(cut(&text, start, (start + size).min(length), 1 << 20, &mut random));
            }
            assert_eq!(parts, whole, "seed {seed}, size {size}");
        }
    }

    #[test]
    fn cutting_goes_on_from_any_next_line() {
        for seed in 0..2_000 {
            let mut random = Random(seed);
            let text = random_text(&mut random);
            let whole = cut(&text, 0, u64::MAX, 1 << 20, &mut random);
            let mut cutter = LineCutter::new(0, u64::MAX, 1 << 20);
            let (mut at, mut count) = (0, 0);
            while let Cut::Line(_) = cutter.next(text.as_bytes(), &mut at) {
                count += 1;
                let rest = cut(&text, cutter.next_line(), u64::MAX, 1 << 20, &mut random);
                assert_eq!(rest, whole[count..], "seed {seed}, after line {count}");
            }
        }
    }

    #[test]
    fn lines_over_the_limit_are_cut_short_and_reported_once() {
        for seed in 0..2_000 {
            let mut random = Random(seed);
            let cut = cut("abcd\nabcde\n\nabcdefghijkl\r\nabcd", 0, u64::MAX, 4, &mut random);
            assert_eq!(cut, ["abcd", "abcd…", "", "abcd…", "abcd"], "seed {seed}");
        }
        let mut random = Random(1);
        assert_eq!(cut("abcdefgh", 0, u64::MAX, 4, &mut random), ["abcd…"]);
        assert_eq!(cut("abcdefgh\nx", 0, u64::MAX, 4, &mut random), ["abcd…", "x"]);
    }

    #[test]
    fn edges() {
        // Text, its lines.
        for (text, expected) in [
            ("", &[] as &[&str]),
            ("\n", &[""]),
            ("\r\n", &[""]),
            ("\r", &["\r"]),
            ("a\r", &["a\r"]),
            ("a\n\nb", &["a", "", "b"]),
            ("\u{feff}a\n\u{feff}b\n", &["a", "\u{feff}b"]),
            ("\u{feff}", &[""]),
            ("a\r\r\n", &["a\r"]),
        ] {
            let mut random = Random(7);
            assert_eq!(cut(text, 0, u64::MAX, 1 << 20, &mut random), expected, "{text:?}");
        }
    }
}
