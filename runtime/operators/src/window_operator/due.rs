//! What is done when the time of a window comes: it fires, if the trigger says so, and goes, if it is over.
//!
//! # What is always true
//!
//! 1. Timers fire in order of time, each once, and none that is left of a window which has become part of another.
//! 2. A window that is over fires first; then its contents, the trigger's part and the function's states go, in this order.

use std::mem;

use wiesel_core::{TaskFailure, Timestamp};
use wiesel_record::{Key, Record};
use wiesel_state::Timer;

use super::{
    Buffers, WindowOperator,
    contents::WindowContents,
    merging::Merged,
    place::{Place, window_of_timer},
};
use crate::{AssignWindows, Link, Pace, Progress, TimeDomain, Trigger};

impl<C, W, R, K, T> WindowOperator<C, W, R, K, T>
where
    C: WindowContents<K, T>,
    W: AssignWindows<T>,
    R: Trigger<T>,
    K: Key,
    T: Record,
{
    /// A timer has come.
    fn on_timer<D: Link<C::Out>>(
        &mut self,
        buffers: &mut Buffers,
        timer: &Timer,
        domain: TimeDomain,
        next: &mut D,
    ) -> Result<(), TaskFailure> {
        let Some(window) = window_of_timer(timer) else { return Ok(()) };
        let (time, key, hash) = (timer.time(), timer.key(), timer.hash());
        let Buffers { row_key, state_key, kept, .. } = buffers;
        let place = Place::new(key, hash, window, row_key);
        let mut state = place;
        if W::MERGES {
            self.merging.load(hash, key, kept);
            // One that is part of another now finds nothing to do.
            let Some(merged) = kept.iter().find(|merged| merged.window == window) else {
                return Ok(());
            };
            state = Place::new(key, hash, merged.state, state_key);
        }
        let result = self.ask(place, |trigger, window, context| match domain {
            TimeDomain::EventTime => trigger.on_event_time(time, window, context),
            TimeDomain::ProcessingTime => trigger.on_processing_time(time, window, context),
        });
        self.follow(result, place, state, next)?;
        let Some((of, over)) = self.over_at(window).filter(|(of, _)| *of == domain) else {
            return Ok(());
        };
        if time < over {
            // Of a program that allowed less lateness, this may be the only timer.
            self.rows.change_timer(of, over, place, true);
            return Ok(());
        }
        self.end(place, state)?;
        if W::MERGES {
            kept.retain(|merged| merged.window != window);
            self.merging.store(hash, key, kept)?;
        }
        Ok(())
    }

    /// A window is over.
    fn end(&mut self, place: Place<'_>, state: Place<'_>) -> Result<(), TaskFailure> {
        self.contents.clear(state);
        self.ask(place, |trigger, window, context| trigger.clear(window, context));
        self.rows.clear(place);
        self.contents.end(self.occasion(place))
    }

    /// Ends the windows of a key that are over before their timer has come: those of a program that allowed more lateness.
    pub(super) fn end_over(
        &mut self,
        (key, hash): (&[u8], u64),
        kept: &mut Vec<Merged>,
        [row_key, state_key]: [&mut Vec<u8>; 2],
    ) -> Result<(), TaskFailure> {
        let (over, left) = kept.iter().partition(|merged| self.is_late(merged.window));
        *kept = left;
        let over: Vec<Merged> = over;
        for merged in over {
            let place = Place::new(key, hash, merged.window, row_key);
            let state = Place::new(key, hash, merged.state, state_key);
            self.end(place, state)?;
        }
        self.merging.store(hash, key, kept)
    }

    /// Forgets all windows of all keys.
    pub(super) fn forget_windows(&mut self) {
        self.contents.forget_windows();
        self.rows.reset();
        self.merging.reset();
    }

    /// Fires the timers of one domain up to `now`.
    pub(super) fn fire<D: Link<C::Out>>(
        &mut self,
        now: Timestamp,
        domain: TimeDomain,
        next: &mut D,
        pace: &mut Pace,
    ) -> Progress {
        while let Some(timer) = self.rows.timers(domain).pop(now) {
            let mut buffers = mem::take(&mut self.buffers);
            if let Err(failure) = self.on_timer(&mut buffers, &timer, domain, next) {
                self.context.fail(failure);
            }
            self.buffers = buffers;
            if pace.is_over() {
                return Progress::Stopped;
            }
        }
        Progress::Done
    }
}
