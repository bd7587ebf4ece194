//! State that expires: when it is seen, what keeps it alive, and that it goes.

use std::time::Duration;

use wiesel_operators::{StateTtl, TaskContext, TtlUpdate, TtlVisibility};

use crate::{
    harness::{self, Probe},
    states::{Everything, NOTHING, Ttls, check, head},
};

/// This time to live.
pub fn ttl(ms: u64) -> StateTtl {
    StateTtl::new(Duration::from_millis(ms))
}

/// All states with the same.
pub fn all(ttl: StateTtl) -> Ttls {
    let ttl = Some(ttl);
    Ttls { value: ttl, note: ttl, list: ttl, map: ttl, reduced: ttl, mean: ttl, names: ttl }
}

#[test]
fn state_expires_its_time_to_live_after_it_was_written() {
    let told = "5_6_[1]_{4:1}_2_9/2_{11031}_[31]";
    let write = "a1005 a3006 a4001 a7001 a12002 a13008 a16031";
    check(
        all(ttl(10)),
        &format!("C100 {write} C109 a15000 C110 a15000 state?"),
        &format!("{told} {NOTHING} state=none"),
    );
    // Reading does not keep it alive, writing does; other keys are other keys.
    check(
        all(ttl(10)),
        "C100 a1005 b1006 C109 a2001 C118 a15000 b15000 C119 a15000 state?",
        &format!("6=6 6_-_[]_{{}}_-_-_{{}}_[] {NOTHING} {NOTHING} state=none"),
    );
}

#[test]
fn elements_expire_each_for_itself() {
    check(
        all(ttl(10)),
        "a4001 a7001 C5 a4002 a7002 a7003 C9 a19000 C10 a15000 a19000 C14 a7002 C15 a15000 C24 \
         state?",
        "2.3.0 -_-_[2]_{7:2,10:3}_-_-_{}_[] 1.2.0 -_-_[]_{7:2}_-_-_{}_[] \
         state=process,process.state/map",
    );
}

#[test]
fn reading_keeps_alive_what_is_said_to_live_by_it() {
    let ttl = ttl(10).with_update(TtlUpdate::OnReadAndWrite);
    // To ask how many entries a map has is not to read them.
    check(all(ttl), "a16031 C9 a19000 C10 a19000", "0.0.1 0.0.0");
    let write = "a1005 a3006 a4001 a7001 a12002 a13008 a16031";
    let told = "5_6_[1]_{4:1}_2_9/2_{11031}_[31]";
    check(
        all(ttl),
        &format!("{write} C9 a15000 C18 a15000 C27 a15000 C37 a15000 state?"),
        &format!("{told} {told} {told} {NOTHING} state=none"),
    );
    // A look at an entry keeps it alone.
    check(all(ttl), "a7001 a7002 C9 a10001 C11 a15000", "Some(1) -_-_[]_{4:1}_-_-_{}_[]");
}

#[test]
fn what_has_expired_is_seen_until_it_is_cleaned_up_if_so_said() {
    let ttl = ttl(10).with_visibility(TtlVisibility::ReturnExpiredIfNotCleanedUp);
    let write = "a1005 a3006 a4001 a7001 a12002 a13008 a16031";
    let told = "5_6_[1]_{4:1}_2_9/2_{11031}_[31]";
    // The first look gives it, and is a clean-up.
    check(
        all(ttl),
        &format!("{write} C50 a15000 a15000 state?"),
        &format!("{told} {NOTHING} state=none"),
    );
    check(all(ttl), &format!("{write} C50 C51! C52! C53! a15000"), NOTHING);
}

#[test]
fn state_of_keys_that_never_come_again_is_reclaimed() {
    let write = |key: &str| {
        ["1005", "3006", "4001", "4002", "7001", "7002", "12002", "13008", "16031"]
            .map(|order| format!("{key}{order}"))
            .join(" ")
    };
    let script = format!(
        "next? {} C5 {} next? C9! state? C10! C11! C12! C14! C15! C16! C17! C18! C19! C20! state? \
         next?",
        write("a"),
        write("b")
    );
    let all_parts = "state=process,process.state/lines,process.state/list,process.state/map,\
                     process.state/names";
    let expected = format!("next=none next=10 {all_parts} state=none next=none");
    harness::check(
        &|context, probe| head(&Everything::new(all(ttl(10))), context, probe),
        harness::STATELESS,
        &script,
        &expected,
    );
    // After a restore a pass is due at once, whatever the time.
    let script = format!("{} C10 !3 C11! C12! C13! state? next?", write("a"));
    check(all(ttl(10)), &script, "state=none next=none");
}

#[test]
fn a_pass_over_many_keys_is_done_in_small_steps() {
    let function = Everything::new(all(ttl(1_000)));
    let build = |context: &TaskContext, probe: &Probe| head(&function, context, probe);
    let letter = |n: u32, at: u32| char::from(b'd' + (n >> (4 * at) & 15) as u8);
    let letters = |n: u32| (0..4).map(|at| letter(n, at)).collect::<String>();
    let mut script: Vec<String> = Vec::new();
    for n in 0..20_000 {
        if n % 100 == 0 {
            script.push("C0".to_owned()); // A frame holds so many.
        }
        script.push(format!("{}1005", letters(n)));
    }
    let (written, steps) = (script.join(" "), |n| (0..n).map(|at| format!(" C{}!", 1_000 + at)));
    for (n, left) in [(60, "none"), (3, "process")] {
        // A few steps leave something: a step is bounded.
        let script = format!("{written}{} state?", steps(n).collect::<String>());
        let out = harness::run(&build, harness::Mode::Plain, &script);
        assert_eq!(out, format!("state={left}"), "{n} steps");
    }
}
