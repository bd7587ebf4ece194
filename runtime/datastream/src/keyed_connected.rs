//! Two keyed streams of different types into one operator: what remains to be said is what happens to the records of each.
//!
//! # What is always true
//!
//! 1. Between the records of two streams there is no order.
//! 2. Their keys are of one type: a key's records of both streams meet in one subtask and one state.

use std::marker::PhantomData;

use wiesel_operators::{
    Chain, KeyedCoHeadStart, KeyedCoOperator, KeyedCoProcessFunction, KeyedCoProcessStart,
    KeyedCoStart, Nothing, Start,
};
use wiesel_record::{FnView, Key, Record};

use crate::{DataStream, KeyedStream, OutputTag, builder::GraphBuilder};

/// What comes out of an operator that `P` makes over two keyed streams.
pub type CoOperatedStream<T1, T2, K, F1, F2, P> = DataStream<
    CoOutOf<T1, T2, K, P>,
    KeyedCoHeadStart<T1, T2, K, F1, F2, P>,
    Nothing<CoOutOf<T1, T2, K, P>>,
>;

type CoOutOf<T1, T2, K, P> =
    <<P as KeyedCoStart<T1, T2, K>>::Operator as KeyedCoOperator<T1, T2, K>>::Out;

/// Two keyed streams into one operator: the records of a key meet in one state.
#[must_use = "connected streams do nothing until a function is applied to them: `.process(..)`"]
pub struct ConnectedKeyedStreams<T1: Record, T2: Record, K: Key, F1, F2> {
    pub(crate) builder: GraphBuilder,
    pub(crate) vertex: usize,
    first_key_of: F1,
    second_key_of: F2,
    has_time: bool,
    types: PhantomData<fn(T1, T2) -> K>,
}

impl<T1, K, F1, S1, C1> KeyedStream<T1, K, F1, S1, C1>
where
    T1: Record,
    K: Key,
    F1: for<'a> FnView<'a, T1::View<'a>, K::View<'a>> + Clone + Send + 'static,
    S1: Start,
    C1: Chain<S1::Out, Out = T1>,
{
    /// This keyed stream and another, with keys of the same type, into one operator. It has the parallelism of this one,
    /// or else of the other, if it was set.
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// # use wiesel_operators::{FunctionError, KeyedCoProcessFunction, KeyedContext, StateRegistry, ValueState};
    /// # use wiesel_record::Out;
    /// /// The orders of a user, each with what is in the account after it.
    /// #[derive(Clone)]
    /// struct Account(ValueState<i64>);
    ///
    /// impl KeyedCoProcessFunction<u64, (u64, i64), (u64, i64)> for Account {
    ///     type Out = (u64, i64);
    ///     type Side = ();
    ///
    ///     fn open(&mut self, states: &mut StateRegistry) {
    ///         states.register(&mut self.0);
    ///     }
    ///
    ///     fn process1(
    ///         &mut self,
    ///         (user, price): (u64, i64),
    ///         context: &mut KeyedContext<'_, u64, ()>,
    ///         out: &mut dyn Out<(u64, i64)>,
    ///     ) -> Result<(), FunctionError> {
    ///         let left = context.get(&self.0).unwrap_or(0) - price;
    ///         context.set(&self.0, left);
    ///         out.emit((user, left));
    ///         Ok(())
    ///     }
    ///
    ///     fn process2(
    ///         &mut self,
    ///         (_, paid): (u64, i64),
    ///         context: &mut KeyedContext<'_, u64, ()>,
    ///         _out: &mut dyn Out<(u64, i64)>,
    ///     ) -> Result<(), FunctionError> {
    ///         let left = context.get(&self.0).unwrap_or(0) + paid;
    ///         context.set(&self.0, left);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # let env = Environment::new();
    /// let orders = env.from_collection([(7_u64, 30_i64)]).key_by::<u64>(|(user, _)| user);
    /// let payments = env.from_collection([(7_u64, 50_i64)]).key_by::<u64>(|(user, _)| user);
    /// orders.connect(payments).process(Account(ValueState::new("account"))).print();
    /// ```
    pub fn connect<T2, F2, S2, C2>(
        self,
        other: KeyedStream<T2, K, F2, S2, C2>,
    ) -> ConnectedKeyedStreams<T1, T2, K, F1, F2>
    where
        T2: Record,
        F2: for<'a> FnView<'a, T2::View<'a>, K::View<'a>> + Clone + Send + 'static,
        S2: Start,
        C2: Chain<S2::Out, Out = T2>,
    {
        let (first, second) = (self.close(), other.close());
        if first.builder.can_take(&second.builder, "Connect") {
            first.builder.absorb(first.vertex, second.vertex, 1);
        }
        ConnectedKeyedStreams {
            builder: first.builder,
            vertex: first.vertex,
            first_key_of: first.key_of,
            second_key_of: second.key_of,
            has_time: first.has_time && second.has_time,
            types: PhantomData,
        }
    }
}

