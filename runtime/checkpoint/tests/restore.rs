//! Restore at another parallelism, all pairs from 1 to 6: who gets what, by the definition of each kind of state.

use wiesel_checkpoint::{Part, Redistribution, RestoreError, RestoreTarget, plan_restore};
use wiesel_core::{KeyGroup, KeyGroupRange, SubtaskIndex};

const MAX_PARALLELISM: u32 = 16;

fn target(parallelism_before: u32, parallelism: u32) -> RestoreTarget {
    RestoreTarget {
        parallelism_before,
        parallelism,
        max_parallelism_before: MAX_PARALLELISM,
        max_parallelism: MAX_PARALLELISM,
    }
}

/// What p subtasks hand in: two keyed states, lists of 0 to 2 elements each, a union, a broadcast copy, a split.
fn parts(p: u32) -> Vec<Part<'static>> {
    let mut parts = Vec::new();
    for subtask in 0..p {
        let mut add = |name, redistribution| {
            parts.push(Part { subtask: SubtaskIndex(subtask), name, redistribution });
        };
        for name in ["counts", "timers"] {
            for group in KeyGroupRange::of_subtask(subtask, p, MAX_PARALLELISM).iter() {
                add(name, Redistribution::Keyed(group));
            }
        }
        for name in ["buffer", "other"] {
            (0..subtask % 3).for_each(|_| add(name, Redistribution::List));
        }
        add("all", Redistribution::Union);
        add("rules", Redistribution::Broadcast);
        add("split", Redistribution::Splits);
    }
    parts
}

#[test]
fn all_pairs_of_parallelism_follow_the_definitions() {
    for (p, q) in (1..=6).flat_map(|p| (1..=6).map(move |q| (p, q))) {
        let parts = parts(p);
        let plan = plan_restore(&parts, target(p, q)).expect("it fits");
        assert_eq!(plan.subtasks.len(), q as usize);
        let mut times = vec![0; parts.len()];
        plan.enumerator.iter().for_each(|index| times[*index] += 1);
        for (subtask, given) in (0..q).zip(&plan.subtasks) {
            let range = KeyGroupRange::of_subtask(subtask, q, MAX_PARALLELISM);
            let mut groups = Vec::new();
            for index in given {
                times[*index] += 1;
                if let Redistribution::Keyed(group) = parts[*index].redistribution {
                    assert!(range.contains(group), "{p} -> {q}: {group} is not {subtask}'s");
                    groups.push(group);
                }
            }
            assert_eq!(
                groups.len(),
                2 * range.len(),
                "{p} -> {q}: all of its groups, of both states"
            );
            assert!(groups.is_sorted());
            let of = |name: &str| given.iter().filter(|index| parts[**index].name == name).count();
            assert_eq!((of("all"), of("rules"), of("split")), (p as usize, 1, 0));
            for name in ["buffer", "other"] {
                let all = parts.iter().filter(|part| part.name == name).count();
                let share = of(name);
                let fair = share == all / q as usize || share == all.div_ceil(q as usize);
                let own = share == (subtask % 3) as usize;
                assert!(if p == q { own } else { fair }, "{p} -> {q}: {share} of {all}");
            }
        }
        for (part, times) in parts.iter().zip(times) {
            match part.redistribution {
                Redistribution::Union => assert_eq!(times, q, "{p} -> {q}: {part:?}"),
                Redistribution::Broadcast => {
                    let copy = part.subtask.0;
                    let expected = (0..q).filter(|subtask| subtask % p == copy).count();
                    assert_eq!(times as usize, expected, "{p} -> {q}: {part:?}");
                }
                _ => assert_eq!(times, 1, "{p} -> {q}: {part:?}"),
            }
        }
    }
}

#[test]
fn finished_subtasks_hand_in_nothing_and_the_others_share() {
    let parts: Vec<_> = parts(3).into_iter().filter(|part| part.subtask.0 == 2).collect();
    let plan = plan_restore(&parts, target(3, 2)).expect("it fits");
    let names = |subtask: usize| {
        let names = plan.subtasks[subtask].iter().map(|index| parts[*index].name);
        names.filter(|name| *name != "counts" && *name != "timers").collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        (names(0), names(1)),
        ("buffer other all rules".into(), "buffer other all rules".into())
    );
    assert_eq!(plan.enumerator.len(), 1);
    assert!(
        plan_restore(&[], target(3, 2)).expect("nothing fits").subtasks.iter().all(Vec::is_empty)
    );
}

#[test]
fn what_does_not_fit_says_what_to_set() {
    let keyed = |subtask, group| Part {
        subtask: SubtaskIndex(subtask),
        name: "counts",
        redistribution: Redistribution::Keyed(KeyGroup(group)),
    };
    let check = |part: Part, target: RestoreTarget, expected: &str| {
        let error: RestoreError = plan_restore(&[part], target).expect_err(expected);
        assert_eq!(error.to_string(), expected);
    };
    check(
        keyed(0, 3),
        RestoreTarget { max_parallelism: 128, ..target(1, 1) },
        "the checkpoint has 16 key groups, the program asks for 128: set `pipeline.max-parallelism` to 16; it cannot \
         change in the life of a job",
    );
    check(
        keyed(0, 3),
        target(1, 17),
        "parallelism 17 is above the 16 key groups of the checkpoint: lower it",
    );
    check(
        keyed(0, 16),
        target(1, 1),
        "state `counts` of subtask 0 is of key group 16, but there are 16",
    );
    check(keyed(2, 1), target(2, 1), "state `counts` is of subtask 2, but there were 2");
    let list = Part { redistribution: Redistribution::List, ..keyed(0, 0) };
    let other = RestoreTarget { max_parallelism: 128, ..target(1, 1) };
    assert!(plan_restore(&[list], other).is_ok(), "only keyed state cares for key groups");
}
