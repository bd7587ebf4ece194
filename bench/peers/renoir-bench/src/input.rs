//! Where every workload starts and ends.

use peer::{
    Args,
    event::Event,
    generator::{Check, Generator, PersonText},
    total::Part,
};
use renoir::{Stream, operator::Operator, prelude::*};

/// Makes the first stream of a job. Subtask `i` of `p` makes records i, i + p, i + 2p …
pub struct Input<'c> {
    context: &'c StreamContext,
    batch_mode: BatchMode,
    events: u64,
    /// Makes the records.
    pub generator: Generator,
}

impl<'c> Input<'c> {
    /// The input that the command line asks for, in batches of so many records.
    pub fn new(context: &'c StreamContext, args: &Args, batch: usize) -> Self {
        Self {
            context,
            batch_mode: BatchMode::fixed(batch),
            events: args.events,
            generator: Generator::new(args.seed, args.event_rate),
        }
    }

    /// The numbers of the records.
    #[inline]
    pub fn numbers(&self) -> Stream<impl Operator<Out = u64> + use<>> {
        let events = self.events;
        self.context
            .stream_par_iter(move |i: u64, p: u64| (i..events).step_by(p as usize))
            .batch_mode(self.batch_mode)
    }

    /// Full events.
    #[inline]
    pub fn events(&self) -> Stream<impl Operator<Out = Event> + use<>> {
        let (events, generator) = (self.events, self.generator);
        self.context
            .stream_par_iter(move |i: u64, p: u64| {
                let mut text = PersonText::default();
                (i..events)
                    .step_by(p as usize)
                    .map(move |number| Event::make(&generator, number, &mut text))
            })
            .batch_mode(self.batch_mode)
    }
}

/// Checks what comes out.
#[derive(Clone)]
pub struct Sink(pub Part<Check>);

impl Sink {
    /// Takes every record of the stream in as `x` of it.
    pub fn end<O: Operator + 'static>(
        mut self,
        stream: Stream<O>,
        x: impl Fn(O::Out) -> u64 + Send + Clone + 'static,
    ) {
        stream.for_each(move |record| self.add(x(record)));
    }

    #[inline(always)]
    fn add(&mut self, x: u64) {
        self.0.own().add(x);
    }
}