impl<T1, T2, K, F1, F2> ConnectedKeyedStreams<T1, T2, K, F1, F2>
where
    T1: Record,
    T2: Record,
    K: Key,
    F1: for<'a> FnView<'a, T1::View<'a>, K::View<'a>> + Clone + Send + 'static,
    F2: for<'a> FnView<'a, T2::View<'a>, K::View<'a>> + Clone + Send + 'static,
{
    /// Starts the chain behind the exchanges with an operator.
    pub(crate) fn operate<P: KeyedCoStart<T1, T2, K>>(
        self,
        name: &str,
        operator: P,
        reads_time: bool,
    ) -> CoOperatedStream<T1, T2, K, F1, F2, P> {
        self.builder.name_first(self.vertex, name);
        self.builder.vertex(self.vertex, |vertex| {
            vertex.keeps_state();
            vertex.reads_time |= reads_time;
        });
        DataStream {
            builder: self.builder,
            vertex: self.vertex,
            start: KeyedCoHeadStart::new(self.first_key_of, self.second_key_of, operator),
            chain: Nothing::new(),
            has_time: self.has_time,
            types: PhantomData,
        }
    }

    /// Processes the records of each key with state and timers, by a method for each stream.
    ///
    /// ```
    /// use wiesel_operators::{FunctionError, KeyedCoProcessFunction, KeyedContext, StateRegistry};
    /// use wiesel_record::Out;
    ///
    /// /// What a user pays and gets: orders count against payments. With state: see [`KeyedStream::connect`].
    /// #[derive(Clone)]
    /// struct Amounts;
    ///
    /// impl KeyedCoProcessFunction<u64, (u64, i64), (u64, i64)> for Amounts {
    ///     type Out = (u64, i64);
    ///     type Side = ();
    ///
    ///     fn open(&mut self, _states: &mut StateRegistry) {} // Without state.
    ///
    ///     fn process1(
    ///         &mut self,
    ///         (user, price): (u64, i64),
    ///         _context: &mut KeyedContext<'_, u64, ()>,
    ///         out: &mut dyn Out<(u64, i64)>,
    ///     ) -> Result<(), FunctionError> {
    ///         out.emit((user, -price));
    ///         Ok(())
    ///     }
    ///
    ///     fn process2(
    ///         &mut self,
    ///         payment: (u64, i64),
    ///         _context: &mut KeyedContext<'_, u64, ()>,
    ///         out: &mut dyn Out<(u64, i64)>,
    ///     ) -> Result<(), FunctionError> {
    ///         out.emit(payment);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_i64)]).key_by::<u64>(|(user, _)| user);
    /// # let payments = env.from_collection([(7_u64, 50_i64)]).key_by::<u64>(|(user, _)| user);
    /// orders.connect(payments).process(Amounts).print(); // (7, -30), (7, 50)
    /// ```
    pub fn process<P: KeyedCoProcessFunction<K, T1, T2>>(
        self,
        function: P,
    ) -> CoOperatedStream<T1, T2, K, F1, F2, KeyedCoProcessStart<P>> {
        self.operate("KeyedCoProcess", KeyedCoProcessStart::new(function, None), true)
    }

    /// As [`process`](Self::process); what the function puts aside is in
    /// [`get_side_output`](DataStream::get_side_output) of what this returns.
    ///
    /// ```
    /// # use wiesel_datastream::OutputTag;
    /// use wiesel_operators::{FunctionError, KeyedCoProcessFunction, KeyedContext, StateRegistry};
    /// use wiesel_record::Out;
    ///
    /// /// Orders go on, payments are put aside.
    /// #[derive(Clone)]
    /// struct Apart;
    ///
    /// impl KeyedCoProcessFunction<u64, (u64, i64), (u64, i64)> for Apart {
    ///     type Out = (u64, i64);
    ///     type Side = (u64, i64);
    ///
    ///     fn open(&mut self, _states: &mut StateRegistry) {} // Without state.
    ///
    ///     fn process1(
    ///         &mut self,
    ///         order: (u64, i64),
    ///         _context: &mut KeyedContext<'_, u64, (u64, i64)>,
    ///         out: &mut dyn Out<(u64, i64)>,
    ///     ) -> Result<(), FunctionError> {
    ///         out.emit(order);
    ///         Ok(())
    ///     }
    ///
    ///     fn process2(
    ///         &mut self,
    ///         payment: (u64, i64),
    ///         context: &mut KeyedContext<'_, u64, (u64, i64)>,
    ///         _out: &mut dyn Out<(u64, i64)>,
    ///     ) -> Result<(), FunctionError> {
    ///         context.side(payment);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_i64)]).key_by::<u64>(|(user, _)| user);
    /// # let payments = env.from_collection([(7_u64, 50_i64)]).key_by::<u64>(|(user, _)| user);
    /// let paid = OutputTag::new("paid");
    /// let ordered = orders.connect(payments).process_with_side(Apart, &paid);
    /// ordered.get_side_output(&paid).print();
    /// ordered.print();
    /// ```
    pub fn process_with_side<P: KeyedCoProcessFunction<K, T1, T2>>(
        self,
        function: P,
        tag: &OutputTag<P::Side>,
    ) -> CoOperatedStream<T1, T2, K, F1, F2, KeyedCoProcessStart<P>> {
        let slot = self.builder.declare_side::<P::Side>(self.vertex, tag.id());
        self.operate("KeyedCoProcess", KeyedCoProcessStart::new(function, Some(slot)), true)
    }

    /// How many subtasks keep the keys.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_i64)]).key_by::<u64>(|(user, _)| user);
    /// # let payments = env.from_collection([(7_u64, 50_i64)]).key_by::<u64>(|(user, _)| user);
    /// let both = orders.connect(payments).set_parallelism(4); // Then `.process(..)`.
    /// # drop(both);
    /// ```
    pub fn set_parallelism(self, parallelism: u32) -> Self {
        self.builder.set_parallelism(self.vertex, parallelism);
        self
    }
}
