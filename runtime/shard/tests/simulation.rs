//! What the simulated machine promises: a seed replays, lost wake-ups are found, every policy works.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests of the seam")]
#![cfg(all(sim, not(loom)))]

use std::{collections::BTreeSet, env, process::Command};

use wiesel_core::{Nanos, ShardId, millis};
use wiesel_shard::{
    Door, File, Launch, Next, Outcome, Policy, Program, Shard, ShardSpec, SimConfig, SimDisk,
    SimError, SimReport, Simulation, Token,
    ring::{Consumer, Producer, ring},
};

/// What is broken in a [`Node`] on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    None,
    /// It pushes and does not knock.
    NoKnock,
    /// It says that it is idle without a look at its last ring.
    OneRingUnseen,
    /// It does not say that room has come, to those who wait for room.
    NoKnockBack,
}

/// Floods all others through tiny rings with numbers, and sums what it gets. Nothing waits: what does not fit is
/// kept for the next turn.
struct Node {
    to: Vec<(Producer<u64>, Door)>,
    from: Vec<(Consumer<u64>, Door)>,
    left: Vec<u64>,
    sum: u64,
    expected: u64,
    mutant: Mutant,
}

impl Program for Node {
    fn turn(&mut self, shard: &Shard) -> Next {
        let mut quantum = shard.quantum(millis(1));
        let mut worked = false;
        let seen = match self.mutant {
            Mutant::OneRingUnseen if self.from.len() > 1 && shard.random().is_multiple_of(4) => 1,
            _ => 0,
        };
        for (from, back) in &mut self.from[seen..] {
            while let Some(value) = from.pop() {
                worked = true;
                self.sum += value;
                if self.mutant != Mutant::NoKnockBack {
                    back.knock();
                }
                if quantum.spent() {
                    return Next::Again;
                }
            }
        }
        for ((to, door), left) in self.to.iter_mut().zip(&mut self.left) {
            while *left > 0 && to.push(*left).is_ok() {
                worked = true;
                *left -= 1;
                if self.mutant != Mutant::NoKnock {
                    door.knock();
                }
                if quantum.spent() {
                    return Next::Again;
                }
            }
        }
        if self.sum == self.expected && self.left.iter().all(|left| *left == 0) {
            assert!(self.sum <= self.expected, "more than was sent");
            shard.trace(self.sum);
            return Next::Done;
        }
        if worked { Next::Again } else { Next::IDLE }
    }
}

/// All to all: `nodes` shards, rings of `slots`, `count` numbers on each.
fn mesh(nodes: usize, slots: usize, count: u64, mutant: Mutant) -> Launch {
    let mut launch = Launch::new(ShardSpec::spread(nodes, &[])).expect("nothing that can fail");
    let ids = launch.ids();
    let mut ends = ids.iter().map(|_| (Vec::new(), Vec::new())).collect::<Vec<_>>();
    for (a, b) in ids.iter().flat_map(|a| ids.iter().map(move |b| (a.index(), b.index()))) {
        if a != b {
            let (to, from) = ring(slots);
            ends[a].0.push((to, launch.door(ids[b])));
            ends[b].1.push((from, launch.door(ids[a])));
        }
    }
    for (id, (to, from)) in ids.into_iter().zip(ends) {
        launch.program(id, move |_| {
            let left = vec![count; to.len()];
            let expected = from.len() as u64 * count * (count + 1) / 2;
            Box::new(Node { to, from, left, sum: 0, expected, mutant })
        });
    }
    launch
}

fn simulate(seed: u64, policy: Policy, launch: Launch) -> Result<SimReport, SimError> {
    Simulation::new(SimConfig::with_seed(seed).policy(policy)).run(launch)
}

#[test]
fn every_policy_brings_a_flooded_mesh_to_its_end() {
    use Policy::{Burst, Mixed, Priority, Random, RoundRobin, Starve};
    for policy in [Mixed, Random, RoundRobin, Starve, Burst, Priority] {
        let mut hashes = BTreeSet::new();
        for seed in 0..60 {
            let launch = || mesh(2 + seed as usize % 3, 1 + seed as usize % 2, 40, Mutant::None);
            let ran = simulate(seed, policy, launch()).expect("it ends");
            ran.report.outcome().expect("no panic");
            let again = simulate(seed, policy, launch()).expect("it ends");
            assert_eq!(
                (ran.trace_hash, ran.steps, ran.elapsed),
                (again.trace_hash, again.steps, again.elapsed),
                "{policy:?}, seed {seed}"
            );
            hashes.insert(ran.trace_hash);
        }
        assert_eq!(hashes.len(), 60, "{policy:?}: other seeds are other runs");
    }
}

