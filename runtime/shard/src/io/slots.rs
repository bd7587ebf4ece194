//! The table of operations: what is in flight, what has completed, what nobody waits for any more.
//!
//! # What is always true
//!
//! 1. An operation in flight stays in its slot, with its buffer, until the machine is done with it, whether or not
//!    someone still wants its result.
//! 2. A slot is used again only under a new generation, so an old token finds nothing.

use super::{Completion, Token};

enum Slot<O> {
    Free,
    InFlight { op: Box<O>, wanted: bool },
    Ready(Completion),
}

/// `O` is what a backend keeps of an operation. It is boxed: its address is known to the kernel.
pub(crate) struct Slots<O> {
    slots: Vec<(u32, Slot<O>)>,
    free: Vec<u32>,
    in_flight: usize,
}

impl<O> Slots<O> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), in_flight: 0 }
    }

    /// How many operations the machine still works on.
    #[inline]
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(crate) fn insert(&mut self, op: Box<O>) -> Token {
        self.in_flight += 1;
        self.place(Slot::InFlight { op, wanted: true })
    }

    /// An operation that ended before it began.
    pub(crate) fn insert_ready(&mut self, completion: Completion) -> Token {
        self.place(Slot::Ready(completion))
    }

    fn place(&mut self, slot: Slot<O>) -> Token {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, Slot::Free));
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 operations")
        });
        let entry = &mut self.slots[index as usize];
        entry.0 = entry.0.wrapping_add(1);
        entry.1 = slot;
        Token { index, generation: entry.0 }
    }

    fn entry(&mut self, token: Token) -> Option<&mut Slot<O>> {
        let entry = self.slots.get_mut(token.index as usize)?;
        (entry.0 == token.generation).then_some(&mut entry.1)
    }

    fn release(&mut self, token: Token) -> Option<Slot<O>> {
        let slot = std::mem::replace(self.entry(token)?, Slot::Free);
        self.free.push(token.index);
        Some(slot)
    }

    /// The operation in flight under `token`.
    pub(crate) fn op(&mut self, token: Token) -> Option<&mut O> {
        match self.entry(token)? {
            Slot::InFlight { op, .. } => Some(op),
            _ => None,
        }
    }

    /// The machine is done with an operation: `finish` makes its result, which is kept if someone wants it.
    pub(crate) fn complete(&mut self, token: Token, finish: impl FnOnce(Box<O>) -> Completion) {
        let Some(slot) = self.entry(token) else { return };
        match std::mem::replace(slot, Slot::Free) {
            Slot::InFlight { op, wanted } => {
                self.in_flight -= 1;
                let completion = finish(op);
                if wanted {
                    self.slots[token.index as usize].1 = Slot::Ready(completion);
                } else {
                    self.free.push(token.index);
                }
            }
            other => self.slots[token.index as usize].1 = other,
        }
    }

    pub(crate) fn take(&mut self, token: Token) -> Option<Completion> {
        if !matches!(self.entry(token)?, Slot::Ready(_)) {
            return None;
        }
        match self.release(token)? {
            Slot::Ready(completion) => Some(completion),
            _ => unreachable!("just seen to be ready"),
        }
    }

    /// Nobody will take this token. Returns whether the operation is still in flight.
    pub(crate) fn forget(&mut self, token: Token) -> bool {
        match self.entry(token) {
            Some(Slot::InFlight { wanted, .. }) => {
                *wanted = false;
                true
            }
            Some(Slot::Ready(_)) => {
                drop(self.release(token));
                false
            }
            Some(Slot::Free) | None => false,
        }
    }

    /// The tokens of all operations in flight.
    pub(crate) fn tokens_in_flight(&self) -> Vec<Token> {
        let in_flight = |(index, (generation, slot)): (usize, &(u32, Slot<O>))| {
            matches!(slot, Slot::InFlight { .. })
                .then_some(Token { index: index as u32, generation: *generation })
        };
        self.slots.iter().enumerate().filter_map(in_flight).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Outcome;

    #[test]
    fn a_token_is_good_for_one_completion() {
        let mut slots = Slots::new();
        let done = |_| Ok(Outcome::Done);
        let first = slots.insert(Box::new(1));
        assert!(slots.take(first).is_none());
        slots.complete(first, done);
        assert_eq!(slots.in_flight(), 0);
        assert!(slots.take(first).is_some() && slots.take(first).is_none());
        let second = slots.insert(Box::new(2));
        assert_eq!(second.index, first.index);
        assert!(slots.op(first).is_none() && slots.op(second).is_some());
        slots.complete(first, done);
        assert_eq!(slots.in_flight(), 1, "an old token completes nothing");
    }

    #[test]
    fn what_is_forgotten_stays_until_it_completes() {
        let mut slots = Slots::new();
        let token = slots.insert(Box::new(1));
        assert!(slots.forget(token));
        assert_eq!(slots.tokens_in_flight(), [token]);
        slots.complete(token, |_| Ok(Outcome::Done));
        assert!(slots.take(token).is_none() && slots.in_flight() == 0);
        let token = slots.insert_ready(Ok(Outcome::Done));
        assert!(!slots.forget(token) && slots.take(token).is_none());
    }
}
