//! The simulated loop: chooses a shard, gives it a turn, lets time pass, wakes who is to be woken.
//!
//! ```text
//!            Idle (poll once more, now and then)
//!              ┌──┐
//!              ▼  │     Idle: says `asleep`          Idle
//!   New ──▶ Awake ──────────────────▶ Dozing ──────────────────▶ Asleep
//!              ▲       Again             │   the last look         │
//!              └─────────────────────────┴─────────────────────────┘  bell, completion, deadline, or for no reason
//! ```
//!
//! # What is always true
//!
//! 1. The states are those of the real loop, with the same [`Door`]: other shards run between saying `asleep` and
//!    the last look, and between a knock and the wake-up.
//! 2. Time passes by small drawn steps; it jumps only when nobody can run.
//! 3. A wake-up for no reason happens only while something else is to come, so it never hides a lost one.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::Duration,
};

use super::{
    SimDisk,
    schedule::{Policy, Schedule},
    world::{Services, World},
};
use crate::{
    Launch, Next, Panicked, Program, Report, Shard, launch::Place, program::panic_message,
    random::mix,
};

/// What a turn costs: a poll to a long turn.
const TURN_NS: (u64, u64) = (200, 50_000);
/// Now and then the system takes the core away.
const PAUSE_NS: (u64, u64) = (100_000, 10_000_000);
/// From a knock to the turn that it causes.
const WAKE_NS: (u64, u64) = (1_000, 1_000_000);

/// A simulation's seed and choices.
#[derive(Clone)]
#[non_exhaustive]
pub struct SimConfig {
    /// From which everything is drawn.
    pub seed: u64,
    /// How shards are chosen.
    pub policy: Policy,
    /// Turns after which the simulation fails; what it runs is taken to go round in circles.
    pub steps_max: u64,
    /// The disk that programs see.
    pub disk: SimDisk,
}

impl SimConfig {
    /// Mixed policies, ten million steps, the disk that is installed on this thread.
    pub fn with_seed(seed: u64) -> Self {
        Self { seed, policy: Policy::Mixed, steps_max: 10_000_000, disk: SimDisk::installed() }
    }

    /// With this policy.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// With at most this many turns.
    #[must_use]
    pub fn steps_max(mut self, steps_max: u64) -> Self {
        self.steps_max = steps_max;
        self
    }

    /// With this disk.
    #[must_use]
    pub fn disk(mut self, disk: SimDisk) -> Self {
        self.disk = disk;
        self
    }
}

/// What came of a simulation that ended.
#[derive(Debug)]
pub struct SimReport {
    /// How the programs ended.
    pub report: Report,
    /// Over every turn, its time and its result, every completion and every [`Shard::trace`] word. The same seed and
    /// the same programs give the same hash in any process.
    pub trace_hash: u64,
    /// Turns that were given.
    pub steps: u64,
    /// Simulated time.
    pub elapsed: Duration,
}

/// Why a simulation did not end by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// Everybody sleeps and nothing is to come: a wake-up was lost, or programs wait for each other.
    #[error("seed {seed}: nothing left to happen after {steps} steps, but these sleep: {asleep}")]
    Deadlock {
        /// Replays it.
        seed: u64,
        /// Turns until then.
        steps: u64,
        /// The names of those that sleep.
        asleep: String,
    },
    /// It did not end in time.
    #[error("seed {seed}: not at its end after {steps} steps; these still run: {running}")]
    StepLimit {
        /// Replays it.
        seed: u64,
        /// Turns until then.
        steps: u64,
        /// The names of those that have not ended.
        running: String,
    },
}

/// One run of a launch under a seed.
///
/// ```
/// use wiesel_shard::{Launch, Next, Shard, ShardSpec, SimConfig, Simulation};
///
/// let run = |seed| {
///     let mut launch = Launch::new(ShardSpec::spread(3, &[]))?;
///     for id in launch.ids() {
///         launch.program(id, |_| {
///             let mut turns = 0;
///             Box::new(move |_: &Shard| {
///                 turns += 1;
///                 if turns == 10 { Next::Done } else { Next::Again }
///             })
///         });
///     }
///     Ok::<_, std::io::Error>(Simulation::new(SimConfig::with_seed(seed)).run(launch))
/// };
/// let (one, two) = (run(7).unwrap().unwrap(), run(7).unwrap().unwrap());
/// assert_eq!((one.steps, one.trace_hash), (two.steps, two.trace_hash));
/// ```
pub struct Simulation {
    config: SimConfig,
    world: Rc<World>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its program has not been made.
    New,
    Awake,
    /// It has said that it is asleep and will look once more.
    Dozing,
    Asleep,
    Ended,
}

