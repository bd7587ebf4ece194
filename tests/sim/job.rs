//! The job of a case, by the API that users have.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use wiesel_connectors::{CollectedRecords, Collection, DataGen, Partitions, Source};
use wiesel_core::{Timestamp, hours, millis};
use wiesel_datastream::{DataStream, Environment, KeyedStream};
use wiesel_operators::{
    Aggregated, AggregatedView, AsyncAnswer, AsyncFunction, AsyncOptions, Chain, Counted,
    CountedView, FunctionError, ProcessContext, ProcessFunction, Session, Sliding, Start, Tumbling,
    bounded_out_of_orderness,
};
use wiesel_record::{FnView, Out, Record};

use crate::{
    case::{Between, Case, Input, Stage},
    meeting::{self, Met},
    states::SumOfStates,
};

/// A record of the source.
#[derive(Clone, Debug, PartialEq, Record)]
pub(crate) struct Event {
    pub(crate) key: u32,
    pub(crate) at_ms: i64,
    /// What `flat_map` makes of it.
    pub(crate) copies: u32,
    pub(crate) padding: String,
}

/// A result of either stage. `at_ms` is its event time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Record)]
pub(crate) struct Tally {
    pub(crate) key: u32,
    pub(crate) at_ms: i64,
    pub(crate) count: u64,
}

/// Where the results of a job will be.
pub(crate) struct Results {
    /// The first stage's, if it has a sink.
    pub(crate) first: Option<CollectedRecords<Tally>>,
    /// The second stage's.
    pub(crate) second: CollectedRecords<Tally>,
    /// Of the meeting, if there is one.
    pub(crate) met: Option<CollectedRecords<Met>>,
}

/// Looks at every record that passes: watermarks never go back, and no record is behind them.
#[derive(Clone)]
pub(crate) struct Probe {
    place: &'static str,
    watermark: Timestamp,
}

impl Probe {
    pub(crate) fn at(place: &'static str) -> Self {
        Self { place, watermark: Timestamp::MIN }
    }

    fn look(&mut self, context: &ProcessContext<'_, ()>) -> Result<Timestamp, FunctionError> {
        let (place, watermark) = (self.place, context.watermark());
        if watermark < self.watermark {
            let before = self.watermark;
            return Err(format!("{place}: the watermark went from {before} to {watermark}").into());
        }
        self.watermark = watermark;
        let at = context.timestamp().ok_or_else(|| format!("{place}: a record without a time"))?;
        if at <= watermark {
            return Err(
                format!("{place}: a record of {at} behind the watermark {watermark}").into()
            );
        }
        Ok(at)
    }
}

/// A probe that passes records on.
#[derive(Clone)]
pub(crate) struct Pass(pub(crate) Probe);

impl<T: Record> ProcessFunction<T> for Pass {
    type Out = T;
    type Side = ();

    fn process(
        &mut self,
        value: T::View<'_>,
        context: &mut ProcessContext<'_, ()>,
        out: &mut dyn Out<T>,
    ) -> Result<(), FunctionError> {
        self.0.look(context)?;
        out.emit(value);
        Ok(())
    }
}

/// A probe that makes tallies of a stage's results.
#[derive(Clone)]
struct Stamp(Probe);

impl Stamp {
    fn stamp(
        &mut self,
        (key, count): (u32, u64),
        context: &ProcessContext<'_, ()>,
        out: &mut dyn Out<Tally>,
    ) -> Result<(), FunctionError> {
        let at_ms = self.0.look(context)?.as_millis();
        out.emit(TallyView { key, at_ms, count });
        Ok(())
    }
}

impl ProcessFunction<Counted<u32>> for Stamp {
    type Out = Tally;
    type Side = ();

    fn process(
        &mut self,
        value: CountedView<'_, u32>,
        context: &mut ProcessContext<'_, ()>,
        out: &mut dyn Out<Tally>,
    ) -> Result<(), FunctionError> {
        self.stamp((value.key, value.count), context, out)
    }
}

impl ProcessFunction<Aggregated<u32, u64>> for Stamp {
    type Out = Tally;
    type Side = ();

    fn process(
        &mut self,
        value: AggregatedView<'_, u32, u64>,
        context: &mut ProcessContext<'_, ()>,
        out: &mut dyn Out<Tally>,
    ) -> Result<(), FunctionError> {
        self.stamp((value.key, value.value), context, out)
    }
}

