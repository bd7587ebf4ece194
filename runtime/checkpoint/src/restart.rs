//! What follows a failure of the job: a restart after a delay, or the end.
//!
//! ```text
//!   none                every failure is the end
//!   fixed-delay         `attempts` restarts, each after `delay`
//!   exponential-delay   1 s, 1.5 s, 2.25 s … up to `max-backoff`, each ± jitter; from the beginning after an hour without
//!   failure-rate        `max-failures` in any `interval`, each after `delay`
//! ```
//!
//! # What is always true
//!
//! 1. The clock and the random number come from the caller.
//! 2. Keys and defaults are Flink's of its second major version.

use std::{collections::VecDeque, time::Duration};

use wiesel_core::Nanos;

/// Which strategy, and its numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RestartConfig {
    /// `none`.
    None,
    /// `fixed-delay`.
    FixedDelay {
        /// `restart-strategy.fixed-delay.attempts`: restarts in the life of the job.
        attempts: u32,
        /// `restart-strategy.fixed-delay.delay`.
        delay: Duration,
    },
    /// `exponential-delay`.
    ExponentialDelay {
        /// `restart-strategy.exponential-delay.initial-backoff`.
        initial_backoff: Duration,
        /// `restart-strategy.exponential-delay.max-backoff`.
        max_backoff: Duration,
        /// `restart-strategy.exponential-delay.backoff-multiplier`, at least 1.
        backoff_multiplier: f64,
        /// `restart-strategy.exponential-delay.reset-backoff-threshold`: after so long without a failure the backoff
        /// begins anew.
        reset_backoff_threshold: Duration,
        /// `restart-strategy.exponential-delay.jitter-factor`: the part of the backoff that is random, 0 to 1.
        jitter_factor: f64,
        /// `restart-strategy.exponential-delay.attempts-before-reset-backoff`: `None` is no limit.
        attempts: Option<u32>,
    },
    /// `failure-rate`.
    FailureRate {
        /// `restart-strategy.failure-rate.max-failures-per-interval`.
        max_failures: u32,
        /// `restart-strategy.failure-rate.failure-rate-interval`.
        interval: Duration,
        /// `restart-strategy.failure-rate.delay`.
        delay: Duration,
    },
}

/// Counts failures and says what follows each.
///
/// ```
/// use std::time::Duration;
/// use wiesel_checkpoint::{RestartConfig, RestartStrategy};
/// use wiesel_core::Nanos;
///
/// let delay = Duration::from_secs(1);
/// let mut strategy = RestartStrategy::new(RestartConfig::FixedDelay { attempts: 1, delay });
/// assert_eq!(strategy.on_failure(Nanos(0), 0.5), Some(delay));
/// assert_eq!(strategy.on_failure(Nanos(9), 0.5), None);
/// assert_eq!(strategy.describe(), "fixed-delay: 1 of 1 restarts used");
/// ```
#[derive(Clone, Debug)]
pub struct RestartStrategy {
    config: RestartConfig,
    /// Restarts so far; of `exponential-delay` those since the backoff began anew.
    restarts: u32,
    /// Of `failure-rate`: the times of the failures that count, oldest first.
    failures: VecDeque<Nanos>,
    /// When the job will run again after the last failure: from then on it is healthy.
    restarted: Option<Nanos>,
    backoff: Duration,
}

impl RestartStrategy {
    /// No failure yet.
    pub fn new(config: RestartConfig) -> Self {
        let failures = VecDeque::new();
        Self { config, restarts: 0, failures, restarted: None, backoff: Duration::ZERO }
    }

    /// The job failed. After how long it starts again; `None`: it does not. `random` is in `0..1`.
    pub fn on_failure(&mut self, now: Nanos, random: f64) -> Option<Duration> {
        let delay = match self.config {
            RestartConfig::None => None,
            RestartConfig::FixedDelay { attempts, delay } => {
                (self.restarts < attempts).then_some(delay)
            }
            RestartConfig::FailureRate { max_failures, interval, delay } => {
                while self.failures.front().is_some_and(|at| now.since(*at) > interval) {
                    self.failures.pop_front();
                }
                self.failures.push_back(now);
                (self.failures.len() <= max_failures as usize).then_some(delay)
            }
            RestartConfig::ExponentialDelay { .. } => self.exponential(now, random),
        }?;
        self.restarts = self.restarts.saturating_add(1);
        self.restarted = Some(now + delay);
        Some(delay)
    }

