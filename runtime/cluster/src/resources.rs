//! Whether this machine has what the slots of a job need, and which of them get a core.
//!
//! # What is always true
//!
//! 1. A job whose profiles come to more cores or more memory than there are is refused before anything starts. Slots
//!    without a profile count as nothing.
//! 2. A slot that needs a whole core has one to itself if cores are handed out at all, also where there are more slots
//!    than cores. The others are wherever the kernel puts them, then.
//! 3. Nothing limits what a slot takes once it runs: neither its time on a core nor its memory.
//! 4. A job whose frames take more than half of the memory is refused: they are allocated, and touched, before it runs.

use wiesel_core::config::MemorySize;
use wiesel_graph::{JobGraph, ResourceProfile};
use wiesel_shard::ShardSpec;
use wiesel_wire::FRAME_BYTES;

use crate::ClusterError;

/// What there is for the slots of a job.
pub(crate) struct Machine {
    pub(crate) cores: usize,
    /// None if the machine does not tell.
    pub(crate) memory_bytes: Option<u64>,
}

/// Frames may take this part of the memory, one half: state, records on their way and the program want some too.
const FRAMES_SHARE: u64 = 2;

/// For 0.1 three times, which is a little more than 0.3.
const ROUNDING: f64 = 1e-9;

/// Groups that have a profile, with the number of their slots.
fn demands<F>(graph: &JobGraph<F>) -> Vec<(&str, u32, ResourceProfile)> {
    let groups = graph.slots_by_group().into_iter();
    let demand = |(name, slots): (_, std::ops::Range<u32>)| {
        let profile = graph.resources.get(name)?;
        Some((name, slots.end - slots.start, *profile))
    };
    groups.filter_map(demand).collect()
}

/// `3 of group `a`, 1 of group `b``.
fn slots(demands: &[(&str, u32, ResourceProfile)]) -> String {
    let slots = demands.iter().map(|(name, slots, _)| format!("{slots} of group `{name}`"));
    slots.collect::<Vec<_>>().join(", ")
}

/// Refuses a job that needs more than there is.
///
/// # Errors
///
/// That, with the sums.
pub(crate) fn check<F>(graph: &JobGraph<F>, machine: &Machine) -> Result<(), ClusterError> {
    let demands = demands(graph);
    let need: f64 = demands.iter().map(|(_, n, profile)| f64::from(*n) * profile.cpu_cores).sum();
    if need > machine.cores as f64 + ROUNDING {
        let slots = slots(&demands);
        return Err(ClusterError::TooFewCores { slots, need, available: machine.cores });
    }
    let memory = demands.iter().map(|(_, n, profile)| (u64::from(*n), profile.memory_bytes()));
    let need = memory.fold(0_u64, |sum, (n, bytes)| sum.saturating_add(n.saturating_mul(bytes)));
    if let Some(available) = machine.memory_bytes.filter(|available| need > *available) {
        return Err(ClusterError::TooLittleMemory {
            slots: slots(&demands),
            need: MemorySize::from_bytes(need),
            available_mb: available >> 20,
        });
    }
    Ok(())
}

/// The frames that are made for an output with so many channels: invariant 1 of `launch`.
pub(crate) fn frames_of(channels: usize, credits: usize) -> usize {
    channels + 1 + channels * credits
}

/// Refuses a job whose frames take more than their share of the memory.
///
/// # Errors
///
/// That, with the sums.
pub(crate) fn check_frames<F>(
    graph: &JobGraph<F>,
    credits: usize,
    machine: &Machine,
) -> Result<(), ClusterError> {
    let (mut channels, mut frames) = (0, 0);
    for edge in &graph.edges {
        let [sources, targets] = [edge.source, edge.target].map(|id| graph.vertex(id).parallelism);
        for subtask in 0..sources {
            let of_subtask = edge.partitioning.targets(subtask, sources, targets).len();
            channels += of_subtask;
            frames += frames_of(of_subtask, credits);
        }
    }
    let need = (frames as u64).saturating_mul(FRAME_BYTES as u64);
    let share = machine.memory_bytes.map(|bytes| bytes / FRAMES_SHARE);
    match share.filter(|share| need > *share) {
        None => Ok(()),
        Some(share) => Err(ClusterError::TooManyFrames {
            need_mb: need.div_ceil(1 << 20),
            channels,
            parallelism: graph.vertices.iter().map(|v| v.parallelism).max().unwrap_or(1),
            credits,
            share_mb: share >> 20,
        }),
    }
}

