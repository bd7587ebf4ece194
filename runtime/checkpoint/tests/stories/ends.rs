//! Stories of tasks that have read all their input, and of those that are over.

use wiesel_checkpoint::CheckpointConfig;
use wiesel_core::VertexId;

use crate::{check, check_of, config, topology};

#[test]
fn when_all_input_is_read_the_final_checkpoint_comes_at_once() {
    check(
        config(),
        &[
            "0   running",
            "10  ended 0/0",
            "10  ended 0/1",
            "20  ended 1/0         => enumerators 5 Checkpoint",
            "20  enumerators 5     => trigger 5 0/0,0/1",
            "21  ack 5 0/0",
            "21  ack 5 0/1",
            "21  ack 5 1/0         => store 5 5:0/0,5:0/1,5:1/0",
            "22  stored 5          => complete 5 30 B 2 ms; discard 4",
            "22  savepoint 1       => no savepoint 1: the job does not run now: ask again when it is RUNNING",
            "23  finished 0/0",
            "23  finished 0/1",
            "23  finished 1/0",
            "900 tick",
        ],
    );
    // One that began before the last record is not the final one.
    check(
        config(),
        &[
            "0   running",
            "100 tick              => enumerators 5 Checkpoint",
            "100 enumerators 5     => trigger 5 0/0,0/1",
            "110 ended 0/0",
            "110 ended 0/1",
            "110 ended 1/0",
            "120 ack 5 0/0",
            "120 ack 5 0/1",
            "120 ack 5 1/0         => store 5 5:0/0,5:0/1,5:1/0",
            "130 stored 5          => complete 5 30 B 30 ms; discard 4; enumerators 6 Checkpoint",
            // Behind it some tasks are over, and say so when it is too late for 6: the next one does not wait for the
            // interval, but until they have said so.
            "130 enumerators 6     => trigger 6 0/0,0/1",
            "131 not-ready 6 0/0        => abort 6: task 0/0 declined: it does not run; discard e6",
            "132 finished 0/0",
            "133 finished 0/1",
            "137 tick",
            "138 tick              => enumerators 7 Checkpoint",
            "138 enumerators 7     => trigger 7 1/0",
            "139 ack 7 1/0         => store 7 7:1/0 without 0/0,0/1",
            "140 stored 7          => complete 7 10 B 2 ms; discard 5",
            "141 finished 1/0",
            "900 tick",
        ],
    );
}

#[test]
fn without_an_interval_there_are_savepoints_and_the_final_checkpoint_until_it_is_complete() {
    let without =
        CheckpointConfig { interval: None, tolerable_failures: 9, num_retained: 2, ..config() };
    check(
        without,
        &[
            "0   running",
            "900 tick",
            "901 savepoint 1       => enumerators 5 Savepoint",
            "901 enumerators 5     => trigger 5 0/0,0/1",
            "902 ended 0/0",
            "902 ended 0/1",
            "903 ended 1/0",
            "904 ack 5 0/0",
            "904 ack 5 0/1",
            "904 ack 5 1/0         => store 5 5:0/0,5:0/1,5:1/0",
            "910 stored 5          => complete 5 30 B 9 ms; savepoint 1: 5; enumerators 6 Checkpoint",
            "910 enumerators 6     => trigger 6 0/0,0/1",
            "920 decline 6 1/0     => abort 6: task 1/0 declined: no space left; discard e6",
            "1909 tick",
            "1910 tick             => enumerators 7 Checkpoint",
            "1910 enumerators 7    => trigger 7 0/0,0/1",
            "1911 ack 7 0/0",
            "1911 ack 7 0/1",
            "1911 ack 7 1/0        => store 7 7:0/0,7:0/1,7:1/0",
            "1912 stored 7         => complete 7 30 B 2 ms",
            "9999 tick",
        ],
    );
}

#[test]
fn finished_tasks_take_no_part_and_barriers_begin_behind_them() {
    check(
        config(),
        &[
            "0   running 0/0",
            "100 tick              => enumerators 5 Checkpoint",
            "100 enumerators 5     => trigger 5 0/1",
            "110 finished 0/1      => abort 5: task 0/1 finished before it acknowledged; discard e5",
            "200 tick              => enumerators 6 Checkpoint",
            "200 enumerators 6     => trigger 6 1/0",
            "210 ack 6 1/0         => store 6 6:1/0 without 0/0,0/1",
        ],
    );
    let without = CheckpointConfig { after_tasks_finish: false, ..config() };
    check(
        without,
        &[
            "0   running 0/0",
            "100 tick              => skipped: tasks have finished: set \
         `execution.checkpointing.checkpoints-after-tasks-finish` to `true`",
            "110 ended 0/1",
            // What sinks hold is committed with the final one, and the tasks wait for it.
            "120 ended 1/0         => enumerators 5 Checkpoint",
            "120 enumerators 5     => trigger 5 0/1",
            "121 ack 5 0/1",
            "121 ack 5 1/0         => store 5 5:0/1,5:1/0 without 0/0",
        ],
    );
}

#[test]
fn a_union_list_waits_until_all_or_none_have_finished_or_all_have_read_all() {
    check_of(
        topology().with_union_state(VertexId(0)),
        config(),
        &[
            "0   running",
            "100 tick              => enumerators 5 Checkpoint",
            "100 enumerators 5     => trigger 5 0/0,0/1",
            "110 ended 0/0",
            "111 ack 5 0/0",
            "111 ack 5 0/1",
            "111 ack 5 1/0         => store 5 5:0/0,5:0/1,5:1/0",
            "112 stored 5          => complete 5 30 B 12 ms; discard 4",
            "113 finished 0/0",
            "200 tick              => skipped: some but not all subtasks of vertex 0 have finished, and it has union list state",
            "250 ended 0/1",
            "260 ended 1/0         => enumerators 6 Checkpoint",
            "260 enumerators 6     => trigger 6 0/1",
            "261 ack 6 0/1",
            "261 ack 6 1/0         => store 6 6:0/1,6:1/0 without 0/0",
        ],
    );
}
