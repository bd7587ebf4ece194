//! A chain under construction: what a stream holds until its end is known.
//!
//! ```text
//!   FrameStart, Nothing ◀─ FilterBy ◀─ MapTo     built front to back, as the user writes it
//!   finish(end):  MapTo wraps end in Map, FilterBy wraps that in Filter; FrameStart makes the head
//!   FrameHead<Filter<Map<End>>>                  run front to back, one type, no call left
//! ```
//!
//! A chain is data (closures and options) and is cloned once per subtask, on the shard that runs it.

use std::marker::PhantomData;

use wiesel_core::TaskFailure;
use wiesel_record::Record;

use crate::{Head, Link, TaskContext};

/// The beginning of a vertex: makes its head.
pub trait Start: Clone + Send + 'static {
    /// What the head pushes.
    type Out: Record;

    /// The head, in front of `D`.
    type Head<D: Link<Self::Out>>: Head + 'static;

    /// Makes the head.
    ///
    /// # Errors
    ///
    /// If it cannot be made with its options.
    fn head<D: Link<Self::Out>>(
        self,
        next: D,
        context: &TaskContext,
    ) -> Result<Self::Head<D>, TaskFailure>;
}

/// Links from records of type `T` to an open end.
pub trait Chain<T: Record>: Clone + Send + 'static {
    /// What comes out at the end.
    type Out: Record;

    /// The links, once they end in `D`.
    type With<D: Link<Self::Out>>: Link<T>;

    /// Puts `next` at the end and builds the links.
    fn finish<D: Link<Self::Out>>(self, next: D, context: &TaskContext) -> Self::With<D>;
}

/// A chain without links.
#[derive(Debug)]
pub struct Nothing<T>(PhantomData<fn(T)>);

impl<T> Nothing<T> {
    /// No links.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for Nothing<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for Nothing<T> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<T: Record> Chain<T> for Nothing<T> {
    type Out = T;
    type With<D: Link<T>> = D;

    fn finish<D: Link<T>>(self, next: D, _context: &TaskContext) -> D {
        next
    }
}

/// Passes everything but records on to the field `next`.
macro_rules! forward_control {
    ([$($generics:tt)*] $type:ty $(where $($bound:tt)*)?) => {
        impl<$($generics)*> $crate::Control for $type $(where $($bound)*)? {
            fn open(&mut self) -> Result<(), wiesel_core::TaskFailure> {
                self.next.open()
            }
            fn close(&mut self) {
                self.next.close();
            }
            fn watermark(&mut self, watermark: wiesel_core::Timestamp) -> $crate::Progress {
                self.next.watermark(watermark)
            }
            fn status(&mut self, status: $crate::Status) {
                self.next.status(status);
            }
            fn split(&mut self, change: $crate::SplitChange) {
                self.next.split(change);
            }
            fn tick(&mut self, now: wiesel_core::Nanos, is_idle: bool) {
                self.next.tick(now, is_idle);
            }
            fn finish(&mut self) -> $crate::Progress {
                self.next.finish()
            }
            fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn $crate::OutputPort)) {
                self.next.ports(visit);
            }
            fn snapshot(&mut self, snapshot: &mut $crate::Snapshot) {
                self.next.snapshot(snapshot);
            }
            fn lists(&mut self, visit: &mut $crate::VisitList<'_>) {
                self.next.lists(visit);
            }
            async fn restore(&mut self, snapshot: &$crate::Snapshot) -> Result<(), wiesel_core::TaskFailure> {
                self.next.restore(snapshot).await
            }
        }
    };
}
pub(crate) use forward_control;

/// `Clone` for a builder whose type parameters need not be: the derive would ask it of record types.
macro_rules! clone_builder {
    ([$($generic:ident),*] $type:ty { $($field:ident),* } where $($bound:tt)*) => {
        impl<$($generic),*> Clone for $type where $($bound)* {
            fn clone(&self) -> Self {
                Self { $($field: self.$field.clone()),* }
            }
        }
    };
}
pub(crate) use clone_builder;
