//! The temporal join: each record of a stream with the version of its key that was valid at the record's time.
//!
//! ```text
//!   left      ──────l───────────────l────▶  kept until the watermark has reached its time
//!                   │               │
//!   versions  ──v1──┴──────v2───────┴────▶  each is valid from its time until that of the next one
//!   watermark ──────────────▲               v1 is dropped: no left record on time can need it any more
//! ```
//!
//! The rules are those of Flink's event-time temporal join (`TemporalRowTimeJoinOperator`).
//!
//! # What is always true
//!
//! 1. A left record is joined once, when the watermark has reached its time, with the last version whose time is not
//!    behind it. Of two versions of one time the later to arrive is valid. A result has the time of the left record.
//! 2. Of a key, the left records that are due come out in the order of their arrival.
//! 3. Of the versions that the watermark has reached a key keeps the last one. With no left records, it keeps nothing else.
//! 4. A key has one timer: the earliest time of a record that was not seen by one.
//! 5. Nothing is dropped for being late: a late left record is joined at the next watermark with what is still there.

use std::marker::PhantomData;

use wiesel_core::{Meta, TaskFailure, Timestamp};
use wiesel_record::{Key, Out, Record};
use wiesel_state::{KeyBatch, Spot, StateDescriptor};

use crate::{
    KeyedCoOperator, KeyedCoStart, KeyedContext, Link, Located, MapState, Pace, Progress, Snapshot,
    StateRegistry, TaskContext, TimeDomain, ValueState, VisitTable, flat_map::Emit,
    keyed_core::KeyedCore, rolling::CACHE_BYTES,
};

/// What becomes of a left record and its version.
pub trait TemporalFunction<L: Record, R: Record>: Clone + Send + 'static {
    /// What goes on.
    type Out: Record;

    /// Takes a left record, and the version that is valid at its time if there is one.
    fn join(&self, left: L::View<'_>, version: Option<R::View<'_>>, out: &mut dyn Out<Self::Out>);
}

macro_rules! function {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub struct $name<F, O>(F, PhantomData<fn() -> O>);

        impl<F, O> $name<F, O> {
            /// Calls `function`.
            pub fn new(function: F) -> Self {
                Self(function, PhantomData)
            }
        }

        impl<F: Clone, O> Clone for $name<F, O> {
            fn clone(&self) -> Self {
                Self::new(self.0.clone())
            }
        }
    };
}
function! {
    /// The inner join: a left record without a version is dropped.
    InnerTemporal
}
function! {
    /// The left outer join: every left record, some without a version.
    LeftTemporal
}

impl<L, R, O, F> TemporalFunction<L, R> for InnerTemporal<F, O>
where
    L: Record,
    R: Record,
    O: Record,
    F: for<'l, 'r, 'e> Fn(L::View<'l>, R::View<'r>, &'e mut dyn Out<O>) + Clone + Send + 'static,
{
    type Out = O;

    fn join(&self, left: L::View<'_>, version: Option<R::View<'_>>, out: &mut dyn Out<O>) {
        if let Some(version) = version {
            (self.0)(left, version, out);
        }
    }
}

impl<L, R, O, F> TemporalFunction<L, R> for LeftTemporal<F, O>
where
    L: Record,
    R: Record,
    O: Record,
    F: for<'l, 'r, 'e> Fn(L::View<'l>, Option<R::View<'r>>, &'e mut dyn Out<O>)
        + Clone
        + Send
        + 'static,
{
    type Out = O;

    fn join(&self, left: L::View<'_>, version: Option<R::View<'_>>, out: &mut dyn Out<O>) {
        (self.0)(left, version, out);
    }
}

/// Whether a version says that from its time on there is none.
pub trait VersionEnd<R: Record>: Clone + Send + 'static {
    /// Asks it of a version.
    fn is_end(&self, version: R::View<'_>) -> bool;
}

/// Every version is valid until the next one.
#[derive(Clone, Copy, Debug)]
pub struct NeverEnds;

impl<R: Record> VersionEnd<R> for NeverEnds {
    fn is_end(&self, _version: R::View<'_>) -> bool {
        false
    }
}

