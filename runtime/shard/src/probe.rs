//! Is this machine fit: io_uring, lockable memory, cores. Asked once, before anything starts.
//!
//! What was observed and what follows from it are apart: [`classify`] is pure, and a table tests it.

use std::io;

use crate::{backend, fs};

/// The numbers of the errors that say why (the same on every Linux).
mod errno {
    pub(super) const EPERM: i32 = 1;
    pub(super) const ENOMEM: i32 = 12;
    pub(super) const EACCES: i32 = 13;
    pub(super) const ENOSYS: i32 = 38;
    #[cfg(test)]
    pub(super) const EMFILE: i32 = 24;
}

/// What a launch will need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeSpec {
    /// How many shards.
    pub shards: usize,
    /// The cores that shards are pinned to.
    pub cores: Vec<usize>,
}

/// Why this machine, as it is set up, cannot run shards. The text ends in the command that changes it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// The kernel has no io_uring.
    #[error(
        "the kernel has no io_uring: a kernel of 5.15 or newer with CONFIG_IO_URING is needed (uname -r)"
    )]
    NoIoUring,
    /// An administrator has switched io_uring off.
    #[error("io_uring is disabled: sysctl -w kernel.io_uring_disabled=0")]
    IoUringDisabled,
    /// A sandbox does not let this process use io_uring.
    #[error(
        "io_uring is forbidden here, most likely by a container's seccomp profile: \
         docker run --security-opt seccomp=unconfined …"
    )]
    IoUringForbidden,
    /// The kernel refuses io_uring for another reason.
    #[error("io_uring cannot be used: {0}")]
    IoUringBroken(String),
    /// Too little memory may be locked.
    #[error(
        "{shards} shards lock {need_kib} KiB of memory, and the limit is {limit_kib} KiB: \
         ulimit -l {need_kib} (or LimitMEMLOCK={need_kib}K in the unit of systemd)"
    )]
    MemlockTooSmall {
        /// How many shards are wanted.
        shards: usize,
        /// What they lock.
        need_kib: u64,
        /// What they may.
        limit_kib: u64,
    },
    /// A core that a shard is to be pinned to is not this process's.
    #[error(
        "core {core} is not available to this process, which has {available}: \
         taskset -c {core} … or fewer shards"
    )]
    CoreNotAvailable {
        /// The core that is wanted.
        core: usize,
        /// Those that there are.
        available: String,
    },
}

/// What was seen of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The error of `io_uring_setup`, if it failed.
    pub setup_errno: Option<i32>,
    /// `kernel.io_uring_disabled`, where there is one: 1 for the unprivileged, 2 for all.
    pub disabled: Option<u32>,
    /// How much memory may be locked, in bytes; `None`: any amount.
    pub memlock: Option<u64>,
    /// The cores of this process.
    pub cores: Vec<usize>,
}

/// Registered by glommio for its file types, which are not used here; its default pins 30 MiB a shard.
pub(crate) const IO_MEMORY_BYTES: usize = 64 << 10;

/// Below this glommio refuses to start, whatever it needs.
pub(crate) const GLOMMIO_MEMLOCK_MIN: u64 = 512 << 10;

/// What one shard locks: glommio registers its buffers in each of its three rings, and where the kernel charges
/// rings themselves there are those three and ours. (At 8 MiB, measured, the 35th executor failed: 240 KiB each.)
const MEMLOCK_PER_SHARD: u64 = 3 * IO_MEMORY_BYTES as u64 + 3 * (16 << 10) + (16 << 10);

/// How much memory this process may use: the machine's, or that of its control group, if that is less. `None` where nobody
/// says, as in simulation.
pub fn memory_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| mem_total(&text));
    // The group that a container is in looks like the root from the inside. The machine's own root has no limit.
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|text| text.trim().parse().ok()); // Else it is `max`.
    machine.into_iter().chain(limit).min()
}

/// The line `MemTotal:       24652764 kB` of `/proc/meminfo`.
fn mem_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    kib.checked_mul(1 << 10)
}

/// Looks at the machine and says whether it can run this.
///
/// # Errors
///
/// [`Unfit`], the first that applies.
pub fn check(spec: &ProbeSpec) -> Result<(), Unfit> {
    classify(spec, &backend::observe())
}

