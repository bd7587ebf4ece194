//! State of older types: what a program of today reads of a snapshot that another version of it has written.
//!
//! ```text
//!   Kept<A, N> at parallelism 2 ─▶ snapshot ─▶ Kept<B, M> at parallelism 3: the same keys tell the same, as `B` and `M` say it
//! ```

use wiesel_core::Meta;
use wiesel_operators::{
    AggregateFunction, AggregatingState, FunctionError, Head, KeyedContext, KeyedProcessFunction,
    ListState, MapState, Progress, ReducingState, Snapshot, StateRegistry, StateTtl, ValueState,
};
use wiesel_record::{Key, Out, Record};
use wiesel_shard::at_once;
use wiesel_state::Scope;

use crate::{
    harness::{self, Event, Frames, Mode, Probe, Word, subtask_of},
    states::head,
    states_ttl::ttl,
};

/// What the states of a test hold.
trait Sample: Record + Clone {
    fn of(number: i64) -> Self;
    fn number(&self) -> i64;
    fn show(&self) -> String {
        self.number().to_string()
    }
}

mod v1 {
    /// A cell of four bytes.
    #[derive(Clone, wiesel_record::Record)]
    pub struct Total {
        pub sum: u32,
    }

    /// Eight bytes, as the next version.
    #[derive(Clone, wiesel_record::Record)]
    pub struct Price {
        pub cents: i64,
    }
}

mod v2 {
    /// A block.
    #[derive(Clone, wiesel_record::Record)]
    #[record(version = 2, from = super::v1::Total)]
    pub struct Total {
        pub sum: u64,
        pub note: String,
    }

    #[derive(Clone, wiesel_record::Record)]
    #[record(version = 2, from = super::v1::Price)]
    pub struct Price {
        pub cents: i64,
    }
}

/// A cell of eight bytes.
#[derive(Clone, Record)]
#[record(version = 3, from = v2::Total)]
struct Total {
    sum: i64,
}

impl From<v1::Total> for v2::Total {
    fn from(old: v1::Total) -> Self {
        Self { sum: old.sum.into(), note: "was small".to_owned() }
    }
}

impl From<v2::Total> for Total {
    fn from(old: v2::Total) -> Self {
        Self { sum: old.sum as i64 + old.note.len() as i64 * 1_000 }
    }
}

impl From<v1::Price> for v2::Price {
    fn from(old: v1::Price) -> Self {
        Self { cents: old.cents * 100 }
    }
}

macro_rules! samples {
    ($($type:ty: $of:expr, $number:expr;)+) => { $(
        impl Sample for $type {
            fn of(number: i64) -> Self {
                $of(number)
            }
            fn number(&self) -> i64 {
                $number(self)
            }
        }
    )+ };
}

samples! {
    v1::Total: |n| v1::Total { sum: n as u32 }, |total: &v1::Total| total.sum.into();
    Total: |sum| Total { sum }, |total: &Total| total.sum;
    v1::Price: |cents| v1::Price { cents }, |price: &v1::Price| price.cents;
    v2::Price: |cents| v2::Price { cents }, |price: &v2::Price| price.cents;
    u32: |n| n as u32, |n: &u32| (*n).into();
    u64: |n| n as u64, |n: &u64| *n as i64;
}

impl Sample for v2::Total {
    fn of(number: i64) -> Self {
        Self { sum: number as u64, note: "new".to_owned() }
    }
    fn number(&self) -> i64 {
        self.sum as i64
    }
    fn show(&self) -> String {
        format!("{}:{}", self.sum, self.note.len())
    }
}

/// Adds up in an accumulator of type `N`.
#[derive(Clone)]
struct Sum<N>(std::marker::PhantomData<fn() -> N>);

impl<N: Sample> AggregateFunction<i64> for Sum<N> {
    type Acc = N;
    type Out = String;
    fn create_accumulator(&self) -> N {
        N::of(0)
    }
    fn add(&self, acc: &mut N, value: i64) {
        *acc = N::of(acc.number() + value);
    }
    fn get_result(&self, acc: N::View<'_>) -> String {
        N::from_view(acc).show()
    }
}

