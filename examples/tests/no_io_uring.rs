//! A kernel without io_uring, and a sandbox that forbids it: programs run under a real filter of system calls.
//!
//! ```text
//!   test ──fork──▶ child: seccomp filter ──exec──▶ program ──io_uring_setup──▶ ENOSYS or EPERM, from the kernel
//! ```
//!
//! `unsafe` here: the filter is installed between fork and exec, where only system calls are made, and the kernel
//! reads an array that the closure owns.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // Processes, from outside.

use std::{io, mem::offset_of, os::unix::process::CommandExt};

use common::*;

mod common;

/// The kernel's answer to one system call is `errno`, to all others what it always is.
fn refusing(call: libc::c_long, errno: i32) -> [libc::sock_filter; 4] {
    let op = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    // The test and the program are of one architecture, so that the number alone says which call it is.
    let number = offset_of!(libc::seccomp_data, nr) as u32;
    [
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, number),
        op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call as u32),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

/// Runs a program whose `io_uring_setup` fails with `errno`. Its log is as a user's, who has set nothing.
fn without_io_uring(errno: i32, program: &str, arguments: &[&str]) -> Ended {
    let mut command = command(program, arguments);
    command.env_remove("WIESEL_LOG");
    let mut filter = refusing(libc::SYS_io_uring_setup, errno);
    let install = move || {
        let filter = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: two system calls; the second reads `filter`, which lives until it is over.
        let installed = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter)
                    == 0
        };
        if installed { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: after the fork it makes system calls and allocates nothing.
    unsafe { command.pre_exec(install) };
    ended(command)
}

/// Exit code 7, nothing on standard output, and this line alone on standard error.
#[track_caller]
fn check(errno: i32, program: &str, job: &str, error: &str) {
    let ended = without_io_uring(errno, program, &["--parallelism", "2"]);
    let expected = (Some(7), "", format!("Error: job `{job}` did not start: {error}\n"));
    assert_eq!((ended.code, ended.out.as_str(), ended.err), expected, "{program}");
}

#[test]
fn a_kernel_without_io_uring_is_7() {
    let error = "the kernel has no io_uring: a kernel of 5.15 or newer with CONFIG_IO_URING is needed (uname -r)";
    check(libc::ENOSYS, TRENDING, "trending hashtags", error);
    check(libc::ENOSYS, WORD_COUNT, "word count", error);
}

#[test]
fn a_sandbox_that_forbids_io_uring_is_7() {
    let error = "io_uring is forbidden here, most likely by a container's seccomp profile: docker run \
                 --security-opt seccomp=unconfined …";
    check(libc::EPERM, TRENDING, "trending hashtags", error);
    check(libc::EPERM, WORD_COUNT, "word count", error);
}

#[test]
fn what_runs_no_job_needs_no_io_uring() {
    for arguments in ["--help", "--version", "--explain"] {
        let ended = without_io_uring(libc::ENOSYS, TRENDING, &[arguments]);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{arguments}");
    }
}