/// What follows from what was seen.
///
/// # Errors
///
/// [`Unfit`], the first that applies.
pub fn classify(spec: &ProbeSpec, seen: &Observed) -> Result<(), Unfit> {
    match (seen.setup_errno, seen.disabled) {
        (None, _) => {}
        (Some(errno::ENOSYS), _) => return Err(Unfit::NoIoUring),
        (Some(errno::EPERM | errno::EACCES), Some(1 | 2)) => return Err(Unfit::IoUringDisabled),
        (Some(errno::EPERM | errno::EACCES), _) => return Err(Unfit::IoUringForbidden),
        (Some(errno::ENOMEM), _) => {} // Too little lockable memory: below.
        (Some(errno), _) => {
            return Err(Unfit::IoUringBroken(io::Error::from_raw_os_error(errno).to_string()));
        }
    }
    let need = (spec.shards as u64 * MEMLOCK_PER_SHARD).max(GLOMMIO_MEMLOCK_MIN);
    if let Some(limit) = seen.memlock.filter(|limit| *limit < need) {
        return Err(Unfit::MemlockTooSmall {
            shards: spec.shards,
            need_kib: need.div_ceil(1 << 10),
            limit_kib: limit >> 10,
        });
    }
    if seen.setup_errno == Some(errno::ENOMEM) {
        return Err(Unfit::IoUringBroken(io::Error::from_raw_os_error(errno::ENOMEM).to_string()));
    }
    let missing = spec.cores.iter().find(|core| !seen.cores.contains(core));
    missing.map_or(Ok(()), |core| {
        let available = seen.cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        Err(Unfit::CoreNotAvailable { core: *core, available })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Observed {
        Observed { setup_errno: None, disabled: Some(0), memlock: None, cores: vec![0, 1, 4] }
    }

    fn check(spec: (usize, &[usize]), seen: Observed, expected: &str) {
        let spec = ProbeSpec { shards: spec.0, cores: spec.1.to_vec() };
        let found =
            classify(&spec, &seen).map_or_else(|unfit| unfit.to_string(), |()| "fit".into());
        assert!(found.contains(expected), "{found:?} has no {expected:?}");
    }

    #[test]
    fn the_memory_of_the_machine_is_the_kernels_total() {
        let meminfo = "MemFree:          123 kB\nMemTotal:       24652764 kB\nMemAvailable: 9 kB\n";
        assert_eq!(mem_total(meminfo), Some(24_652_764 << 10));
        assert_eq!(mem_total("MemTotal: much\n"), None);
    }

    #[test]
    fn each_lack_has_its_own_text_and_the_command_that_helps() {
        let failed = |errno, disabled| Observed { setup_errno: Some(errno), disabled, ..seen() };
        let memlock = |kib: u64| Observed { memlock: Some(kib << 10), ..seen() };
        check((2, &[0, 4]), seen(), "fit");
        check((2, &[]), failed(errno::ENOSYS, None), "has no io_uring");
        check((2, &[]), failed(errno::EPERM, Some(2)), "sysctl -w kernel.io_uring_disabled=0");
        check((2, &[]), failed(errno::EPERM, Some(1)), "sysctl -w kernel.io_uring_disabled=0");
        check((2, &[]), failed(errno::EPERM, Some(0)), "seccomp");
        check((2, &[]), failed(errno::EACCES, None), "seccomp");
        check(
            (2, &[]),
            failed(errno::EMFILE, Some(0)),
            "io_uring cannot be used: Too many open files",
        );
        check((2, &[]), memlock(512), "fit");
        check((2, &[]), memlock(511), "2 shards lock 512 KiB of memory, and the limit is 511 KiB");
        check((64, &[]), memlock(8 << 10), "ulimit -l 16384");
        check((64, &[]), memlock(16 << 10), "fit");
        check(
            (1, &[]),
            Observed { setup_errno: Some(errno::ENOMEM), ..memlock(64) },
            "ulimit -l 512",
        );
        check((1, &[]), failed(errno::ENOMEM, Some(0)), "io_uring cannot be used: Cannot allocate");
        check((2, &[1, 2]), seen(), "core 2 is not available to this process, which has 0,1,4");
    }
}
