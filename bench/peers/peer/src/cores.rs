//! Which cores the process may use, and who is pinned to which.

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::Error;

/// The cores that whoever started the process left to it, in order.
#[derive(Clone, Debug)]
pub struct Cores(Vec<usize>);

impl Cores {
    /// Those of the calling thread: ask before anything is pinned.
    pub fn allowed() -> Result<Self, Error> {
        let set = sched_getaffinity(Pid::from_raw(0))
            .map_err(|source| Error::System { call: "sched_getaffinity", source })?;
        Ok(Self((0..CpuSet::count()).filter(|core| set.is_set(*core) == Ok(true)).collect()))
    }

    /// Pins the calling thread to the `worker`-th core, starting again after the last one. With one core there is
    /// nothing to do. If the machine refuses, the thread stays where it may go and standard error says so: the result
    /// is as right, and only its time is in doubt.
    pub fn pin(&self, worker: usize) {
        if self.0.len() < 2 {
            return;
        }
        let mut set = CpuSet::new();
        let pinned = set
            .set(self.0[worker % self.0.len()])
            .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
        if let Err(error) = pinned {
            eprintln!("worker {worker} could not be pinned: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_pinned_to_one_of_the_allowed_cores() {
        let allowed = || Cores::allowed().expect("a thread may ask");
        let before = allowed();
        for worker in 0..4 {
            let pinned = std::thread::scope(|scope| {
                let pinned = scope.spawn(|| {
                    before.pin(worker);
                    allowed()
                });
                pinned.join().expect("pinning does not panic")
            });
            assert_eq!(pinned.0, [before.0[worker % before.0.len()]], "worker {worker}");
        }
    }
}
