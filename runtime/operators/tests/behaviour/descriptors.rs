//! What windows, joins and rolling aggregates keep is named in a checkpoint: a program that keeps another type under the
//! same uid is told so, even where the bytes would fit.

use wiesel_core::{Meta, Timestamp, millis};
use wiesel_operators::{
    AllWindowsStart, CountTrigger, FixedGap, FoldElements, JoinStart, KeyedCoHeadStart,
    KeyedHeadStart, KeyedStart, ListingStart, NoEvictor, Nothing, OfNumber, Progress, RollingStart,
    Session, SessionStart, Sliding, SlidingStart, Snapshot, Sum, TaskContext, Tumbling,
    TumblingStart, Unbounded, WindowOperatorStart, WindowOptions,
};
use wiesel_record::{Key, Out};
use wiesel_shard::at_once;

use crate::harness::{self, Build, Mode, Probe, Word, key, number};

type Head = Box<dyn wiesel_operators::Head>;

/// What the second program says of a checkpoint of the first, if it refuses it.
fn refusal(before: Build<'_>, after: Build<'_>) -> Option<String> {
    refusal_of(<String as Key>::key_hash("a"), before, after)
}

/// As well, where the key of the record has this hash.
fn refusal_of(hash: u64, before: Build<'_>, after: Build<'_>) -> Option<String> {
    let context = harness::context(0, 1, &Default::default());
    let probe = Probe::new(context.stop(), 0);
    let mut snapshot = Snapshot::default();
    let mut head = before(&context, &probe);
    head.snapshot(&mut snapshot);
    assert!(snapshot.is_empty(), "nothing is kept, so nothing is said of it");
    let mut frames = harness::Frames::<Word>::new();
    let meta = Meta::at(Timestamp::from_millis(5)).with_hash(hash);
    let frame = frames.frame([(&("a".to_owned(), 7), meta)].into_iter());
    let progress = head.frame(0, &frame, &mut 0, &mut harness::pace(&context, Mode::Plain));
    assert_eq!(progress, Progress::Done);
    frames.give(frame);
    head.snapshot(&mut snapshot);
    let restored = at_once(after(&context, &probe).restore(&snapshot));
    restored.err().map(|failure| format!("{}", failure.source))
}

fn unsigned(word: (&str, i64)) -> u64 {
    number(word).unsigned_abs()
}

/// A keyed head that sums, as `i64` and as `u64`.
macro_rules! sums {
    ($start:expr) => {
        [
            &(|context: &TaskContext, probe: &Probe| {
                keyed($start(OfNumber::new(number, Sum)), context, probe)
            }) as Build<'_>,
            &(|context: &TaskContext, probe: &Probe| {
                keyed($start(OfNumber::new(unsigned, Sum)), context, probe)
            }),
        ]
    };
}

fn keyed<P>(operator: P, context: &TaskContext, probe: &Probe) -> Head
where
    P: KeyedStart<Word, String>,
    <P::Operator as wiesel_operators::KeyedOperator<Word, String>>::Out: harness::Show,
{
    let start = KeyedHeadStart::<Word, String, _, _>::new(key, operator);
    harness::head_of(start, Nothing::new(), context, probe)
}

fn tens() -> WindowOptions {
    WindowOptions::new(Tumbling::event_time(millis(10)))
}