/// A state of every kind. A number from 1 on is taken in, 0 clears all, and -1 tells what there is.
#[derive(Clone)]
struct Kept<T: Record, N: Sample> {
    value: ValueState<T>,
    list: ListState<T>,
    map: MapState<String, T>,
    reduced: ReducingState<N>,
    sum: AggregatingState<i64, Sum<N>>,
    /// What has always been what it is.
    same: ValueState<String>,
}

impl<T: Sample, N: Sample> Kept<T, N> {
    fn new(ttl: Option<StateTtl>) -> Self {
        let kept = Self {
            value: ValueState::new("value"),
            list: ListState::new("list"),
            map: MapState::new("map"),
            reduced: ReducingState::new("reduced", |a, b| {
                N::of(N::from_view(a).number() + N::from_view(b).number())
            }),
            sum: AggregatingState::new("sum", Sum(std::marker::PhantomData)),
            same: ValueState::new("same"),
        };
        let Some(ttl) = ttl else { return kept };
        Self {
            value: kept.value.with_ttl(ttl),
            list: kept.list.with_ttl(ttl),
            map: kept.map.with_ttl(ttl),
            reduced: kept.reduced.with_ttl(ttl),
            sum: kept.sum.with_ttl(ttl),
            same: kept.same.with_ttl(ttl),
        }
    }
}

impl<T: Sample, N: Sample> KeyedProcessFunction<String, Word> for Kept<T, N> {
    type Out = String;
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.value);
        states.register(&mut self.list);
        states.register(&mut self.map);
        states.register(&mut self.reduced);
        states.register(&mut self.sum);
        states.register(&mut self.same);
    }

    fn process(
        &mut self,
        (key, number): (&str, i64),
        context: &mut KeyedContext<'_, String, ()>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        match number {
            0 => {
                context.clear(&self.value);
                context.clear(&self.list);
                context.clear(&self.map);
                context.clear(&self.reduced);
                context.clear(&self.sum);
                context.clear(&self.same);
            }
            1.. => {
                let sample = T::of(number);
                context.set(&self.value, sample.view());
                context.add(&self.list, sample.view());
                context.put(&self.map, &format!("{key}{}", number % 3), sample.view());
                context.add(&self.reduced, N::of(number).view());
                context.add(&self.sum, number);
                context.set(&self.same, key);
            }
            _ => {
                let (mut list, mut map) = (Vec::new(), Vec::new());
                context.list(&self.list).for_each(|e| list.push(T::from_view(e).show()));
                context.map(&self.map).for_each(|at, value| {
                    map.push(format!("{at}:{}", T::from_view(value).show()));
                });
                map.sort();
                let value = context.get(&self.value).map(|value| value.show());
                let reduced = context.get(&self.reduced).map(|n| n.show());
                let (sum, same) = (context.get(&self.sum), context.get(&self.same));
                let (list, map) = (list.join(","), map.join(","));
                let or = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
                let (value, reduced, sum, same) = (or(value), or(reduced), or(sum), or(same));
                out.emit(&format!("{value} [{list}] {{{map}}} {reduced} {sum} {same}"));
            }
        }
        Ok(())
    }
}

const KEYS: [&str; 4] = ["a", "b", "c", "dddddddddddddddd"];

/// The subtasks of a function.
struct Deployed(Vec<(Box<dyn Head>, Probe, wiesel_operators::TaskContext)>);

impl Deployed {
    fn new<T: Sample, N: Sample>(function: &Kept<T, N>, parallelism: u32) -> Self {
        let deploy = |subtask| {
            let context = harness::context(subtask, parallelism, &Default::default());
            let probe = Probe::new(context.stop(), 0);
            (head(function, &context, &probe), probe, context)
        };
        Self((0..parallelism).map(deploy).collect())
    }

    fn restored<T: Sample, N: Sample>(
        function: &Kept<T, N>,
        parallelism: u32,
        snapshot: &Snapshot,
    ) -> Result<Self, String> {
        let mut deployed = Self::new(function, parallelism);
        for (head, ..) in &mut deployed.0 {
            at_once(head.restore(snapshot)).map_err(|failure| failure.source.to_string())?;
        }
        Ok(deployed)
    }

