//! How a task comes to its end.
//!
//! ```text
//!   inputs ended ──▶ watermark +inf ──▶ last answers ──▶ finish, close, end of outputs ──▶ last checkpoint ──▶ frames go home
//!                    Finishing          Settling         Finishing                         Ended               Draining
//! ```
//!
//! # What is always true
//!
//! 1. Results of the last watermark are pushed before the chain is told to finish, and answers that links wait for have
//!    come by then.
//! 2. Only waiting may take long, and barriers go by while a task waits.
//! 3. What was opened is closed once, however the task ends, unless it panicked.

use wiesel_core::{Mutant, TaskFailure, Timestamp};
use wiesel_operators::{Pace, Progress};

use super::{Phase, Step, Task};
use crate::{Checkpoints, Turn};

impl Task {
    /// The end of the input: the last watermark, then `finish`, then `end` on every output.
    pub(super) fn finish(&mut self, watermark_done: bool, pace: &mut Pace) -> Step {
        if !watermark_done {
            if self.is_full && self.is_midway {
                return Step::Nothing(None);
            }
            if self.fire(Timestamp::MAX, pace) == Progress::Done {
                self.phase = Phase::Settling;
            }
            return Step::Progressed;
        }
        if self.is_full {
            return Step::Nothing(None); // What a head in batch mode has sorted is more than a link may hold.
        }
        if self.head.finish(pace) == Progress::Done && !self.context.has_failed() {
            self.close_functions();
            if self.context.has_failed() {
                return Step::Progressed;
            }
            self.head.ports(&mut |port| {
                port.flush();
                port.end();
            });
            self.phase = match self.options.checkpoints {
                Checkpoints::Off => Phase::Draining,
                _ => Phase::Ended { is_reported: false },
            };
        }
        Step::Progressed
    }

    /// Closes the functions of the program, if they were opened and are not closed yet: the task has failed, or is cancelled.
    ///
    /// # Errors
    ///
    /// What the first of them failed with.
    pub fn close(&mut self) -> Result<(), TaskFailure> {
        self.close_functions();
        self.context.take_failure().map_or(Ok(()), |failure| Err(self.name(failure)))
    }

    fn close_functions(&mut self) {
        if std::mem::take(&mut self.is_open) {
            self.head.close();
        }
    }

    /// Waits for the last answers. Checkpoints go on: that may take as long as a time-out.
    pub(super) fn settle(&mut self) -> Step {
        let mut settled = true;
        self.head.ports(&mut |port| settled &= port.is_settled());
        if !settled {
            return self.step_behind_the_end();
        }
        self.phase = Phase::Finishing { watermark_done: true };
        Step::Progressed
    }

    pub(super) fn drain(&mut self, moved: bool) -> Turn {
        let mut drained = true;
        self.head.ports(&mut |port| drained &= port.is_drained());
        if drained || Mutant::EndedEarly.is_chosen() {
            self.phase = Phase::Finished;
            Turn::Finished
        } else if moved {
            Turn::Worked
        } else {
            Turn::Idle(None)
        }
    }
}
