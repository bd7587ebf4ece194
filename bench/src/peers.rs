//! Who we are compared with: a loop by hand in this program, and other engines in `bench/peers`, a workspace of its own.
//!
//! # What is always true
//!
//! 1. A peer that is needed is built before anything is measured, with the same compiler, processor and profile; that
//!    it is being built is said on standard error.
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
    /// Timely with bids that point into the generator's tables and own no text: of q0shuffle only.
    TimelyPointers,
    /// Renoir with such bids.
    RenoirPointers,
}

impl Peer {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Bare, Self::Renoir, Self::Timely, Self::RenoirPointers, Self::TimelyPointers];

    /// What the command line and reports call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Renoir => "renoir",
            Self::Timely => "timely",
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

    /// The package of its program.
    const fn package(self) -> Option<&'static str> {
        match self {
            Self::Bare => None,
            Self::Renoir | Self::RenoirPointers => Some("renoir-bench"),
            Self::Timely | Self::TimelyPointers => Some("timely-bench"),
        }
    }

    /// The program that runs it; built if it has to be.
    ///
    /// # Errors
    ///
    /// If it cannot be built.
    pub fn program(self) -> Result<PathBuf, String> {
        let ours = env::current_exe().map_err(|error| format!("where this program is: {error}"))?;
        let Some(package) = self.package() else { return Ok(ours) };
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
        let target = ours
            .parent()
            .and_then(Path::parent)
            .map_or_else(|| workspace.join("target"), |target| target.join("peers"));
        eprintln!("wiesel-bench: building {package}");
        let status = Command::new("cargo")
            .args(["build", "--quiet", "--release", "--locked", "--package", package])
            .env("CARGO_TARGET_DIR", &target)
            .current_dir(&workspace) // So that cargo finds the repository's flags.
            .stdout(Stdio::null())
            .status()
            .map_err(|error| format!("cargo, to build {package}: {error}"))?;
        if !status.success() {
            return Err(format!("{package} could not be built: see above ({status})"));
        }
        Ok(target.join("release").join(package))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
