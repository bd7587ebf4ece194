//! The examples of `examples/README.md`: each compiles, runs and gives what it should, and the page shows what is here.

use std::collections::BTreeMap;

use wiesel::{
    FrameStream, MetricValue, Out,
    prelude::*,
    testing::{Harness, environment},
};

/// An order.
#[derive(Clone, Debug, PartialEq, Record)]
struct Order {
    user: u64,
    item: String,
    cents: u64,
    at: Timestamp,
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

fn order(user: u64, item: &str, cents: u64, seconds: i64) -> Order {
    Order { user, item: item.to_owned(), cents, at: at(seconds) }
}

fn sorted<T: Ord>(mut values: Vec<T>) -> Vec<T> {
    values.sort();
    values
}

#[test]
fn word_count() {
    let env = environment(2);
    let lines = env.from_collection(["to be or not".to_owned(), "to be".to_owned()]);
    let counts = lines
        .flat_map::<(String, u64)>(|line, out| line.split(' ').for_each(|word| out.emit((word, 1))))
        .key_by::<String>(|(word, _)| word)
        .sum(|(_, count)| count)
        .collect();
    env.execute("word count").unwrap();
    let last: BTreeMap<String, u64> =
        counts.take().into_iter().map(|counted| (counted.key, counted.value)).collect();
    assert_eq!(last["to"], 2);
    assert_eq!(last.len(), 4);
}

/// The average price of some orders.
#[derive(Clone)]
struct Average;

impl AggregateFunction<Order> for Average {
    type Acc = (u64, u64);
    type Out = u64;

    fn create_accumulator(&self) -> (u64, u64) {
        (0, 0)
    }

    fn add(&self, (sum, count): &mut (u64, u64), order: OrderView<'_>) {
        *sum += order.cents;
        *count += 1;
    }

    fn get_result(&self, (sum, count): (u64, u64)) -> u64 {
        sum / count
    }
}

#[test]
fn windows_with_late_data() {
    let env = environment(1);
    let orders = env.from_collection([
        order(7, "tea", 300, 1),
        order(7, "cup", 900, 59),
        order(7, "pot", 100, 200),
        order(7, "ink", 500, 2),
    ]);
    let late = OutputTag::<Order>::new("late");
    let averages = orders
        .watermarks(bounded_out_of_orderness(seconds(5)), |order| order.at)
        .key_by::<u64>(|order| order.user)
        .window(Tumbling::event_time(minutes(1)))
        .allowed_lateness(seconds(30))
        .side_output_late_data(&late)
        .aggregate(Average)
        .uid("averages");
    let too_late = averages.get_side_output(&late).collect();
    let averages = averages.collect();
    env.execute("averages").unwrap();
    let counted = averages.take().len() + too_late.take().len();
    assert!((2..=4).contains(&counted), "{counted}"); // When the watermark comes is not said.
}

#[test]
fn sessions_and_sliding_windows() {
    let env = environment(2);
    let orders = env
        .from_collection([
            order(7, "tea", 300, 0),
            order(7, "cup", 900, 20),
            order(7, "pot", 1, 300),
        ])
        .watermarks(monotonous_timestamps(), |order| order.at)
        .share();
    let visits = orders
        .stream()
        .key_by::<u64>(|order| order.user)
        .window(Session::with_gap(minutes(1)))
        .count()
        .collect();
    let dearest = orders
        .stream()
        .key_by::<u64>(|order| order.user)
        .window(Sliding::event_time(seconds(60), seconds(30)))
        .max_by(|order| order.cents)
        .collect();
    env.execute("windows").unwrap();
    assert_eq!(sorted(visits.take().iter().map(|visit| visit.count).collect()), [1, 2]);
    let dearest = dearest.take().into_iter().map(|order| order.item);
    assert_eq!(sorted(dearest.collect()), ["cup", "cup", "pot", "pot"]);
}

/// Tells of users who have ordered nothing for a minute.
#[derive(Clone)]
struct Silent {
    last: ValueState<Timestamp>,
}

impl KeyedProcessFunction<u64, Order> for Silent {
    type Out = u64;
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.last);
    }

    fn process(
        &mut self,
        order: OrderView<'_>,
        context: &mut KeyedContext<'_, u64, ()>,
        _out: &mut dyn Out<u64>,
    ) -> Result<(), FunctionError> {
        if let Some(last) = context.get(&self.last) {
            context.delete_event_timer(last + minutes(1));
        }
        context.set(&self.last, order.at);
        context.register_event_timer(order.at + minutes(1));
        Ok(())
    }

    fn on_timer(
        &mut self,
        _time: Timestamp,
        _domain: TimeDomain,
        context: &mut KeyedContext<'_, u64, ()>,
        out: &mut dyn Out<u64>,
    ) -> Result<(), FunctionError> {
        context.with_key(|user| out.emit(user));
        context.clear(&self.last);
        Ok(())
    }
}

