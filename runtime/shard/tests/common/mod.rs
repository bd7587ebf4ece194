//! What the tests of both machines share: running a launch, a limit in time, operations in a row.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{io, path::PathBuf};

use wiesel_core::{Nanos, seconds};
use wiesel_shard::{Io, Launch, Next, Outcome, Program, Report, Shard, ShardSpec, Token};

/// Unpinned shards that never spin: every hand-over parks.
pub fn parked(count: usize) -> Launch {
    Launch::new(ShardSpec::spread(count, &[])).expect("descriptors for the bells")
}

/// Runs what `build` launches; in simulation under many seeds, of which the last one's report comes back.
#[cfg(not(sim))]
pub fn run(build: impl FnOnce() -> Launch) -> Report {
    wiesel_shard::Machine::start(build()).expect("a fit machine").join()
}

#[cfg(sim)]
pub fn run(build: impl Fn() -> Launch) -> Report {
    use wiesel_shard::{SimConfig, Simulation};
    let mut last = None;
    for seed in 0..100 {
        let launch = build(); // First: it may install a disk.
        let ran = Simulation::new(SimConfig::with_seed(seed)).run(launch);
        let report = ran.expect("it comes to its end").report;
        last = Some(report);
    }
    last.expect("a hundred seeds")
}

/// A folder for a test, and what removes it.
#[cfg(not(sim))]
pub fn folder() -> (PathBuf, impl Sized) {
    let folder = tempfile::tempdir().expect("a folder");
    (folder.path().to_owned(), folder)
}

#[cfg(sim)]
pub fn folder() -> (PathBuf, impl Sized) {
    wiesel_shard::SimDisk::new().install();
    wiesel_shard::fs::create_dir_all("/data").expect("an empty disk");
    ("/data".into(), ())
}

/// Ends a test that hangs with a panic instead.
pub struct Limit(pub Option<Nanos>);

impl Limit {
    pub fn check(&mut self, shard: &Shard) {
        let limit = *self.0.get_or_insert(shard.now() + seconds(60));
        assert!(shard.now() < limit, "nothing happened for a minute");
    }
}

/// A program that does one operation after the other: each step gets the outcome of the one before.
pub struct Script<F> {
    step: F,
    token: Option<Token>,
    last: Option<io::Result<Outcome>>,
    limit: Limit,
}

impl<F: FnMut(&Io, Option<io::Result<Outcome>>) -> Option<Token>> Program for Script<F> {
    fn turn(&mut self, shard: &Shard) -> Next {
        self.limit.check(shard);
        if let Some(token) = self.token {
            let Some(completion) = shard.io().take(token) else { return Next::IDLE };
            self.last = Some(completion);
        }
        self.token = (self.step)(&shard.io(), self.last.take());
        if self.token.is_some() { Next::Again } else { Next::Done }
    }
}

pub fn script(
    step: impl FnMut(&Io, Option<io::Result<Outcome>>) -> Option<Token> + 'static,
) -> Box<dyn Program> {
    Box::new(Script { step, token: None, last: None, limit: Limit(None) })
}
