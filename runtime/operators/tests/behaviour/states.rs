//! Keyed state of every kind: what a function that does as it is told finds in its states. `states_ttl` is about those that
//! expire, `states_restore` about snapshots, and `states_model` about all of it at random.
//!
//! The number of a record is an order, times a thousand, and what it is about.

use wiesel_operators::{
    AggregateFunction, AggregatingState, FunctionError, Head, KeyedContext, KeyedHeadStart,
    KeyedProcessFunction, KeyedProcessStart, ListState, MapState, Nothing, ReducingState,
    StateRegistry, StateTtl, TaskContext, ValueState,
};
use wiesel_record::{Key, Out};

use crate::harness::{self, KEYED, Probe, Word, key};

pub const SET: i64 = 1;
pub const BUMP: i64 = 2;
pub const NOTE: i64 = 3;
pub const LIST_ADD: i64 = 4;
pub const LIST_UPDATE: i64 = 5;
pub const LIST_CLEAR: i64 = 6;
pub const PUT: i64 = 7;
pub const REMOVE: i64 = 8;
pub const MAP_CLEAR: i64 = 9;
pub const LOOK: i64 = 10;
pub const RETAIN: i64 = 11;
pub const REDUCE: i64 = 12;
pub const AVERAGE: i64 = 13;
pub const FOLDS_CLEAR: i64 = 14;
pub const TELL: i64 = 15;
pub const NAME: i64 = 16;
pub const NAMES_CLEAR: i64 = 17;
pub const CLEAR_ALL: i64 = 18;
pub const COUNT: i64 = 19;

/// Sum and number, as one text: a state that is a block.
#[derive(Clone)]
pub struct Mean;

impl AggregateFunction<i64> for Mean {
    type Acc = (i64, u64);
    type Out = String;
    fn create_accumulator(&self) -> (i64, u64) {
        (0, 0)
    }
    fn add(&self, acc: &mut (i64, u64), value: i64) {
        *acc = (acc.0 + value, acc.1 + 1);
    }
    fn get_result(&self, (sum, count): (i64, u64)) -> String {
        format!("{sum}/{count}")
    }
}

/// How each of the states expires.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ttls {
    pub value: Option<StateTtl>,
    pub note: Option<StateTtl>,
    pub list: Option<StateTtl>,
    pub map: Option<StateTtl>,
    pub reduced: Option<StateTtl>,
    pub mean: Option<StateTtl>,
    pub names: Option<StateTtl>,
}

/// A state of every kind, and a block beside each fixed cell.
#[derive(Clone)]
pub struct Everything {
    pub value: ValueState<i64>,
    pub note: ValueState<String>,
    pub list: ListState<i64>,
    pub map: MapState<String, i64>,
    pub reduced: ReducingState<i64>,
    pub mean: AggregatingState<i64, Mean>,
    pub names: MapState<(u32, String), String>,
    pub lines: ListState<String>,
}

pub fn note_of(about: i64) -> String {
    "x".repeat((about % 40) as usize)
}

pub fn map_key(about: i64) -> String {
    let n = about % 7;
    if n == 0 { String::new() } else { format!("m{}", "y".repeat(3 * n as usize)) }
}

impl Everything {
    pub fn new(ttls: Ttls) -> Self {
        macro_rules! state {
            ($state:expr, $ttl:expr) => {
                match $ttl {
                    None => $state,
                    Some(ttl) => $state.with_ttl(ttl),
                }
            };
        }
        Self {
            value: state!(ValueState::new("value"), ttls.value),
            note: state!(ValueState::new("note"), ttls.note),
            list: state!(ListState::new("list"), ttls.list),
            map: state!(MapState::new("map"), ttls.map),
            reduced: state!(ReducingState::new("reduced", |a, b| 2 * a + b), ttls.reduced),
            mean: state!(AggregatingState::new("mean", Mean), ttls.mean),
            names: state!(MapState::new("names"), ttls.names),
            lines: state!(ListState::new("lines"), ttls.names),
        }
    }

