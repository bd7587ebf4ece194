//! The kernels: the loops that every record runs through, alone, so that callgrind can count their instructions.
//!
//! ```text
//!   kernels NAME N          one kernel, N operations, result checked
//!   kernels --gate FILE     valgrind kernels NAME N    ┐ difference / N     instructions per operation
//!                           valgrind kernels NAME 2N   ┘ start-up drops out   against FILE: at most 2 % more
//! ```
//!
//! # What is always true
//!
//! 1. No kernel starts an executor or opens a ring, which valgrind does not know; and nothing that is counted depends on
//!    what a clock says. So counts repeat.
//! 2. Input is the same in every run and of a size that does not depend on N: so all that differs between N and 2N
//!    operations is N operations.
//! 3. A kernel checks its result, or it could be fast by doing nothing.
//! 4. What is counted is built for x86-64-v3: the same instructions wherever it was built, and none that valgrind does
//!    not know (AVX-512).

mod baseline;
mod callgrind;
mod chain;
mod exchange;
mod frames;
mod gate;
mod input;
mod tables;

use std::{path::PathBuf, process::ExitCode};

use lexopt::{Arg, Parser, ValueExt};

const HELP: &str = "\
kernels NAME N           runs one kernel for N operations and checks its result
kernels --list           the kernels, and how many operations the gate counts
kernels --gate FILE      instructions per operation against the baselines in FILE: make instructions
kernels --record FILE    writes them: make instructions-record
";

/// One loop.
pub struct Kernel {
    /// As the command line and the baselines call it.
    pub name: &'static str,
    /// Operations that the gate counts: so many that frames and rounds of the input, of which there is not always a
    /// whole number, do not show, and so few that all kernels take less than a minute.
    pub operations: u64,
    /// Runs it so many times and panics if the result is wrong.
    pub run: fn(u64),
}

/// In the order in which a record meets them.
pub const KERNELS: &[Kernel] = &[
    Kernel { name: "key_hash_word", operations: 1 << 18, run: tables::key_hash_word },
    Kernel { name: "key_hash_text", operations: 1 << 17, run: tables::key_hash_text },
    Kernel { name: "frame_write_packed", operations: 1 << 18, run: frames::write_packed },
    Kernel { name: "frame_write_text", operations: 1 << 17, run: frames::write_text },
    Kernel { name: "frame_write_bid", operations: 1 << 16, run: frames::write_bid },
    Kernel { name: "frame_forward", operations: 1 << 16, run: frames::forward },
    Kernel { name: "partition_hash_2", operations: 1 << 18, run: exchange::partition_2 },
    Kernel { name: "partition_hash_128", operations: 1 << 19, run: exchange::partition_128 },
    Kernel { name: "ring", operations: 1 << 18, run: exchange::ring },
    Kernel { name: "watermark_merge", operations: 1 << 15, run: exchange::watermark_merge },
    Kernel { name: "frame_read_packed", operations: 1 << 18, run: frames::read_packed },
    Kernel { name: "frame_read_text", operations: 1 << 18, run: frames::read_text },
    Kernel { name: "view", operations: 1 << 18, run: frames::view },
    Kernel { name: "chain", operations: 1 << 17, run: chain::fused },
    Kernel { name: "table_update", operations: 1 << 16, run: tables::update },
    Kernel { name: "table_update_text", operations: 1 << 16, run: tables::update_text },
    Kernel { name: "table_grow", operations: 1 << 15, run: tables::grow },
];

/// What the command line asks for.
enum Command {
    Help,
    List,
    Run(&'static Kernel, u64),
    Gate(PathBuf),
    Record(PathBuf),
}

fn main() -> ExitCode {
    let done = match parse(Parser::from_env()) {
        Ok(Command::Help) => {
            print!("{HELP}");
            Ok(true)
        }
        Ok(Command::List) => {
            KERNELS.iter().for_each(|kernel| println!("{:20} {}", kernel.name, kernel.operations));
            Ok(true)
        }
        Ok(Command::Run(kernel, operations)) => {
            (kernel.run)(operations);
            println!("{}: {operations} operations, checked", kernel.name);
            Ok(true)
        }
        Ok(Command::Gate(baselines)) => gate::gate(&baselines),
        Ok(Command::Record(baselines)) => gate::record(&baselines).map(|()| true),
        Err(error) => {
            eprintln!("kernels: {error}\ntry: kernels --help");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("kernels: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut parser: Parser) -> Result<Command, lexopt::Error> {
    let command = match parser.next()? {
        None | Some(Arg::Long("help") | Arg::Short('h')) => Command::Help,
        Some(Arg::Long("list")) => Command::List,
        Some(Arg::Long("gate")) => Command::Gate(parser.value()?.into()),
        Some(Arg::Long("record")) => Command::Record(parser.value()?.into()),
        Some(Arg::Value(name)) => {
            let name = name.string()?;
            let kernel = KERNELS.iter().find(|kernel| kernel.name == name);
            let kernel = kernel.ok_or_else(|| format!("`{name}` is not a kernel; see --list"))?;
            Command::Run(kernel, parser.value()?.parse()?)
        }
        Some(other) => return Err(other.unexpected()),
    };
    match parser.next()? {
        None => Ok(command),
        Some(other) => Err(other.unexpected()),
    }
}