/// Says the job of `case`.
pub(crate) fn build(case: &Case, environment: &Environment) -> Results {
    let events = case.input_events();
    match case.input {
        Input::Collection => meet(case, front(case, environment, Collection::new(events))),
        Input::Generator => ask(case, front(case, environment, generator(events))),
        Input::Rated(rate) => {
            ask(case, front(case, environment, generator(events).per_second(rate)))
        }
        Input::Partitions(count, visit, _) => {
            let mut partitions = vec![Vec::new(); count];
            for (number, event) in events.into_iter().enumerate() {
                partitions[number % count].push(event);
            }
            meet(case, front(case, environment, Partitions::new(partitions).visit(visit)))
        }
    }
}

fn generator(events: Vec<Event>) -> DataGen<Event, impl wiesel_connectors::Generate<Event>> {
    let (count, events) = (events.len() as u64, Arc::new(events));
    DataGen::new(move |tick| events[tick.number as usize].clone()).count(count)
}

/// Source, watermarks, `flat_map`.
fn front<S: Source<Record = Event>>(
    case: &Case,
    environment: &Environment,
    source: S,
) -> DataStream<Event, impl Start<Out = Event>, impl Chain<Event, Out = Event>> {
    let keys = case.keys as u32;
    let strategy = match case.input {
        Input::Partitions(_, _, true) => bounded_out_of_orderness(millis(case.bound_ms))
            .with_watermark_alignment("all", millis(case.step_ms * 20), millis(1)),
        _ => bounded_out_of_orderness(millis(case.bound_ms)),
    };
    environment
        .source(source)
        .uid("source")
        .set_parallelism(case.parallelism[0])
        .watermarks(strategy, |event| Timestamp::from_millis(event.at_ms))
        .process(Pass(Probe::at("source")))
        .flat_map::<Event>(move |event, out| {
            for copy in 0..event.copies {
                out.emit(EventView { key: (event.key + copy) % keys, ..event });
            }
        })
}

/// Asks somebody about each record.
fn ask<S, C>(case: &Case, events: DataStream<Event, S, C>) -> Results
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    let (capacity, is_ordered) = case.asks;
    let options = AsyncOptions::within(hours(2)).capacity(capacity);
    let events = match is_ordered {
        true => events.ordered_wait_with(options, Ask).start_new_chain(),
        false => events.unordered_wait_with(options, Ask).start_new_chain(),
    };
    let events = events.set_parallelism(case.parallelism[0]);
    meet(case, events.process(Pass(Probe::at("asked"))))
}

/// Knows all about a record, after a while.
#[derive(Clone)]
struct Ask;

impl AsyncFunction<Event> for Ask {
    type Out = Event;
    type Results = [Event; 1];

