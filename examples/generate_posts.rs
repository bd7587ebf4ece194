//! Writes the posts of the demo: `cargo run --release -p wiesel-examples --bin generate_posts [FILE]`.
//!
//! ```text
//!   rate   ▂▂▂▂▃▂▂█▇▅▂▂▂▁ ▂▂▂█▅▂…   600 s, a burst every minute or so, quiet spells, one empty window
//!   clock  ──●──●●─●──●──────────   rises
//!   at     clock - delay            delay: mostly below 50 ms, seldom up to 2 s, never more
//! ```
//!
//! # What is always true
//!
//! 1. The file is a function of [`SEED`]: integers only, no clock, no library. The test regenerates it.
//! 2. A post is at most [`DELAY_MS_MAX`] older than the newest post before it.
//! 3. All event times lie in [`START_MS`]` .. + `[`SPAN_MS`], and the first and the last window are not empty:
//!    so a replay that moves event time on by `SPAN_MS` a pass keeps both the windows and the bound on disorder.
//!
//! What the texts hold is what parsers get wrong: hashtags beside punctuation and beside each other, `##x`, `#`,
//! `#_`, letters that are not ASCII right behind a `#`, case variants, the same hashtag twice, JSON escapes of
//! every kind, empty texts, and texts without a hashtag.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // A tool: it writes one file and ends.

use std::{env, fmt::Write, fs, process::ExitCode};

/// Everything follows from it.
const SEED: u64 = 0x5745_4153_454c; // "WEASEL"
const POSTS: u64 = 100_000;
/// A whole number of windows of 10 s.
const START_MS: u64 = 1_750_000_000_000;
const SPAN_MS: u64 = 600_000;
/// The demo's bound on disorder.
const DELAY_MS_MAX: u64 = 2_000;
/// The rate is constant within a slot.
const SLOT_MS: u64 = 100;
const USERS: u64 = 40_000;
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/posts.jsonl");