#[test]
fn another_accumulator_is_named() {
    let sliding = || WindowOptions::new(Sliding::event_time(millis(10), millis(5)));
    let sessions = || WindowOptions::new(Session::with_gap(millis(10)));
    let all: [(&str, [Build<'_>; 2]); 4] = [
        ("value", sums!(RollingStart)),
        ("window", sums!(|folding| TumblingStart::new(folding, tens()))),
        ("sliding window", sums!(|folding| SlidingStart::new(folding, sliding()))),
        ("sessions", sums!(|folding| SessionStart::<_, FixedGap>::new(folding, sessions()))),
    ];
    for (name, [signed, unsigned]) in all {
        assert_eq!(refusal(signed, signed), None, "{name}");
        assert_eq!(refusal(unsigned, unsigned), None, "{name}");
        let expected = format!(
            "operator `op`, state `{name}`: it held i64 and holds u64; keep the old type, or give \
             the operator another uid: then it begins without state"
        );
        assert_eq!(refusal(signed, unsigned), Some(expected));
    }
    // Another operator under the same uid is no better.
    let said = refusal(all[0].1[0], all[1].1[0]).expect("it is refused");
    assert!(
        said.contains("state `value`: the checkpoint has it and the program does not"),
        "{said}"
    );
}

/// As a [`Word`], with a number that has no sign.
type Plain = (String, u64);

fn key_of_plain(word: (&str, u64)) -> &str {
    word.0
}

#[test]
fn other_records_are_named() {
    let listing = |context: &TaskContext, probe: &Probe| -> Head {
        let contents = ListingStart::new(
            NoEvictor,
            FoldElements::<_, Word>::new(OfNumber::new(number, Sum)),
            None,
        );
        keyed(WindowOperatorStart::new(contents, CountTrigger::of(2), tens()), context, probe)
    };
    let of_plain = |context: &TaskContext, probe: &Probe| -> Head {
        let sum = OfNumber::new(|word: (&str, u64)| word.1, Sum);
        let contents = ListingStart::new(NoEvictor, FoldElements::<_, Plain>::new(sum), None);
        let operator = WindowOperatorStart::new(contents, CountTrigger::of(2), tens());
        let start = KeyedHeadStart::<Plain, String, _, _>::new(key_of_plain, operator);
        harness::head_of(start, Nothing::new(), context, probe)
    };
    assert_eq!(refusal(&listing, &listing), None);
    let said = refusal(&listing, &of_plain).expect("it is refused");
    assert!(said.contains("state `window.elements`: "), "{said}");

    let join = |context: &TaskContext, probe: &Probe| -> Head {
        let pair = |_: (&str, i64), right: (&str, i64), out: &mut dyn Out<Word>| out.emit(right);
        let operator = JoinStart::new(pair, Unbounded);
        let start = KeyedCoHeadStart::<Word, Word, String, _, _, _>::new(key, key, operator);
        harness::head_of(start, Nothing::new(), context, probe)
    };
    let with_plain = |context: &TaskContext, probe: &Probe| -> Head {
        let pair = |left: (&str, i64), _: (&str, u64), out: &mut dyn Out<Word>| out.emit(left);
        let operator = JoinStart::new(pair, Unbounded);
        let start =
            KeyedCoHeadStart::<Word, Plain, String, _, _, _>::new(key, key_of_plain, operator);
        harness::head_of(start, Nothing::new(), context, probe)
    };
    assert_eq!(refusal(&join, &join), None);
    let said = refusal(&join, &with_plain).expect("it is refused");
    assert!(said.contains("state `right`: "), "{said}");
    assert!(said.contains("keep the old type, or give the operator another uid"), "{said}");
}

#[test]
fn another_key_is_named_and_so_is_an_accumulator_of_all() {
    let unsigned_key = |context: &TaskContext, probe: &Probe| -> Head {
        let start = RollingStart(OfNumber::new(number, Sum));
        let start = KeyedHeadStart::<Word, u64, _, _>::new(unsigned, start);
        harness::head_of(start, Nothing::new(), context, probe)
    };
    let signed_key = |context: &TaskContext, probe: &Probe| -> Head {
        let start = RollingStart(OfNumber::new(number, Sum));
        let start = KeyedHeadStart::<Word, i64, _, _>::new(number, start);
        harness::head_of(start, Nothing::new(), context, probe)
    };
    let hash = <u64 as Key>::key_hash(7);
    let said = refusal_of(hash, &unsigned_key, &signed_key).expect("it is refused");
    assert!(said.contains("state `(key)`: it held u64 and holds i64; "), "{said}");

    let signed = |context: &TaskContext, probe: &Probe| -> Head {
        let start = AllWindowsStart::<_, Word, _>::new(OfNumber::new(number, Sum), tens());
        harness::head_of(start, Nothing::new(), context, probe)
    };
    let unsigned = |context: &TaskContext, probe: &Probe| -> Head {
        let start = AllWindowsStart::<_, Word, _>::new(OfNumber::new(unsigned, Sum), tens());
        harness::head_of(start, Nothing::new(), context, probe)
    };
    assert_eq!(refusal(&signed, &signed), None);
    let said = refusal(&signed, &unsigned).expect("it is refused");
    assert!(said.contains("state `window_all`: it held i64 and holds u64; "), "{said}");
}
