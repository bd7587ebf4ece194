//! What the slots of a group need, if the program says it.
//!
//! ```text
//!   SlotSharingGroup::new("x").cpu_cores(1.0).task_heap_memory("512 mb")      what the program says, unchecked
//!        │ checked: positive, at most one core, sizes that can be read, one profile a name
//!        ▼
//!   ResourceProfile                                                           what one slot of the group needs
//! ```
//!
//! # What is always true
//!
//! 1. A profile is of one slot; a group needs it as often as its widest vertex has subtasks.
//! 2. A group without a profile needs nothing in particular: its slots take what is left.
//! 3. Profiles are no part of the fingerprint: a restart may change them.

use std::{collections::BTreeMap, fmt};

use wiesel_core::config::{ConfigValue, MemorySize};

use crate::GraphError;

/// A slot sharing group, and what each of its slots needs. Flink's `SlotSharingGroup` with its builder.
///
/// ```
/// use wiesel_graph::SlotSharingGroup;
///
/// let hot = SlotSharingGroup::new("hot").cpu_cores(1.0).task_heap_memory("512 mb");
/// assert_eq!(hot.name(), "hot");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SlotSharingGroup {
    name: String,
    cpu_cores: Option<f64>,
    /// As written; read when the job is translated, so that what is wrong is an error of the job.
    memory: BTreeMap<Memory, String>,
}

/// The kinds of memory, as Flink has them, in the order in which plans tell them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Memory {
    TaskHeap,
    TaskOffHeap,
    Managed,
}

impl Memory {
    fn method(self) -> &'static str {
        match self {
            Self::TaskHeap => "task_heap_memory",
            Self::TaskOffHeap => "task_off_heap_memory",
            Self::Managed => "managed_memory",
        }
    }
}

impl SlotSharingGroup {
    /// A group that needs nothing in particular.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), cpu_cores: None, memory: BTreeMap::new() }
    }

    /// Its name: operators are in it by this.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How much of a core each slot needs: above 0, and at most 1, since a slot is one thread.
    #[must_use]
    pub fn cpu_cores(self, cores: f64) -> Self {
        Self { cpu_cores: Some(cores), ..self }
    }

    /// How much memory the functions and the state of each slot need: `512 mb`. With it goes
    /// [`cpu_cores`](Self::cpu_cores).
    #[must_use]
    pub fn task_heap_memory(self, size: &str) -> Self {
        self.with(Memory::TaskHeap, size)
    }

    /// How much memory each slot needs that libraries take beside it.
    #[must_use]
    pub fn task_off_heap_memory(self, size: &str) -> Self {
        self.with(Memory::TaskOffHeap, size)
    }

    /// How much memory each slot needs for what the runtime manages: in batch mode the sorts.
    #[must_use]
    pub fn managed_memory(self, size: &str) -> Self {
        self.with(Memory::Managed, size)
    }

    fn with(mut self, memory: Memory, size: &str) -> Self {
        self.memory.insert(memory, size.to_owned());
        self
    }

    /// What each slot needs, checked; none if nothing was said.
    fn profile(&self) -> Result<Option<ResourceProfile>, GraphError> {
        let Some(cpu_cores) = self.cpu_cores else {
            let Some(memory) = self.memory.keys().next() else { return Ok(None) };
            return Err(self.incomplete(memory.method(), "cpu_cores"));
        };
        if !(cpu_cores.is_finite() && cpu_cores > 0.0) {
            return Err(self.wrong(format!("cpu_cores is {cpu_cores}: it must be above 0")));
        }
        if cpu_cores > 1.0 {
            let problem = format!(
                "cpu_cores is {cpu_cores}, and a slot is one thread: at most 1; to use more cores, raise the parallelism"
            );
            return Err(self.wrong(problem));
        }
        if !self.memory.contains_key(&Memory::TaskHeap) {
            return Err(self.incomplete("cpu_cores", "task_heap_memory"));
        }
        let task_heap = self.size(Memory::TaskHeap)?;
        if task_heap.bytes() == 0 {
            return Err(self.wrong("task_heap_memory is 0: it must be above 0".to_owned()));
        }
        let task_off_heap = self.size(Memory::TaskOffHeap)?;
        let managed = self.size(Memory::Managed)?;
        Ok(Some(ResourceProfile { cpu_cores, task_heap, task_off_heap, managed }))
    }

    fn size(&self, memory: Memory) -> Result<MemorySize, GraphError> {
        let Some(text) = self.memory.get(&memory) else { return Ok(MemorySize::default()) };
        MemorySize::parse(text)
            .map_err(|must| self.wrong(format!("{} is `{text}`: it {must}", memory.method())))
    }

    fn incomplete(&self, has: &str, misses: &str) -> GraphError {
        self.wrong(format!(
            "it has {has} but no {misses}: give both cpu_cores and task_heap_memory, or nothing"
        ))
    }

    fn wrong(&self, problem: String) -> GraphError {
        GraphError::SlotSharingGroup { group: self.name.clone(), problem }
    }
}