    fn push(&mut self, key: &str, number: i64) {
        let subtask = subtask_of(key, self.0.len());
        let (head, _, context) = &mut self.0[subtask];
        let meta = Meta::NONE.with_hash(String::key_hash(key));
        let mut frames = Frames::<Word>::new();
        let frame = frames.frame([(&(key.to_owned(), number), meta)].into_iter());
        let mut pace = harness::pace(context, Mode::Plain);
        assert_eq!(head.frame(0, &frame, &mut 0, &mut pace), Progress::Done);
        assert!(context.take_failure().is_none());
        frames.give(frame);
    }

    /// What is kept for a key.
    fn tell(&mut self, key: &str) -> String {
        self.push(key, -1);
        let subtask = subtask_of(key, self.0.len());
        match self.0[subtask].1.take().pop() {
            Some(Event::Record(text, _)) => text,
            other => panic!("{other:?}"),
        }
    }

    fn snapshot(&mut self) -> Snapshot {
        let mut merged = Snapshot::default();
        self.0.iter_mut().for_each(|(head, ..)| head.snapshot(&mut merged));
        merged
    }
}

/// What a program of `A` and `N` has kept of a few numbers.
fn snapshot_of<A: Sample, N: Sample>(ttl: Option<StateTtl>) -> Snapshot {
    let mut deployed = Deployed::new(&Kept::<A, N>::new(ttl), 2);
    for (at, key) in KEYS.into_iter().enumerate() {
        for number in [1, 2, 4] {
            deployed.push(key, number + 10 * at as i64);
        }
    }
    deployed.snapshot()
}

/// What is told of the key `b`, whose numbers are 11, 12 and 14; and that it goes on from there.
#[track_caller]
fn check<T: Sample, N: Sample>(snapshot: &Snapshot, function: &Kept<T, N>, expected: &str) {
    let mut deployed = Deployed::restored(function, 3, snapshot).unwrap();
    assert_eq!(deployed.tell("b"), expected);
    // What it writes now is of today, and so is what is restored from it.
    let again = deployed.snapshot();
    let mut restored = Deployed::restored(function, 1, &again).unwrap();
    assert_eq!(restored.tell("b"), expected);
    for key in KEYS {
        assert_eq!(restored.tell(key), deployed.tell(key), "{key}");
    }
    restored.push("b", 1);
    let told = restored.tell("b");
    assert_ne!(told, expected);
    assert!(told.ends_with(" b"), "{told}");
}

const TTLS: [[Option<u64>; 2]; 4] =
    [[None, None], [None, Some(1_000_000)], [Some(1_000_000), None], [Some(1_000_000); 2]];

#[test]
fn records_that_say_what_they_are_made_of_are_made_of_it() {
    for [before, after] in TTLS.map(|ttls| ttls.map(|ms| ms.map(ttl))) {
        let first = snapshot_of::<v1::Total, u64>(before);
        check(&first, &Kept::<v1::Total, u64>::new(after), "14 [11,12,14] {b0:12,b2:14} 37 37 b");
        // A cell becomes a block, and a block a cell.
        check(
            &first,
            &Kept::<v2::Total, u64>::new(after),
            "14:9 [11:9,12:9,14:9] {b0:12:9,b2:14:9} 37 37 b",
        );
        let second = snapshot_of::<v2::Total, u64>(before);
        check(
            &second,
            &Kept::<Total, u64>::new(after),
            "3014 [3011,3012,3014] {b0:3012,b2:3014} 37 37 b",
        );
        // By way of what was between.
        check(
            &first,
            &Kept::<Total, u64>::new(after),
            "9014 [9011,9012,9014] {b0:9012,b2:9014} 37 37 b",
        );
        // Nothing but the version tells them apart.
        let prices = snapshot_of::<v1::Price, u64>(before);
        check(
            &prices,
            &Kept::<v2::Price, u64>::new(after),
            "1400 [1100,1200,1400] {b0:1200,b2:1400} 37 37 b",
        );
    }
}

#[test]
fn a_state_may_say_it_of_any_type() {
    for [before, after] in TTLS.map(|ttls| ttls.map(|ms| ms.map(ttl))) {
        let old = snapshot_of::<u32, u32>(before);
        let new = Kept::<u64, u64>::new(after);
        let kept = Kept {
            value: new.value.migrates_from::<u32>(),
            list: new.list.migrates_from::<u32>(),
            map: new.map.migrates_from::<u32>(),
            reduced: new.reduced.migrates_from::<u32>(),
            sum: new.sum.migrates_from::<u32>(),
            same: new.same,
        };
        check(&old, &kept, "14 [11,12,14] {b0:12,b2:14} 37 37 b");
        // Of today's it goes on.
        check(&snapshot_of::<u64, u64>(before), &kept, "14 [11,12,14] {b0:12,b2:14} 37 37 b");
    }
}

