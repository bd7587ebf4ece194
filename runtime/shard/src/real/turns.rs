//! The loop: turns, spinning, the last look, sleep. Shards run it on glommio, the control thread runs it plainly.
//!
//! ```text
//!            ┌─▶ look (clock, own ring) ─▶ turn ─┬─ Again ──────────────────────────┐
//!            │                                   ├─ Idle: spin within the budget ───┤
//!            │                                   ├─ Idle: asleep, last turn, park ──┤
//!            └───────────────────────────────────┴──────────────────────────────────┘
//! ```
//!
//! # What is always true
//!
//! 1. Before a sleep the program gets one turn after the shard has said that it is asleep and after the ring was told
//!    to ring the bell: whatever came before is seen by that turn, whatever comes later rings.
//! 2. There is no sleep over an operation that the kernel was not told of: one that was submitted in that turn, or has to be
//!    tried again, goes to it with the next look, and that comes at once.
//! 3. A program that panicked or ended is dropped here, and no panic of its drop goes further.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use wiesel_core::Nanos;

use super::pace::{Pace, Step};
use crate::{
    Door, Launch, Maker, Next, PARK_MAX, Panicked, Program, Shard, ShardSpec,
    program::panic_message,
};

/// How long the control thread sleeps at most, which no watchdog looks after. On a machine whose cores are all shards'
/// each of its turns takes a core away from one.
const CONTROL_PARK_MAX: Duration = Duration::from_secs(1);

/// How a thread rests.
pub(super) trait Rest {
    /// Lets whatever drives the thread look around.
    async fn pass(&mut self);
    /// Before the last look: what rang so far is forgotten.
    fn prepare(&mut self);
    /// Sleeps until the bell rings or `at_most` has passed; says whether it rang.
    async fn sleep(&mut self, at_most: Duration) -> bool;
}

/// A program on its shard.
pub(super) struct Runner {
    shard: Shard,
    program: Option<Box<dyn Program>>,
    spec: ShardSpec,
    panicked: Option<Panicked>,
    is_control: bool,
}

impl Runner {
    pub(super) fn new(
        shard: Shard,
        spec: ShardSpec,
        make: Option<Maker>,
        is_control: bool,
    ) -> Self {
        let mut runner = Self { shard, program: None, spec, panicked: None, is_control };
        if let Some(make) = make {
            let shard = runner.shard.clone();
            runner.program = runner.guard(move || make(shard));
        }
        runner
    }

    /// Runs the program's code; a panic in it is kept, and the program ends.
    fn guard<R>(&mut self, code: impl FnOnce() -> R) -> Option<R> {
        match catch_unwind(AssertUnwindSafe(code)) {
            Ok(result) => Some(result),
            Err(payload) => {
                self.panicked.get_or_insert_with(|| Panicked {
                    shard: (!self.is_control).then_some(self.spec.id),
                    name: self.spec.name.clone(),
                    message: panic_message(&*payload),
                });
                None
            }
        }
    }

    /// One turn that starts at `now`. A panic is an end.
    #[inline]
    fn turn(&mut self, now: Nanos) -> Next {
        let Some(program) = &mut self.program else { return Next::Done };
        let shard = &self.shard;
        shard.look_at(now);
        let counters = shard.counters();
        counters.turns.add(1);
        match catch_unwind(AssertUnwindSafe(|| program.turn(shard))) {
            Ok(next) => next,
            Err(payload) => {
                self.guard(move || std::panic::resume_unwind(payload));
                Next::Done
            }
        }
    }

    /// Notes how long a turn took that did work; returns the time.
    #[inline]
    fn account(&self, started: Nanos, next: Next) -> Nanos {
        let now = self.shard.read_clock();
        if next == Next::Again {
            let ns = now.since(started).as_nanos() as u64;
            self.shard.counters().busy_ns.add(ns);
            self.shard.counters().turn_ns.record(ns);
        }
        now
    }

    /// The loop, until the program ends.
    pub(super) async fn run(mut self, mut rest: impl Rest, doors: &[Door]) -> Result<(), Panicked> {
        let door = self.shard.door();
        let mut now = self.shard.read_clock();
        let mut pace = Pace::new(self.spec.spin, now);
        loop {
            let mut next = self.turn(now);
            now = self.account(now, next);
            match pace.step(next, now) {
                // No pause instruction: a turn that finds nothing is longer than one, a pause would put off seeing what
                // comes by 50 ns, and a hypervisor takes a core away that pauses often.
                Step::Turn => continue,
                Step::Pass => {
                    rest.pass().await;
                    self.shard.counters().passes.add(1);
                    now = self.shard.read_clock();
                    pace.passed(now);
                    continue;
                }
                Step::Park => {}
                Step::End => break,
            }
            rest.prepare();
            door.fall_asleep();
            self.shard.0.io.borrow_mut().arm(door.bell());
            next = self.turn(now);
            now = self.account(now, next);
            if let Next::Idle { until } = next {
                let left = |until: Nanos| until.since(now).saturating_sub(pace.early());
                let most = if self.is_control { CONTROL_PARK_MAX } else { PARK_MAX };
                let at_most = until.map_or(most, |until| left(until).min(most));
                let is_told_all = !self.shard.0.io.borrow().has_backlog(); // Invariant 2.
                if is_told_all && !at_most.is_zero() {
                    self.shard.counters().parks.add(1);
                    let rang = rest.sleep(at_most).await;
                    self.shard.counters().wakes.add(u64::from(rang));
                    now = self.shard.read_clock();
                    pace.woken(now);
                }
            }
            door.wake_up();
            self.shard.0.io.borrow_mut().disarm();
            if next == Next::Done {
                break;
            }
        }
        let program = self.program.take();
        self.guard(move || drop(program));
        self.shard.0.io.borrow_mut().shut_down();
        self.shard.counters().ended(self.panicked.is_some());
        doors.iter().for_each(Door::knock);
        self.panicked.map_or(Ok(()), Err)
    }
}

/// All doors of a launch, the control program's last.
pub(super) fn all_doors(launch: &Launch) -> Vec<Door> {
    launch.places.iter().chain([&launch.control]).map(|place| place.door.clone()).collect()
}

#[cfg(test)]
mod tests {
    use wiesel_core::ShardId;

    use super::*;
    use crate::Machine;

    #[test]
    fn what_is_submitted_in_the_last_look_is_not_slept_over() {
        let mut launch = Launch::new(ShardSpec::spread(1, &[])).expect("a descriptor for the bell");
        launch.program(ShardId(0), |_| {
            // The first turn parks, so the second one is its last look.
            let (mut turn, mut token) = (0, None);
            Box::new(move |shard: &Shard| {
                turn += 1;
                match turn {
                    2 => token = Some(shard.io().open_read("/")),
                    3 => assert_eq!(shard.counters().parks.get(), 0, "it slept over it"),
                    _ => {}
                }
                let completed = token.and_then(|token| shard.io().take(token));
                if completed.is_some_and(|result| result.is_ok()) { Next::Done } else { Next::IDLE }
            }) as Box<dyn Program>
        });
        let report = Machine::start(launch).expect("this machine is fit").join();
        report.outcome().expect("no panic");
    }
}
