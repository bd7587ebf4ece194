//! Numbers as people read them.

use std::time::Duration;

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How many per second; 0 of an empty duration.
pub(crate) fn per_second(count: u64, during: Duration) -> u64 {
    if during.is_zero() { 0 } else { (count as f64 / during.as_secs_f64()).round() as u64 }
}

/// `part` of `whole` in whole percent; 0 of an empty duration.
pub(crate) fn percent(part: Duration, whole: Duration) -> u64 {
    if whole.is_zero() {
        0
    } else {
        (part.as_secs_f64() * 100.0 / whole.as_secs_f64()).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let shown = [0, 7, 999, 1_000, 12_345, 123_456, 1_234_567].map(grouped);
        assert_eq!(shown, ["0", "7", "999", "1,000", "12,345", "123,456", "1,234,567"]);
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn rates_of_nothing_are_nothing() {
        let (zero, second) = (Duration::ZERO, Duration::from_secs(1));
        assert_eq!(
            [per_second(5, zero), per_second(5, second * 2), per_second(0, second)],
            [0, 3, 0]
        );
        assert_eq!([percent(second, zero), percent(second, second * 3)], [0, 33]);
    }
}
