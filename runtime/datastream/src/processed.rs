//! Process functions in a chain: a record in, anything out, with what a map does not have.
//!
//! # What is always true
//!
//! 1. A process function is chained: it costs no exchange.
//! 2. What it registers in `initialize_state` is state of each subtask, not of a key.

use wiesel_operators::{Chain, OperatorStateRegistry, ProcessFunction, ProcessTo, Start};
use wiesel_record::Record;

use crate::{DataStream, OutputTag};

impl<T: Record, S: Start, C: Chain<S::Out, Out = T>> DataStream<T, S, C> {
    fn processed<F: ProcessFunction<T>>(
        self,
        function: F,
        side_slot: Option<usize>,
    ) -> DataStream<F::Out, S, ProcessTo<C, F>> {
        let mut states = OperatorStateRegistry::default();
        function.initialize_state(&mut states);
        let position = self.builder.chained(self.vertex, "Process");
        self.builder.vertex(self.vertex, |vertex| {
            vertex.reads_time = true;
            if !states.is_empty() {
                vertex.keeps_state();
            }
        });
        self.grown(|chain| ProcessTo::new(chain, function, side_slot).at(position))
    }

    /// Processes record by record, with the event time at hand.
    pub fn process<F: ProcessFunction<T>>(
        self,
        function: F,
    ) -> DataStream<F::Out, S, ProcessTo<C, F>> {
        self.processed(function, None)
    }

    /// As [`process`](Self::process); what the function puts aside is in
    /// [`get_side_output`](Self::get_side_output) of what this returns.
    pub fn process_with_side<F: ProcessFunction<T>>(
        self,
        function: F,
        tag: &OutputTag<F::Side>,
    ) -> DataStream<F::Out, S, ProcessTo<C, F>> {
        let slot = self.builder.declare_side::<F::Side>(self.vertex, tag.id());
        self.processed(function, Some(slot))
    }
}
