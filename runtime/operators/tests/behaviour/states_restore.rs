//! Snapshots of keyed state: damaged ones, ones of other states, and programs that have changed.

use wiesel_operators::{
    FunctionError, Head, KeyedContext, KeyedProcessFunction, ListState, MapState, Snapshot,
    StateRegistry, TaskContext, ValueState,
};
use wiesel_record::{Key, Out};
use wiesel_shard::at_once;
use wiesel_state::Scope;

use crate::{
    harness::{self, Probe, Word},
    states::{AVERAGE, Everything, LIST_ADD, NAME, NOTE, PUT, REDUCE, SET, TELL, Ttls, head},
    states_ttl::{all, ttl},
};

/// The snapshot of one subtask that has taken `script`'s orders for a few keys.
fn snapshot_of<F>(function: &F, orders: &[i64]) -> Snapshot
where
    F: KeyedProcessFunction<String, Word, Out = String>,
{
    let context = harness::context(0, 1, &Default::default());
    let probe = Probe::new(context.stop(), 0);
    let mut head = head(function, &context, &probe);
    order(&mut *head, &context, orders);
    let mut snapshot = Snapshot::default();
    head.snapshot(&mut snapshot);
    snapshot
}

/// As well, in two steps: all that is there after the first orders, and what the second ones have changed.
fn increments_of<F>(function: &F, first: &[i64], second: &[i64]) -> Snapshot
where
    F: KeyedProcessFunction<String, Word, Out = String>,
{
    let context = harness::context(0, 1, &Default::default());
    let probe = Probe::new(context.stop(), 0);
    let mut head = head(function, &context, &probe);
    let mut snapshot = Snapshot::without_tables();
    for (orders, scope) in [(first, Scope::Base), (second, Scope::Increment)] {
        order(&mut *head, &context, orders);
        harness::walk(head.as_mut(), scope, &mut snapshot);
    }
    head.snapshot(&mut snapshot);
    snapshot
}

fn order(head: &mut dyn Head, context: &TaskContext, orders: &[i64]) {
    let mut frames = harness::Frames::new();
    for order in orders {
        for name in ["a", "b", "cccccccccccccccccccccccc"] {
            let word = (name.to_owned(), *order);
            let meta = wiesel_core::Meta::NONE.with_hash(String::key_hash(name));
            let frame = frames.frame([(&word, meta)].into_iter());
            let mut pace = harness::pace(context, harness::Mode::Plain);
            while head.frame(0, &frame, &mut 0, &mut pace) != wiesel_operators::Progress::Done {}
            frames.give(frame);
        }
    }
}

fn restore<F>(function: &F, snapshot: &Snapshot) -> Result<String, String>
where
    F: KeyedProcessFunction<String, Word, Out = String>,
{
    let context = harness::context(0, 1, &Default::default());
    let probe = Probe::new(context.stop(), 0);
    let mut head = head(function, &context, &probe);
    let restored = at_once(head.restore(snapshot));
    restored.map_err(|failure| format!("{failure}: {}", failure.source))?;
    let mut frames = harness::Frames::new();
    let word = ("a".to_owned(), 1_000 * TELL);
    let meta = wiesel_core::Meta::NONE.with_hash(String::key_hash("a"));
    let frame = frames.frame([(&word, meta)].into_iter());
    let mut pace = harness::pace(&context, harness::Mode::Plain);
    while head.frame(0, &frame, &mut 0, &mut pace) != wiesel_operators::Progress::Done {}
    frames.give(frame);
    match probe.take().pop() {
        Some(crate::harness::Event::Record(text, _)) => Ok(text),
        other => Err(format!("{other:?}")),
    }
}

const ORDERS: &[i64] = &[
    1_000 * SET + 5,
    1_000 * NOTE + 6,
    1_000 * LIST_ADD + 1,
    1_000 * LIST_ADD + 2,
    1_000 * PUT + 1,
    1_000 * PUT + 2,
    1_000 * REDUCE + 2,
    1_000 * AVERAGE + 8,
    1_000 * NAME + 31,
];

#[test]
fn damaged_snapshots_are_errors() {
    for ttls in [Ttls::default(), all(ttl(1_000_000_000))] {
        let function = Everything::new(ttls);
        let whole = snapshot_of(&function, ORDERS);
        let told = restore(&function, &whole).unwrap();
        assert_eq!(told, "5_6_[1,_2]_{4:1,7:2}_2_9/2_{11031}_[31]");
        let groups = wiesel_core::KeyGroupRange::all(harness::MAX_PARALLELISM);
        let mut errors = 0;
        for name in whole.keyed_names() {
            for group in groups.iter() {
                let one = wiesel_core::KeyGroupRange { first: group.0, end: group.0 + 1 };
                let parts: Vec<Vec<u8>> = whole.keyed(name, one).map(<[u8]>::to_vec).collect();
                let Some(part) = parts.first() else { continue };
                for at in 0..=part.len() {
                    let mut damaged = Snapshot::default();
                    for other in whole.keyed_names() {
                        for of in groups.iter() {
                            let one = wiesel_core::KeyGroupRange { first: of.0, end: of.0 + 1 };
                            for bytes in whole.keyed(other, one) {
                                let mut bytes = bytes.to_vec();
                                if other == name && of == group {
                                    match bytes.get_mut(at) {
                                        Some(byte) => *byte ^= 0x81,
                                        None => continue, // The part is missing.
                                    }
                                }
                                damaged.put(other, Some(of), bytes);
                            }
                        }
                    }
                    errors += usize::from(restore(&function, &damaged).is_err());
                }
            }
        }
        assert!(errors > 500, "only {errors} were seen");
    }
}