/// Pins the slots that need a whole core, where there are more slots than `cores` and so none is pinned yet.
pub(crate) fn pin<F>(graph: &JobGraph<F>, shards: &mut [ShardSpec], cores: &[usize]) {
    if shards.len() <= cores.len() {
        return;
    }
    let mut cores = cores.iter();
    for (name, slots) in graph.slots_by_group() {
        let needs_all = graph.resources.get(name).is_some_and(|profile| profile.cpu_cores == 1.0);
        for slot in slots.filter(|_| needs_all) {
            // With too few slots the job is refused later.
            if let Some(shard) = shards.get_mut(slot as usize) {
                shard.core = cores.next().copied();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wiesel_core::RuntimeExecutionMode;
    use wiesel_datastream::{Environment, VertexCode};
    use wiesel_graph::{GraphDefaults, SlotSharingGroup};

    use super::*;

    const DEFAULTS: GraphDefaults = GraphDefaults {
        parallelism: 3,
        max_parallelism: None,
        auto_generate_uids: true,
        runtime_mode: RuntimeExecutionMode::Streaming,
    };

    /// A job of three slots in group `default` and three in group `hot`.
    fn job(hot: SlotSharingGroup) -> JobGraph<VertexCode> {
        let environment = Environment::new();
        environment.register_slot_sharing_group(hot);
        let numbers = environment.from_collection([1_u64]).rebalance();
        numbers.map(|n| n).slot_sharing_group("hot").print();
        environment.job_graph("job", &DEFAULTS).unwrap()
    }

    fn hot(cores: f64, heap: &str) -> SlotSharingGroup {
        SlotSharingGroup::new("hot").cpu_cores(cores).task_heap_memory(heap)
    }

    #[track_caller]
    fn check(hot: SlotSharingGroup, expected: &str) {
        let machine = Machine { cores: 2, memory_bytes: Some(3 << 30) };
        let found = super::check(&job(hot), &machine);
        assert_eq!(found.map_or_else(|error| error.to_string(), |()| "fits".to_owned()), expected);
    }

    #[test]
    fn a_job_that_needs_more_than_there_is_is_refused() {
        check(SlotSharingGroup::new("hot"), "fits");
        check(hot(0.5, "1 gb"), "fits");
        check(hot(2.0 / 3.0, "1 gb"), "fits");
        check(
            hot(1.0, "1 gb"),
            "the slots of the job need 3 cores (3 of group `hot`), and there are 2 for them: lower the parallelism or \
             cpu_cores, or `taskmanager.cpu.reserved`",
        );
        check(
            hot(0.5, "1 gb").managed_memory("1 mb"),
            "the slots of the job need 3075 mb (3 of group `hot`), and there are 3072 mb for this process: lower the \
             parallelism or the memory of the group",
        );
    }

    #[test]
    fn a_job_whose_frames_do_not_fit_is_refused() {
        let of = |parallelism, memory_mb: u64| {
            let environment = Environment::new();
            environment.from_collection([1_u64]).rebalance().map(|n| n).print();
            let graph = environment.job_graph("job", &GraphDefaults { parallelism, ..DEFAULTS });
            let graph = graph.unwrap();
            let machine = Machine { cores: 2, memory_bytes: Some(memory_mb << 20) };
            let found = check_frames(&graph, 7, &machine);
            found.map_or_else(|error| error.to_string(), |()| "fits".to_owned())
        };
        // 400 * (400 * 8 + 1) frames of 32 KiB.
        assert_eq!(of(400, 80_026), "fits");
        assert_eq!(
            of(400, 80_024),
            "the frames of the job's 160000 channels need 40013 mb, and may take 40012 mb, half of the memory of this process: \
             lower the parallelism, which is 400 (their number is its square), or \
             `taskmanager.network.memory.buffers-per-channel`, which is 7"
        );
        // Channels are counted by subtask: a thousand million one by one would take seconds.
        assert!(
            of(32_768, 80_024).starts_with("the frames of the job's 1073741824 channels need ")
        );
        assert_eq!(of(3, 5), "fits");
        assert!(
            of(3, 4).starts_with("the frames of the job's 9 channels need 3 mb"),
            "{}",
            of(3, 4)
        );
    }

    #[test]
    fn slots_that_need_a_core_have_one_to_themselves() {
        let cores_of = |hot, cores: &[usize]| {
            let mut shards = ShardSpec::spread(6, cores);
            pin(&job(hot), &mut shards, cores);
            shards.iter().map(|shard| shard.core).collect::<Vec<_>>()
        };
        let whole = || hot(1.0, "1 mb");
        assert_eq!(cores_of(whole(), &[]), [None; 6]);
        let four = [None, None, None, Some(0), Some(1), Some(2)];
        assert_eq!(cores_of(whole(), &[0, 1, 2, 7]), four);
        assert_eq!(cores_of(hot(0.9, "1 mb"), &[0, 1, 2, 7]), [None; 6]);
        assert_eq!(cores_of(whole(), &[0, 1, 2, 3, 4, 5]), [0, 1, 2, 3, 4, 5].map(Some));
    }
}
