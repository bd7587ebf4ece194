//! What runs on a shard: a program that is given turns.
//!
//! # What is always true
//!
//! 1. A program never waits inside a turn: it does what can be done now and says what it needs next.
//! 2. After [`Next::Done`] or a panic it gets no further turn; it is dropped on its own shard, and then every door
//!    of the machine is knocked on, so that whoever was waiting for it looks.

use std::{any::Any, fmt};

use wiesel_core::{Nanos, ShardId};

use crate::Shard;

/// Everything above the seam: a state machine that the shard loop gives turns to.
///
/// ```
/// use wiesel_shard::{Next, Program, Shard};
///
/// struct CountTo(u32);
///
/// impl Program for CountTo {
///     fn turn(&mut self, _shard: &Shard) -> Next {
///         self.0 -= 1;
///         if self.0 == 0 { Next::Done } else { Next::Again }
///     }
/// }
/// ```
pub trait Program {
    /// Does a bounded piece of work: at most a quantum ([`Shard::quantum`]) plus one record.
    ///
    /// It must be cheap when there is nothing to do, since a spinning shard polls by calling it, and it must look at
    /// *all* its rings before it returns [`Next::Idle`]: the call before a sleep is the last look.
    fn turn(&mut self, shard: &Shard) -> Next;
}

/// A closure is a program: what it captures is its state.
impl<F: FnMut(&Shard) -> Next> Program for F {
    fn turn(&mut self, shard: &Shard) -> Next {
        self(shard)
    }
}

/// What a program wants after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It did work, and there may be more: the next turn follows at once.
    Again,
    /// Nothing to do until a knock, a completed operation of this shard, or `until`. Turns may come earlier than that.
    Idle {
        /// When there is something to do even if nobody knocks (a timer, a flush).
        until: Option<Nanos>,
    },
    /// Finished: no further turn.
    Done,
}

impl Next {
    /// Idle without a deadline.
    pub const IDLE: Self = Self::Idle { until: None };
}

/// A program that panicked. The other programs of the machine went on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} panicked: {message}")]
pub struct Panicked {
    /// The shard, or `None` for the control program.
    pub shard: Option<ShardId>,
    /// The name that its [`crate::ShardSpec`] gave it.
    pub name: String,
    /// What the panic said.
    pub message: String,
}

/// The text of a panic's payload.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&'static str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

impl fmt::Debug for dyn Program + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Program")
    }
}
