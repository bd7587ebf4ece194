//! A job that runs is asked by its own program, from another process.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // Processes, files and sockets, from outside.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::Child,
    thread,
    time::Duration,
};

use common::*;

mod common;

/// More passes over the file than anybody waits for.
const PASSES: &str = "100000";

/// A job in a folder of its own.
struct Job {
    folder: tempfile::TempDir,
    dir: String,
}

impl Job {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = format!("execution.checkpointing.dir={}", folder.path().join("chk").display());
        Self { folder, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The arguments of the program: `more`, its folder of checkpoints, its own.
    fn arguments<'a>(&'a self, more: &[&'a str], out: &'a str) -> Vec<&'a str> {
        let often = "execution.checkpointing.interval=20 ms";
        let own = ["-D", &self.dir, "-D", often, "--", "examples/data/posts.jsonl", out, PASSES];
        [more, &own].concat()
    }

    /// Where it has its checkpoints.
    fn checkpoints(&self) -> PathBuf {
        let mut jobs = std::fs::read_dir(self.path("chk")).expect("a folder");
        jobs.next().expect("the job has run").expect("a folder").path()
    }

    fn ask(&self, more: &[&str]) -> Ended {
        run(TO_FILES, &self.arguments(more, "nowhere"))
    }

    /// Starts it and waits until it has taken a checkpoint.
    fn start(&self) -> Child {
        let out = self.path("out").display().to_string();
        let mut child = command(TO_FILES, &self.arguments(&["--parallelism", "2"], &out));
        let mut child = child.spawn().expect("the program was built");
        loop {
            let asked = self.ask(&["status"]);
            if asked.out.contains("last checkpoint") {
                assert!(asked.out.starts_with("trends to files: RUNNING\n"), "{}", asked.out);
                return child;
            }
            let ended = child.try_wait().expect("a child");
            assert!(ended.is_none(), "it has ended: {ended:?}; {asked:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[track_caller]
    fn is_refused(&self, more: &[&str], code: i32, words: &[&str]) {
        let asked = self.ask(more);
        assert_eq!((asked.code, asked.out.as_str()), (Some(code), ""), "{more:?}: {}", asked.err);
        for word in words {
            assert!(asked.err.contains(word), "{more:?}: no `{word}` in {}", asked.err);
        }
        assert_eq!(asked.err.lines().count(), 1, "{}", asked.err);
    }

    /// Asks for a savepoint; its folder.
    fn savepoint(&self, more: &[&str]) -> PathBuf {
        let asked = self.ask(more);
        assert_eq!((asked.code, asked.err.as_str()), (Some(0), ""), "{more:?}: {}", asked.out);
        let path = PathBuf::from(asked.out.trim_end());
        assert!(path.is_absolute() && path.join("_metadata").is_file(), "{}", asked.out);
        path
    }
}

fn ended_with(child: Child) -> (Option<i32>, String) {
    let ended = child.wait_with_output().expect("a child");
    (ended.status.code(), String::from_utf8(ended.stderr).expect("text"))
}

#[test]
fn it_says_what_it_does_and_takes_savepoints() {
    let job = Job::new();
    job.is_refused(&["status"], 3, &["`trends to files`", "does not run", "chk/trends-to-files"]);
    assert!(!job.path("chk").exists() && !root().join("nowhere").exists(), "asking makes nothing");
    let child = job.start();
    let status = job.ask(&["status"]).out;
    for figure in ["process", &child.id().to_string(), "records read", "checkpoints", "restarts"] {
        assert!(status.contains(figure), "no {figure} in {status}");
    }

    // What is no question harms nobody.
    let socket = job.checkpoints().join("_control");
    let mut rubbish = UnixStream::connect(&socket).expect("it listens");
    rubbish.write_all(b"GET / HTTP/1.1\n").expect("it reads");
    let mut answer = String::new();
    rubbish.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains("refused") && answer.contains("no number"), "{answer}");
    let _silent = UnixStream::connect(&socket).expect("it listens");

    job.is_refused(&["savepoint"], 1, &["execution.checkpointing.savepoint-dir"]);
    let file = root().join("examples/data/posts.jsonl").display().to_string();
    job.is_refused(&["savepoint", &file], 1, &["no savepoint was taken", "is not a folder"]);
    let made = job.savepoint(&["savepoint", job.path("saved").to_str().expect("text")]);
    assert!(made.starts_with(job.path("saved")), "{}", made.display());
    let own = format!("execution.checkpointing.savepoint-dir={}", job.path("own").display());
    let out = job.path("out").display().to_string();
    let second = run(TO_FILES, &job.arguments(&["-D", &own], &out));
    assert!(second.err.contains(&format!("process {}", child.id())), "{}", second.err);

    // Another program has none of its operators.
    let words = ["-s", made.to_str().expect("text"), "-n", "-D", &job.dir];
    let mut words = command(WORD_COUNT, &words);
    words.env("WIESEL_LOG", "wiesel_cluster=warn");
    let words = ended(words); // It has a `counts`, whose state is another.
    let dropped = "state that no operator of the program takes is dropped: operator `posts`";
    assert!(words.err.contains(dropped), "{}", words.err);

    let path = job.savepoint(&["stop", "--drain", "-p", job.path("saved").to_str().expect("text")]);
    let again = run(TO_FILES, &job.arguments(&[], &out));
    let name = path.file_name().expect("a name").to_string_lossy();
    let drained = format!("was drained by the savepoint {name}");
    assert!(again.err.contains(&drained), "its folder is free at once: {}", again.err);
    assert_eq!(ended_with(child), (Some(0), String::new()));
    assert_ne!(path, made);
    assert!(!socket.exists());
    job.is_refused(&["stop"], 3, &["does not run"]);
}

#[test]
fn it_is_cancelled_and_a_socket_that_was_left_is_no_job() {
    let job = Job::new();
    let mut child = job.start();
    child.kill().expect("SIGKILL");
    child.wait().expect("a child");
    assert!(job.checkpoints().join("_control").exists());
    job.is_refused(&["status"], 3, &["does not run"]);
    let child = job.start();
    let cancelled = job.ask(&["cancel"]);
    let said = "job `trends to files` is cancelled\n";
    assert_eq!((cancelled.code, cancelled.out.as_str()), (Some(0), said), "{}", cancelled.err);
    let (code, table) = ended_with(child);
    assert_eq!(code, Some(143), "{table}");
    assert!(
        table.contains("trends to files: CANCELED") && table.contains("continued from"),
        "{table}"
    );
}

#[test]
fn wrong_words_are_named() {
    let job = Job::new();
    job.is_refused(&["statsu"], 2, &["unknown command `statsu`: did you mean `status`?"]);
    job.is_refused(&["cancel", "now"], 2, &["unexpected argument `now`"]);
    job.is_refused(&["savepoint", "--drain"], 2, &["`--drain` is a flag of the command `stop`"]);
    let without = run(TO_FILES, &["status", "-D", "execution.checkpointing.dir=auto"]);
    assert_eq!(without.code, Some(2), "{}", without.err);
    assert!(without.err.contains("execution.checkpointing.dir"), "{}", without.err);
}
