//! Random events in random order, and what is always true of the effects, by a model that only remembers.
//!
//! ```text
//!   seed ──▶ events ──▶ CheckpointCoordinator ──▶ effects ──▶ Model: what was promised of each id
//! ```
//!
//! The model knows nothing of how the coordinator decides. It keeps, per id, who ran when it began and what was handed
//! in, and checks each effect against the rules: ids grow, limits hold, each state ends in one place, each request has one
//! answer, failures are counted, the newest are retained.

mod model;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use model::{Handle, Model, Outcome, Random, Seen};
use wiesel_checkpoint::{
    CheckpointConfig, CheckpointCoordinator, CheckpointId, DeclineReason, Event, RequestId,
    Topology,
};
use wiesel_core::{Nanos, SubtaskIndex, TaskId, VertexId, millis};

fn topology(random: &mut Random) -> (Topology, bool) {
    let mut topology = Topology::default();
    let has_enumerators = random.one_in(2);
    let p = 1 + random.below(3) as u32;
    let source = if has_enumerators { topology.add_source(p) } else { topology.add_vertex(p, []) };
    let forward = topology.add_vertex(p, [(source, (0..p).map(|i| i..i + 1).collect())]);
    let q = 1 + random.below(3) as u32;
    let hashed = topology.add_vertex(q, [(forward, (0..q).map(|_| 0..p).collect())]);
    let topology = if random.one_in(3) { topology.with_union_state(hashed) } else { topology };
    (topology, has_enumerators)
}

fn run(seed: u64) -> BTreeMap<&'static str, u64> {
    let mut random = Random(seed);
    let (topology, has_enumerators) = topology(&mut random);
    let config = CheckpointConfig {
        interval: Some(millis(10)),
        timeout: millis(20 + random.below(40)),
        min_pause: millis(random.below(3) * 4),
        max_concurrent: 1 + random.below(3) as u32,
        tolerable_failures: random.below(4) as u32,
        num_retained: 1 + random.below(3) as u32,
        after_tasks_finish: !random.one_in(5),
        ..CheckpointConfig::default()
    };
    let first = CheckpointId(1 + random.below(100));
    let retained: Vec<_> =
        (random.one_in(2)).then(|| CheckpointId(first.0 - 1)).into_iter().collect();
    let mut model = Model {
        config: config.clone(),
        sources: [VertexId(0)].into(),
        has_enumerators,
        all: topology.tasks().collect(),
        up: false,
        execution: 0,
        running: BTreeSet::new(),
        finished: BTreeSet::new(),
        ended: BTreeSet::new(),
        seen: BTreeMap::new(),
        retained: retained.clone(),
        open: BTreeSet::new(),
        requests: BTreeSet::new(),
        next_handle: 0,
        next_request: 0,
        failures: 0,
        last_completed: None,
        counts: BTreeMap::new(),
    };
    let mut coordinator = CheckpointCoordinator::new(config, topology, first, retained);
    let mut now = Nanos(0);
    for _ in 0..400 {
        now = now + Duration::from_micros(random.below(3_000));
        if random.one_in(6) {
            // A shell that sleeps until the deadline wakes in time.
            now = coordinator.next_deadline().map_or(now, |deadline| deadline.max(now));
        }
        let (name, event) = choose(&mut random, &mut model, now);
        for effect in coordinator.handle(now, event) {
            model.see(now, name, effect);
        }
        assert_eq!(coordinator.latest_completed(), model.retained.iter().max().copied());
        assert!(coordinator.retained().eq(model.retained.iter().copied()));
        assert_eq!(coordinator.pending_count(), model.pending().count());
        if let Some(deadline) = coordinator.next_deadline() {
            assert!(deadline > now, "what is due at {deadline:?} was not done at {now:?}");
        }
    }
    // At the end of the job nothing is open but what is being stored.
    for effect in coordinator.handle(now, Event::Restart) {
        model.see(now, "restart", effect);
    }
    model.requests.retain(|_| coordinator.is_storing());
    assert!(model.requests.is_empty(), "requests without an answer: {:?}", model.requests);
    let storing: BTreeSet<Handle> = model
        .pending()
        .flat_map(|(_, seen)| seen.handles.values().chain(seen.enumerators.values()))
        .copied()
        .collect();
    assert_eq!(model.open, storing, "state that nobody will delete");
    model.counts
}

