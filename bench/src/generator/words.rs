//! Lines of words, skewed as text is.

use std::hint::select_unpredictable;

use super::{
    BASE_MS, Generator, below,
    tables::{PaddedWord, WORDS},
};

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

/// The hashtags of a tweet, without their `#`.
#[inline(always)]
pub fn hashtags(tweet: &str) -> impl Iterator<Item = &str> {
    words(tweet).filter_map(|word| word.strip_prefix('#'))
}

/// A line under construction: at most eight words of nine bytes and a mark, with a space between two.
struct Line {
    bytes: [u8; 8 * 11 + 16],
    end: usize,
}

impl Line {
    #[inline(always)]
    fn new() -> Self {
        Self { bytes: [b' '; 8 * 11 + 16], end: 0 }
    }

    /// A word is copied as sixteen bytes: what lies behind it is written over by the next.
    #[inline(always)]
    fn push(&mut self, word: &PaddedWord) {
        self.bytes[self.end..self.end + 16].copy_from_slice(&word.bytes);
        self.end += word.len + 1;
    }

    #[inline(always)]
    fn into_text(self, text: &mut String) {
        text.clear();
        text.push_str(std::str::from_utf8(&self.bytes[..self.end - 1]).expect("words are ASCII"));
    }
}

/// Event time between two shifts of the hashtags' ranks, in milliseconds.
const TREND_MS: u64 = 10_000;

impl Generator {
    /// Puts line `number`, eight words with a space between two, into `line`, whose memory is used again.
    #[inline]
    pub fn line_into(&self, number: u64, line: &mut String) {
        let mut text = Line::new();
        for k in 0..8 {
            text.push(&self.tables.padded_word[rank(self.random(number, k))]);
        }
        text.into_text(line);
    }

    /// Puts tweet `number` into `tweet`: a line whose last word, and every other time its fourth, is a hashtag. Which
    /// hashtags are frequent changes every ten seconds of event time.
    #[inline]
    pub fn tweet_into(&self, number: u64, tweet: &mut String) {
        let shift = (self.time_ms(number) - BASE_MS) / TREND_MS * 7_919;
        let last = self.random(number, 7);
        let has_two = (last >> 24) & 1 == 1;
        let mut text = Line::new();
        for k in 0..8 {
            let random = if k == 7 { last } else { self.random(number, k) };
            let is_tag = k == 7 || (k == 3 && has_two);
            // Not told apart by a branch: it would go wrong for every other tweet.
            let shift = select_unpredictable(is_tag, shift, 0);
            text.bytes[text.end] = b'#';
            text.end += usize::from(is_tag);
            text.push(&self.tables.padded_word[(rank(random) + shift as usize) % WORDS as usize]);
        }
        text.into_text(tweet);
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
    fn tweets_are_those_of_the_specification() {
        let generator = Generator::new(SEED, 200_000);
        let mut tweet = String::new();
        for (number, expected, tags) in [
            (
                0,
                "sezoabbu fvcwaaqe naaab #afrf aaaa vwzxaaad naaab #fqadql",
                &["afrf", "fqadql"][..],
            ),
            (
                3_000_001,
                "ujjaefx ywscwaivw nuvmaada #sfalyh naaab ggaaaq aaaa #gqxalsv",
                &["sfalyh", "gqxalsv"],
            ),
        ] {
            generator.tweet_into(number, &mut tweet);
            assert_eq!(tweet, expected, "tweet({number})");
            assert!(hashtags(&tweet).eq(tags.iter().copied()));
        }
        let mut two = 0;
        for number in 0..1_000 {
            generator.tweet_into(number, &mut tweet);
            let count = hashtags(&tweet).count();
            assert!(count == 1 || count == 2, "{tweet}");
            two += u64::from(count == 2);
        }
        assert!((400..600).contains(&two), "{two} of 1000 have two hashtags");
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