/// A version for which the function is true says that there is none any more.
#[derive(Clone, Copy, Debug)]
pub struct EndsWhen<E>(pub E);

impl<R: Record, E> VersionEnd<R> for EndsWhen<E>
where
    E: for<'r> Fn(R::View<'r>) -> bool + Clone + Send + 'static,
{
    fn is_end(&self, version: R::View<'_>) -> bool {
        (self.0)(version)
    }
}

/// What is kept of each key.
struct States<L, R> {
    /// By number of arrival: time and record.
    left: MapState<u64, (Timestamp, L)>,
    /// By time.
    versions: MapState<Timestamp, R>,
    /// How many left records have come since there were none.
    arrived: ValueState<u64>,
    timer: ValueState<Timestamp>,
}

impl<L: Record, R: Record> States<L, R> {
    fn register_earlier<S: Record, K: Key>(
        &self,
        context: &mut KeyedContext<'_, K, S>,
        time: Timestamp,
    ) {
        match context.get(&self.timer) {
            Some(earlier) if earlier <= time => return,
            Some(later) => context.delete_event_timer(later),
            None => {}
        }
        context.set(&self.timer, time);
        context.register_event_timer(time);
    }
}

/// Joins a keyed stream with the versions of another.
pub struct TemporalJoin<L: Record, R: Record, K: Key, F, E> {
    function: F,
    end: E,
    states: States<L, R>,
    core: KeyedCore<K, ()>,
    /// Of the key at hand: the numbers of due left records, and the times of versions.
    due: Vec<u64>,
    times: Vec<Timestamp>,
}

/// Makes a [`TemporalJoin`] per subtask.
#[derive(Clone)]
pub struct TemporalJoinStart<F, E> {
    function: F,
    end: E,
}

impl<F, E> TemporalJoinStart<F, E> {
    /// Calls `function` with each left record and its version; `end` says which versions are the end of others.
    pub fn new(function: F, end: E) -> Self {
        Self { function, end }
    }
}

impl<L, R, K, F, E> KeyedCoStart<L, R, K> for TemporalJoinStart<F, E>
where
    L: Record,
    R: Record,
    K: Key,
    F: TemporalFunction<L, R>,
    E: VersionEnd<R>,
{
    type Operator = TemporalJoin<L, R, K, F, E>;

    fn operator(self, context: &TaskContext) -> Result<Self::Operator, TaskFailure> {
        let mut states = States {
            left: MapState::new("left"),
            versions: MapState::new("versions"),
            arrived: ValueState::new("arrived"),
            timer: ValueState::new("timer"),
        };
        let mut registry = StateRegistry::new(context);
        registry.register(&mut states.left);
        registry.register(&mut states.versions);
        registry.register(&mut states.arrived);
        registry.register(&mut states.timer);
        Ok(TemporalJoin {
            function: self.function,
            end: self.end,
            states,
            core: KeyedCore::open(registry, None, context)?,
            due: Vec::new(),
            times: Vec::new(),
        })
    }
}

impl<L, R, K, F, E> TemporalJoin<L, R, K, F, E>
where
    L: Record,
    R: Record,
    K: Key,
    F: TemporalFunction<L, R>,
    E: VersionEnd<R>,
{
    /// The time of a record, without which nothing can be joined.
    fn time_of(&self, meta: Meta) -> Option<Timestamp> {
        if meta.time.is_none() {
            self.core.task.fail_untimed("join a record by its time", "join");
        }
        meta.time
    }
}