struct Actor {
    place: Place,
    shard: Shard,
    program: Option<Box<dyn Program>>,
    state: State,
    is_control: bool,
    until: Option<u64>,
    /// When the bell that was rung will wake it.
    wakes_at: Option<u64>,
    panicked: Option<Panicked>,
}

impl Simulation {
    /// A simulation that has not begun. Installs its disk for [`crate::fs`] on this thread.
    pub fn new(config: SimConfig) -> Self {
        config.disk.install();
        let world = Rc::new(World::new(config.seed, config.disk.clone()));
        Self { config, world }
    }

    /// Runs until every program has ended.
    ///
    /// # Errors
    ///
    /// [`SimError`] when they do not. A panic in a program is no error: the report says so.
    pub fn run(self, launch: Launch) -> Result<SimReport, SimError> {
        let Self { config, world } = self;
        let seed = config.seed;
        let places = launch.places.into_iter().map(|place| (place, false));
        let mut actors = places
            .chain([(launch.control, true)])
            .enumerate()
            .map(|(index, (place, is_control))| {
                Actor::new(
                    place,
                    is_control,
                    Services::new(Rc::clone(&world), mix(seed) ^ (index as u64) << 8),
                )
            })
            .collect::<Vec<_>>();
        let mut schedule = Schedule::new(config.policy);
        let mut steps = 0;
        let mut runnable = Vec::new();
        loop {
            runnable.clear();
            runnable.extend(actors.iter_mut().enumerate().filter_map(|(index, actor)| {
                actor.wake_if_due(&world);
                matches!(actor.state, State::New | State::Awake | State::Dozing).then_some(index)
            }));
            if runnable.is_empty() {
                let Some(next) = actors.iter_mut().filter_map(Actor::next_event).min() else {
                    break;
                };
                let late = world.draws.spread(1, WAKE_NS.1) - 1;
                world.now.set(world.now.get().max(next) + late);
                continue;
            }
            if world.draws.one_in(64) {
                let any = world.draws.below(actors.len() as u64) as usize;
                actors[any].wake_for_no_reason();
            }
            if steps == config.steps_max {
                let running = names(&actors);
                return Err(SimError::StepLimit { seed, steps, running });
            }
            steps += 1;
            let chosen = schedule.choose(&runnable, &world.draws);
            let (first, last) = if world.draws.one_in(256) { PAUSE_NS } else { TURN_NS };
            world.pass_ns(world.draws.spread(first, last));
            let next = actors[chosen].turn(&world);
            let code = match next {
                Next::Again => 1,
                Next::Idle { until: None } => 2,
                Next::Idle { until: Some(until) } => 3 ^ until.0 << 2,
                Next::Done => 4,
            };
            world.trace_all([chosen as u64, world.now.get(), code]);
            if actors[chosen].state == State::Ended {
                actors.iter().for_each(|actor| actor.place.door.knock());
            }
        }
        if actors.iter().any(|actor| actor.state != State::Ended) {
            return Err(SimError::Deadlock { seed, steps, asleep: names(&actors) });
        }
        let control = actors.pop().expect("the control program comes last").outcome();
        Ok(SimReport {
            report: Report { shards: actors.into_iter().map(Actor::outcome).collect(), control },
            trace_hash: world.hash(),
            steps,
            elapsed: Duration::from_nanos(world.now.get()),
        })
    }
}

/// Of those that have not ended, with what they wait for.
fn names(actors: &[Actor]) -> String {
    let running = actors.iter().filter(|actor| actor.state != State::Ended);
    let name = |actor: &Actor| match actor.shard.io().outstanding() {
        0 => actor.place.spec.name.clone(),
        count => format!("{} ({count} operations)", actor.place.spec.name),
    };
    running.map(name).collect::<Vec<_>>().join(", ")
}

