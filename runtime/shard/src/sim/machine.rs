//! `Machine` over a simulation, so that what starts machines runs unchanged; tests use [`Simulation`] itself.

use std::sync::Arc;

use wiesel_core::ShardId;

use super::{SimConfig, Simulation};
use crate::{Launch, Panicked, Report, ShardCounters, StartError, probe::Observed};

/// The cores of a simulated machine: two.
pub fn available_cores() -> Vec<usize> {
    vec![0, 1]
}

/// What `work` makes of each item, in their order: in a simulation one after the other.
pub fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    items.iter().map(work).collect()
}

/// A simulated machine is fit.
pub(crate) fn observe() -> Observed {
    Observed { setup_errno: None, disabled: Some(0), memlock: None, cores: available_cores() }
}

/// A launch that runs when it is joined, under the seed in the variable `WIESEL_SIM_SEED`, or 0.
pub struct Machine {
    launch: Launch,
    counters: Vec<Arc<ShardCounters>>,
}

impl Machine {
    /// Takes the launch.
    ///
    /// # Errors
    ///
    /// Never; the real one may fail.
    pub fn start(launch: Launch) -> Result<Self, StartError> {
        let counters = launch.places.iter().map(|place| Arc::clone(&place.counters)).collect();
        Ok(Self { launch, counters })
    }

    /// What each shard counts.
    pub fn counters(&self) -> &[Arc<ShardCounters>] {
        &self.counters
    }

    /// As [`Machine::join`]: in a simulation every program returns from its turn.
    pub fn join_but(self, _is_stuck: impl Fn(ShardId) -> bool) -> Report {
        self.join()
    }

    /// Runs the simulation. One that does not end is reported as the control program's panic.
    pub fn join(self) -> Report {
        let seed = std::env::var("WIESEL_SIM_SEED").ok().and_then(|seed| seed.parse().ok());
        let shards = self.launch.places.len();
        match Simulation::new(SimConfig::with_seed(seed.unwrap_or(0))).run(self.launch) {
            Ok(ran) => ran.report,
            Err(error) => {
                let failed = Panicked {
                    shard: None,
                    name: "the simulation".to_owned(),
                    message: error.to_string(),
                };
                Report { shards: (0..shards).map(|_| Ok(())).collect(), control: Err(failed) }
            }
        }
    }
}
