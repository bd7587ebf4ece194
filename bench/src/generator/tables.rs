//! What every event draws from: texts that are made once per seed.

use std::sync::Mutex;

use super::{GOLDEN, mix};

/// Channels: four known ones, and as many made ones.
const MADE_CHANNELS: u64 = 10_000;

/// Words of the vocabulary.
pub(super) const WORDS: u64 = 65_536;

/// The tables of one seed.
#[derive(Debug)]
pub struct Tables {
    pub(super) channel: Vec<&'static str>,
    pub(super) url: Vec<&'static str>,
    pub(super) padded_word: Vec<PaddedWord>,
    pub(super) bid_extra: Vec<&'static str>,
    /// 4096 letters that the longer texts are parts of.
    filler: &'static str,
}

/// A word and the spaces behind it.
#[derive(Debug)]
pub(super) struct PaddedWord {
    pub(super) bytes: [u8; 16],
    pub(super) len: usize,
}

impl PaddedWord {
    fn new(word: &str) -> Self {
        let mut bytes = [b' '; 16];
        bytes[..word.len()].copy_from_slice(word.as_bytes());
        Self { bytes, len: word.len() }
    }
}

/// A static table's random word.
fn table_word(seed: u64, tag: u64, i: u64) -> u64 {
    mix(seed ^ (tag << 56) ^ (i + 1).wrapping_mul(GOLDEN))
}

/// The first `n` (at most 8) letters of a random word.
pub(super) fn letters(random: u64, n: u64) -> impl Iterator<Item = u8> {
    (0..n).map(move |i| b'a' + ((random >> (8 * i)) & 0xFF) as u8 % 26)
}

fn text(bytes: impl Iterator<Item = u8>) -> String {
    bytes.map(char::from).collect()
}

fn kept(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

impl Tables {
    /// The tables of `seed`: made by the first call, and kept for the life of the process.
    pub fn of(seed: u64) -> &'static Self {
        static MADE: Mutex<Vec<(u64, &'static Tables)>> = Mutex::new(Vec::new());
        let mut made = MADE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, tables)) = made.iter().find(|(of, _)| *of == seed) {
            return tables;
        }
        let tables: &'static Self = Box::leak(Box::new(Self::make(seed)));
        made.push((seed, tables));
        tables
    }

    fn make(seed: u64) -> Self {
        let t = |tag, i| table_word(seed, tag, i);
        let filler = kept(text((0..4_096).map(|i| b'a' + ((t(1, i) >> 32) % 26) as u8)));
        let known = ["Google", "Facebook", "Baidu", "Apple"];
        let made = (0..MADE_CHANNELS).map(|c| kept(format!("channel-{c}")));
        let url = |c| {
            let part = |tag| text(letters(t(tag, c), 5));
            let (a, b, d) = (part(2), part(3), part(4));
            kept(format!("https://www.nexmark.test/{a}/{b}/{d}/item.htm?query=1&channel_id={c}"))
        };
        let word = |i: u64| {
            let h = t(5, i);
            let digits = [17_576, 676, 26, 1].map(|d| b'a' + ((i / d) % 26) as u8);
            PaddedWord::new(&text(letters(h, (h >> 56) % 6).chain(digits)))
        };
        Self {
            channel: known.into_iter().chain(made).collect(),
            url: (0..MADE_CHANNELS + 4).map(url).collect(),
            padded_word: (0..WORDS).map(word).collect(),
            bid_extra: (0..1_024).map(|j| &filler[j..j + 20]).collect(),
            filler,
        }
    }

    /// `len` letters from `start + j`; `j` is taken modulo 1024.
    #[inline]
    pub(super) fn filler(&self, start: usize, j: u64, len: usize) -> &'static str {
        let from = start + (j & 1_023) as usize;
        &self.filler[from..from + len]
    }
}

#[cfg(test)]
mod tests {
    use super::{super::SEED, *};

    #[test]
    fn tables_are_those_of_the_specification() {
        assert_eq!(table_word(SEED, 1, 0), 0xD2B7_032B_426D_3BEB);
        let tables = Tables::of(SEED);
        assert!(std::ptr::eq(tables, Tables::of(SEED)), "made once");
        assert_eq!((tables.channel[3], tables.channel[4]), ("Apple", "channel-0"));
        assert_eq!(
            tables.url[2_652],
            "https://www.nexmark.test/zbqfo/kfwyr/tlrhg/item.htm?query=1&channel_id=2652"
        );
        assert!(tables.padded_word.iter().all(|word| (4..=9).contains(&word.len)));
    }
}
