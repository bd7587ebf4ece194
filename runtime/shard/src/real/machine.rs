//! The machine: a thread per shard, the control thread and the watchdog.
//!
//! # What is always true
//!
//! 1. Either every shard has its executor and its core when `start` returns, or none runs and the error says why.
//! 2. Programs run on when the [`Machine`] is dropped; only [`Machine::join`] waits for them, and [`Machine::join_but`] for some.

use std::{
    sync::{Arc, OnceLock, mpsc},
    thread,
};

use wiesel_core::ShardId;

use super::{
    Services,
    control::{self, Blocking},
    executor::{self, Sleeper},
    turns::{Runner, all_doors},
    watchdog::{self, Watched},
};
use crate::{
    Door, Launch, Panicked, Report, Shard, ShardCounters, ShardSpec, StartError, launch::Place,
    program::panic_message,
};

/// The cores that this process may use, in order. Looked up once: a pinned thread sees only its own.
pub fn available_cores() -> Vec<usize> {
    static CORES: OnceLock<Vec<usize>> = OnceLock::new();
    let look_up = || {
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let mut cores = cores.into_iter().map(|core| core.id).collect::<Vec<_>>();
        cores.sort_unstable();
        cores
    };
    CORES.get_or_init(look_up).clone()
}

type Thread = thread::JoinHandle<Result<(), Panicked>>;

/// Programs that run.
pub struct Machine {
    threads: Vec<(ShardSpec, Thread)>,
    control: Thread,
    counters: Vec<Arc<ShardCounters>>,
    watchdog: mpsc::Sender<()>,
}

impl Machine {
    /// Starts every shard of a launch, each pinned to its core, and then its programs.
    ///
    /// # Errors
    ///
    /// [`StartError`], and nothing runs.
    pub fn start(launch: Launch) -> Result<Self, StartError> {
        available_cores(); // Before any thread is pinned.
        executor::register_barriers(); // Before there are threads.
        let doors: Arc<[Door]> = all_doors(&launch).into();
        let counters: Vec<_> =
            launch.places.iter().map(|place| Arc::clone(&place.counters)).collect();
        let watched = launch.places.iter().map(|place| Watched {
            name: place.spec.name.clone(),
            door: place.door.clone(),
            counters: Arc::clone(&place.counters),
        });
        let named = |name: &str| {
            let name = name.to_owned();
            move |source| StartError::Thread { name, source }
        };
        let watchdog = watchdog::start(watched.collect()).map_err(named("the watchdog"))?;

        // Each shard says whether it is ready, then waits for `go`; if `go` is dropped it ends.
        let mut starting = Vec::new();
        for place in launch.places {
            let (ready, is_ready) = mpsc::channel();
            let (go, may_go) = mpsc::channel();
            let (spec, doors) = (place.spec.clone(), Arc::clone(&doors));
            let thread = thread::Builder::new()
                .name(spec.name.clone())
                .spawn(move || shard_thread(place, &doors, &ready, &may_go))
                .map_err(named(&spec.name))?;
            starting.push((spec, thread, is_ready, go));
        }
        for (spec, _, is_ready, _) in &starting {
            let broken = |_| {
                StartError::Executor {
                name: spec.name.clone(),
                // Glommio panics where the system gives it no descriptor for a look at the ring.
                message: "its thread ended while it was made; if the limit on open files is low, raise it (ulimit -n)"
                    .to_owned(),
            }
            };
            is_ready.recv().map_err(broken)??;
        }
        let control = launch.control;
        let name = control.spec.name.clone();
        let control = thread::Builder::new()
            .name(name.clone())
            .spawn(move || control_thread(control, &doors))
            .map_err(named(&name))?;
        let threads = starting.into_iter().map(|(spec, thread, _, go)| {
            // A thread that is gone shows when it is joined.
            let _ = go.send(());
            (spec, thread)
        });
        Ok(Self { threads: threads.collect(), control, counters, watchdog })
    }