#[test]
fn what_nothing_is_made_of_is_an_error_that_says_how() {
    let refused = |old: &Snapshot, function: &Kept<v1::Total, u64>| {
        Deployed::restored(function, 1, old).err().expect("they are others")
    };
    let kept = Kept::<v1::Total, u64>::new(None);
    assert_eq!(
        refused(&snapshot_of::<v2::Total, u64>(None), &kept),
        "operator `op`, state `value`: field `sum` of Total was u64 and is u32; say how it is made of the old type, \
         which keeps its name and fields: `#[record(version = .., from = Old)]` on the type, or `migrates_from::<Old>()` \
         on the state; or keep the old type under this name, and give a new state another"
    );
    // A list is not made of a value, whatever its elements are made of.
    let kept = Kept::<v2::Total, u64>::new(None);
    let other = Kept { value: ValueState::new("list"), list: ListState::new("value"), ..kept };
    let old = snapshot_of::<v1::Total, u64>(None);
    let error = Deployed::restored(&other, 1, &old).err().expect("they are others");
    assert!(error.contains("it was a value state and is a list state"), "{error}");
}

#[test]
fn damaged_values_of_an_older_type_are_errors() {
    let sound = snapshot_of::<v2::Total, u64>(None);
    let function = Kept::<Total, u64>::new(None);
    let mut refused = 0;
    for (name, group, bytes) in sound.parts() {
        let Some(group) = group else { continue };
        for at in 0..bytes.len() {
            let mut damaged = Snapshot::default();
            for (other, of, bytes) in sound.parts() {
                let mut bytes = bytes.to_vec();
                if (other, of) == (name, Some(group)) {
                    bytes[at] ^= 0x81;
                }
                damaged.put(other, of, bytes);
            }
            refused += usize::from(Deployed::restored(&function, 1, &damaged).is_err());
        }
    }
    assert!(refused > 500, "{refused} refused");
}

/// Adds what the tables have changed since the last call.
fn walk(deployed: &mut Deployed, scope: Scope, into: &mut Snapshot) {
    for (head, ..) in &mut deployed.0 {
        harness::walk(head.as_mut(), scope, into);
    }
}

#[test]
fn increments_are_read_before_anything_is_made_of_them() {
    for [before, after] in TTLS.map(|ttls| ttls.map(|ms| ms.map(ttl))) {
        let mut deployed = Deployed::new(&Kept::<v1::Total, u64>::new(before), 1);
        let mut snapshot = Snapshot::without_tables();
        KEYS.into_iter().for_each(|key| deployed.push(key, 5));
        walk(&mut deployed, Scope::Base, &mut snapshot);
        deployed.push("a", 0); // It goes.
        deployed.push("b", 0);
        deployed.push("b", 7); // It is new.
        deployed.push("c", 8); // It grows.
        walk(&mut deployed, Scope::Increment, &mut snapshot);
        deployed.0[0].0.snapshot(&mut snapshot);
        let same = Kept::<v1::Total, u64>::new(after);
        let mut restored = Deployed::restored(&same, 2, &snapshot).unwrap();
        assert_eq!(restored.tell("a"), "- [] {} - - -");
        assert_eq!(restored.tell("b"), "7 [7] {b1:7} 7 7 b");
        assert_eq!(restored.tell("c"), "8 [5,8] {c2:8} 13 13 c");
        let made = Kept::<v2::Total, u64>::new(after);
        let mut restored = Deployed::restored(&made, 2, &snapshot).unwrap();
        assert_eq!(restored.tell("a"), "- [] {} - - -");
        assert_eq!(restored.tell("b"), "7:9 [7:9] {b1:7:9} 7 7 b");
        assert_eq!(restored.tell("c"), "8:9 [5:9,8:9] {c2:8:9} 13 13 c");
        assert_eq!(
            restored.tell("dddddddddddddddd"),
            "5:9 [5:9] {dddddddddddddddd2:5:9} 5 5 dddddddddddddddd"
        );
    }
}