fn choose(random: &mut Random, model: &mut Model, now: Nanos) -> (&'static str, Event<Handle>) {
    let triggered = |seen: &Seen| seen.triggered;
    match random.below(40) {
        0 if random.one_in(3) => {
            model.up = false;
            model.running.clear();
            model.ended.clear();
            ("restart", if random.one_in(2) { Event::Pause } else { Event::Restart })
        }
        _ if !model.up && random.one_in(2) => {
            if !model.running.is_empty() {
                // It was told to fail: it restarts first.
                model.running.clear();
                model.ended.clear();
                return ("restart", Event::Restart);
            }
            let finished: Vec<_> =
                model.all.iter().filter(|_| random.one_in(12)).copied().collect();
            model.up = true;
            model.execution += 1;
            model.failures = 0;
            model.ended.clear();
            model.finished = finished.iter().copied().collect();
            model.running = model.all.difference(&model.finished).copied().collect();
            ("running", Event::Running { finished })
        }
        1..=16 => {
            // An acknowledgement of any id that was triggered, perhaps late, perhaps said twice.
            let open = model.seen.iter().filter(|(_, seen)| triggered(seen));
            let Some((checkpoint, task)) = random.pick(open.flat_map(|(id, seen)| {
                let missing = seen.expected.iter().filter(|task| !seen.answered.contains(task));
                missing.map(|task| (*id, *task))
            })) else {
                return ("tick", Event::Tick);
            };
            let handle = model.handle();
            let seen = model.seen.get_mut(&checkpoint).expect("just picked");
            seen.answered.insert(task);
            if seen.outcome == Outcome::Pending {
                seen.handles.insert(task, handle);
            }
            ("acknowledge", Event::Acknowledge { checkpoint, task, handle, bytes: 1 })
        }
        17 => {
            let open = model.seen.iter().filter(|(_, seen)| triggered(seen));
            let picked = random.pick(open.flat_map(|(id, seen)| {
                let missing = seen.expected.iter().filter(|task| !seen.answered.contains(task));
                missing.map(|task| (*id, *task))
            }));
            let Some((checkpoint, task)) = picked else { return ("tick", Event::Tick) };
            model.seen.get_mut(&checkpoint).expect("just picked").answered.insert(task);
            let reasons = [
                DeclineReason::NotReady,
                DeclineReason::Busy,
                DeclineReason::InputEnded,
                DeclineReason::Io("full".into()),
            ];
            let reason = reasons[random.below(4) as usize].clone();
            ("decline", Event::Decline { checkpoint, task, reason })
        }
        18..=23 => {
            let asked = model.seen.iter().filter(|(_, seen)| !seen.enumerators_answered);
            let asked: Vec<_> = asked.map(|(id, _)| *id).collect();
            let (true, Some(checkpoint)) = (model.has_enumerators, random.pick(asked)) else {
                return ("tick", Event::Tick);
            };
            model.seen.get_mut(&checkpoint).expect("just picked").enumerators_answered = true;
            if random.one_in(8) {
                let reason = "no".to_owned();
                return ("enumerators", Event::EnumeratorsFailed { checkpoint, reason });
            }
            let handle = model.handle();
            let states = BTreeMap::from([(VertexId(0), handle)]);
            let seen = model.seen.get_mut(&checkpoint).expect("just picked");
            if seen.outcome == Outcome::Pending {
                seen.enumerators.clone_from(&states);
            }
            ("enumerators", Event::Enumerators { checkpoint, states })
        }
        24..=29 => {
            let storing = model.pending().find(|(_, seen)| seen.outcome == Outcome::Storing);
            let Some(checkpoint) = storing.map(|(id, _)| *id) else { return ("tick", Event::Tick) };
            if !random.one_in(6) {
                model.stored(now, checkpoint);
                return ("stored", Event::Stored { checkpoint });
            }
            let ambiguous = random.one_in(2);
            let seen = model.seen.get_mut(&checkpoint).expect("just found");
            if ambiguous {
                seen.outcome = Outcome::Unknown;
            }
            ("store failed", Event::StoreFailed { checkpoint, reason: "disk".into(), ambiguous })
        }
        30 if random.one_in(3) => {
            let Some(task) = random.pick(model.running.iter().copied()) else {
                return ("tick", Event::Tick);
            };
            model.running.remove(&task);
            model.ended.remove(&task);
            model.finished.insert(task);
            ("finished", Event::TaskFinished { task })
        }
        31 => {
            let Some(task) = random.pick(model.running.iter().copied()) else {
                return ("tick", Event::Tick);
            };
            model.ended.insert(task);
            ("end of data", Event::EndOfData { task })
        }
        32 if random.one_in(2) => {
            model.next_request += 1;
            let request = RequestId(model.next_request);
            model.requests.insert(request);
            if random.one_in(4) {
                return ("stop", Event::StopWithSavepoint { request, drain: random.one_in(2) });
            }
            ("savepoint", Event::Savepoint { request })
        }
        33 => {
            // A task that nobody waits for, and an id that was never given out.
            let task = TaskId { vertex: VertexId(9), subtask: SubtaskIndex(9) };
            let (checkpoint, reason) = (CheckpointId(9_999), DeclineReason::Busy);
            ("stray", Event::Decline { checkpoint, task, reason })
        }
        _ => ("tick", Event::Tick),
    }
}

#[test]
fn whatever_comes_in_whatever_order_the_rules_hold() {
    let seeds: u64 =
        std::env::var("SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000);
    let mut counts = BTreeMap::<&str, u64>::new();
    for seed in 0..seeds {
        let run = std::panic::catch_unwind(|| run(seed));
        let run = run.unwrap_or_else(|_| panic!("seed {seed} breaks a rule"));
        run.into_iter().for_each(|(what, count)| *counts.entry(what).or_default() += count);
    }
    // Each path was walked: a rule that nothing reaches holds for ever.
    for what in [
        "triggered",
        "complete",
        "aborted",
        "discarded",
        "savepoint",
        "savepoint failed",
        "skipped",
        "job failed",
    ] {
        assert!(counts.get(what).is_some_and(|count| *count >= seeds / 40), "{what}: {counts:?}");
    }
}
