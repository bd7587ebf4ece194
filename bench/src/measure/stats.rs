//! Medians of ratios, and how sure they are.
//!
//! Why ratios of pairs: on a shared machine the speed drifts by tens of percent within minutes. Two runs next to each
//! other see the same machine, so their ratio stands although neither time does.

/// A median with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// The median of the pairs' ratios.
    pub median: f64,
    /// Lower end of the 95 % bootstrap interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Samples that the bootstrap draws: the ends of its interval are the 50th from below and from above.
const SAMPLES: usize = 2_000;

impl Ratio {
    /// Of the ratios of at least one pair.
    pub fn of(ratios: &[f64]) -> Self {
        let mut state = 42_u64; // The same pairs give the same interval.
        let mut next = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            ((z ^ (z >> 27)) >> 16) as usize
        };
        let mut medians: Vec<f64> = (0..SAMPLES)
            .map(|_| median((0..ratios.len()).map(|_| ratios[next() % ratios.len()]).collect()))
            .collect();
        medians.sort_by(f64::total_cmp);
        let cut = SAMPLES / 40;
        Self {
            median: median(ratios.to_vec()),
            low: medians[cut],
            high: medians[SAMPLES - 1 - cut],
        }
    }
}

/// The middle of the values; at least one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn the_interval_holds_the_median_and_follows_the_spread() {
        let tight = Ratio::of(&[2.0, 2.0, 2.0]);
        assert_eq!((tight.low, tight.median, tight.high), (2.0, 2.0, 2.0));
        let wide = Ratio::of(&[1.0, 2.0, 3.0, 1.5]);
        assert!(wide.low < wide.median && wide.median < wide.high);
    }
}
