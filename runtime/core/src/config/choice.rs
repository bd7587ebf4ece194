//! Options that are one of a few words.
//!
//! # What is always true
//!
//! 1. Words are Flink's, in any case; the first spelling of each is the one that is shown.

use super::ConfigValue;

/// Declares an option's words.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident, $all:literal { $($(#[$variant_doc:meta])* $variant:ident: $($word:literal)|+,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl ConfigValue for $name {
            fn parse(text: &str) -> Result<Self, String> {
                let words: &[(&[&str], Self)] = &[$((&[$($word),+], Self::$variant)),+];
                let is_meant = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
                let found = words.iter().find(|(words, _)| is_meant(words));
                found.map(|(_, value)| *value).ok_or_else(|| concat!("must be ", $all).to_owned())
            }

            fn show(&self) -> String {
                match self {
                    $(Self::$variant => [$($word),+][0].to_owned(),)+
                }
            }
        }
    };
}

choice! {
    /// What a checkpoint promises.
    CheckpointingMode, "`EXACTLY_ONCE` or `AT_LEAST_ONCE`" {
        /// Barriers are aligned: each record affects state once.
        ExactlyOnce: "EXACTLY_ONCE" | "exactly-once",
        /// Channels are not held back: after a restore records may be seen again.
        AtLeastOnce: "AT_LEAST_ONCE" | "at-least-once",
    }
}

choice! {
    /// What is left of a job's checkpoints when it is over.
    CheckpointRetention, "`RETAIN_ON_CANCELLATION`, `DELETE_ON_CANCELLATION` or `NO_EXTERNALIZED_CHECKPOINTS`" {
        /// They stay, and the job can be started from them.
        RetainOnCancellation: "RETAIN_ON_CANCELLATION",
        /// They are deleted; after a failure they stay.
        DeleteOnCancellation: "DELETE_ON_CANCELLATION",
        /// They are deleted when the job is cancelled or has failed. A job that has finished keeps the last one, which says so: it is
        /// not started a second time.
        NoExternalizedCheckpoints: "NO_EXTERNALIZED_CHECKPOINTS",
    }
}

choice! {
    /// Whose a savepoint is when a job has been started from it.
    RecoveryClaimMode, "`NO_CLAIM` or `CLAIM`" {
        /// The user's: it stays as it is, and the job needs nothing of it any more.
        NoClaim: "NO_CLAIM",
        /// The job's, which removes it as soon as it has its own.
        Claim: "CLAIM",
    }
}

choice! {
    /// What follows a failure of the job.
    RestartStrategyType, "`none`, `fixed-delay`, `exponential-delay` or `failure-rate`" {
        /// The end.
        None: "none" | "off" | "disable",
        /// A number of restarts.
        FixedDelay: "fixed-delay" | "fixeddelay",
        /// Restarts after ever longer delays.
        ExponentialDelay: "exponential-delay" | "exponentialdelay",
        /// Restarts until failures come too often.
        FailureRate: "failure-rate" | "failurerate",
    }
}

choice! {
    /// Which tasks are started again after the failure of one.
    FailoverStrategy, "`region` or `full`" {
        /// Those that exchange records with it, however indirectly.
        Region: "region",
        /// All tasks of the job.
        Full: "full",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_in_any_case_and_written_in_one() {
        let mode = |text| CheckpointingMode::parse(text).map(|mode| mode.show());
        assert_eq!(mode("exactly_once"), Ok("EXACTLY_ONCE".into()));
        assert_eq!(mode("At-Least-Once"), Ok("AT_LEAST_ONCE".into()));
        assert_eq!(mode("twice"), Err("must be `EXACTLY_ONCE` or `AT_LEAST_ONCE`".into()));
        assert_eq!(RestartStrategyType::parse("off"), Ok(RestartStrategyType::None));
        let words = "must be `none`, `fixed-delay`, `exponential-delay`, `failure-rate` or `auto`";
        assert_eq!(Option::<RestartStrategyType>::parse("always"), Err(words.into()));
        assert_eq!(RestartStrategyType::FailureRate.show(), "failure-rate");
    }
}
