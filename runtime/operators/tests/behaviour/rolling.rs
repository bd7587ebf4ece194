//! Rolling aggregates: a result per record.

use std::sync::Arc;

use wiesel_core::TaskFailure;
use wiesel_operators::{
    Aggregate, AggregateFunction, ByRank, Count, Fold, Folding, KeyedHeadStart, Max, Min, Nothing,
    OfNumber, Reduce, RollingStart, Snapshot, Sum,
};
use wiesel_record::Key;
use wiesel_shard::at_once;

use crate::harness::{self, KEYED, Probe, Show, Word, key, number};

#[track_caller]
fn check<A: Folding<String, Word>>(folding: A, script: &str, expected: &str)
where
    A::Out: Show,
{
    let build = |context: &_, probe: &_| {
        let start = KeyedHeadStart::<Word, String, _, _>::new(key, RollingStart(folding.clone()));
        harness::head_of(start, Nothing::new(), context, probe)
    };
    harness::check(&build, KEYED, script, expected);
}

#[test]
fn count_counts_each_key() {
    check(Count, "a b a a c b", "a=1 b=1 a=2 a=3 c=1 b=2");
    check(Count, "a@5 a w9 a@3 idle active w+ end", "a=1@5 a=2 w9 a=3@3 idle active w+");
    check(Count, "w9 end", "w9");
    // Letters are a key whatever they are; long ones as well.
    check(Count, "ä ö ä abcdefghijklmnopqrstuvwxyz", "ä=1 ö=1 ä=2 abcdefghijklmnopqrstuvwxyz=1");
}

fn small(word: (&str, i64)) -> u8 {
    number(word) as u8
}

fn float(word: (&str, i64)) -> f64 {
    // 99 stands for no number at all.
    if number(word) == 99 { f64::NAN } else { number(word) as f64 / 2.0 }
}

#[test]
fn sums_fail_rather_than_wrap() {
    check(OfNumber::new(number, Sum), "a1 b2 a3 a-9", "a=1 b=2 a=4 a=-5");
    check(OfNumber::new(small, Sum), "a200 b200 a55", "a=200 b=200 a=255");
    check(
        OfNumber::new(small, Sum),
        "a200 b200 a56 b1",
        "a=200 b=200 could not aggregate a record (operator `op`, subtask 0): \
         the sum does not fit into u8: sum a wider type",
    );
    check(
        OfNumber::new(number, Sum),
        "a-9223372036854775808 b a-1",
        "a=-9223372036854775808 b=1 could not aggregate a record (operator `op`, subtask 0): \
         the sum does not fit into i64: sum a wider type",
    );
    check(OfNumber::new(float, Sum), "a1 a1 b3", "a=0.5 a=1 b=1.5");
}

#[test]
fn min_and_max_keep_the_number() {
    check(OfNumber::new(number, Min), "a3 a5 b9 a-1 a-1", "a=3 a=3 b=9 a=-1 a=-1");
    check(OfNumber::new(number, Max), "a3 a5 b9 a-1 a5", "a=3 a=5 b=9 a=5 a=5");
    // Nothing is less or greater than NaN: the first stays.
    check(OfNumber::new(float, Min), "a99 a2 b2 b99 b1", "a=NaN a=NaN b=1 b=1 b=0.5");
    check(OfNumber::new(float, Max), "b2 b99 b4", "b=1 b=1 b=2");
}

fn tens(word: (&str, i64)) -> i64 {
    number(word) / 10
}

#[test]
fn min_by_and_max_by_keep_the_first_record_of_equals() {
    check(ByRank::min(tens), "a35 a36 a21 b50 a22 a9", "a35 a35 a21 b50 a21 a9");
    check(ByRank::max(tens), "a35 a36 a21 b50 a41 a49", "a35 a35 a35 b50 a41 a41");
    check(ByRank::max(float), "a2 a99 a3 b99 b3", "a2 a2 a3 b99 b99");
}

