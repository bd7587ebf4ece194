//! Sources of an alignment group, of which one starts again: who waits for whom, step by step. The job and the steps are those
//! of `tests.rs`, the group is `all`: at most 10 ms ahead, told each 20 ms.

use super::tests::check;

#[test]
fn a_source_that_starts_again_holds_nobody_back_before_it_says_where_it_is() {
    check(
        "at 0/0 5; at 2/0 90; tick 20; fail 0/0; tick 0; canceled 1/0; at 2/0 99; tick 20; deployed 0/0; deployed 1/0; \
         at 2/0 120; tick 20; running 1/0; running 0/0; tick 20",
        "\
tick 20: 0/0 up to 15, 2/0 up to 15
fail 0/0: job RESTARTING, cancel 1/0
tick 0: 2/0 up to 100
tick 20: 2/0 up to 109, rewire 0/0 1/0, job RUNNING, deploy 0/0#1, deploy 1/0#1
deployed 1/0: start 0/0, start 1/0
tick 20: 2/0 up to 130",
    );
}

#[test]
fn a_source_that_has_started_again_is_waited_for_and_hears_how_far_it_may_read() {
    // It waits until it is told, though what it is told is what it knew before.
    check(
        "at 0/0 5; at 2/0 6; tick 20; fail 0/0; canceled 1/0; tick 10; go 0/0 1/0; at 0/0 5; tick 20; at 0/0 2; tick 20; \
         at 0/0 7; tick 20",
        "\
tick 20: 0/0 up to 15, 2/0 up to 15
fail 0/0: job RESTARTING, cancel 1/0
tick 10: 2/0 up to 16, rewire 0/0 1/0, job RUNNING, deploy 0/0#1, deploy 1/0#1
go 0/0 1/0: start 0/0, start 1/0
tick 20: 0/0 up to 15, 2/0 up to 15
tick 20: 0/0 up to 12, 2/0 up to 12
tick 20: 0/0 up to 16, 2/0 up to 16",
    );
}

#[test]
fn what_it_said_before_it_started_again_counts_no_more() {
    let failed = "\
tick 20: 0/0 up to 15, 2/0 up to 15
fail 0/0: job RESTARTING, cancel 1/0";
    // While it waits, and when it is deployed, and when it runs and has said nothing itself.
    let found = format!(
        "{failed}
tick 10: 2/0 up to 40, rewire 0/0 1/0, job RUNNING, deploy 0/0#1, deploy 1/0#1
go 0/0 1/0: start 0/0, start 1/0"
    );
    check(
        "at 0/0 5; at 2/0 30; tick 20; fail 0/0; at 0/0 6; canceled 1/0; tick 10; before at 0/0 7; tick 20; go 0/0 1/0; \
         before at 0/0 8; tick 20; tick 20",
        &found,
    );
}

#[test]
fn all_of_a_group_may_start_again() {
    check(
        "at 0/0 5; at 2/0 30; tick 20; fail 0/0; fail 2/0; fail 0/1; canceled 1/0; canceled 1/1; tick 10; \
         go 0/0 0/1 1/0 1/1 2/0; at 2/0 30; tick 20; at 0/0 5; tick 20",
        "\
tick 20: 0/0 up to 15, 2/0 up to 15
fail 0/0: job RESTARTING, cancel 1/0
fail 0/1: cancel 1/1
tick 10: rewire 0/0 0/1 1/0 1/1 2/0, job RUNNING, deploy 0/0#1, deploy 0/1#1, deploy 1/0#1, deploy 1/1#1, deploy 2/0#1
go 0/0 0/1 1/0 1/1 2/0: start 0/0, start 0/1, start 1/0, start 1/1, start 2/0
tick 20: 2/0 up to 40
tick 20: 0/0 up to 15, 2/0 up to 15",
    );
}