    /// What each shard counts.
    pub fn counters(&self) -> &[Arc<ShardCounters>] {
        &self.counters
    }

    /// Waits until every program has ended.
    pub fn join(self) -> Report {
        self.join_but(|_| false)
    }

    /// Waits until the control program has ended, then for every other one whose shard `is_stuck` does not name, which is asked
    /// from then on. The threads of those go on as they are, and end with the process at the latest; the report says nothing of
    /// them.
    pub fn join_but(self, is_stuck: impl Fn(ShardId) -> bool) -> Report {
        let ended = |shard, name: &str, thread: Thread| {
            thread.join().unwrap_or_else(|payload| {
                Err(Panicked { shard, name: name.to_owned(), message: panic_message(&*payload) })
            })
        };
        let control = ended(None, "control", self.control);
        let shards = self.threads.into_iter();
        let shards = shards.map(|(spec, thread)| match is_stuck(spec.id) {
            true => Ok(()),
            false => ended(Some(spec.id), &spec.name, thread),
        });
        let shards = shards.collect();
        drop(self.watchdog);
        Report { shards, control }
    }
}

fn shard_thread(
    place: Place,
    doors: &[Door],
    ready: &mpsc::Sender<Result<(), StartError>>,
    go: &mpsc::Receiver<()>,
) -> Result<(), Panicked> {
    let Place { spec, door, counters, make } = place;
    let pinned = spec.core.is_none_or(|core| {
        let asked = core_affinity::CoreId { id: core };
        available_cores().contains(&core) && core_affinity::set_for_current(asked)
    });
    let name = spec.name.clone();
    let made = if let (false, Some(core)) = (pinned, spec.core) {
        Err(StartError::Core { name, core })
    } else {
        let bell = door.bell().fd().expect("a launched door has a bell").try_clone_to_owned();
        let made = executor::make(&name)
            .and_then(|executor| Ok((executor, bell.map_err(|error| executor::unmade(&error))?)));
        made.map_err(|message| StartError::Executor { name, message })
    };
    let (executor, bell) = match made {
        Ok(made) => made,
        Err(error) => {
            // Nobody listens when another shard has failed before.
            let _ = ready.send(Err(error));
            return Ok(());
        }
    };
    if ready.send(Ok(())).is_err() || go.recv().is_err() {
        return Ok(());
    }
    executor.run(async move {
        let (sleeper, bell) = Sleeper::new(bell);
        let shard = Shard::new(spec.id, door.clone(), counters, Services::new());
        let ended = Runner::new(shard, spec, make, false).run(sleeper, doors).await;
        bell.close(&door).await;
        ended
    })
}

fn control_thread(place: Place, doors: &[Door]) -> Result<(), Panicked> {
    let Place { spec, door, counters, make } = place;
    let shard = Shard::new(spec.id, door.clone(), counters, Services::new());
    control::run(Runner::new(shard, spec, make, true).run(Blocking(door), doors))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Next, Program};

    #[test]
    fn a_program_that_never_returns_is_not_waited_for_if_it_is_known() {
        let (release, released) = mpsc::channel::<()>();
        let mut launch = Launch::new(ShardSpec::spread(2, &[])).expect("descriptors for the bells");
        launch.program(ShardId(0), move |_| {
            Box::new(move |_: &Shard| match released.recv() {
                Ok(()) | Err(mpsc::RecvError) => Next::Done, // When the test is over.
            }) as Box<dyn Program>
        });
        launch.program(ShardId(1), |_| {
            Box::new(|_: &Shard| -> Next { panic!("it is waited for") }) as Box<dyn Program>
        });
        launch.control(|_| Box::new(|_: &Shard| Next::Done) as Box<dyn Program>);
        let machine = Machine::start(launch).expect("this machine is fit");
        let report = machine.join_but(|shard| shard == ShardId(0));
        assert!(report.control.is_ok() && report.shards[0].is_ok() && report.shards[1].is_err());
        drop(release);
    }
}