#[test]
fn reduce_combines_two_records() {
    let reduce = |a: (&str, i64), b: (&str, i64)| (a.0.to_owned(), a.1 * 10 + b.1);
    check(Reduce(reduce), "a1 a2 b7 a3", "a1 a12 b7 a123");
}

#[test]
fn fold_starts_from_its_initial_value() {
    let append = |text: &mut String, word: (&str, i64)| text.push_str(&word.1.to_string());
    let fold = Fold { initial: ">".to_owned(), function: append };
    // Accumulators that grow are blocks, and are replaced as a whole.
    check(fold, "a1 a23 b7 a456789 b8", "a=>1 a=>123 b=>7 a=>123456789 b=>78");
}

/// The mean, as Flink's documentation has it.
#[derive(Clone)]
struct Mean;

impl AggregateFunction<Word> for Mean {
    type Acc = (i64, i64);
    type Out = f64;
    fn create_accumulator(&self) -> (i64, i64) {
        (0, 0)
    }
    fn add(&self, acc: &mut (i64, i64), word: (&str, i64)) {
        *acc = (acc.0 + number(word), acc.1 + 1);
    }
    fn get_result(&self, (sum, count): (i64, i64)) -> f64 {
        sum as f64 / count as f64
    }
}

#[test]
fn aggregate_emits_the_result_of_its_accumulator() {
    check(Aggregate(Mean), "a1 a2 b7 a6", "a=1 a=1.5 b=7 a=3");
}

fn wide(word: (&str, i64)) -> i128 {
    i128::from(number(word)) << 64
}

impl Show for i128 {
    fn show(&self) -> String {
        (self >> 64).to_string()
    }
}

#[test]
fn accumulators_of_sixteen_byte_alignment_are_read_where_they_lie() {
    check(OfNumber::new(wide, Sum), "a1 b5 a2 c1 a-9 b1", "a=1 b=5 a=3 c=1 a=-6 b=6");
}

fn key_of_number(word: (&str, i64)) -> u64 {
    number(word) as u64
}

#[test]
fn word_keys_at_the_ends_of_their_range_move_with_their_group() {
    let build = |context: &_, probe: &_| {
        let start = KeyedHeadStart::<Word, u64, _, _>::new(key_of_number, RollingStart(Count));
        harness::head_of(start, Nothing::new(), context, probe)
    };
    let hash_of = |word: &Word| <u64 as Key>::key_hash(word.1 as u64);
    let (max, under) = (u64::MAX, u64::MAX - 1);
    let expected = format!("0=1 {max}=1 0=2 {max}=2 5=1 {under}=1 {max}=3 0=3");
    for mode in KEYED {
        let out = harness::run_routed(&build, hash_of, *mode, "a0 a-1 a0 a-1 a5 a-2 a-1 a0");
        assert_eq!(out, expected, "{mode:?}");
    }
}

fn restored(parts: &[(&str, Option<u16>, &[u8])]) -> Result<(), TaskFailure> {
    let context = harness::context(0, 1, &Arc::default());
    let probe = Probe::new(context.stop(), 0);
    let start = KeyedHeadStart::<Word, String, _, _>::new(key, RollingStart(Count));
    let mut head = harness::head_of(start, Nothing::new(), &context, &probe);
    let mut snapshot = Snapshot::default();
    for (name, group, bytes) in parts {
        snapshot.put(name, group.map(wiesel_core::KeyGroup), bytes.to_vec());
    }
    at_once(head.restore(&snapshot))
}

#[test]
fn a_damaged_snapshot_is_an_error() {
    assert!(restored(&[]).is_ok());
    assert!(restored(&[("another", Some(3), b"whatever")]).is_ok());
    let failure = restored(&[("value", Some(3), b"whatever")]).unwrap_err();
    assert_eq!(failure.doing, "use keyed state");
}
