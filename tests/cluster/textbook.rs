//! Barriers as the textbook has them: two sources, two sums, two sinks, and a barrier that comes from one source first.
//!
//! ```text
//!   source 1:  6 5 4 │ 3 2 1 ──┐  ┌──▶ sum_even ──▶ sink 1
//!                              ├──┤                             │ the barrier
//!   source 2:      │ 41 40 3 2 ┘  └──▶ sum_odd ───▶ sink 2
//! ```
//!
//! Source 2 is held up while source 1 sends its barrier and what is behind it. Until the second barrier has come that
//! waits in front of the sums: 40 and 41 are sent later, but in front of their barrier, and are added before it.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, ThreadId},
    time::Duration,
};

use wiesel_cluster::{JobClient, MiniCluster, SubmitOptions};
use wiesel_connectors::{
    Assignment, Discovery, FileSink, ReaderContext, ReaderStatus, Source, SourceOutput,
    SourceReader, SplitEnumerator, SplitPayload,
};
use wiesel_core::{SubtaskIndex, TaskFailure, key_group_of};
use wiesel_datastream::Environment;
use wiesel_graph::GraphDefaults;
use wiesel_jobmanager::JobStatus;
use wiesel_record::Key;
use wiesel_shard::Shard;

use crate::{config, watched};

/// What each source has.
const NUMBERS: [&[u64]; 2] = [&[1, 2, 3, 4, 5, 6], &[2, 3, 40, 41]];
/// Key groups, and keys of which one belongs to either of two subtasks.
const MAX_PARALLELISM: u32 = 32;

/// What the test and a source tell each other.
#[derive(Debug, Default)]
struct Script {
    /// How many numbers it may send in all.
    released: AtomicU64,
    sent: AtomicU64,
    /// Whether its next turn is to wait, with the shard that it is on, and whether it does.
    hold: AtomicBool,
    holds: AtomicBool,
    /// How often its position became part of a snapshot.
    cuts: AtomicU64,
}

type Scripts = Arc<[Script; 2]>;

fn released(first: u64, second: u64) -> Scripts {
    let release = |numbers| Script { released: AtomicU64::new(numbers), ..Script::default() };
    Arc::new([release(first), release(second)])
}

/// Waits until something is so. That it never is, the watchdog sees.
fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Two sources of numbers, a subtask each. A split is a source and a place in it.
#[derive(Clone)]
struct Scripted(Scripts);

struct ScriptedReader {
    scripts: Scripts,
    at: Option<[u8; 2]>,
}

impl SourceReader<u64> for ScriptedReader {
    fn poll<S: SourceOutput<u64>>(
        &mut self,
        shard: &Shard,
        out: &mut S,
    ) -> Result<ReaderStatus, TaskFailure> {
        let Some([source, place]) = &mut self.at else { return Ok(ReaderStatus::NeedSplit) };
        let (script, numbers) = (&self.scripts[*source as usize], NUMBERS[*source as usize]);
        while script.hold.load(Ordering::SeqCst) {
            script.holds.store(true, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(1));
        }
        // All that is released goes in one turn, however long that was held up.
        while u64::from(*place) < script.released.load(Ordering::SeqCst) {
            let Some(number) = numbers.get(*place as usize) else {
                return Ok(ReaderStatus::Finished);
            };
            *place += 1;
            out.collect(number, None);
            script.sent.fetch_add(1, Ordering::SeqCst);
        }
        Ok(ReaderStatus::Waiting(Some(shard.now() + Duration::from_millis(1))))
    }

    fn add_split(&mut self, split: SplitPayload) -> Result<(), TaskFailure> {
        self.at = split.0.try_into().ok();
        Ok(())
    }

    fn no_more_splits(&mut self) {}

    fn unread(&self) -> Vec<SplitPayload> {
        let Some(at) = self.at else { return Vec::new() };
        self.scripts[at[0] as usize].cuts.fetch_add(1, Ordering::SeqCst);
        vec![SplitPayload(at.to_vec())]
    }

    fn position(&self) -> Option<String> {
        self.at.map(|[source, place]| format!("number {place} of source {source}"))
    }
}

/// Each subtask has the source of its number.
struct EachItsOwn;

impl SplitEnumerator for EachItsOwn {
    fn add_reader(&mut self, _: SubtaskIndex) {}

    fn request_split(&mut self, subtask: SubtaskIndex) -> Assignment {
        Assignment::Split(SplitPayload(vec![subtask.0 as u8, 0]))
    }

    fn snapshot(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _: &[u8]) -> Result<(), TaskFailure> {
        Ok(())
    }
}

impl Source for Scripted {
    type Record = u64;
    type Reader = ScriptedReader;

    fn enumerator(
        &self,
        _: u32,
        _: &dyn Discovery,
    ) -> Result<Box<dyn SplitEnumerator>, TaskFailure> {
        Ok(Box::new(EachItsOwn))
    }

    fn reader(&self, _: &ReaderContext) -> ScriptedReader {
        ScriptedReader { scripts: Arc::clone(&self.0), at: None }
    }

