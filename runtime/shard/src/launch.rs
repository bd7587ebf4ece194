//! What is to run where: the one description that the real machine and the simulation both take.
//!
//! # What is always true
//!
//! 1. All doors exist before anything runs, so programs can be wired to each other when they are made.
//! 2. A program is made on the shard that runs it; only its maker travels.

use std::{io, sync::Arc, time::Duration};

use wiesel_core::ShardId;

use crate::{Door, Panicked, Program, Shard, ShardCounters, backend};

/// Where a shard runs and how long it spins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardSpec {
    /// Which shard: its position in the launch.
    pub id: ShardId,
    /// The core that it is pinned to; `None` leaves that to the kernel.
    pub core: Option<usize>,
    /// How long it polls after the last work before it sleeps. Zero sleeps at once.
    pub spin: Duration,
    /// Its name: the thread's, and the one in messages.
    pub name: String,
}

impl ShardSpec {
    /// Spin while cores are left over: about what a wake-up of a sleeping thread costs (20–60 us), so that spinning
    /// at most doubles what sleeping at once would have cost.
    pub const SPIN_WITH_SPARE_CORES: Duration = Duration::from_micros(50);
    /// Spin when every core has a shard: helper threads and the control thread need these cores as well.
    pub const SPIN_ON_ALL_CORES: Duration = Duration::from_micros(20);

    /// `count` shards over `cores`: one pinned to each core if there are enough, else all unpinned and never
    /// spinning.
    pub fn spread(count: usize, cores: &[usize]) -> Vec<Self> {
        let pinned = count <= cores.len();
        let spin = match count.cmp(&cores.len()) {
            std::cmp::Ordering::Less => Self::SPIN_WITH_SPARE_CORES,
            std::cmp::Ordering::Equal => Self::SPIN_ON_ALL_CORES,
            std::cmp::Ordering::Greater => Duration::ZERO,
        };
        let spec = |index: usize| Self {
            id: ShardId(u32::try_from(index).expect("fewer than 2^32 shards")),
            core: pinned.then(|| cores[index]),
            spin,
            name: format!("shard-{index}"),
        };
        (0..count).map(spec).collect()
    }
}

/// The longest sleep of a shard without a look around; the control program's is up to a second. A backstop: no wake-up
/// is lost (see [`Door`]). Simulated shards have none.
pub const PARK_MAX: Duration = Duration::from_millis(100);

/// Makes the program of a shard, on that shard.
pub type Maker = Box<dyn FnOnce(Shard) -> Box<dyn Program> + Send>;

/// Shards, their programs and the control program, before they run.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use wiesel_shard::{Launch, Machine, Next, Program, Shard, ShardSpec};
///
/// struct Hello;
/// impl Program for Hello {
///     fn turn(&mut self, _: &Shard) -> Next {
///         Next::Done
///     }
/// }
///
/// let mut launch = Launch::new(ShardSpec::spread(2, &[]))?;
/// for id in launch.ids() {
///     launch.program(id, |_shard| Box::new(Hello));
/// }
/// let report = Machine::start(launch)?.join();
/// assert!(report.outcome().is_ok());
/// # Ok(())
/// # }
/// ```
pub struct Launch {
    pub(crate) places: Vec<Place>,
    pub(crate) control: Place,
}

/// One program and where it is to run.
pub(crate) struct Place {
    pub(crate) spec: ShardSpec,
    pub(crate) door: Door,
    pub(crate) counters: Arc<ShardCounters>,
    pub(crate) make: Option<Maker>,
}

impl Place {
    fn new(spec: ShardSpec) -> io::Result<Self> {
        let door = Door::with_bell(backend::Bell::new()?);
        Ok(Self { spec, door, counters: Arc::default(), make: None })
    }
}

impl Launch {
    /// A launch without programs.
    ///
    /// # Errors
    ///
    /// When the process has no file descriptors left for the bells.
    ///
    /// # Panics
    ///
    /// If the specs are not numbered from zero.
    pub fn new(specs: Vec<ShardSpec>) -> io::Result<Self> {
        assert!(
            specs.iter().enumerate().all(|(at, spec)| spec.id.index() == at),
            "ids are positions"
        );
        let control = ShardSpec {
            id: ShardId(u32::try_from(specs.len()).expect("fewer than 2^32 shards")),
            core: None,
            spin: Duration::ZERO,
            name: "control".to_owned(),
        };
        let places = specs.into_iter().map(Place::new).collect::<io::Result<Vec<_>>>()?;
        Ok(Self { places, control: Place::new(control)? })
    }

    /// The ids of all shards.
    pub fn ids(&self) -> Vec<ShardId> {
        self.places.iter().map(|place| place.spec.id).collect()
    }

    /// The door of a shard.
    pub fn door(&self, id: ShardId) -> Door {
        self.places[id.index()].door.clone()
    }

    /// The door of the control program.
    pub fn control_door(&self) -> Door {
        self.control.door.clone()
    }

    /// The counters of a shard.
    pub fn counters(&self, id: ShardId) -> Arc<ShardCounters> {
        Arc::clone(&self.places[id.index()].counters)
    }

    /// Says what runs on a shard. A shard without a program ends at once.
    pub fn program(
        &mut self,
        id: ShardId,
        make: impl FnOnce(Shard) -> Box<dyn Program> + Send + 'static,
    ) {
        self.places[id.index()].make = Some(Box::new(make));
    }

    /// Says what runs on the control thread: a plain thread, not pinned, that sleeps until its next deadline or knock.
    pub fn control(&mut self, make: impl FnOnce(Shard) -> Box<dyn Program> + Send + 'static) {
        self.control.make = Some(Box::new(make));
    }
}

/// Why a machine did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A thread could not be made.
    #[error("cannot start a thread for {name}")]
    Thread {
        /// Whose thread.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The core cannot be had.
    #[error(
        "cannot pin {name} to core {core}: give the process that core (taskset -c) or use fewer shards"
    )]
    Core {
        /// Which shard.
        name: String,
        /// Which core.
        core: usize,
    },
    /// The executor could not be made, for lack of io_uring or of memory that may be locked.
    #[error("cannot make the executor of {name}: {message}")]
    Executor {
        /// Which shard.
        name: String,
        /// What glommio said.
        message: String,
    },
}

/// How every program ended.
#[derive(Debug)]
pub struct Report {
    /// One per shard, in order.
    pub shards: Vec<Result<(), Panicked>>,
    /// The control program's.
    pub control: Result<(), Panicked>,
}

impl Report {
    /// The first panic there was, the shards' before the control program's.
    pub fn outcome(self) -> Result<(), Panicked> {
        self.shards.into_iter().chain([self.control]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_spread_over_the_cores() {
        let spread = |count, cores: &[usize]| {
            let specs = ShardSpec::spread(count, cores);
            specs.into_iter().map(|spec| (spec.core, spec.spin.as_micros())).collect::<Vec<_>>()
        };
        assert_eq!(spread(1, &[3, 5]), [(Some(3), 50)]);
        assert_eq!(spread(2, &[3, 5]), [(Some(3), 20), (Some(5), 20)]);
        assert_eq!(spread(3, &[3, 5]), [(None, 0); 3]);
        assert_eq!(spread(0, &[]), []);
    }
}