#[test]
fn lost_wake_ups_are_found() {
    for mutant in [Mutant::NoKnock, Mutant::OneRingUnseen, Mutant::NoKnockBack] {
        let found = (0..200).find_map(|seed| {
            let error = simulate(seed, Policy::Mixed, mesh(3, 1, 20, mutant)).err()?;
            Some((seed, error))
        });
        let (seed, error) = found.unwrap_or_else(|| panic!("{mutant:?} was not found"));
        assert!(matches!(error, SimError::Deadlock { .. }), "{mutant:?}: {error}");
        assert!(error.to_string().starts_with(&format!("seed {seed}: nothing left to happen")));
        let again =
            simulate(seed, Policy::Mixed, mesh(3, 1, 20, mutant)).expect_err("the seed replays");
        assert_eq!(again, error);
    }
}

#[test]
fn a_program_without_end_is_found() {
    let mut launch = Launch::new(ShardSpec::spread(1, &[])).expect("nothing that can fail");
    launch.program(ShardId(0), |_| Box::new(|_: &Shard| Next::Again));
    let error = Simulation::new(SimConfig::with_seed(3).steps_max(1_000)).run(launch);
    let error = error.expect_err("it never ends").to_string();
    assert_eq!(error, "seed 3: not at its end after 1000 steps; these still run: shard-0");
}

const SEED: &str = "WIESEL_TEST_SEED";

/// Run by the next test in a process of its own; alone it has no seed to run and only checks that.
#[test]
fn prints_the_hash_of_a_seed() {
    let seed = env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    if let Some(seed) = seed {
        let ran = simulate(seed, Policy::Mixed, mesh(4, 2, 50, Mutant::None)).expect("it ends");
        println!("hash={:016x}", ran.trace_hash);
    }
    assert_eq!(seed.is_some(), env::var_os(SEED).is_some());
}

#[test]
fn a_seed_gives_the_same_hash_in_another_process() {
    let this = env::current_exe().expect("this test's program");
    for seed in [1, 2, 0xdead_beef] {
        let other = Command::new(&this)
            .args(["--exact", "prints_the_hash_of_a_seed", "--nocapture"])
            .env(SEED, u64::to_string(&seed))
            .output()
            .expect("it runs");
        let printed = String::from_utf8(other.stdout).expect("text");
        let ran = simulate(seed, Policy::Mixed, mesh(4, 2, 50, Mutant::None)).expect("it ends");
        assert!(printed.contains(&format!("hash={:016x}", ran.trace_hash)), "{printed}");
    }
}

#[test]
fn virtual_time_jumps_to_timers() {
    for seed in 0..50 {
        let mut launch = Launch::new(ShardSpec::spread(1, &[])).expect("nothing that can fail");
        launch.program(ShardId(0), |shard: Shard| {
            let due = shard.now() + wiesel_core::hours(10);
            let day = shard.wall_time();
            Box::new(move |shard: &Shard| {
                if shard.now() < due {
                    return Next::Idle { until: Some(due) };
                }
                assert!(shard.now() < due + millis(100), "late: {:?}", shard.now());
                assert!(shard.wall_time() >= day + wiesel_core::hours(10));
                Next::Done
            })
        });
        let ran = simulate(seed, Policy::Mixed, launch).expect("it ends");
        assert!(ran.steps < 20_000 && Nanos(0) + ran.elapsed >= Nanos(0) + wiesel_core::hours(10));
    }
}

#[test]
fn the_standard_streams_are_the_disks() {
    for (seed, closed) in (0..40).zip([false, true].into_iter().cycle()) {
        let disk = SimDisk::new();
        let text = "some lines\nof text\n".repeat(500);
        disk.set_stdin(text.clone());
        if closed {
            disk.close_stdout();
        }
        let mut launch = Launch::new(ShardSpec::spread(1, &[])).expect("nothing that can fail");
        // What `cat` does.
        launch.program(ShardId(0), move |_| {
            let (from, to) = (File::stdin(), File::stdout());
            let (mut token, mut reading) = (None::<Token>, true);
            Box::new(move |shard: &Shard| {
                let io = shard.io();
                let read = || io.read_stream(&from, Vec::with_capacity(1_000));
                let Some(completion) = io.take(*token.get_or_insert_with(read)) else {
                    return Next::IDLE;
                };
                token = Some(match completion {
                    Ok(Outcome::Bytes { count: 0, .. }) => return Next::Done,
                    Ok(Outcome::Bytes { buffer, .. }) if reading => {
                        reading = false;
                        io.write_stream(&to, buffer)
                    }
                    Ok(_) => {
                        reading = true;
                        read()
                    }
                    Err(error) => {
                        assert!(
                            closed && error.to_string() == "write stdout: broken pipe",
                            "{error}"
                        );
                        return Next::Done;
                    }
                });
                Next::Again
            })
        });
        let config = SimConfig::with_seed(seed).disk(disk.clone());
        let ran = Simulation::new(config).run(launch).expect("it ends");
        ran.report.outcome().expect("no panic");
        assert_eq!(disk.stdout() == text.as_bytes(), !closed);
    }
}