/// One state whose type and kind are to be changed.
#[derive(Clone)]
struct Changed<S>(S);

impl<S> KeyedProcessFunction<String, Word> for Changed<S>
where
    S: wiesel_operators::KeyedState + Clone + Send + 'static,
{
    type Out = String;
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.0);
    }

    fn process(
        &mut self,
        _word: (&str, i64),
        context: &mut KeyedContext<'_, String, ()>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        context.clear(&self.0);
        out.emit("cleared");
        Ok(())
    }
}

#[test]
fn a_state_that_became_another_one_is_named() {
    let whole = snapshot_of(&Everything::new(Ttls::default()), ORDERS);
    let refused = restore(&Changed(ValueState::<u64>::new("value")), &whole).unwrap_err();
    let named =
        "could not use keyed state: operator `op`, state `value`: it held i64 and holds u64; ";
    assert!(refused.starts_with(named) && refused.contains("migrates_from::<Old>()"), "{refused}");
    let refused = restore(&Changed(ListState::<i64>::new("value")), &whole).unwrap_err();
    assert!(
        refused.contains("was a value state and is a list state; keep the old state"),
        "{refused}"
    );
    let refused = restore(&Changed(ValueState::<i64>::new("value")), &whole).unwrap_err();
    assert!(
        refused.ends_with(
            "state `note`: the checkpoint has it and the program does not; declare it, if only to \
             clear it"
        ),
        "{refused}"
    );
    let map = snapshot_of(&Changed(MapState::<String, i64>::new("m")), &[1]);
    let refused = restore(&Changed(MapState::<String, u8>::new("m")), &map).unwrap_err();
    assert!(refused.contains("state `m`: field `value` of u8 was i64 and is u8"), "{refused}");
    let refused = restore(&Changed(MapState::<u64, i64>::new("m")), &map).unwrap_err();
    assert!(refused.contains("state `m`: field `map key` of i64 was String"), "{refused}");
    assert!(refused.contains("keep the old type of map key under this name"), "{refused}");
}

/// Two states in another order than [`Everything`]'s, and one that is new.
#[derive(Clone)]
struct Grown {
    new: ListState<String>,
    everything: Everything,
}

impl KeyedProcessFunction<String, Word> for Grown {
    type Out = String;
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.new);
        states.register(&mut self.everything.lines);
        states.register(&mut self.everything.mean);
        states.register(&mut self.everything.map);
        states.register(&mut self.everything.value);
        states.register(&mut self.everything.note);
        states.register(&mut self.everything.list);
        states.register(&mut self.everything.names);
        states.register(&mut self.everything.reduced);
    }

    fn process(
        &mut self,
        (_, number): (&str, i64),
        context: &mut KeyedContext<'_, String, ()>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        assert!(context.list(&self.new).is_empty());
        self.everything.obey(number, context, out);
        Ok(())
    }
}

#[test]
fn states_may_be_added_and_may_begin_or_cease_to_expire() {
    let long = all(ttl(1_000_000_000));
    for (before, after) in [
        (Ttls::default(), Ttls::default()),
        (Ttls::default(), long),
        (long, Ttls::default()),
        (long, long),
    ] {
        let whole = snapshot_of(&Everything::new(before), ORDERS);
        let told = "5_6_[1,_2]_{4:1,7:2}_2_9/2_{11031}_[31]";
        assert_eq!(restore(&Everything::new(after), &whole).as_deref(), Ok(told));
        let grown = Grown { new: ListState::new("new"), everything: Everything::new(after) };
        assert_eq!(restore(&grown, &whole).as_deref(), Ok(told), "{before:?} to {after:?}");
    }
}

#[test]
fn what_an_increment_removes_stays_removed_in_a_program_that_has_changed() {
    let long = all(ttl(1_000_000_000));
    for (before, after) in [
        (Ttls::default(), Ttls::default()),
        (Ttls::default(), long),
        (long, Ttls::default()),
        (long, long),
    ] {
        // All that the key has is its value, which goes.
        let (set, clear) = (1_000 * SET + 5, 1_000 * SET);
        let whole = increments_of(&Everything::new(before), &[set], &[clear]);
        let told = restore(&Everything::new(before), &whole).unwrap();
        assert!(told.starts_with("-_"), "{told}");
        let grown = Grown { new: ListState::new("new"), everything: Everything::new(after) };
        assert_eq!(restore(&grown, &whole), Ok(told), "{before:?} to {after:?}");
    }
}