impl Actor {
    fn new(place: Place, is_control: bool, services: Services) -> Self {
        let shard = Shard::new(
            place.spec.id,
            place.door.clone(),
            std::sync::Arc::clone(&place.counters),
            services,
        );
        Self {
            place,
            shard,
            program: None,
            state: State::New,
            is_control,
            until: None,
            wakes_at: None,
            panicked: None,
        }
    }

    fn wake(&mut self) {
        self.place.door.wake_up();
        (self.state, self.until, self.wakes_at) = (State::Awake, None, None);
    }

    /// When something is to wake it.
    fn next_event(&mut self) -> Option<u64> {
        if self.state == State::Ended {
            return None;
        }
        let io = self.shard.0.io.borrow_mut().next_due();
        [self.wakes_at, self.until, io].into_iter().flatten().min()
    }

    fn wake_if_due(&mut self, world: &World) {
        if self.place.door.bell().take() {
            let delay = world.draws.spread(WAKE_NS.0, WAKE_NS.1);
            self.wakes_at.get_or_insert(world.now.get() + delay);
        }
        if self.state == State::Asleep && self.next_event().is_some_and(|at| at <= world.now.get())
        {
            self.place.counters.wakes.add(1);
            self.wake();
        }
    }

    fn wake_for_no_reason(&mut self) {
        if self.state == State::Asleep {
            // The bell of a knock that is under way rings all the same, and finds it awake.
            self.wake();
        }
    }

    /// The program's code; a panic in it is kept.
    fn guard<R>(&mut self, code: impl FnOnce() -> R) -> Option<R> {
        let result = catch_unwind(AssertUnwindSafe(code));
        result
            .map_err(|payload| {
                self.panicked.get_or_insert_with(|| Panicked {
                    shard: (!self.is_control).then_some(self.place.spec.id),
                    name: self.place.spec.name.clone(),
                    message: panic_message(&*payload),
                });
            })
            .ok()
    }

    fn turn(&mut self, world: &World) -> Next {
        if self.state == State::New {
            self.state = State::Awake;
            if let Some(make) = self.place.make.take() {
                let shard = self.shard.clone();
                self.program = self.guard(move || make(shard));
            }
        }
        let next = self.given_a_turn();
        let idle = matches!(next, Next::Idle { .. });
        match next {
            Next::Done => self.end(),
            Next::Again => {
                self.place.door.wake_up();
                self.state = State::Awake;
            }
            Next::Idle { until: Some(until) } if until.0 <= world.now.get() => self.wake(),
            Next::Idle { .. } if self.state == State::Dozing => {
                self.place.counters.parks.add(1);
                self.state = State::Asleep;
            }
            // It spins a little, or goes to sleep: what rang before is forgotten.
            Next::Idle { .. } if !world.draws.one_in(4) => {
                self.wakes_at = None;
                self.place.door.bell().take();
                self.place.door.fall_asleep();
                self.state = State::Dozing;
            }
            Next::Idle { .. } => {}
        }
        if let (true, Next::Idle { until }) = (idle, next) {
            self.until = until.map(|until| until.0);
        }
        next
    }

    fn given_a_turn(&mut self) -> Next {
        let Some(mut program) = self.program.take() else { return Next::Done };
        let shard = self.shard.clone();
        shard.look();
        let (started, counters) = (shard.now(), shard.counters());
        counters.turns.add(1);
        let next = self.guard(|| program.turn(&shard)).unwrap_or(Next::Done);
        self.program = Some(program);
        if next == Next::Again {
            let ns = shard.read_clock().0 - started.0;
            counters.busy_ns.add(ns);
            counters.turn_ns.record(ns);
        }
        next
    }

    fn end(&mut self) {
        let program = self.program.take();
        self.guard(move || drop(program));
        self.shard.0.io.borrow_mut().shut_down();
        self.place.counters.ended(self.panicked.is_some());
        self.place.door.wake_up();
        self.state = State::Ended;
        (self.until, self.wakes_at) = (None, None);
    }

    fn outcome(self) -> Result<(), Panicked> {
        self.panicked.map_or(Ok(()), Err)
    }
}