    fn invoke(&self, event: EventView<'_>) -> AsyncAnswer<[Event; 1]> {
        let EventView { key, at_ms, copies, padding } = event;
        let event = Event { key, at_ms, copies, padding: padding.to_owned() };
        let mut polls = (at_ms ^ i64::from(key)).rem_euclid(4);
        Box::pin(async move {
            poll_fn(move |context| {
                polls -= 1;
                context.waker().wake_by_ref();
                if polls < 0 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            Ok([event])
        })
    }
}

/// What meets, if something does.
fn meet<S, C>(case: &Case, events: DataStream<Event, S, C>) -> Results
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    let Some(meeting) = case.meeting else { return first(case, events) };
    let events = events.share();
    let met = meeting::build(case, meeting, &events);
    let stages = first(case, events.stream().set_parallelism(case.parallelism[0]));
    Results { met: Some(met), ..stages }
}

/// The first stage.
fn first<S, C>(case: &Case, events: DataStream<Event, S, C>) -> Results
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    let keyed = events.key_by::<u32>(key_of_event).set_parallelism(case.parallelism[1]);
    match case.first {
        Stage::Rolling => {
            middle(case, keyed.count().uid("first").process(Stamp(Probe::at("first stage"))))
        }
        Stage::States => {
            let sums = keyed.process(SumOfStates::new(one as fn(EventView<'_>) -> u64));
            middle(case, sums.uid("first").process(Stamp(Probe::at("first stage"))))
        }
        Stage::Windows(size_ms) => {
            let counts = keyed.window(Tumbling::event_time(duration(size_ms))).count();
            middle(case, counts.uid("first").process(Stamp(Probe::at("first stage"))))
        }
        Stage::Sliding(size_ms, slide_ms) => {
            let windows = Sliding::event_time(duration(size_ms), duration(slide_ms));
            let counts = keyed.window(windows).count();
            middle(case, counts.uid("first").process(Stamp(Probe::at("first stage"))))
        }
        Stage::Sessions(gap_ms) => {
            let counts = keyed.window(Session::with_gap(duration(gap_ms))).count();
            middle(case, counts.uid("first").process(Stamp(Probe::at("first stage"))))
        }
    }
}

pub(crate) fn duration(ms: i64) -> Duration {
    Duration::from_millis(ms.unsigned_abs())
}

/// What is between the stages.
fn middle<S, C>(case: &Case, stream: DataStream<Tally, S, C>) -> Results
where
    S: Start,
    C: Chain<S::Out, Out = Tally>,
{
    if !case.is_shared {
        return spread(case, stream, None);
    }
    let shared = stream.share();
    let first = shared.stream().set_parallelism(case.parallelism[1]).collect();
    spread(case, shared.stream().set_parallelism(case.parallelism[1]), Some(first))
}

fn spread<S, C>(
    case: &Case,
    stream: DataStream<Tally, S, C>,
    first: Option<CollectedRecords<Tally>>,
) -> Results
where
    S: Start,
    C: Chain<S::Out, Out = Tally>,
{
    let stream = match case.between {
        Between::Nothing => return back(case, stream, first),
        Between::Forward => stream.forward(),
        Between::Rebalance => stream.rebalance(),
        Between::Rescale => stream.rescale(),
        Between::Shuffle => stream.shuffle(),
        Between::Broadcast => stream.broadcast(),
        Between::Global => stream.global(),
    };
    let stream = stream.set_parallelism(case.parallelism[2]);
    back(case, stream.process(Pass(Probe::at("between"))), first)
}

// What follows are functions, not closures: a closure in a generic function is of another type for each type of stream
// that the function is called with, and with it everything behind it, which the compiler then makes that often.

fn key_of_event(event: EventView<'_>) -> u32 {
    event.key
}

fn one(_: EventView<'_>) -> u64 {
    1
}

fn key_of_tally(tally: TallyView<'_>) -> u32 {
    tally.key
}

fn count_of(tally: TallyView<'_>) -> u64 {
    tally.count
}

/// What the second stage counts.
fn weigh(modulus: u32, weighs: bool) -> impl Fn(TallyView<'_>) -> Tally + Clone + Send + 'static {
    move |tally| Tally {
        key: tally.key % modulus,
        at_ms: tally.at_ms,
        count: if weighs { tally.count } else { 1 },
    }
}

/// The second stage, and the end.
fn back<S, C>(
    case: &Case,
    stream: DataStream<Tally, S, C>,
    first: Option<CollectedRecords<Tally>>,
) -> Results
where
    S: Start,
    C: Chain<S::Out, Out = Tally>,
{
    let keyed = stream
        .map(weigh(case.modulus, case.weighs()))
        .key_by::<u32>(key_of_tally)
        .set_parallelism(case.parallelism[3]);
    let second = match case.second {
        Stage::Rolling => rolling_sum(keyed),
        Stage::States => {
            let sums = keyed.process(SumOfStates::new(count_of as fn(TallyView<'_>) -> u64));
            sums.uid("second").process(Stamp(Probe::at("second stage"))).collect()
        }
        Stage::Windows(size_ms) => {
            let windows = Tumbling::event_time(duration(size_ms));
            let sums = keyed.window(windows).sum::<u64, _>(count_of);
            sums.uid("second").process(Stamp(Probe::at("second stage"))).collect()
        }
        Stage::Sliding(size_ms, slide_ms) => {
            let windows = Sliding::event_time(duration(size_ms), duration(slide_ms));
            let sums = keyed.window(windows).sum::<u64, _>(count_of);
            sums.uid("second").process(Stamp(Probe::at("second stage"))).collect()
        }
        Stage::Sessions(gap_ms) => {
            let sessions = keyed.window(Session::with_gap(duration(gap_ms)));
            let sums = sessions.sum::<u64, _>(count_of);
            sums.uid("second").process(Stamp(Probe::at("second stage"))).collect()
        }
    };
    Results { first, second, met: None }
}

fn rolling_sum<F, S, C>(keyed: KeyedStream<Tally, u32, F, S, C>) -> CollectedRecords<Tally>
where
    F: for<'a> FnView<'a, TallyView<'a>, u32> + Clone + Send + 'static,
    S: Start,
    C: Chain<S::Out, Out = Tally>,
{
    let sums = keyed.sum::<u64, _>(count_of).uid("second");
    sums.process(Stamp(Probe::at("second stage"))).collect()
}
