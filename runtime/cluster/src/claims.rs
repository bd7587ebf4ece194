//! Who continues with what of a checkpoint: state belongs to the operator with its uid, wherever that is chained.
//!
//! ```text
//!   checkpoint   vertex [src, held, sink]          src/splits  held/operator.state  /watermark  enumerator
//!                                                    │             │                  │           │
//!   program      vertex [src]  ◀─────────────────────┼─────────────┼──────────────────┼───────────┘
//!                vertex [forward, held] ◀──────────────────────────┴──────────────────┘
//! ```
//!
//! # What is always true
//!
//! 1. A part goes to the chain that has its operator's uid. What no chain takes is named; nothing is lost in silence.
//! 2. A task's watermark goes to each chain that has an operator of its vertex: what was late there stays late.
//! 3. What a sink has pre-committed goes to the sink with its uid; else to the one of its name, so that it is committed though
//!    the stream in front of it is another; else to that of a chain that has an operator of its vertex: it may write elsewhere now.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use wiesel_core::{SubtaskIndex, TaskId, VertexId};
use wiesel_storage::{FileEntry, Manifest, PartEntry, PartKind, VertexState};

use crate::ClusterError;

/// A chain of the program.
pub(crate) struct Chain<'v> {
    /// Uids, front to back.
    pub(crate) operators: &'v [String],
    pub(crate) max_parallelism: u32,
    pub(crate) is_source: bool,
    /// The name of the sink that it ends in, if that commits.
    pub(crate) sink: Option<&'v str>,
}

/// What the tasks of the program continue with.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Claims {
    /// By the number of the subtask that had it.
    pub(crate) tasks: BTreeMap<TaskId, Vec<FileEntry>>,
    pub(crate) enumerators: BTreeMap<VertexId, Vec<u8>>,
    pub(crate) finished: BTreeSet<TaskId>,
    pub(crate) unclaimed: Unclaimed,
}

/// State that no operator takes, by the uid of the one whose it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unclaimed(BTreeMap<String, Lost>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Lost {
    /// What its chain was called.
    chain: String,
    states: BTreeSet<String>,
}

impl Unclaimed {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, uid: &str, vertex: &VertexState, state: &str) {
        let lost = self.0.entry(uid.to_owned()).or_default();
        lost.chain.clone_from(&vertex.name);
        lost.states.insert(state.to_owned());
    }
}

impl fmt::Display for Unclaimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (uid, Lost { chain, states })) in self.0.iter().enumerate() {
            let states: Vec<_> = states.iter().map(|state| format!("`{state}`")).collect();
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}operator `{uid}` (in {chain}): {}", states.join(", "))?;
        }
        Ok(())
    }
}