    fn exponential(&mut self, now: Nanos, random: f64) -> Option<Duration> {
        let RestartConfig::ExponentialDelay {
            initial_backoff,
            max_backoff,
            backoff_multiplier,
            reset_backoff_threshold,
            jitter_factor,
            attempts,
        } = self.config
        else {
            return None;
        };
        let healthy = self.restarted.is_some_and(|at| now.since(at) >= reset_backoff_threshold);
        if healthy || self.restarted.is_none() {
            self.restarts = 0;
            self.backoff = initial_backoff.min(max_backoff);
        } else {
            self.backoff = scaled(self.backoff, backoff_multiplier).min(max_backoff);
        }
        if attempts.is_some_and(|attempts| self.restarts >= attempts) {
            return None;
        }
        // Between one minus and one plus the jitter; never above the largest backoff.
        let around = 1.0 + jitter_factor * (2.0 * random - 1.0);
        Some(scaled(self.backoff, around).min(max_backoff))
    }

    /// Where it stands, for messages: `fixed-delay: 1 of 3 restarts used`.
    pub fn describe(&self) -> String {
        match self.config {
            RestartConfig::None => "none: a failure is the end".to_owned(),
            RestartConfig::FixedDelay { attempts, .. } => {
                format!("fixed-delay: {} of {attempts} restarts used", self.restarts)
            }
            RestartConfig::ExponentialDelay { attempts: Some(attempts), .. } => {
                format!("exponential-delay: {} of {attempts} restarts used", self.restarts)
            }
            RestartConfig::ExponentialDelay { .. } => {
                format!("exponential-delay: {} restarts", self.restarts)
            }
            RestartConfig::FailureRate { max_failures, interval, .. } => {
                let failures = self.failures.len();
                format!("failure-rate: {failures} failures in {interval:?}, {max_failures} allowed")
            }
        }
    }
}

/// A duration times a factor; what is no number or not positive is nothing, what is too long the longest.
fn scaled(duration: Duration, factor: f64) -> Duration {
    let seconds = duration.as_secs_f64() * factor;
    if seconds.is_nan() || seconds <= 0.0 {
        return Duration::ZERO;
    }
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use wiesel_core::{hours, millis, minutes, seconds};

    use super::*;

    /// Failures at these seconds, as the delays in milliseconds that follow; `-`: the end.
    #[track_caller]
    fn check(config: RestartConfig, random: f64, failures: &[u64], expected: &str) {
        let mut strategy = RestartStrategy::new(config);
        let delays = failures.iter().map(|at| {
            let delay = strategy.on_failure(Nanos(at * 1_000_000_000), random);
            delay.map_or("-".to_owned(), |delay| delay.as_millis().to_string())
        });
        assert_eq!(delays.collect::<Vec<_>>().join(" "), expected);
    }

    fn exponential(attempts: Option<u32>) -> RestartConfig {
        RestartConfig::ExponentialDelay {
            initial_backoff: seconds(1),
            max_backoff: seconds(5),
            backoff_multiplier: 2.0,
            reset_backoff_threshold: hours(1),
            jitter_factor: 0.1,
            attempts,
        }
    }

    #[test]
    fn each_strategy_follows_its_rule() {
        check(RestartConfig::None, 0.5, &[0], "-");
        let fixed = RestartConfig::FixedDelay { attempts: 2, delay: millis(10) };
        check(fixed, 0.5, &[0, 0, 9_999], "10 10 -");
        let rate = |max_failures| RestartConfig::FailureRate {
            max_failures,
            interval: minutes(1),
            delay: millis(7),
        };
        check(rate(2), 0.5, &[0, 1, 2], "7 7 -");
        check(rate(2), 0.5, &[0, 1, 61, 62, 63], "7 7 7 7 -");
        check(rate(1), 0.5, &[0, 60], "7 -");
        check(rate(1), 0.5, &[0, 61], "7 7");
        check(rate(0), 0.5, &[0], "-");
    }

    #[test]
    fn the_backoff_grows_to_its_limit_and_begins_anew_after_a_healthy_hour() {
        check(exponential(None), 0.5, &[0, 1, 2, 3, 4], "1000 2000 4000 5000 5000");
        check(exponential(None), 0.5, &[0, 1, 3_602, 3_603], "1000 2000 4000 5000");
        check(exponential(None), 0.5, &[0, 1, 3_603, 3_604], "1000 2000 1000 2000");
        check(exponential(Some(2)), 0.5, &[0, 1, 2], "1000 2000 -");
        check(exponential(Some(2)), 0.5, &[0, 1, 9_999, 9_999], "1000 2000 1000 2000");
    }

    #[test]
    fn the_jitter_stays_within_its_factor_and_the_limit() {
        check(exponential(None), 0.0, &[0, 1, 2, 3], "900 1800 3600 4500");
        check(exponential(None), 1.0, &[0, 1, 2, 3], "1100 2200 4400 5000");
        check(exponential(None), f64::NAN, &[0], "0");
    }
}