    fn tell<K: Key>(&self, context: &KeyedContext<'_, K, ()>) -> String {
        let value = context.get(&self.value).map_or("-".to_owned(), |value| value.to_string());
        let note = context.with(&self.note, str::len);
        let note = note.map_or("-".to_owned(), |len| len.to_string());
        let list = context.list(&self.list).to_vec();
        // Views, and a look at the same state from within.
        let mut map = Vec::new();
        context.map(&self.map).for_each(|key, value| {
            assert!(context.map(&self.map).contains(key));
            map.push(format!("{}:{value}", key.len()));
        });
        let reduced = context.get(&self.reduced).map_or("-".to_owned(), |value| value.to_string());
        let mean = context.get(&self.mean).unwrap_or("-".to_owned());
        let mut names = Vec::new();
        context.map(&self.names).for_each(|(n, text), name| {
            names.push(format!("{n}{}{}", text.len(), name.len()));
        });
        let mut lines = Vec::new();
        context.list(&self.lines).for_each(|line| lines.push(line.len()));
        let (map, names) = (map.join(","), names.join(","));
        format!("{value} {note} {list:?} {{{map}}} {reduced} {mean} {{{names}}} {lines:?}")
            .replace(' ', "_")
    }

    fn count<K: Key>(&self, context: &KeyedContext<'_, K, ()>) -> String {
        let (list, map) = (context.list(&self.list), context.map(&self.map));
        assert_eq!(list.is_empty(), list.to_vec().is_empty());
        assert_eq!(map.is_empty(), map.to_vec().is_empty());
        assert_eq!(list.any(|n| n % 2 == 1), list.to_vec().iter().any(|n| n % 2 == 1));
        assert_eq!(map.any(|_, n| n % 2 == 1), map.to_vec().iter().any(|(_, n)| n % 2 == 1));
        let names = context.map(&self.names).len();
        format!("{}.{}.{names}", list.len(), map.len())
    }

    pub fn obey<K: Key>(
        &self,
        number: i64,
        context: &mut KeyedContext<'_, K, ()>,
        out: &mut dyn Out<String>,
    ) {
        let (order, about) = (number / 1_000, number % 1_000);
        match order {
            SET if about == 0 => context.clear(&self.value),
            SET => context.set(&self.value, about),
            BUMP => {
                let value = context.get(&self.value).unwrap_or(0) + about;
                context.set(&self.value, value);
                out.emit(&format!("{value}={}", context.get(&self.value).unwrap_or(-1)));
            }
            NOTE if about == 0 => context.clear(&self.note),
            NOTE => context.set(&self.note, &note_of(about)),
            LIST_ADD => context.add(&self.list, about),
            LIST_UPDATE => context.update(&self.list, (0..about % 4).map(|n| about + n)),
            LIST_CLEAR => context.clear(&self.list),
            PUT => context.put(&self.map, &map_key(about), about),
            REMOVE => context.remove(&self.map, &map_key(about)),
            MAP_CLEAR => context.clear(&self.map),
            LOOK => {
                let value = context.map(&self.map).get(&map_key(about));
                let is_there = context.map(&self.map).contains(&map_key(about));
                assert_eq!(is_there, value.is_some());
                out.emit(&format!("{value:?}"));
            }
            RETAIN => context.retain(&self.map, |_, value| value % 2 == about % 2),
            REDUCE => context.add(&self.reduced, about % 5),
            AVERAGE => context.add_all(&self.mean, [about, 1]),
            FOLDS_CLEAR => {
                context.clear(&self.reduced);
                context.clear(&self.mean);
            }
            TELL => out.emit(&self.tell(context)),
            NAME => {
                let (map_key, note) = ((about as u32 % 3, map_key(about)), note_of(about));
                context.put(&self.names, (map_key.0, &map_key.1), &note);
                context.add(&self.lines, &note);
            }
            NAMES_CLEAR => {
                context.clear(&self.names);
                context.clear(&self.lines);
            }
            CLEAR_ALL => {
                context.clear(&self.value);
                context.clear(&self.note);
                context.clear(&self.list);
                context.clear(&self.map);
                context.clear(&self.reduced);
                context.clear(&self.mean);
                context.clear(&self.names);
                context.clear(&self.lines);
            }
            COUNT => out.emit(&self.count(context)),
            _ => panic!("no order is {order}"),
        }
    }
}