    fn describe(&self) -> String {
        "a script".to_owned()
    }

    fn is_bounded(&self) -> bool {
        true
    }
}

/// What came to the sinks: on which shard, and the sum.
type Seen = Arc<Mutex<Vec<(ThreadId, u64)>>>;

/// A key for even numbers and one for odd ones, which belong to different subtasks.
fn keys() -> [u64; 2] {
    let subtask =
        |key: &u64| key_group_of(u64::key_hash(*key), MAX_PARALLELISM).owner(MAX_PARALLELISM, 2);
    [0, 1].map(|owner| (0..100).find(|key| subtask(key) == owner).expect("one of a hundred"))
}

/// Starts the textbook's job: two slots for the sources, two for the sums and their sinks.
fn start(
    scripts: &Scripts,
    seen: &Seen,
    folder: &Path,
    run: &str,
    more: &[(&str, &str)],
) -> JobClient {
    let env = Environment::new();
    let (keys, seen) = (keys(), Arc::clone(seen));
    env.source(Scripted(Arc::clone(scripts)))
        .uid("sources")
        .slot_sharing_group("sources")
        .key_by::<u64>(move |number| keys[number as usize % 2])
        .reduce(|sum, number| sum + number)
        .uid("sums")
        .slot_sharing_group("sums")
        .start_new_chain()
        .slot_sharing_group("sums")
        .map(move |sum| {
            seen.lock().expect("nobody panics").push((thread::current().id(), sum));
            sum.to_string()
        })
        .sink_to(FileSink::lines(folder.join(run).join("out")));
    let checkpoints = folder.join(run).join("checkpoints");
    let own = [("execution.checkpointing.dir", checkpoints.to_str().expect("text"))];
    let config = config(&[&own, more].concat());
    let mut defaults = GraphDefaults::from_config(&config, 2);
    defaults.max_parallelism = Some(MAX_PARALLELISM);
    let graph = env.job_graph("textbook", &defaults).expect("a whole graph");
    MiniCluster::submit(graph, &config, SubmitOptions::default()).expect("fit")
}

/// The sums that came to each sink, in their order; the sink that has seen `even` first.
fn by_sink(seen: &Seen, even: u64) -> [Vec<u64>; 2] {
    let seen = seen.lock().expect("nobody panics");
    let at = seen.iter().find(|(_, sum)| *sum == even).map(|(sink, _)| *sink);
    let of = |is_even: bool| {
        let here = seen.iter().filter(|(sink, _)| (Some(*sink) == at) == is_even);
        here.map(|(_, sum)| *sum).collect()
    };
    [of(true), of(false)]
}

fn count(seen: &Seen) -> usize {
    seen.lock().expect("nobody panics").len()
}

#[test]
fn what_is_behind_a_barrier_waits_for_the_other_one() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let (folder, seen) = (folder.path(), Seen::default());
        // 1, 2, 3 and 2, 3 are through, and both sources wait.
        let scripts = released(3, 2);
        let client = start(&scripts, &seen, folder, "first", &[]);
        until(|| count(&seen) == 5);
        let [first, second] = &*scripts;
        second.hold.store(true, Ordering::SeqCst);
        until(|| second.holds.load(Ordering::SeqCst));
        // The barrier comes from source 1 alone, and behind it 4, 5, 6.
        let savepoint = thread::scope(|scope| {
            let savepoint = scope.spawn(|| client.savepoint(Some(&folder.join("savepoints"))));
            until(|| first.cuts.load(Ordering::SeqCst) == 1);
            first.released.store(6, Ordering::SeqCst);
            until(|| first.sent.load(Ordering::SeqCst) == 6);
            thread::sleep(Duration::from_millis(50));
            assert_eq!(count(&seen), 5, "4, 5 or 6 has passed a barrier: {seen:?}");
            assert!(!savepoint.is_finished(), "a savepoint without source 2");
            // Source 2 sends two more in the turn that was held up, and then its barrier.
            second.released.store(4, Ordering::SeqCst);
            second.hold.store(false, Ordering::SeqCst);
            savepoint.join().expect("an answer").expect("a savepoint")
        });
        until(|| count(&seen) == 10);
        let [even, odd] = by_sink(&seen, 2);
        assert_eq!(even, [2, 4, 44, 48, 54], "40 comes before the barrier, 4 and 6 behind it");
        assert_eq!(odd.len(), 5, "two sinks, of which each has one sum");
        assert_eq!(odd[2..], [7, 48, 53], "41 comes before the barrier, 5 behind it");
        client.cancel();
        assert_eq!(client.wait().status, JobStatus::Canceled);

        // Both sums and both places are of the same moment: 4, 5 and 6 are read again, and nothing else.
        let (scripts, again) = (released(7, 7), Seen::default());
        let path = savepoint.to_str().expect("text");
        let from = [("execution.state-recovery.path", path)];
        let client = start(&scripts, &again, folder, "second", &from);
        assert_eq!(client.wait().status, JobStatus::Finished);
        assert_eq!(by_sink(&again, 48), [vec![48, 54], vec![53]]);
    });
}
