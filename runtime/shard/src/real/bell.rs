//! The bell: an eventfd. Whoever waits reads it, through a ring or with `ppoll`.
//!
//! `unsafe` here: system calls on a descriptor that the bell owns for its whole life.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    time::Duration,
};

#[derive(Debug)]
pub(crate) struct Bell(Option<OwnedFd>);

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: `eventfd` takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nobody else owns.
        Ok(Self(Some(unsafe { OwnedFd::from_raw_fd(fd) })))
    }

    /// A bell that nobody hears.
    pub(crate) const fn silent() -> Self {
        Self(None)
    }

    /// One system call; safe in a signal handler. The counter overflows after 2^64 rings without a reader: the write
    /// would wait then, which takes longer than the machine lasts.
    pub(crate) fn ring(&self) {
        let Some(fd) = &self.0 else { return };
        let one = 1_u64;
        // SAFETY: eight bytes from a live `u64` to an open descriptor. A failure can only be a signal that came
        // first; the sleeper's backstop covers it.
        unsafe { libc::write(fd.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(AsFd::as_fd)
    }

    /// Waits for a ring on this thread, at most so long, and takes it. Returns whether it rang.
    pub(super) fn wait(&self, at_most: Duration) -> bool {
        let Some(fd) = self.fd() else { return false };
        let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let timeout = libc::timespec {
            tv_sec: at_most.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: at_most.subsec_nanos().into(),
        };
        // SAFETY: one live `pollfd`, one live `timespec`, no signal mask. An interrupted wait is an early wake-up.
        let ready = unsafe { libc::ppoll(&mut poll, 1, &timeout, std::ptr::null()) };
        if ready != 1 {
            return false;
        }
        let mut rings = 0_u64;
        // SAFETY: eight bytes into a live `u64`; readable, and this thread is the only reader.
        unsafe { libc::read(fd.as_raw_fd(), (&raw mut rings).cast(), 8) };
        true
    }
}
