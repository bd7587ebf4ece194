//! SIGINT and SIGTERM: the first one is a request, the second one ends the process at once.
//!
//! # What is always true
//!
//! 1. The handler touches atomics, one door that is never freed, and `_exit`: all safe in a signal handler.
//! 2. The signal is noted before the door is knocked on.
//!
//! `unsafe` here: installing the handler, and reading the door through its pointer, which is leaked on purpose.

use std::{
    io, ptr,
    sync::atomic::{AtomicI32, AtomicPtr, Ordering},
};

use crate::Door;

static RAISED: AtomicI32 = AtomicI32::new(0);
static DOOR: AtomicPtr<Door> = AtomicPtr::new(ptr::null_mut());

/// From now on the first SIGINT or SIGTERM is noted ([`raised`]) and knocks on `door`; a second one ends the process
/// with 128 plus its number (130, 143). A later call changes the door.
///
/// # Errors
///
/// When the system refuses, which it has no reason to.
pub fn install(door: Door) -> io::Result<()> {
    // Leaked: the handler may be reading the old one. Two words a call.
    DOOR.store(Box::into_raw(Box::new(door)), Ordering::Release);
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: zeros are a valid `sigaction` (no flags, empty mask); the handler is safe (invariant 1).
        let status = unsafe {
            let mut action = std::mem::zeroed::<libc::sigaction>();
            action.sa_sigaction = handle as extern "C" fn(libc::c_int) as libc::sighandler_t;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(signal, &action, ptr::null_mut())
        };
        if status != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The signal that was raised (2 for SIGINT, 15 for SIGTERM), if one was. The exit code is 128 plus this.
pub fn raised() -> Option<i32> {
    Some(RAISED.load(Ordering::Acquire)).filter(|signal| *signal != 0)
}

extern "C" fn handle(signal: libc::c_int) {
    if RAISED.swap(signal, Ordering::AcqRel) != 0 {
        // SAFETY: ends the process without running anything of it.
        unsafe { libc::_exit(128 + signal) };
    }
    // SAFETY: null or a door that is never freed.
    if let Some(door) = unsafe { DOOR.load(Ordering::Acquire).as_ref() } {
        door.knock();
    }
}
