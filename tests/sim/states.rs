//! A rolling sum by hand: each kind of state keeps it, and all must agree.

use wiesel_operators::{
    AggregateFunction, Aggregated, AggregatedView, AggregatingState, FunctionError, KeyedContext,
    KeyedProcessFunction, ListState, MapState, ReducingState, StateRegistry, ValueState,
};
use wiesel_record::{Out, Record};

/// Adds up.
#[derive(Clone)]
struct Sum;

impl AggregateFunction<u64> for Sum {
    type Acc = u64;
    type Out = u64;

    fn create_accumulator(&self) -> u64 {
        0
    }

    fn add(&self, acc: &mut u64, value: u64) {
        *acc += value;
    }

    fn get_result(&self, acc: u64) -> u64 {
        acc
    }
}

/// Emits the sum of a key's records after each of them.
#[derive(Clone)]
pub(crate) struct SumOfStates<F> {
    weight_of: F,
    value: ValueState<u64>,
    reduced: ReducingState<u64>,
    aggregated: AggregatingState<u64, Sum>,
    /// At most five numbers that make up the sum.
    parts: ListState<u64>,
    /// The sum by the lowest bits of the numbers.
    by_bits: MapState<u8, u64>,
}

impl<F> SumOfStates<F> {
    pub(crate) fn new(weight_of: F) -> Self {
        Self {
            weight_of,
            value: ValueState::new("value"),
            reduced: ReducingState::new("reduced", |a, b| a + b),
            aggregated: AggregatingState::new("aggregated", Sum),
            parts: ListState::new("parts"),
            by_bits: MapState::new("by_bits"),
        }
    }
}

impl<T, F> KeyedProcessFunction<u32, T> for SumOfStates<F>
where
    T: Record,
    F: for<'a> Fn(T::View<'a>) -> u64 + Clone + Send + 'static,
{
    type Out = Aggregated<u32, u64>;
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.value);
        states.register(&mut self.reduced);
        states.register(&mut self.aggregated);
        states.register(&mut self.parts);
        states.register(&mut self.by_bits);
    }

    fn process(
        &mut self,
        value: T::View<'_>,
        context: &mut KeyedContext<'_, u32, ()>,
        out: &mut dyn Out<Self::Out>,
    ) -> Result<(), FunctionError> {
        let weight = (self.weight_of)(value);
        let sum = context.get(&self.value).unwrap_or(0) + weight;
        context.set(&self.value, sum);
        context.add(&self.reduced, weight);
        context.add(&self.aggregated, weight);
        context.add(&self.parts, weight);
        if context.list(&self.parts).len() > 5 {
            let all = context.list(&self.parts).to_vec().iter().sum();
            context.update(&self.parts, [all]);
        }
        let bits = (sum % 4) as u8;
        let of_bits = context.map(&self.by_bits).get(bits).unwrap_or(0) + weight;
        context.put(&self.by_bits, bits, of_bits);
        if sum.is_multiple_of(3) {
            // All into one entry, so that entries go.
            let mut all = 0;
            context.map(&self.by_bits).for_each(|_, of_bits| all += of_bits);
            context.retain(&self.by_bits, |other, _| other == bits);
            context.put(&self.by_bits, bits, all);
        }
        let (mut parts, mut by_bits) = (0, 0);
        context.list(&self.parts).for_each(|part| parts += part);
        context.map(&self.by_bits).for_each(|_, of_bits| by_bits += of_bits);
        let folds = (context.get(&self.reduced), context.get(&self.aggregated));
        if folds != (Some(sum), Some(sum)) || parts != sum || by_bits != sum {
            return Err(format!("{sum}, {folds:?}, {parts}, {by_bits}: not one sum").into());
        }
        context.with_key(|key| out.emit(AggregatedView { key, value: sum }));
        Ok(())
    }
}
