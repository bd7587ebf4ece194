//! Killed at any moment and started again, the job has every trend in its files once: the oracle's, byte for byte.
//!
//! `KILLS=50 cargo test --release -p wiesel-examples --test kill -- --nocapture`; a few of them by default.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // Processes and files, from outside.

use std::{
    env, fs,
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime},
};

use common::*;

mod common;

/// Passes over the file: some seconds of work, as it is checked after each kill how far it came.
const PASSES: u32 = 40;
/// One checkpoint in so many milliseconds, so that there are some between two kills.
const INTERVAL: &str = "execution.checkpointing.interval=20 ms";

/// What is visible, sorted as the oracle's lines are: by window, then rank.
fn visible(out: &Path) -> String {
    let mut lines = Vec::new();
    for file in fs::read_dir(out).expect("a folder") {
        let path = file.expect("a file").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(name.starts_with("part-"), "left behind: {name}");
        lines.extend(fs::read_to_string(path).expect("text").lines().map(str::to_owned));
    }
    let key = |line: &String| {
        let mut words = line.split(' ').map(|word| word.parse::<u64>().unwrap_or(0));
        (words.next(), words.nth(1))
    };
    lines.sort_by_key(key);
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn killed_and_started_again_it_has_every_trend_once() {
    let kills: u32 = env::var("KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(6);
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let mut random = seed.as_nanos() as u64;
    println!("seed {random}");
    let folder = tempfile::tempdir().expect("a folder");
    let (out, checkpoints) = (folder.path().join("out"), folder.path().join("checkpoints"));
    let dir = format!("execution.checkpointing.dir={}", checkpoints.display());
    let (passes, file) = (PASSES.to_string(), posts());
    let start = |parallelism: &str| {
        let program = ["--", file.to_str().expect("text"), out.to_str().expect("text"), &passes];
        let flags = ["--parallelism", parallelism, "-D", INTERVAL, "-D", &dir];
        command(TO_FILES, &[flags.as_slice(), program.as_slice()].concat())
    };
    let mut killed = 0;
    while killed < kills {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let delay = Duration::from_millis(20 + (random >> 33) % 400);
        let parallelism = ["1", "2", "3"][(random >> 61) as usize % 3];
        let mut child = start(parallelism).spawn().expect("the program was built");
        let until = Instant::now() + delay;
        while Instant::now() < until && child.try_wait().expect("a child").is_none() {
            thread::sleep(Duration::from_millis(1));
        }
        if child.try_wait().expect("a child").is_some() {
            // It came to its end in spite of all: begin anew.
            let ended = child.wait_with_output().expect("a child");
            let err = String::from_utf8_lossy(&ended.stderr);
            assert!(ended.status.success() || err.contains("has finished"), "{err}");
            check(&out);
            fs::remove_dir_all(&out).expect("its output");
            fs::remove_dir_all(&checkpoints).expect("its checkpoints");
            continue;
        }
        child.kill().expect("SIGKILL");
        child.wait().expect("a child");
        killed += 1;
    }
    // At another parallelism, to the end.
    let ended = ended(start("3"));
    assert!(ended.code == Some(0) || ended.err.contains("has finished"), "{}", ended.err);
    check(&out);
}

#[test]
fn killed_behind_a_savepoint_and_started_from_it_it_has_every_trend_once() {
    let rounds: usize = env::var("KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let mut random = seed.as_nanos() as u64;
    println!("seed {random}");
    let folder = tempfile::tempdir().expect("a folder");
    let (passes, file) = (PASSES.to_string(), posts());
    // Each round in folders of its own: what it commits behind its savepoint is written again by the next one.
    let arguments = |round: usize, more: &[&str]| {
        let dir = folder.path().join(format!("checkpoints-{round}"));
        let dir = format!("execution.checkpointing.dir={}", dir.display());
        let out = folder.path().join(format!("out-{round}")).display().to_string();
        let own = ["-D", INTERVAL, "-D", &dir, "--", file.to_str().expect("text"), &out, &passes];
        command(TO_FILES, &[more, &own].concat())
    };
    let savepoints = folder.path().join("savepoints").display().to_string();
    let (mut made, mut kept) = (None::<String>, Vec::new());
    for round in 0.. {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let parallelism = ["1", "2", "3", "5"][(random >> 61) as usize % 4];
        let mut flags = vec!["--parallelism", parallelism];
        flags.extend(made.iter().flat_map(|path| ["-s", path]));
        let out = folder.path().join(format!("out-{round}"));
        if round == rounds {
            let ended = ended(arguments(round, &flags));
            assert_eq!(ended.code, Some(0), "{}", ended.err);
            kept.push((out, None));
            break;
        }
        let mut child = arguments(round, &flags).spawn().expect("the program was built");
        thread::sleep(Duration::from_millis(50 + (random >> 33) % 300));
        let mut answer = ended(arguments(round, &["savepoint", &savepoints]));
        while answer.code != Some(0) && child.try_wait().expect("a child").is_none() {
            // It is starting.
            thread::sleep(Duration::from_millis(5));
            answer = ended(arguments(round, &["savepoint", &savepoints]));
        }
        if answer.code != Some(0) {
            let ended = child.wait_with_output().expect("a child");
            let err = String::from_utf8_lossy(&ended.stderr);
            assert!(ended.status.success(), "{err}");
            kept.push((out, None));
            break; // It was done before it could be asked.
        }
        child.kill().expect("SIGKILL");
        child.wait().expect("a child");
        let path = answer.out.trim_end().to_owned();
        let number = path.rsplit('-').next().and_then(|number| number.parse::<u64>().ok());
        kept.push((out, Some(number.expect("a number"))));
        made = Some(path);
    }
    // Of each round what lies in front of its savepoint. That was pending then is visible since the next round began.
    let all = folder.path().join("all");
    fs::create_dir(&all).expect("a disk");
    for (round, (out, savepoint)) in kept.into_iter().enumerate() {
        for file in fs::read_dir(out).expect("a folder") {
            let path = file.expect("a file").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let number = name.rsplit('-').next().and_then(|number| number.parse::<u64>().ok());
            let is_before = savepoint.is_none_or(|savepoint| number <= Some(savepoint));
            if name.starts_with("part-") && is_before {
                fs::copy(&path, all.join(format!("{name}-{round}"))).expect("a disk");
            }
        }
    }
    check(&all);
}

#[track_caller]
fn check(out: &Path) {
    same_lines(&visible(out), &oracle(&posts(), PASSES), "the committed files");
}
