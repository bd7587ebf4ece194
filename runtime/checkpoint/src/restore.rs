//! Who gets what on restore: the parts that p subtasks handed in, given to q.
//!
//! ```text
//!   keyed, by group      part of group g            ──▶ the subtask whose range holds g
//!   list                 elements of all, in order  ──▶ in turn, so that each has as many as the others or one more
//!   union list           elements of all            ──▶ everybody, all of them
//!   broadcast            one copy each              ──▶ subtask i gets copy i modulo the copies
//!   splits               of all readers             ──▶ the enumerator, which hands them out again
//! ```
//!
//! # What is always true
//!
//! 1. Each keyed part, list element and split is given exactly once.
//! 2. At the same parallelism list elements stay with their subtask.
//! 3. The plan is of positions; nothing looks into a part.
//!
//! The rules are Flink's (`RoundRobinOperatorStateRepartitioner`), but that splits go to the enumerator: a reader that
//! asks then gets them as it gets any other, and there is one way of handing out.

use wiesel_core::{KeyGroup, KeyGroupRange, SubtaskIndex};

/// How state is spread over subtasks at restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Redistribution {
    /// By key group.
    Keyed(KeyGroup),
    /// Operator list state: a part is an element.
    List,
    /// Operator union list state: a part is an element.
    Union,
    /// Broadcast state: a part is a subtask's copy of the state of this name.
    Broadcast,
    /// A split that a reader had, with its position.
    Splits,
}

/// A part that a subtask handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// Who handed it in.
    pub subtask: SubtaskIndex,
    /// The state's name.
    pub name: &'a str,
    /// How it is spread.
    pub redistribution: Redistribution,
}

/// What is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreTarget {
    /// Subtasks that handed parts in.
    pub parallelism_before: u32,
    /// Subtasks now.
    pub parallelism: u32,
    /// Key groups of the checkpoint.
    pub max_parallelism_before: u32,
    /// Key groups that the program asks for.
    pub max_parallelism: u32,
}

/// Positions in the list of parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestorePlan {
    /// For each subtask its parts: keyed ones by group, others in the order of the list.
    pub subtasks: Vec<Vec<usize>>,
    /// For the enumerator.
    pub enumerator: Vec<usize>,
}

/// State that does not fit the program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The number of key groups is fixed in the life of a job.
    #[error(
        "the checkpoint has {before} key groups, the program asks for {now}: set `pipeline.max-parallelism` to \
         {before}; it cannot change in the life of a job"
    )]
    MaxParallelism {
        /// In the checkpoint.
        before: u32,
        /// In the program.
        now: u32,
    },
    /// More subtasks than key groups.
    #[error(
        "parallelism {parallelism} is above the {max_parallelism} key groups of the checkpoint: lower it"
    )]
    Parallelism {
        /// Subtasks.
        parallelism: u32,
        /// Key groups.
        max_parallelism: u32,
    },
    /// A part of a group or a subtask that there is not. The checkpoint was made by something else.
    #[error(
        "state `{name}` of subtask {subtask} is of key group {group}, but there are {max_parallelism}"
    )]
    Group {
        /// The state.
        name: String,
        /// Who handed it in.
        subtask: SubtaskIndex,
        /// The group.
        group: KeyGroup,
        /// Key groups.
        max_parallelism: u32,
    },
    /// A part of a subtask that there was not.
    #[error("state `{name}` is of subtask {subtask}, but there were {parallelism}")]
    Subtask {
        /// The state.
        name: String,
        /// Who handed it in.
        subtask: SubtaskIndex,
        /// Subtasks.
        parallelism: u32,
    },
}