/// Deals a checkpoint out to the chains of a program, which are in the order of its vertices.
///
/// # Errors
///
/// If keyed state has another number of key groups than the chain that takes it.
pub(crate) fn claim(manifest: &Manifest, chains: &[Chain<'_>]) -> Result<Claims, ClusterError> {
    let mut claims = Claims::default();
    let of_uid = chains
        .iter()
        .enumerate()
        .flat_map(|(index, chain)| chain.operators.iter().map(move |uid| (uid.as_str(), index)));
    let of_uid: BTreeMap<&str, usize> = of_uid.collect();
    for state in &manifest.vertices {
        let shared: Vec<usize> =
            state.operators.iter().filter_map(|uid| of_uid.get(uid.as_str()).copied()).collect();
        if let Some(bytes) = &state.enumerator {
            let uid = state.operators.first().map_or("", String::as_str);
            let is_source = |index: &usize| {
                let chain = &chains[*index];
                chain.is_source && chain.operators.first().is_some_and(|first| first == uid)
            };
            match of_uid.get(uid).copied().filter(is_source) {
                Some(index) => drop(claims.enumerators.insert(vertex(index), bytes.clone())),
                None if bytes.is_empty() => {}
                None => claims.unclaimed.add(uid, state, "enumerator"),
            }
        }
        let taker = |part: &PartEntry| match part.kind {
            PartKind::Committable => sink_of(part, state, chains, &shared),
            _ => of_uid.get(&*part.operator).copied(),
        };
        let is_for = |part: &PartEntry, index: usize| match &*part.operator {
            "" => shared.contains(&index),
            _ => taker(part) == Some(index),
        };
        for (subtask, had) in (0..).zip(&state.subtasks) {
            for (index, chain) in chains.iter().enumerate() {
                let task = TaskId { vertex: vertex(index), subtask: SubtaskIndex(subtask) };
                if had.finished && shared.contains(&index) {
                    claims.finished.insert(task);
                }
                for file in &had.files {
                    let parts = file.parts.iter().filter(|part| is_for(part, index));
                    let parts: Vec<_> = parts.cloned().collect();
                    check_key_groups(state, chain, &parts)?;
                    if !parts.is_empty() {
                        let (path, len, hash) = (file.path.clone(), file.len, file.hash);
                        let file = FileEntry { path, len, hash, parts };
                        claims.tasks.entry(task).or_default().push(file);
                    }
                }
            }
            let parts = had.files.iter().flat_map(|file| &file.parts);
            for part in parts.filter(|part| !part.operator.is_empty()) {
                if taker(part).is_none() {
                    claims.unclaimed.add(&part.operator, state, &part.name);
                }
            }
        }
    }
    Ok(claims)
}

fn vertex(index: usize) -> VertexId {
    VertexId(index as u32)
}

/// The chain that commits what a sink of the checkpoint has pre-committed. Invariant 3.
fn sink_of(
    part: &PartEntry,
    state: &VertexState,
    chains: &[Chain<'_>],
    shared: &[usize],
) -> Option<usize> {
    let find = |is_meant: &dyn Fn(usize, &Chain<'_>, &str) -> bool| {
        let mut all = chains.iter().enumerate();
        let found =
            all.find(|(index, chain)| chain.sink.is_some_and(|name| is_meant(*index, chain, name)));
        found.map(|(index, _)| index)
    };
    let has_uid = |chain: &Chain<'_>| chain.operators.last().is_some_and(|u| **u == *part.operator);
    find(&|_, chain, _| has_uid(chain))
        .or_else(|| {
            find(&|_, _, name| {
                let before = state.name.strip_suffix(name);
                before.is_some_and(|before| before.is_empty() || before.ends_with(" -> "))
            })
        })
        .or_else(|| find(&|index, _, _| shared.contains(&index)))
}

fn check_key_groups(
    state: &VertexState,
    chain: &Chain<'_>,
    parts: &[PartEntry],
) -> Result<(), ClusterError> {
    let keyed = parts.iter().find(|part| matches!(part.kind, PartKind::Keyed(_)));
    match keyed.filter(|_| chain.max_parallelism != state.max_parallelism) {
        None => Ok(()),
        Some(part) => Err(ClusterError::MaxParallelism {
            uid: part.operator.to_string(),
            was: state.max_parallelism,
            is: chain.max_parallelism,
        }),
    }
}

#[cfg(test)]
mod tests {
    use wiesel_core::{JobId, KeyGroup, Timestamp};
    use wiesel_storage::{DataFileWriter, Kind, SubtaskState};

    use super::*;

    /// `src held sink | splits held/list !watermark sink/committed`: a vertex called as its operators, and the parts of each of
    /// its two subtasks: one of the first operator, of a named one, of the task. A name that begins with `k` is by key.
    fn vertex_of(text: &str, number: usize) -> VertexState {
        let (operators, parts) = text.split_once('|').expect("operators | parts");
        let operators: Vec<String> = operators.split_whitespace().map(str::to_owned).collect();
        let subtask = |subtask: usize| {
            let mut writer = DataFileWriter::new();
            for part in parts.split_whitespace() {
                let (operator, name) = match (part.strip_prefix('!'), part.split_once('/')) {
                    (Some(name), _) => ("", name),
                    (None, Some(both)) => both,
                    (None, None) => (operators[0].as_str(), part),
                };
                let kind = match name {
                    "committed" => PartKind::Committable,
                    _ if name.starts_with('k') => PartKind::Keyed(KeyGroup(3)),
                    _ => PartKind::List,
                };
                writer.part(operator, name, kind, b"");
            }
            let file = writer.finish(&format!("{number}-{subtask}")).1;
            SubtaskState { finished: false, files: vec![file] }
        };
        VertexState {
            uid: operators[0].clone(),
            name: operators.join(" -> "),
            parallelism: 2,
            max_parallelism: 128,
            enumerator: operators[0].starts_with("src").then(|| vec![1]),
            subtasks: (0..2).map(subtask).collect(),
            operators,
        }
    }

    /// Deals `checkpoint`, a vertex per `;`, out to the chains of `program`. The chains' parts, those of subtask 0, and what is
    /// left.
    fn deal(checkpoint: &str, program: &str) -> String {
        let vertices = checkpoint.split(';').enumerate();
        let manifest = Manifest {
            job: JobId(1),
            job_name: "job".to_owned(),
            checkpoint: 7,
            kind: Kind::Checkpoint,
            triggered: Timestamp::from_millis(0),
            completed: Timestamp::from_millis(0),
            ending: Default::default(),
            vertices: vertices.map(|(number, text)| vertex_of(text, number)).collect(),
        };
        let chains: Vec<Vec<String>> = program
            .split(';')
            .map(|chain| chain.split_whitespace().map(str::to_owned).collect())
            .collect();
        let chains: Vec<_> = chains
            .iter()
            .map(|operators| Chain {
                operators,
                max_parallelism: if operators.iter().any(|uid| uid == "wider") { 64 } else { 128 },
                is_source: operators[0].starts_with("src"),
                sink: operators.last().map(String::as_str).filter(|uid| uid.starts_with("sink")),
            })
            .collect();
        let claims = match claim(&manifest, &chains) {
            Ok(claims) => claims,
            Err(error) => return error.to_string(),
        };
        let mut text = Vec::new();
        for index in 0..chains.len() {
            let task = |subtask| TaskId { vertex: vertex(index), subtask: SubtaskIndex(subtask) };
            let names = |subtask| {
                let files = claims.tasks.get(&task(subtask)).into_iter().flatten();
                let parts = files.flat_map(|file| &file.parts);
                parts.map(|part| format!("{}/{}", part.operator, part.name)).collect::<Vec<_>>()
            };
            assert_eq!(names(0), names(1));
            let enumerator =
                claims.enumerators.get(&vertex(index)).map(|_| "enumerator".to_owned());
            let all: Vec<_> = enumerator.into_iter().chain(names(0)).collect();
            text.push(all.join(" "));
        }
        let left = if claims.unclaimed.is_empty() {
            String::new()
        } else {
            format!(" left: {}", claims.unclaimed)
        };
        format!("{}{left}", text.join(" | "))
    }

    #[track_caller]
    fn check(checkpoint: &str, program: &str, expected: &str) {
        assert_eq!(deal(checkpoint, program), expected);
    }

    const ONE: &str = "src held sink-a | splits held/list sink-a/committed";
    const TWO: &str = "src | splits; forward held sink-a | !watermark held/list sink-a/committed";

    #[test]
    fn an_operator_has_its_state_wherever_it_is_chained() {
        let all = "enumerator src/splits held/list sink-a/committed";
        check(ONE, "src held sink-a", all);
        check(
            ONE,
            "src; forward held sink-a",
            "enumerator src/splits | held/list sink-a/committed",
        );
        check(ONE, "sink-a; held; src", "sink-a/committed | held/list | enumerator src/splits");
        check(
            TWO,
            "src held sink-a",
            "enumerator src/splits /watermark held/list sink-a/committed",
        );
        check(
            TWO,
            "src; rebalance held; forward sink-a",
            "enumerator src/splits | /watermark held/list | /watermark sink-a/committed",
        );
        check("a b | kx !watermark b/y", "a; b", "a/kx /watermark | /watermark b/y");
        check("a | kx !watermark; b | ky !watermark", "a b", "a/kx /watermark b/ky /watermark");
    }

    #[test]
    fn what_no_operator_takes_is_named() {
        check(
            ONE,
            "src; other sink-a",
            "enumerator src/splits | sink-a/committed left: operator `held` (in src -> held -> sink-a): `list`",
        );
        check(
            "src held | splits held/list held/more; counts | kx types",
            "src",
            "enumerator src/splits left: operator `counts` (in counts): `kx`, `types`, operator `held` (in src -> held): \
             `list`, `more`",
        );
        // An operator that has the source's uid reads no splits.
        check(
            "src | splits",
            "other src",
            "src/splits left: operator `src` (in src): `enumerator`",
        );
        // A task's watermark is not state of an operator.
        check("rebalance | !watermark", "other", "");
    }

    #[test]
    fn what_is_pre_committed_finds_a_sink() {
        // By its name, behind another stream; then by its neighbours, in another folder.
        check("x sink-a | sink-a/committed", "y sink-b; z sink-a", " | sink-a/committed");
        let other_uid = "x sink-a | generated/committed";
        check(other_uid, "x sink-b; z sink-a", " | generated/committed");
        check(other_uid, "y sink-b; x sink-c", " | generated/committed");
        check(
            other_uid,
            "y sink-b; x",
            " |  left: operator `generated` (in x -> sink-a): `committed`",
        );
    }

    #[test]
    fn key_groups_are_those_of_the_operator() {
        let text = |uid: &str| {
            format!(
                "the checkpoint has 128 key groups for operator `{uid}`, the job 64: set `pipeline.max-parallelism` to 128"
            )
        };
        check("a b | kx b/y", "wider b; a", " b/y | a/kx".trim_start());
        check("a b | kx b/y", "a wider; b", &text("a"));
    }
}
