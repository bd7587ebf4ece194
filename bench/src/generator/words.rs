//! Lines of words, skewed as text is.

use std::hint::select_unpredictable;

use super::{Generator, below};

/// FNV-1a over the bytes of a word.
#[inline(always)]
pub fn fnv1a64(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: u64| (hash ^ byte).wrapping_mul(0x0100_0000_01b3);
    let basis = 0xcbf2_9ce4_8422_2325;
    let (len, byte_of) = (bytes.len(), |at: usize| u64::from(bytes[at]));
    if !(4..=9).contains(&len) {
        return (0..len).fold(basis, |hash, at| step(hash, byte_of(at)));
    }
    // The lengths that words have are not told apart by a branch: it would go wrong for every other word.
    let hash = (0..4).fold(basis, |hash, at| step(hash, byte_of(at)));
    (4..9).fold(hash, |hash, at| {
        let next = step(hash, byte_of(at.min(len - 1)));
        select_unpredictable(at < len, next, hash)
    })
}

/// A rank below 65,536, about as likely as one over itself.
#[inline(always)]
fn rank(random: u64) -> usize {
    let level = 1 + (((random & 0xFFFF) * 16) >> 16);
    below(random, 1 << level) as usize
}

/// The words of a line, split at its spaces. Every engine and the loop by hand split with this, so that what is compared
/// is not the speed of splitting: sixty-four bytes are looked at at once, and not one after the other.
#[inline(always)]
pub fn words(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    let mut spaces = spaces_in(line.as_bytes());
    let mut start = 0;
    std::iter::from_fn(move || {
        let line = rest?;
        let end =
            if spaces == 0 { next_space(line, start) } else { spaces.trailing_zeros() as usize };
        spaces &= spaces.wrapping_sub(1);
        let word = &line[start..end];
        start = end + 1;
        if end == line.len() {
            rest = None;
        }
        Some(word)
    })
}

/// A bit for each of the first 64 bytes that is a space.
#[inline(always)]
fn spaces_in(bytes: &[u8]) -> u64 {
    let mut block = [0; 64];
    let len = bytes.len().min(64);
    block[..len].copy_from_slice(&bytes[..len]);
    block.iter().enumerate().fold(0, |spaces, (at, byte)| spaces | u64::from(*byte == b' ') << at)
}

/// Where the word that starts at `start`, behind the last space of the first 64 bytes, ends.
#[inline(never)]
fn next_space(line: &str, start: usize) -> usize {
    let from = start.max(64.min(line.len()));
    line.as_bytes()[from..].iter().position(|byte| *byte == b' ').map_or(line.len(), |at| from + at)
}

impl Generator {
    /// Puts line `number`, eight words with a space between two, into `line`, whose memory is used again.
    #[inline]
    pub fn line_into(&self, number: u64, line: &mut String) {
        // Words are at most nine bytes and copied as sixteen: what lies behind one is written over by the next.
        let mut bytes = [b' '; 8 * 10 + 16];
        let mut end = 0;
        for k in 0..8 {
            let word = &self.tables.padded_word[rank(self.random(number, k))];
            bytes[end..end + 16].copy_from_slice(&word.bytes);
            end += word.len + 1;
        }
        line.clear();
        line.push_str(std::str::from_utf8(&bytes[..end - 1]).expect("words are ASCII"));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::SEED, *};

    #[test]
    fn lines_are_those_of_the_specification() {
        let generator = Generator::new(SEED, 1_000_000);
        let mut line = String::new();
        for (number, expected) in [
            (0, "sezoabbu fvcwaaqe naaab afrf aaaa vwzxaaad naaab fqadql"),
            (7, "loijaabf acol rktaabo aaaa pabhu cfacika vsmaaao saabk"),
        ] {
            generator.line_into(number, &mut line);
            assert_eq!(line, expected, "line({number})");
        }
        assert_eq!(fnv1a64(b"abc"), 0xe71f_a219_0541_574b);
        let bytes = b"weasel, nimbly";
        for len in 0..=bytes.len() {
            let plain = bytes[..len].iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
            assert_eq!(fnv1a64(&bytes[..len]), plain, "{len}");
        }
    }

    #[test]
    fn lines_are_split_at_every_space() {
        let long = "0123456789 ".repeat(20);
        let at_the_seam = format!("{} b  c", "a".repeat(63));
        for line in ["", " ", "a", "a b", " a  b ", "to be or not to be", &long, &at_the_seam] {
            assert!(words(line).eq(line.split(' ')), "{line:?}");
        }
        let mut line = String::new();
        for number in 0..1_000 {
            Generator::new(SEED, 1).line_into(number, &mut line);
            assert!(words(&line).eq(line.split(' ')), "{line:?}");
        }
    }
}
