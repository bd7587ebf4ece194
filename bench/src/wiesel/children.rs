//! Processes of this program that another one of it starts, stops and kills.
//!
//! ```text
//!   this process ── the same command line, and one variable that says which child ──▶ a child
//!        ◀───────────────────────── lines of words and numbers ─────────────────────────┘
//! ```
//!
//! # What is always true
//!
//! A child is gone when its parent is: also one that stands still.

#![allow(clippy::disallowed_methods, reason = "it starts and kills processes")]

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{self, BufRead, BufReader, Write},
    process::{Child as Process, ChildStdout, Command, Stdio},
    str::FromStr,
};

use nix::{
    sys::{
        prctl::set_pdeathsig,
        signal::{Signal, kill},
    },
    unistd::Pid,
};

/// Says to a process that it is a child, and whatever its parent has to say besides.
const CHILD: &str = "WIESEL_BENCH_CHILD";

/// The first line of a child.
pub const READY: &str = "ready";

/// What the parent has to say, if this process is a child. It ends with its parent from now on, and says that it is ready.
///
/// # Errors
///
/// If the kernel has no such thing.
pub fn told() -> Result<Option<OsString>, String> {
    let told = env::var_os(CHILD);
    if told.is_some() {
        set_pdeathsig(Signal::SIGKILL)
            .map_err(|error| format!("a child of this program: {error}"))?;
        say(READY);
    }
    Ok(told)
}

/// A line for the parent.
pub fn say(line: &str) {
    let mut out = io::stdout().lock();
    // Nobody reads any more: then nobody has to be told.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// A process of this program, killed when this is dropped.
pub struct Child {
    process: Process,
    lines: BufReader<ChildStdout>,
}

impl Child {
    /// Starts one with the command line of this process.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(told: &OsStr) -> Result<Self, String> {
        let said = |error: io::Error| format!("a process of this program: {error}");
        let program = env::current_exe().map_err(said)?;
        let mut process = Command::new(program)
            .args(env::args_os().skip(1))
            .env(CHILD, told)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(said)?;
        let out = process.stdout.take().ok_or("it has no output")?;
        Ok(Self { process, lines: BufReader::new(out) })
    }

    /// The words of the next line that begins with `word`, as numbers.
    ///
    /// # Errors
    ///
    /// If the process ends before, or says something else.
    pub fn next<N: FromStr>(&mut self, word: &str) -> Result<Vec<N>, String> {
        let mut line = String::new();
        loop {
            line.clear();
            let read = self.lines.read_line(&mut line);
            if !read.is_ok_and(|read| read > 0) {
                return Err("a process of this program has ended by itself".to_owned());
            }
            let mut words = line.split_whitespace();
            if words.next() == Some(word) {
                return words
                    .map(|word| word.parse().map_err(|_| format!("not a number: {word}")))
                    .collect();
            }
        }
    }

    /// Whether it has ended.
    ///
    /// # Errors
    ///
    /// If the kernel does not say so.
    pub fn has_ended(&mut self) -> Result<bool, String> {
        let ended = self.process.try_wait();
        ended.map(|ended| ended.is_some()).map_err(|error| error.to_string())
    }

    /// All its threads stand still, until [`Child::go_on`].
    ///
    /// # Errors
    ///
    /// As [`Child::has_ended`].
    pub fn stand_still(&mut self) -> Result<(), String> {
        self.signal(Signal::SIGSTOP)
    }

    /// Goes on where it stands still.
    ///
    /// # Errors
    ///
    /// As [`Child::has_ended`].
    pub fn go_on(&mut self) -> Result<(), String> {
        self.signal(Signal::SIGCONT)
    }

    /// Kills it.
    ///
    /// # Errors
    ///
    /// If that cannot be.
    pub fn kill(mut self) -> Result<(), String> {
        let killed = self.process.kill().and_then(|()| self.process.wait());
        killed.map(|_| ()).map_err(|error| format!("it cannot be killed: {error}"))
    }

    /// For one that has ended nothing: its number may be that of another process.
    fn signal(&mut self, signal: Signal) -> Result<(), String> {
        if self.has_ended()? {
            return Ok(());
        }
        let pid = Pid::from_raw(self.process.id().cast_signed());
        kill(pid, signal).map_err(|error| format!("it cannot be told {signal}: {error}"))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill().and_then(|()| self.process.wait());
    }
}
