//! The far end of a head under test: outputs that write down what they take, as text, and ask to stop.

use std::{cell::RefCell, rc::Rc, time::Duration};

use wiesel_core::{Meta, Nanos, StopFlag, TaskFailure, Timestamp};
use wiesel_operators::{Aggregated, Counted, Output, OutputPort, Partial, Ranked, Status};
use wiesel_record::{Item, Record};

use crate::harness::{Word, show_time};

/// One thing that reached an output.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A record, as text, and what travelled beside it.
    Record(String, Meta),
    /// Anything else, as text.
    Other(String),
}

/// What all outputs of a head received, in order, and when they ask to stop.
#[derive(Clone)]
pub struct Probe {
    log: Rc<RefCell<Vec<Event>>>,
    stop: StopFlag,
    stop_every: usize,
}

impl Probe {
    /// Asks to stop after every `stop_every`-th record; 0 is never.
    pub fn new(stop: &StopFlag, stop_every: usize) -> Self {
        Self { log: Rc::default(), stop: stop.clone(), stop_every }
    }

    /// An output; `name` stands before everything that it takes.
    pub fn output(&self, name: &'static str) -> Collector {
        Collector { name, probe: self.clone(), taken: 0 }
    }

    /// What was received since the last call.
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.log.borrow_mut())
    }

    /// How much was received since the last [`take`](Self::take).
    pub fn len(&self) -> usize {
        self.log.borrow().len()
    }
}

/// Writes what it takes into the log of its [`Probe`].
pub struct Collector {
    name: &'static str,
    probe: Probe,
    taken: usize,
}

impl Collector {
    fn log(&self, event: Event) {
        self.probe.log.borrow_mut().push(event);
    }
}

impl OutputPort for Collector {
    fn poll(&mut self, _now: Nanos) -> bool {
        false
    }
    fn is_ready(&self) -> bool {
        true
    }
    fn flush(&mut self) {
        self.log(Event::Other(format!("{}flush", self.name)));
    }
    fn flush_aged(&mut self, _now: Nanos, _age: Duration) {}
    fn end(&mut self) {}
    fn is_drained(&self) -> bool {
        true
    }
    fn take_failure(&mut self) -> Option<TaskFailure> {
        None
    }
}

impl<T: Show> Output<T> for Collector {
    fn append<I: Item<T>>(&mut self, item: I, meta: Meta) {
        self.taken += 1;
        if self.probe.stop_every > 0 && self.taken.is_multiple_of(self.probe.stop_every) {
            self.probe.stop.set();
        }
        let text = format!("{}{}", self.name, item.into_owned().show());
        self.log(Event::Record(text, meta));
    }
    fn watermark(&mut self, watermark: Timestamp) {
        self.log(Event::Other(format!("{}w{}", self.name, show_time(watermark))));
    }
    fn status(&mut self, status: Status) {
        let status = if status == Status::Idle { "idle" } else { "active" };
        self.log(Event::Other(format!("{}{status}", self.name)));
    }
}

/// How a record looks in a table.
pub trait Show: Record {
    /// As short as can be.
    fn show(&self) -> String;
}

macro_rules! show_by_display {
    ($($type:ty)*) => { $(impl Show for $type {
        fn show(&self) -> String { self.to_string() }
    })* };
}
show_by_display!(String char bool i64 u64 u32 u8 f64);

impl Show for Word {
    fn show(&self) -> String {
        format!("{}{}", self.0, self.1)
    }
}

impl<K: Show> Show for (u32, K) {
    fn show(&self) -> String {
        format!("{}{}", self.0, self.1.show())
    }
}

impl Show for () {
    fn show(&self) -> String {
        String::new()
    }
}

impl<K: Show> Show for Counted<K> {
    fn show(&self) -> String {
        format!("{}={}", self.key.show(), self.count)
    }
}

impl<K: Show, V: Show> Show for Aggregated<K, V> {
    fn show(&self) -> String {
        format!("{}={}", self.key.show(), self.value.show())
    }
}

impl<K: Show, A: Show> Show for Partial<K, A> {
    fn show(&self) -> String {
        format!("{}={}", self.key.show(), self.acc.show())
    }
}

impl<T: Show> Show for Ranked<T> {
    fn show(&self) -> String {
        format!("{}.{}", self.rank, self.item.show())
    }
}
