//! Who we are compared with: a loop by hand in this program, and other engines in `bench/peers`, a workspace of its own.
//!
//! # What is always true
//!
//! 1. A peer that is needed is built before anything is measured, those in Rust with the same compiler, processor and
//!    profile; that it is being built is said on standard error.
//! 2. A peer that cannot be built or run is an error, never a missing row.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::workload::Workload;

/// Somebody to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The loop by hand.
    Bare,
    /// Renoir.
    Renoir,
    /// Timely dataflow.
    Timely,
    /// Apache Flink, in a JVM.
    Flink,
    /// Timely with bids that point into the generator's tables and own no text: of q0shuffle only.
    TimelyPointers,
    /// Renoir with such bids.
    RenoirPointers,
}

impl Peer {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Bare,
        Self::Renoir,
        Self::Timely,
        Self::Flink,
        Self::RenoirPointers,
        Self::TimelyPointers,
    ];

    /// What the command line and reports call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Renoir => "renoir",
            Self::Timely => "timely",
            Self::Flink => "flink",
            Self::RenoirPointers => "renoir_ptr",
            Self::TimelyPointers => "timely_ptr",
        }
    }

    /// Whether it has this workload.
    pub const fn can_run(self, workload: Workload) -> bool {
        if workload.is_ours_alone() {
            return false;
        }
        match self {
            Self::Bare => !matches!(workload, Workload::Exchange | Workload::Handoff),
            Self::Renoir | Self::Timely => !matches!(
                workload,
                Workload::Gen
                    | Workload::GenKeys
                    | Workload::GenLines
                    | Workload::GenTweets
                    | Workload::Tumbling
                    | Workload::Sliding
                    | Workload::Session
                    | Workload::Q11
                    | Workload::Chain
                    | Workload::Exchange
                    | Workload::Handoff
            ),
            Self::Flink => matches!(
                workload,
                Workload::Q0
                    | Workload::Q5
                    | Workload::Q7
                    | Workload::Q8
                    | Workload::Q11
                    | Workload::Keyed
                    | Workload::KeyedSkew
                    | Workload::WordCount
                    | Workload::Tumbling
                    | Workload::Sliding
                    | Workload::Session
            ),
            Self::RenoirPointers | Self::TimelyPointers => matches!(workload, Workload::Q0Shuffle),
        }
    }

    /// What the peer's program calls the workload.
    pub fn workload(self, workload: Workload) -> String {
        match self {
            Self::RenoirPointers | Self::TimelyPointers => format!("{workload}_ptr"),
            _ => workload.to_string(),
        }
    }

    /// The program that runs it; built if it has to be.
    ///
    /// # Errors
    ///
    /// If it cannot be built.
    pub fn program(self) -> Result<PathBuf, String> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
        match self {
            Self::Bare => ours(),
            Self::Renoir | Self::RenoirPointers => built(&workspace, "renoir-bench"),
            Self::Timely | Self::TimelyPointers => built(&workspace, "timely-bench"),
            Self::Flink => set_up(&workspace.join("flink").join("run")),
        }
    }
}

fn ours() -> Result<PathBuf, String> {
    env::current_exe().map_err(|error| format!("where this program is: {error}"))
}

/// The program of a package of `workspace`.
fn built(workspace: &Path, package: &str) -> Result<PathBuf, String> {
    let target = ours()?
        .parent()
        .and_then(Path::parent)
        .map_or_else(|| workspace.join("target"), |target| target.join("peers"));
    eprintln!("wiesel-bench: building {package}");
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--release", "--locked", "--package", package])
        .env("CARGO_TARGET_DIR", &target)
        .current_dir(workspace) // So that cargo finds the repository's flags.
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("cargo, to build {package}: {error}"))?;
    if !status.success() {
        return Err(format!("{package} could not be built: see above ({status})"));
    }
    Ok(target.join("release").join(package))
}

/// A program that downloads and compiles what it needs, once, and says so.
fn set_up(run: &Path) -> Result<PathBuf, String> {
    let status = Command::new(run)
        .arg("--set-up")
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("{}: {error}", run.display()))?;
    if !status.success() {
        return Err(format!("{} could not be set up: see above ({status})", run.display()));
    }
    Ok(run.to_owned())
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn flink_can_run_what_its_program_has() {
        let jobs = include_str!("../peers/flink/src/Jobs.java");
        let puts = jobs.lines().filter_map(|line| line.trim().strip_prefix("ALL.put(\""));
        let has: BTreeSet<&str> = puts.filter_map(|put| put.split('"').next()).collect();
        let can_run = Workload::ALL.iter().filter(|workload| Peer::Flink.can_run(**workload));
        assert_eq!(can_run.map(|workload| workload.name()).collect::<BTreeSet<_>>(), has);
    }
}
