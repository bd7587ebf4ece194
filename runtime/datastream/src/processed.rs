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
            vertex.keeps(&states);
        });
        self.grown(|chain| ProcessTo::new(chain, function, side_slot).at(position))
    }

    /// Processes record by record, with the event time at hand.
    ///
    /// ```
    /// use wiesel_operators::{FunctionError, ProcessContext, ProcessFunction};
    /// use wiesel_record::Out;
    ///
    /// /// Each word with its event time, or -1.
    /// #[derive(Clone)]
    /// struct WithTime;
    ///
    /// impl ProcessFunction<String> for WithTime {
    ///     type Out = (i64, String);
    ///     type Side = ();
    ///
    ///     fn process(
    ///         &mut self,
    ///         word: &str,
    ///         context: &mut ProcessContext<'_, ()>,
    ///         out: &mut dyn Out<(i64, String)>,
    ///     ) -> Result<(), FunctionError> {
    ///         out.emit((context.timestamp().map_or(-1, |time| time.as_millis()), word));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # let env = wiesel_datastream::Environment::new();
    /// env.from_collection(["be".to_owned()]).process(WithTime).print();
    /// ```
    pub fn process<F: ProcessFunction<T>>(
        self,
        function: F,
    ) -> DataStream<F::Out, S, ProcessTo<C, F>> {
        self.processed(function, None)
    }

    /// As [`process`](Self::process); what the function puts aside is in
    /// [`get_side_output`](Self::get_side_output) of what this returns.
    ///
    /// ```
    /// # use wiesel_datastream::OutputTag;
    /// use wiesel_operators::{FunctionError, ProcessContext, ProcessFunction};
    /// use wiesel_record::Out;
    ///
    /// /// Numbers go on, what is none is put aside.
    /// #[derive(Clone)]
    /// struct Numbers;
    ///
    /// impl ProcessFunction<String> for Numbers {
    ///     type Out = i64;
    ///     type Side = String;
    ///
    ///     fn process(
    ///         &mut self,
    ///         word: &str,
    ///         context: &mut ProcessContext<'_, String>,
    ///         out: &mut dyn Out<i64>,
    ///     ) -> Result<(), FunctionError> {
    ///         word.parse().map_or_else(|_| context.side(word), |number| out.emit(number));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # let env = wiesel_datastream::Environment::new();
    /// let words = OutputTag::new("words");
    /// let numbers = env
    ///     .from_collection(["1".to_owned(), "two".to_owned()])
    ///     .process_with_side(Numbers, &words);
    /// numbers.get_side_output(&words).print(); // two
    /// numbers.print(); // 1
    /// ```
    pub fn process_with_side<F: ProcessFunction<T>>(
        self,
        function: F,
        tag: &OutputTag<F::Side>,
    ) -> DataStream<F::Out, S, ProcessTo<C, F>> {
        let slot = self.builder.declare_side::<F::Side>(self.vertex, tag.id());
        self.processed(function, Some(slot))
    }
}
