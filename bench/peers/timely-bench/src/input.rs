//! Where every workload starts and ends.

use peer::{
    event::Event,
    generator::{Check, Generator, PersonText, window_end_ms},
    total::Part,
};
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{
        Scope, StreamVec,
        channels::pact::Pipeline,
        operators::{Operator, generic::operator::source},
    },
};

/// Makes the first stream of a dataflow. Worker `i` of `p` makes records i, i + p, i + 2p …
pub struct Input<'s> {
    /// Where the operators go.
    pub scope: Scope<'s, u64>,
    /// Records of all workers together.
    pub events: u64,
    /// Records made each time the source is scheduled.
    pub batch: usize,
    /// Makes the records.
    pub generator: Generator,
}

impl<'s> Input<'s> {
    /// What `make` makes of the numbers of the records.
    pub fn records<D: Clone + 'static>(
        &self,
        mut make: impl FnMut(&Generator, u64) -> D + 'static,
    ) -> StreamVec<'s, u64, D> {
        let (scope, generator, batch) = (self.scope, self.generator, self.batch);
        let mut numbers = (scope.index() as u64..self.events).step_by(scope.peers());
        source::<_, CapacityContainerBuilder<Vec<D>>, _, _>(scope, "Source", |capability, info| {
            let activator = scope.activator_for(info.address);
            let mut capability = Some(capability);
            move |output| {
                let Some(open) = &capability else { return };
                let mut session = output.session(open);
                for _ in 0..batch {
                    let Some(number) = numbers.next() else {
                        drop(session);
                        capability = None;
                        return;
                    };
                    session.give(make(&generator, number));
                }
                activator.activate();
            }
        })
    }

    /// As [`records`](Self::records), each at the timestamp that `time_of` gives its number: it never goes back.
    pub fn timed_records<D: Clone + 'static>(
        &self,
        time_of: impl Fn(&Generator, u64) -> u64 + 'static,
        mut make: impl FnMut(&Generator, u64) -> D + 'static,
    ) -> StreamVec<'s, u64, D> {
        let (scope, generator, batch) = (self.scope, self.generator, self.batch);
        let (mut number, events, step) = (scope.index() as u64, self.events, scope.peers() as u64);
        source::<_, CapacityContainerBuilder<Vec<D>>, _, _>(scope, "Source", |capability, info| {
            let activator = scope.activator_for(info.address);
            let mut capability = Some(capability);
            move |output| {
                let Some(open) = &mut capability else { return };
                let mut left = batch;
                while left > 0 && number < events {
                    let time = time_of(&generator, number);
                    if time > *open.time() {
                        open.downgrade(&time);
                    }
                    let mut session = output.session(&*open);
                    while left > 0 && number < events && time_of(&generator, number) == time {
                        session.give(make(&generator, number));
                        number += step;
                        left -= 1;
                    }
                }
                if number < events {
                    activator.activate();
                } else {
                    capability = None;
                }
            }
        })
    }

    /// Full events, each at the end of its pane of event time.
    #[inline]
    pub fn timed_events(&self, pane_ms: u64) -> StreamVec<'s, u64, Event> {
        let mut text = PersonText::default();
        self.timed_records(
            move |generator, number| window_end_ms(generator.time_ms(number), pane_ms),
            move |generator, number| Event::make(generator, number, &mut text),
        )
    }

    /// Full events.
    #[inline]
    pub fn events(&self) -> StreamVec<'s, u64, Event> {
        let mut text = PersonText::default();
        self.records(move |generator, number| Event::make(generator, number, &mut text))
    }
}

/// Checks what comes out.
pub struct Sink(pub Part<Check>);

impl Sink {
    /// Takes every record of the stream in as `x` of it.
    pub fn end<D: 'static>(
        mut self,
        stream: StreamVec<'_, u64, D>,
        x: impl Fn(D) -> u64 + 'static,
    ) {
        stream.sink(Pipeline, "Check", move |(input, _)| {
            let check = self.check();
            input.for_each(|_, records| {
                for record in records.drain(..) {
                    check.add(x(record));
                }
            });
        });
    }

    #[inline(always)]
    fn check(&mut self) -> &mut Check {
        self.0.own()
    }
}
