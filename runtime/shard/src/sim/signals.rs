//! Signals in simulation: none comes but those that a test injects.

use std::{cell::RefCell, io};

use crate::Door;

thread_local! {
    static STATE: RefCell<(Option<i32>, Option<Door>)> = const { RefCell::new((None, None)) };
}

/// From now on an injected signal is noted ([`raised`]) and knocks on `door`.
///
/// # Errors
///
/// Never; the real one may fail.
pub fn install(door: Door) -> io::Result<()> {
    STATE.with_borrow_mut(|state| *state = (None, Some(door)));
    Ok(())
}

/// The signal that was injected, if one was.
pub fn raised() -> Option<i32> {
    STATE.with_borrow(|state| state.0)
}

/// What the system does when somebody presses Ctrl-C (2) or ends the process (15).
pub fn inject(signal: i32) {
    STATE.with_borrow_mut(|state| {
        state.0 = Some(signal);
        if let Some(door) = &state.1 {
            door.knock();
        }
    });
}
