//! Processing-time timers: when they fire, and what goes between.
//!
//! ```text
//!   due ──▶ fire ──▶ one other step ──▶ fire ──▶ one other step ──▶ …      of a task that has other steps to do
//!   due ──▶ fire ──▶ fire ──▶ …                                            of one that has none
//! ```
//!
//! # What is always true
//!
//! 1. However many are due, every other step is one on what has come: a record, a watermark or a barrier waits for no more
//!    than one quantum of timers. As in Flink, whose timers are mail, and whose input gets a step behind each batch of mail.
//! 2. While a link of the chain wants no records, none fires.

use std::time::Duration;

use wiesel_core::{Nanos, Timestamp};
use wiesel_operators::Pace;

use super::{Step, Task};

/// The earliest timer.
enum Due {
    /// It is time for it: it is so late.
    At(Timestamp),
    /// Not before then, or there is none that may fire.
    Later(Option<Nanos>),
}

impl Task {
    /// The next thing to do while inputs are open.
    pub(super) fn step(&mut self, pace: &mut Pace) -> Step {
        let wall = match self.due() {
            Due::At(wall) => wall,
            Due::Later(timer) => {
                self.has_fired = false;
                return self.step_on(timer, pace);
            }
        };
        if std::mem::take(&mut self.has_fired) {
            match self.step_on(None, pace) {
                Step::Nothing(_) => {} // The timers need not wait for a thing that is not there.
                step => return step,
            }
        }
        // Stopped or done: what is still due is asked for again by a later step.
        let _ = self.head.advance_time(wall, pace);
        self.has_fired = true;
        Step::Progressed
    }

    fn due(&self) -> Due {
        let Some(due) = self.head.next_timer() else { return Due::Later(None) };
        let shard = self.context.shard();
        let wall = shard.wall_time();
        if due > wall {
            let wait_ms = due.as_millis().saturating_sub(wall.as_millis()).max(1) as u64;
            return Due::Later(Some(shard.now() + Duration::from_millis(wait_ms)));
        }
        if self.is_full { Due::Later(None) } else { Due::At(wall) }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use wiesel_core::{CheckpointId, SubtaskIndex, TaskFailure, TaskId, TriggerKind, VertexId};
    use wiesel_operators::{
        Head, OutputPort, Polled, Progress, Restoring, Snapshot, Status, TaskContext, VisitList,
    };
    use wiesel_shard::{ManualClock, Shard};
    use wiesel_wire::Frame;

    use super::*;
    use crate::{Checkpoints, TaskOptions, Turn};

    /// A source that reads `left` records and has a timer, which is registered anew, `every_ms` later, whenever it fires.
    struct Ticks {
        left: usize,
        timer: i64,
        every_ms: i64,
        log: Rc<RefCell<String>>,
    }

    impl Head for Ticks {
        fn open(&mut self) -> Result<(), TaskFailure> {
            Ok(())
        }
        fn close(&mut self) {}
        fn frame(&mut self, _: usize, _: &Frame, _: &mut usize, _: &mut Pace) -> Progress {
            Progress::Done
        }
        fn watermark(&mut self, _: Timestamp, _: &mut Pace) -> Progress {
            Progress::Done
        }
        fn status(&mut self, _: Status) {}
        fn poll(&mut self, _: &mut Pace) -> Polled {
            let Some(left) = self.left.checked_sub(1) else { return Polled::Waiting(None) };
            self.left = left;
            self.log.borrow_mut().push('r');
            Polled::Again
        }
        fn next_timer(&self) -> Option<Timestamp> {
            Some(Timestamp::from_millis(self.timer))
        }
        fn advance_time(&mut self, now: Timestamp, _: &mut Pace) -> Progress {
            assert!(self.timer <= now.as_millis(), "it is due");
            self.timer = now.as_millis() + self.every_ms;
            self.log.borrow_mut().push('t');
            Progress::Stopped
        }
        fn tick(&mut self, _: Nanos, _: bool) {}
        fn finish(&mut self, _: &mut Pace) -> Progress {
            Progress::Done
        }
        fn ports(&mut self, _: &mut dyn FnMut(&mut dyn OutputPort)) {}
        fn snapshot(&mut self, _: &mut Snapshot) {
            self.log.borrow_mut().push('b');
        }
        fn lists(&mut self, _: &mut VisitList<'_>) {}
        fn restore<'r>(&'r mut self, _: &'r Snapshot) -> Restoring<'r> {
            Box::pin(async { Ok(()) })
        }
    }

    /// So many turns of a step each, of a task with `records` and a timer every so many ms, the first of which is due. Each
    /// turn takes a millisecond, and checkpoint 1 begins before turn `trigger`. Returns what each came to: `r` a record, `t`
    /// timers, `b` a barrier, `.` nothing.
    #[track_caller]
    fn check(every_ms: i64, records: usize, trigger: Option<usize>, expected: &str) {
        let log = Rc::new(RefCell::new(String::new()));
        let head = Ticks { left: records, timer: 1_000, every_ms, log: Rc::clone(&log) };
        let clock = ManualClock::new(Timestamp::from_millis(1_000));
        let id = TaskId { vertex: VertexId(1), subtask: SubtaskIndex(0) };
        let context = TaskContext::new(id, "ticks", 1, 16, Shard::on(&clock), Default::default());
        let options = TaskOptions {
            quantum: Duration::ZERO,
            frame_age_max: Duration::ZERO,
            checkpoints: Checkpoints::ExactlyOnce,
            is_incremental: false,
        };
        let mut task = Task::new(context, Box::new(head), Vec::new(), options);
        for turn in 0..expected.len() {
            if trigger == Some(turn) {
                assert!(task.trigger(CheckpointId(1), TriggerKind::Continue));
            }
            task.context().shard().look();
            let now = clock.now();
            match task.turn() {
                Turn::Worked => {}
                Turn::Idle(until) => {
                    assert!(until > Some(now), "{until:?}: it wakes at {now:?} to do nothing");
                    log.borrow_mut().push('.');
                }
                other => panic!("{other:?}"),
            }
            clock.advance(Duration::from_millis(1));
        }
        assert_eq!(*log.borrow(), expected, "every {every_ms} ms");
    }

    #[test]
    fn timers_that_are_always_due_leave_every_other_step_to_what_has_come() {
        check(0, 3, None, "trtrtrttt");
        check(1, 3, None, "trtrtrttt");
        check(-5, 100, None, "trtrtrtrtr");
        check(0, 0, Some(3), "tttbttt");
        check(0, 9, Some(2), "trtbtrtr");
    }

    #[test]
    fn those_that_are_not_due_are_waited_for() {
        check(4, 0, None, "t...t...t");
        check(4, 9, None, "trrrtrrrtrrrt..");
        check(4, 5, Some(5), "trrrtbrrt...t.");
    }
}
