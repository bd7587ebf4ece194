//! What the probe looks at.

use std::fs;

use super::available_cores;
use crate::probe::{GLOMMIO_MEMLOCK_MIN, Observed};

/// Looks at the machine.
pub(crate) fn observe() -> Observed {
    let setup = io_uring::IoUring::new(2);
    let disabled = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
    Observed {
        setup_errno: setup.err().map(|error| error.raw_os_error().unwrap_or(libc::EIO)),
        disabled: disabled.and_then(|text| text.trim().parse().ok()),
        memlock: memlock(),
        cores: available_cores(),
    }
}

/// The soft limit of lockable memory. Glommio looks at the limit even where a capability lifts it, so ours does too
/// for that part; the sum over shards binds only those without the capability.
fn memlock() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max locked memory"))?;
    let soft: u64 = line.split_whitespace().nth(3)?.parse().ok()?; // "unlimited" is no number.
    (soft < GLOMMIO_MEMLOCK_MIN || !may_lock_any_amount()).then_some(soft)
}

/// Whether the process has CAP_IPC_LOCK.
fn may_lock_any_amount() -> bool {
    const CAP_IPC_LOCK: u32 = 14;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    bits.is_some_and(|bits| bits >> CAP_IPC_LOCK & 1 == 1)
}
