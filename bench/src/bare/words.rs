//! A running count per word, by hand: a map of strings, looked up by `&str`.

use rustc_hash::{FxHashMap, FxHasher};
use std::{
    hash::{Hash, Hasher},
    hint::black_box,
};

use super::threads::{self, Work};
use crate::{
    generator::{Check, Generator, word_x, words},
    measure::Run,
};

/// A word of a thread's own, or on its way to another: up to 15 bytes, and how many. Ordered as the words are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word([u8; 16]);

impl Hash for Word {
    #[inline(always)]
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u128(u128::from_le_bytes(self.0));
    }
}

impl Word {
    #[inline(always)]
    pub fn new(word: &str) -> Self {
        let mut bytes = [0; 16];
        bytes[..word.len()].copy_from_slice(word.as_bytes());
        bytes[15] = word.len() as u8;
        Self(bytes)
    }

    #[inline(always)]
    pub fn as_str(&self) -> &str {
        // What was a `str` is one: the check costs a few cycles.
        std::str::from_utf8(&self.0[..usize::from(self.0[15])]).unwrap_or_default()
    }
}

/// Counts in a map of strings.
#[derive(Default)]
struct Counts {
    counts: FxHashMap<String, u64>,
    check: Check,
}

impl Work<Word> for Counts {
    #[inline(always)]
    fn take(&mut self, word: Word) {
        let word = word.as_str();
        let count = match self.counts.get_mut(word) {
            Some(count) => {
                *count += 1;
                *count
            }
            None => {
                self.counts.insert(word.to_owned(), 1);
                1
            }
        };
        self.check.add(word_x(word.as_bytes(), count));
    }

    fn check(self) -> Check {
        self.check
    }
}

/// The thread that counts a word.
#[inline(always)]
pub fn thread_of(word: &str, threads: u32) -> u32 {
    let mut hasher = FxHasher::default();
    hasher.write(word.as_bytes());
    ((hasher.finish() >> 32) % u64::from(threads)) as u32
}

/// Makes the lines and drops them.
pub fn gen_only(run: &Run, generator: Generator) -> Check {
    let mut line = String::new();
    threads::run::<Word, Counts, _>(run, move |number, _| {
        generator.line_into(number, &mut line);
        black_box(&line);
    })
}

/// Counts the words of the lines. A word is shorter than 16 bytes, which this loop may know and an engine may not.
pub fn count(run: &Run, generator: Generator) -> Check {
    let threads = run.parallelism;
    let mut line = String::new();
    threads::run::<_, Counts, _>(run, move |number, router| {
        generator.line_into(number, &mut line);
        for word in words(&line) {
            router.send(thread_of(word, threads), Word::new(word));
        }
    })
}
