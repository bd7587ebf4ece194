//! The bell under the model checker: a condition variable, so that a lost wake-up is a deadlock that loom reports.

use loom::sync::{Condvar, Mutex};

#[derive(Debug)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

#[cfg_attr(not(test), allow(dead_code, reason = "only the model's tests sleep"))]
impl Bell {
    pub(crate) fn new() -> Self {
        Self { rung: Mutex::new(false), changed: Condvar::new() }
    }

    pub(crate) fn ring(&self) {
        *self.rung.lock().unwrap_or_else(|broken| broken.into_inner()) = true;
        self.changed.notify_one();
    }

    /// Waits for a ring and takes it.
    pub(crate) fn wait(&self) {
        let mut rung = self.rung.lock().unwrap_or_else(|broken| broken.into_inner());
        while !*rung {
            rung = self.changed.wait(rung).unwrap_or_else(|broken| broken.into_inner());
        }
        *rung = false;
    }
}