impl From<&str> for SlotSharingGroup {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<&String> for SlotSharingGroup {
    fn from(name: &String) -> Self {
        Self::new(name)
    }
}

impl From<&SlotSharingGroup> for SlotSharingGroup {
    fn from(group: &SlotSharingGroup) -> Self {
        group.clone()
    }
}

/// What one slot of a group needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResourceProfile {
    /// Of a core: above 0, at most 1.
    pub cpu_cores: f64,
    /// For functions and state.
    pub task_heap: MemorySize,
    /// Beside it.
    pub task_off_heap: MemorySize,
    /// For what the runtime manages.
    pub managed: MemorySize,
}

impl ResourceProfile {
    /// All of its memory, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        let sizes = [self.task_heap, self.task_off_heap, self.managed];
        sizes.into_iter().fold(0, |sum, size| sum.saturating_add(size.bytes()))
    }
}

/// `0.5 cores, task heap 512 mb, managed 1 gb`; what is nothing is left out.
impl fmt::Display for ResourceProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu_cores, task_heap, task_off_heap, managed } = self;
        let cores = if *cpu_cores == 1.0 { "core" } else { "cores" };
        write!(f, "{cpu_cores} {cores}, task heap {task_heap}")?;
        for (size, name) in [(task_off_heap, "task off-heap"), (managed, "managed")] {
            if size.bytes() > 0 {
                write!(f, ", {name} {size}")?;
            }
        }
        Ok(())
    }
}

/// The profile of each group that has one.
pub(crate) fn profiles(
    groups: &[SlotSharingGroup],
) -> Result<BTreeMap<String, ResourceProfile>, GraphError> {
    let mut profiles = BTreeMap::new();
    for group in groups {
        let Some(profile) = group.profile()? else { continue };
        let first = *profiles.entry(group.name.clone()).or_insert(profile);
        if first != profile {
            let problem = format!("it has two profiles, ({first}) and ({profile}): give it one");
            return Err(group.wrong(problem));
        }
    }
    Ok(profiles)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        JobGraph,
        testing::{DEFAULTS, graph},
    };

    /// The profile of a group, or the error.
    #[track_caller]
    fn check(group: SlotSharingGroup, expected: &str) {
        let found = match group.profile() {
            Ok(profile) => profile.map_or_else(|| "none".to_owned(), |profile| profile.to_string()),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_profile_has_cores_and_memory_or_there_is_none() {
        let group = || SlotSharingGroup::new("x");
        check(group(), "none");
        let half = || group().cpu_cores(0.5).task_heap_memory("512 mb");
        check(half(), "0.5 cores, task heap 512 mb");
        check(
            half().cpu_cores(1.0).task_off_heap_memory("1 b").managed_memory("2048 MB"),
            "1 core, task heap 512 mb, task off-heap 1 b, managed 2 gb",
        );
        let refused = |group, expected: &str| {
            check(group, &format!("slot sharing group `x` cannot be used: {expected}"));
        };
        for cores in ["0", "-1", "inf", "NaN"] {
            let expected = format!("cpu_cores is {cores}: it must be above 0");
            refused(half().cpu_cores(cores.parse().unwrap()), &expected);
        }
        refused(
            half().cpu_cores(1.5),
            "cpu_cores is 1.5, and a slot is one thread: at most 1; to use more cores, raise the parallelism",
        );
        refused(half().task_heap_memory("0 mb"), "task_heap_memory is 0: it must be above 0");
        refused(
            half().task_heap_memory("much"),
            "task_heap_memory is `much`: it must be a whole number with a unit (b, kb, mb, gb, tb)",
        );
        refused(
            half().managed_memory("-1 mb"),
            "managed_memory is `-1 mb`: it must be a whole number with a unit (b, kb, mb, gb, tb)",
        );
        refused(
            group().cpu_cores(1.0),
            "it has cpu_cores but no task_heap_memory: give both cpu_cores and task_heap_memory, or nothing",
        );
        refused(
            group().managed_memory("1 gb"),
            "it has managed_memory but no cpu_cores: give both cpu_cores and task_heap_memory, or nothing",
        );
    }

    #[test]
    fn one_name_has_one_profile() {
        let small = SlotSharingGroup::new("io").cpu_cores(0.5).task_heap_memory("512 mb");
        let same = SlotSharingGroup::new("io").task_heap_memory("524288 kb").cpu_cores(0.5);
        let large = SlotSharingGroup::new("io").cpu_cores(0.5).task_heap_memory("1 gb");
        let job = |groups: &[&SlotSharingGroup]| {
            let mut graph =
                graph("a / source; b / group=io p3 from0; c / sink group=default from1");
            groups.iter().for_each(|group| graph.register_slot_sharing_group((*group).clone()));
            JobGraph::translate("j", &graph, &DEFAULTS)
        };
        let other = SlotSharingGroup::new("unused").cpu_cores(0.5).task_heap_memory("1 gb");
        let used = job(&[&small, &SlotSharingGroup::new("io"), &same, &other]).unwrap();
        assert_eq!(used.resources.keys().collect::<Vec<_>>(), ["io"]);
        assert_eq!(used.resources["io"].memory_bytes(), 512 << 20);
        assert_eq!(used.fingerprint(), job(&[]).unwrap().fingerprint());
        assert_eq!(
            job(&[&small, &large]).unwrap_err().to_string(),
            "slot sharing group `io` cannot be used: it has two profiles, (0.5 cores, task heap 512 mb) and \
             (0.5 cores, task heap 1 gb): give it one"
        );
    }
}