#[test]
fn state_and_timers() {
    let mut harness = Harness::new(|orders: FrameStream<Order>| {
        orders
            .key_by::<u64>(|order| order.user)
            .process(Silent { last: ValueState::new("last") })
            .uid("silent users")
    });
    harness.push(order(7, "tea", 300, 0), at(0)).unwrap();
    harness.push(order(7, "cup", 900, 30), at(30)).unwrap();
    harness.watermark(at(70)).unwrap();
    assert!(harness.take().is_empty());
    let snapshot = harness.snapshot();
    harness.restore(&snapshot, 3).unwrap();
    harness.watermark(at(90)).unwrap();
    assert_eq!(harness.take(), [7]);
}

/// Passes orders on, and counts those that cost much.
#[derive(Clone, Default)]
struct Watched {
    dear: Counter,
    cents: Histogram,
}

impl ProcessFunction<Order> for Watched {
    type Out = Order;
    type Side = ();

    fn open(&mut self, runtime: &RuntimeContext) -> Result<(), FunctionError> {
        self.dear = runtime.metric_group().counter("dear");
        self.cents = runtime.metric_group().histogram("cents");
        Ok(())
    }

    fn process(
        &mut self,
        order: OrderView<'_>,
        _context: &mut ProcessContext<'_, ()>,
        out: &mut dyn Out<Order>,
    ) -> Result<(), FunctionError> {
        if order.cents > 500 {
            self.dear.inc();
        }
        self.cents.update(order.cents);
        out.emit(order);
        Ok(())
    }
}

#[test]
fn metrics_of_a_function() {
    let env = environment(2);
    let orders = env.from_collection([order(7, "tea", 300, 10), order(8, "cup", 900, 200)]);
    let _ = orders.process(Watched::default()).uid("watched").collect();
    let result = env.execute("watched").unwrap();
    assert_eq!(result.progress.metric("watched", "dear").map(|dear| dear.count()), Some(1));
    let cents = result.progress.metric("watched", "cents").and_then(|cents| cents.total());
    match cents {
        Some(MetricValue::Histogram(cents)) => assert_eq!((cents.min(), cents.max()), (300, 900)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn joins_of_two_streams() {
    let env = environment(2);
    let orders = env
        .from_collection([order(7, "tea", 300, 10), order(8, "cup", 900, 200)])
        .watermarks(monotonous_timestamps(), |order| order.at)
        .share();
    let clicks = env
        .from_collection([(7_u64, at(5)), (8, at(190))])
        .watermarks(monotonous_timestamps(), |(_, at)| at)
        .share();
    let in_windows = orders
        .stream()
        .join(clicks.stream())
        .where_key::<u64>(|order| order.user)
        .equal_to(|(user, _)| user)
        .window(Tumbling::event_time(minutes(1)))
        .apply::<(u64, String)>(|order, (user, _), out| out.emit((user, order.item)))
        .collect();
    let within_five_seconds = orders
        .stream()
        .key_by::<u64>(|order| order.user)
        .interval_join(clicks.stream().key_by::<u64>(|(user, _)| user))
        .between(before(seconds(5)), after(seconds(0)))
        .apply::<u64>(|_order, (user, _), out| out.emit(user))
        .collect();
    env.execute("joins").unwrap();
    assert_eq!(sorted(in_windows.take()), [(7, "tea".to_owned()), (8, "cup".to_owned())]);
    assert_eq!(within_five_seconds.take(), [7]);
}

#[test]
fn two_streams_as_one() {
    let env = environment(2);
    let numbers = env.from_collection([1_u64, 2, 3]);
    let words = env.from_collection(["one".to_owned(), "two".to_owned()]);
    let (even, odd) = numbers.split(|n| n.filter(|n| n % 2 == 0), |n| n.filter(|n| n % 2 == 1));
    let texts = even
        .union(odd.rebalance().map(|n| n * 10))
        .connect(words)
        .map::<String, _, _>(|number| number.to_string(), |word| word.to_owned())
        .collect();
    env.execute("union and connect").unwrap();
    assert_eq!(sorted(texts.take()), ["10", "2", "30", "one", "two"]);
}

/// The lines of a text without what indents them.
fn lines(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", line.trim())).collect()
}

#[test]
fn the_page_shows_what_is_here() {
    let (page, here) = (include_str!("../README.md"), lines(include_str!("for_flink_users.rs")));
    let blocks: Vec<&str> = page
        .split("```rust\n")
        .skip(1)
        .map(|rest| rest.split_once("```").expect("a block ends").0)
        .collect();
    assert_eq!(blocks.len(), 9);
    for block in blocks {
        assert!(here.contains(&lines(block)), "not in for_flink_users.rs:\n{block}");
    }
}
