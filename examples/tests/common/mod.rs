//! Runs the programs of this crate as a user does, and says what they printed and how they ended.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

pub const TRENDING: &str = env!("CARGO_BIN_EXE_trending_hashtags");
pub const TO_FILES: &str = env!("CARGO_BIN_EXE_trends_to_files");
pub const DEMO: &str = env!("CARGO_BIN_EXE_demo");
pub const WORD_COUNT: &str = env!("CARGO_BIN_EXE_word_count");
pub const GENERATE_POSTS: &str = env!("CARGO_BIN_EXE_generate_posts");
pub const CHANGELOGS: &str = env!("CARGO_BIN_EXE_changelog_trends");

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("examples/ is in the root").to_owned()
}

pub fn posts() -> PathBuf {
    root().join("examples/data/posts.jsonl")
}

/// A program that has not started: no environment but a silent log, nothing on standard input.
pub fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().current_dir(root());
    command.env("WIESEL_LOG", "off"); // What an old kernel lacks is logged, and no test's business.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub fn run(program: &str, arguments: &[&str]) -> Ended {
    ended(command(program, arguments))
}

pub fn ended(mut command: Command) -> Ended {
    let output = command.output().expect("the program was built");
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

/// Runs a program that reads `input`.
pub fn run_on(input: &[u8], program: &str, arguments: &[&str]) -> Ended {
    let mut command = command(program, arguments);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the program was built");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_vec();
    let writer = thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("no panic").expect("everything is read");
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

/// What the oracle says about a file.
pub fn oracle(file: &Path, repeat: u32) -> String {
    let mut python = Command::new("python3");
    python.arg(root().join("tests/oracle_trending.py")).arg("--repeat").arg(repeat.to_string());
    let output = python.arg(file).output().expect("python3 is installed (make setup)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Asserts that `got` is `want`, and names the first line that is not.
#[track_caller]
pub fn same_lines(got: &str, want: &str, what: &str) {
    let differs = got.lines().zip(want.lines()).zip(1..).find(|((a, b), _)| a != b);
    assert_eq!(differs, None, "{what}: first line that differs (got, want)");
    assert_eq!(got.lines().count(), want.lines().count(), "{what}: lines");
}
