//! Scripts for operators on keyed state, such as windows.

use wiesel_operators::{
    KeyedHeadStart, KeyedOperator, KeyedStart, Nothing, TaskContext, side_output,
};

use crate::harness::{self, KEYED, Probe, Show, Word, key};

/// A script of records of which each letter is a key. What goes to side output 0 is printed as `late:`.
#[track_caller]
pub fn check<P>(operator: &P, script: &str, expected: &str)
where
    P: KeyedStart<Word, String>,
    <P::Operator as KeyedOperator<Word, String>>::Out: Show,
{
    let build = |context: &TaskContext, probe: &Probe| {
        context.put_side(0, side_output::<Word>(probe.output("late:")));
        let start = KeyedHeadStart::<Word, String, _, _>::new(key, operator.clone());
        harness::head_of(start, Nothing::new(), context, probe)
    };
    harness::check(&build, KEYED, script, expected);
}