const USAGE: &str = "usage: generate_posts [FILE]";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let file = match arguments.as_slice() {
        [] => FILE,
        [help] if help == "--help" || help == "-h" => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        [file] if !file.starts_with('-') => file,
        [unexpected] | [_, unexpected, ..] => {
            eprintln!("Error: unexpected argument `{unexpected}`; {USAGE}");
            return ExitCode::from(2);
        }
    };
    match fs::write(file, generate()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("could not write {file}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The whole file.
fn generate() -> String {
    let mut random = Random(SEED);
    let mut file = String::with_capacity(12 << 20);
    // The clock starts late by the largest delay, so that no event time lies before the start.
    let slots: Vec<u64> = (DELAY_MS_MAX..SPAN_MS).step_by(SLOT_MS as usize).collect();
    let total: u64 = slots.iter().map(|slot_ms| weight(*slot_ms)).sum();
    let (mut passed, mut written) = (0, 0);
    let mut text = String::new();
    for slot_ms in slots {
        passed += weight(slot_ms);
        let due = POSTS * passed / total - written;
        for index in 0..due {
            let clock_ms = START_MS + slot_ms + index * SLOT_MS / due;
            let at = clock_ms - delay(&mut random);
            let user = 1 + random.skewed(USERS);
            text.clear();
            write_text(&mut text, slot_ms / 1_000, &mut random);
            let ascii = random.one_in(10);
            let _ = write!(file, "{{\"at\": {at}, \"user\": {user}, \"text\": \"");
            write_json(&mut file, &text, ascii, &mut random);
            file.push_str("\"}\n");
        }
        written += due;
    }
    file
}

/// How many posts a slot gets, beside the others.
fn weight(slot_ms: u64) -> u64 {
    let second = slot_ms / 1_000;
    match second {
        200..212 => 0,            // Longer than a window: one window is empty.
        300..330 | 505..520 => 1, // So few that most counts are tied.
        _ => match second % 60 {
            43 => 300,                               // A burst begins at once …
            44..54 => 300 - (second % 60 - 43) * 25, // … and fades.
            _ => 30 + second % 7,
        },
    }
}

fn delay(random: &mut Random) -> u64 {
    match random.below(1_000) {
        0..700 => random.below(50),
        700..950 => random.below(500),
        950..995 => random.below(DELAY_MS_MAX + 1),
        _ => DELAY_MS_MAX,
    }
}

const WORDS: &[&str] = &[
    "the",
    "a",
    "and",
    "of",
    "to",
    "in",
    "is",
    "on",
    "for",
    "with",
    "this",
    "that",
    "now",
    "just",
    "like",
    "who",
    "else",
    "saw",
    "what",
    "never",
    "again",
    "still",
    "new",
    "release",
    "today",
    "tonight",
    "weasel",
    "stream",
    "window",
    "café",
    "naïve",
    "über",
    "schön",
    "señor",
    "привет",
    "мир",
    "日本",
    "東京",
    "🦦",
    "🚀",
    "it's",
    "C:\\temp",
    "\"quoted\"",
    "a/b",
    "50%",
    "&",
    "<b>",
    "façade",
    "Ελλάδα",
    "emoji🙂mid",
];

/// Tags are a stem and an ending, so that there are a few thousand of them.
const STEMS: &[&str] = &[
    "rust", "flink", "stream", "weasel", "data", "news", "music", "goal", "final", "cats", "dogs",
    "vote", "rain", "snow", "film", "book", "game", "team", "food", "code", "math", "moon", "mars",
    "bike", "run",
];
const ENDINGS: &[&str] = &[
    "", "s", "_live", "2026", "Now", "_1", "Fans", "X", "day", "Week", "Talk", "_", "HQ", "2025",
    "Tips",
];

/// The tag at `rank` of the order that holds in `second`: the head of the order moves on every 20 s.
fn push_tag(text: &mut String, rank: u64, second: u64, random: &mut Random) {
    let stems = STEMS.len() as u64;
    let place = rank + second / 20 * 3;
    let stem = STEMS[(place % stems) as usize];
    let ending = ENDINGS[(place / stems % ENDINGS.len() as u64) as usize];
    match random.below(12) {
        0 => text.push_str(&stem.to_uppercase()),
        1 => text.push_str(&format!("{}{}", stem[..1].to_uppercase(), &stem[1..])),
        _ => text.push_str(stem),
    }
    text.push_str(ending);
}

fn write_text(text: &mut String, second: u64, random: &mut Random) {
    if random.one_in(200) {
        return; // An empty text.
    }
    let words = 3 + random.below(9);
    let tags = [0, 0, 1, 1, 1, 1, 1, 2, 2, 3][random.below(10) as usize];
    let mut tagged = 0;
    for index in 0..words {
        if index > 0 {
            text.push_str(match random.below(60) {
                0 => "\n",
                1 => "\t",
                2 => ", ",
                3 => "  ",
                _ => " ",
            });
        }
        // The tags stand among the words, the last ones at the end.
        if tagged < tags && (random.one_in(3) || words - index <= tags - tagged) {
            tagged += 1;
            hashtag(text, second, random);
        } else {
            text.push_str(WORDS[random.below(WORDS.len() as u64) as usize]);
        }
        if random.one_in(150) {
            text.push_str(
                [" #", " # x", " #_", " #é", " ##", " #-1", "#"][random.below(7) as usize],
            );
        }
    }
    if random.one_in(4) {
        text.push_str([".", "!", "?", " …", "\r\n"][random.below(5) as usize]);
    }
}

/// One hashtag, in one of its settings. In a burst every second one is the burst's own.
fn hashtag(text: &mut String, second: u64, random: &mut Random) {
    let in_burst = (43..54).contains(&(second % 60));
    let rank = match in_burst && random.one_in(2) {
        true => 7 * (second / 60),
        false => random.skewed(STEMS.len() as u64 * ENDINGS.len() as u64),
    };
    let (before, after) = match random.below(40) {
        0 => ("(", ")"),
        1 => ("\"", "\""),
        2 => ("#", ""), // `##x` is the hashtag x.
        3 => ("", ","),
        4 => ("", "é"), // A hashtag ends before the first letter that is not ASCII.
        5 => ("é", ""),
        6 => ("", "-ish"),
        7 => ("", ":"),
        8 => ("\\", "\\"),
        _ => ("", ""),
    };
    text.push_str(before);
    let start = text.len();
    text.push('#');
    push_tag(text, rank, second, random);
    let end = text.len();
    if random.one_in(25) {
        if random.one_in(2) {
            text.push(' ');
        }
        text.extend_from_within(start..end); // Twice in one post.
    }
    text.push_str(after);
}

/// `text` as the inside of a JSON string; `ascii` escapes what is not ASCII, as many writers do.
fn write_json(file: &mut String, text: &str, ascii: bool, random: &mut Random) {
    for c in text.chars() {
        match c {
            '"' => file.push_str("\\\""),
            '\\' => file.push_str("\\\\"),
            '\n' => file.push_str("\\n"),
            '\r' => file.push_str("\\r"),
            '\t' => file.push_str("\\t"),
            '/' if random.one_in(2) => file.push_str("\\/"),
            '#' if ascii && random.one_in(4) => file.push_str("\\u0023"),
            c if ascii && !c.is_ascii() => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(file, "\\u{unit:04x}");
                }
            }
            c => file.push(c),
        }
    }
}

/// splitmix64 (Steele, Lea, Flood 2014): the same numbers on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In `0..end`.
    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// In `0..end`, small numbers far more often: the end is halved a random number of times.
    fn skewed(&mut self, end: u64) -> u64 {
        let halvings = self.below(u64::from(end.ilog2()));
        self.below((end >> halvings).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_file_is_what_the_generator_writes() {
        let committed = fs::read_to_string(FILE).expect("the file is committed");
        let generated = generate();
        let differs = committed.lines().zip(generated.lines()).position(|(a, b)| a != b);
        assert_eq!(differs, None, "first line that differs, from 0");
        assert_eq!(committed.len(), generated.len());
        assert!(committed.len() < 12_000_000, "{} bytes", committed.len());
    }

    #[test]
    fn the_posts_keep_what_the_demo_relies_on() {
        let file = generate();
        let times: Vec<u64> = file
            .lines()
            .map(|line| line["{\"at\": ".len()..].split(',').next().unwrap_or("").parse())
            .collect::<Result<_, _>>()
            .expect("each line starts with its time");
        assert_eq!(times.len() as u64, POSTS);
        let (mut newest, mut delay_max) = (0, 0);
        for at in &times {
            newest = newest.max(*at);
            delay_max = delay_max.max(newest - at);
        }
        assert!((1_900..=DELAY_MS_MAX).contains(&delay_max), "{delay_max} ms");
        let oldest = *times.iter().min().expect("there are posts");
        assert!((START_MS..START_MS + 10_000).contains(&oldest));
        assert!((START_MS + SPAN_MS - 10_000..START_MS + SPAN_MS).contains(&newest));
        for needle in
            ["\\\"", "\\\\", "\\n", "\\t", "\\/", "\\u00e9", "\\ud83e", "##", "#_", "é", "🦦"]
        {
            assert!(file.contains(needle), "no {needle}");
        }
    }
}