/// Plans the restore of one vertex.
///
/// ```
/// use wiesel_checkpoint::{Part, Redistribution, RestoreTarget, plan_restore};
/// use wiesel_core::{KeyGroup, SubtaskIndex};
///
/// let part = |subtask, redistribution| Part { subtask: SubtaskIndex(subtask), name: "n", redistribution };
/// let parts = [
///     part(0, Redistribution::Keyed(KeyGroup(3))),
///     part(0, Redistribution::Keyed(KeyGroup(100))),
///     part(0, Redistribution::Union),
/// ];
/// let target = RestoreTarget {
///     parallelism_before: 1,
///     parallelism: 2,
///     max_parallelism_before: 128,
///     max_parallelism: 128,
/// };
/// assert_eq!(plan_restore(&parts, target)?.subtasks, [vec![0, 2], vec![1, 2]]);
/// # Ok::<(), wiesel_checkpoint::RestoreError>(())
/// ```
///
/// # Errors
///
/// When there are keyed parts and the numbers of key groups differ, or a part is of nobody.
///
/// # Panics
///
/// If the parallelism is 0.
pub fn plan_restore(parts: &[Part], target: RestoreTarget) -> Result<RestorePlan, RestoreError> {
    let RestoreTarget { parallelism, max_parallelism_before: max, .. } = target;
    assert!(parallelism > 0, "a vertex has a subtask");
    check(parts, target)?;
    let mut plan =
        RestorePlan { subtasks: vec![Vec::new(); parallelism as usize], ..RestorePlan::default() };
    let of = |wanted: fn(&Redistribution) -> bool| {
        (0..parts.len()).filter(move |index| wanted(&parts[*index].redistribution))
    };
    let group = |index: &usize| match parts[*index].redistribution {
        Redistribution::Keyed(group) => Some(group),
        _ => None,
    };
    let mut keyed: Vec<usize> = of(|kind| matches!(kind, Redistribution::Keyed(_))).collect();
    keyed.sort_by_key(group);
    for index in keyed {
        let owner = group(&index).map_or(0, |group| group.owner(max, parallelism));
        plan.subtasks[owner as usize].push(index);
    }
    let same = parallelism == target.parallelism_before;
    for name in names(parts, Redistribution::List) {
        let elements = of(|kind| *kind == Redistribution::List);
        for (turn, index) in elements.filter(|index| parts[*index].name == name).enumerate() {
            let owner =
                if same { parts[index].subtask.index() } else { turn % parallelism as usize };
            plan.subtasks[owner].push(index);
        }
    }
    for index in of(|kind| *kind == Redistribution::Union) {
        plan.subtasks.iter_mut().for_each(|subtask| subtask.push(index));
    }
    for name in names(parts, Redistribution::Broadcast) {
        let copies: Vec<usize> = of(|kind| *kind == Redistribution::Broadcast)
            .filter(|index| parts[*index].name == name)
            .collect();
        for (subtask, given) in plan.subtasks.iter_mut().enumerate() {
            given.push(copies[subtask % copies.len()]);
        }
    }
    plan.enumerator = of(|kind| *kind == Redistribution::Splits).collect();
    Ok(plan)
}

/// The names of states of this kind, in order of their first part.
fn names<'a>(parts: &[Part<'a>], kind: Redistribution) -> Vec<&'a str> {
    let mut names = Vec::new();
    for part in parts.iter().filter(|part| part.redistribution == kind) {
        if !names.contains(&part.name) {
            names.push(part.name);
        }
    }
    names
}

fn check(parts: &[Part], target: RestoreTarget) -> Result<(), RestoreError> {
    let RestoreTarget { parallelism_before, parallelism, max_parallelism_before: max, .. } = target;
    for part in parts {
        let (name, subtask) = (part.name.to_owned(), part.subtask);
        if subtask.0 >= parallelism_before {
            return Err(RestoreError::Subtask { name, subtask, parallelism: parallelism_before });
        }
        let Redistribution::Keyed(group) = part.redistribution else { continue };
        if max != target.max_parallelism {
            return Err(RestoreError::MaxParallelism { before: max, now: target.max_parallelism });
        }
        if parallelism > max {
            return Err(RestoreError::Parallelism { parallelism, max_parallelism: max });
        }
        if !KeyGroupRange::all(max).contains(group) {
            return Err(RestoreError::Group { name, subtask, group, max_parallelism: max });
        }
    }
    Ok(())
}