impl<L, R, K, F, E> KeyedCoOperator<L, R, K> for TemporalJoin<L, R, K, F, E>
where
    L: Record,
    R: Record,
    K: Key,
    F: TemporalFunction<L, R>,
    E: VersionEnd<R>,
{
    type Out = F::Out;

    #[inline]
    fn prefetch(&self, _input: usize, spot: Spot) {
        self.core.keep.table.prefetch(spot);
    }

    fn wants_prefetch(&self, _input: usize) -> bool {
        self.core.keep.table.bytes_used() > CACHE_BYTES
    }

    fn may_miss(&self) -> bool {
        self.core.keep.table.may_miss()
    }

    fn list_missing(&mut self, keys: &KeyBatch, missing: &mut Vec<usize>) {
        self.core.keep.table.list_missing(keys, missing);
    }

    fn poll_arrivals(&mut self, arrived: &mut KeyBatch) {
        self.core.poll_arrivals(arrived);
    }

    fn apply_first<D: Link<F::Out>>(
        &mut self,
        key: K::View<'_>,
        at: Located,
        value: L::View<'_>,
        meta: Meta,
        _next: &mut D,
    ) {
        let Some(time) = self.time_of(meta) else { return };
        let Self { states, core, .. } = self;
        core.call(key, at, meta, |context| {
            let number = context.get(&states.arrived).unwrap_or(0);
            context.set(&states.arrived, number + 1);
            context.put(&states.left, number, (time, value));
            states.register_earlier(context, time);
            Ok(())
        });
    }

    fn apply_second<D: Link<F::Out>>(
        &mut self,
        key: K::View<'_>,
        at: Located,
        value: R::View<'_>,
        meta: Meta,
        _next: &mut D,
    ) {
        let Some(time) = self.time_of(meta) else { return };
        let Self { states, core, .. } = self;
        core.call(key, at, meta, |context| {
            context.put(&states.versions, time, value);
            states.register_earlier(context, time);
            Ok(())
        });
    }

    fn watermark<D: Link<F::Out>>(
        &mut self,
        watermark: Timestamp,
        next: &mut D,
        pace: &mut Pace,
    ) -> Progress {
        self.core.watermark = watermark;
        let Self { function, end, states, core, due, times } = self;
        core.fire(watermark, TimeDomain::EventTime, pace, |_, context| {
            context.clear(&states.timer);
            let mut first_not_due: Option<Timestamp> = None;
            due.clear();
            context.map(&states.left).for_each(|number, (time, _)| {
                if time <= watermark {
                    due.push(number);
                } else {
                    first_not_due = Some(first_not_due.map_or(time, |first| first.min(time)));
                }
            });
            due.sort_unstable();
            times.clear();
            context.map(&states.versions).for_each(|time, _| times.push(time));
            times.sort_unstable();
            for number in due.iter() {
                let (left, versions) = (context.map(&states.left), context.map(&states.versions));
                left.with(*number, |(time, left)| {
                    let mut emit = Emit { next: &mut *next, meta: Meta::at(time) };
                    let valid = times.partition_point(|of_version| *of_version <= time);
                    let joined = valid.checked_sub(1).and_then(|valid| {
                        versions.with(times[valid], |version| {
                            let version = Some(version).filter(|version| !end.is_end(*version));
                            function.join(left, version, &mut emit);
                        })
                    });
                    if joined.is_none() {
                        function.join(left, None, &mut emit);
                    }
                });
                context.remove(&states.left, *number);
            }
            let reached = times.partition_point(|time| *time <= watermark);
            for time in &times[..reached.saturating_sub(1)] {
                context.remove(&states.versions, *time);
            }
            match first_not_due {
                Some(time) => states.register_earlier(context, time),
                None => context.clear(&states.arrived),
            }
            Ok(())
        })
    }

    fn end_key<D: Link<F::Out>>(&mut self, next: &mut D, pace: &mut Pace) -> Progress {
        let fired = KeyedCoOperator::<L, R, K>::watermark(self, Timestamp::MAX, next, pace);
        if fired == Progress::Done {
            self.core.keep.drop_rows();
            self.core.watermark = Timestamp::MIN;
        }
        fired
    }

    fn snapshot(&mut self, snapshot: &mut Snapshot) {
        self.core.snapshot(snapshot);
    }

    fn keeps() -> Vec<StateDescriptor> {
        Vec::new()
    }

    fn tables(&mut self, visit: &mut VisitTable<'_>) {
        self.core.tables(visit);
    }

    async fn restore(&mut self, snapshot: &Snapshot) -> Result<(), TaskFailure> {
        self.core.restore(snapshot).await
    }
}
