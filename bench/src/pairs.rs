//! The method: two things measured alternately, a ratio per pair, the median and its bootstrap interval.
//!
//! Why pairs: on a shared machine the speed drifts by tens of percent within minutes. Two runs next to each other
//! see the same machine, so their ratio stands although neither time does. Which one goes first alternates.

use std::time::Duration;

/// A median with its 95 % interval.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    /// The median of the pairs' ratios.
    pub median: f64,
    /// Lower end of the 95 % bootstrap interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Runs `ours` and `theirs` alternately and gives each pair's CPU times.
pub fn alternate(
    runs: usize,
    mut ours: impl FnMut() -> Duration,
    mut theirs: impl FnMut() -> Duration,
) -> Vec<(Duration, Duration)> {
    ours(); // Warm-up: caches, page tables, branch predictors.
    theirs();
    (0..runs)
        .map(|run| {
            if run % 2 == 0 {
                let our = ours();
                (our, theirs())
            } else {
                let their = theirs();
                (ours(), their)
            }
        })
        .collect()
}

/// Theirs over ours: above 1 ours is faster.
pub fn ratio(pairs: &[(Duration, Duration)]) -> Ratio {
    let ratios: Vec<f64> =
        pairs.iter().map(|(ours, theirs)| theirs.as_secs_f64() / ours.as_secs_f64()).collect();
    let mut state = 42_u64;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (z ^ (z >> 27)) as usize
    };
    let mut medians: Vec<f64> = (0..2_000)
        .map(|_| median((0..ratios.len()).map(|_| ratios[next() % ratios.len()]).collect()))
        .collect();
    medians.sort_by(f64::total_cmp);
    Ratio { median: median(ratios), low: medians[50], high: medians[1_949] }
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
        let pair = |ours, theirs| (Duration::from_micros(ours), Duration::from_micros(theirs));
        let tight = ratio(&[pair(100, 200), pair(101, 202), pair(99, 198)]);
        assert!((tight.median - 2.0).abs() < 1e-9 && tight.high - tight.low < 1e-9);
        let wide = ratio(&[pair(100, 100), pair(100, 200), pair(100, 300), pair(100, 150)]);
        assert!(wide.low < wide.median && wide.median < wide.high);
    }

    #[test]
    fn who_goes_first_alternates() {
        let order = std::cell::RefCell::new(String::new());
        let step = |name: char| {
            order.borrow_mut().push(name);
            Duration::from_nanos(1)
        };
        assert_eq!(alternate(3, || step('o'), || step('t')).len(), 3);
        assert_eq!(order.into_inner(), "otottoot");
    }
}
