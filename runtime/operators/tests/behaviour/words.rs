//! How the records and times of a script read.

use wiesel_core::{Meta, Timestamp};

/// The record of a script.
pub type Word = (String, i64);

/// `+`, `-` and what follows are relative to the ends of time.
pub fn show_time(time: Timestamp) -> String {
    match time.as_millis() {
        i64::MAX => "+".to_owned(),
        millis if millis > i64::MAX - 1_000 => format!("+{}", millis - i64::MAX),
        i64::MIN => "-".to_owned(),
        millis if millis < i64::MIN + 1_000 => format!("-+{}", millis - i64::MIN),
        millis => millis.to_string(),
    }
}

/// The reverse of [`show_time`].
pub fn parse_time(text: &str) -> Timestamp {
    let number = |text: &str| if text.is_empty() { 0 } else { text.parse::<i64>().unwrap() };
    Timestamp::from_millis(match text.split_at_checked(1) {
        Some(("+", rest)) => i64::MAX + number(rest),
        Some(("-", rest)) if rest.is_empty() || rest.starts_with('+') => i64::MIN + number(rest),
        _ => text.parse().unwrap(),
    })
}

/// The key of a [`Word`].
pub fn key(word: (&str, i64)) -> &str {
    word.0
}

/// The number of a [`Word`].
pub fn number(word: (&str, i64)) -> i64 {
    word.1
}

/// `[input:]key[number][@time]`, where the key is letters.
pub fn parse_word(step: &str, hash_of: fn(&Word) -> u64) -> Option<(usize, Word, Meta)> {
    if matches!(step, "idle" | "active" | "end" | "late?" | "next?" | "state?") {
        return None;
    }
    let (input, rest) = step.split_once(':').map_or((1, step), |(i, r)| (i.parse().unwrap(), r));
    let (word, time) = rest.split_once('@').map_or((rest, None), |(w, t)| (w, Some(parse_time(t))));
    let letters = word.find(|c: char| !c.is_alphabetic()).unwrap_or(word.len());
    let (key, number) = word.split_at(letters);
    if matches!(key, "w" | "t" | "p" | "C" | "") {
        return None;
    }
    let number = if number.is_empty() { 1 } else { number.parse().unwrap() };
    let word = (key.to_owned(), number);
    let meta = Meta { time, hash: Some(hash_of(&word)) };
    Some((input - 1, word, meta))
}