impl<K: Key> KeyedProcessFunction<K, Word> for Everything {
    type Out = String;
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.value);
        states.register(&mut self.note);
        states.register(&mut self.list);
        states.register(&mut self.map);
        states.register(&mut self.reduced);
        states.register(&mut self.mean);
        states.register(&mut self.names);
        states.register(&mut self.lines);
    }

    fn process(
        &mut self,
        (_, number): (&str, i64),
        context: &mut KeyedContext<'_, K, ()>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        self.obey(number, context, out);
        Ok(())
    }
}

/// A head of `function` on words by their letters.
pub fn head<F>(function: &F, context: &TaskContext, probe: &Probe) -> Box<dyn Head>
where
    F: KeyedProcessFunction<String, Word, Out = String>,
{
    let start = KeyedProcessStart::new(function.clone(), None);
    let start = KeyedHeadStart::<Word, String, _, _>::new(key, start);
    harness::head_of(start, Nothing::new(), context, probe)
}

#[track_caller]
pub fn check(ttls: Ttls, script: &str, expected: &str) {
    let function = Everything::new(ttls);
    harness::check(&|context, probe| head(&function, context, probe), KEYED, script, expected);
}

/// What is told of a key without state.
pub const NOTHING: &str = "-_-_[]_{}_-_-_{}_[]";

#[test]
fn a_list_has_its_elements_in_order() {
    let lists = |list: &str| format!("-_-_{list}_{{}}_-_-_{{}}_[]");
    check(
        Ttls::default(),
        "a4001 a4002 b4009 a4001 a15000 b15000 a5006 a15000 a5004 a15000 state?",
        &format!(
            "{} {} {} {NOTHING} state=process,process.state/list",
            lists("[1,_2,_1]"),
            lists("[9]"),
            lists("[6,_7]")
        ),
    );
}

#[test]
fn what_is_cleared_is_gone_with_its_rows() {
    let script = "a4001 a4002 a7001 a7002 a16003 a16004 a1005 a3006 a12007 a13008 state? \
                  a6000 a9000 a17000 state? a18000 state? a15000";
    let expected = format!(
        "state=process,process.state/lines,process.state/list,process.state/map,\
         process.state/names state=process state=none {NOTHING}"
    );
    check(Ttls::default(), script, &expected);
    // A row goes with the last state, whichever it is.
    for orders in ["a4001 a6000", "a7001 a8001", "a7002 a11001", "a12001 a14000", "a5003 a5004"] {
        check(Ttls::default(), &format!("{orders} state?"), "state=none");
    }
}

#[test]
fn a_map_has_an_entry_for_each_map_key() {
    let maps = |map: &str| format!("-_-_[]_{map}_-_-_{{}}_[]");
    check(
        Ttls::default(),
        "a7001 a7002 a7000 a7008 a10001 a10003 b10001 a15000 a8002 a15000 a8002 a19000 a11001",
        &format!("Some(8) None None {} {} 0.2.0", maps("{4:8,7:2,0:0}"), maps("{4:8,0:0}")),
    );
}

#[test]
fn folds_combine_what_is_added() {
    check(
        Ttls::default(),
        "a12001 a12003 a13007 a13005 b13001 a15000 b15000",
        "-_-_[]_{}_5_14/4_{}_[] -_-_[]_{}_-_2/2_{}_[]",
    );
}

#[test]
#[should_panic(expected = "the state `forgotten` was not registered in `open`")]
fn a_state_that_was_not_registered_panics() {
    #[derive(Clone)]
    struct Forgets(ListState<i64>);
    impl KeyedProcessFunction<String, Word> for Forgets {
        type Out = String;
        type Side = ();
        fn open(&mut self, _states: &mut StateRegistry) {}
        fn process(
            &mut self,
            _word: (&str, i64),
            context: &mut KeyedContext<'_, String, ()>,
            _out: &mut dyn Out<String>,
        ) -> Result<(), FunctionError> {
            context.add(&self.0, 1);
            Ok(())
        }
    }
    let function = Forgets(ListState::new("forgotten"));
    harness::run(&|c, p| head(&function, c, p), harness::Mode::Plain, "a1");
}
