//! Many seeds: in this process for what they put out, in another for their trace hashes.

use std::{
    io::Read as _,
    process::{Child, Command, ExitCode, Stdio},
    thread::JoinHandle,
};

use wiesel_core::Mutant;

use crate::{
    args::Args,
    crash::{Crash, ON_PURPOSE},
    crash_work::Work,
    meeting::Meeting,
    run::{self, Faults},
};

/// Seeds until a seeded fault must have been found, of those that can meet it.
const CANARY_SEEDS: usize = 500;

/// The whole program.
pub(crate) fn main() -> ExitCode {
    let args = match Args::parse() {
        Ok(args) => args,
        Err(error) => {
            eprintln!("sim: {error}");
            return ExitCode::from(2);
        }
    };
    keep_quiet_about_faults();
    let seeds = args.first..args.first.saturating_add(args.seeds);
    if args.hashes {
        for seed in seeds {
            println!("{}", run::run(seed).map_or(0, |ran| ran.trace_hash));
        }
        return ExitCode::SUCCESS;
    }
    println!("sim: first seed {}; SEED=x replays one", args.first);
    if args.seeds == 1 {
        println!("sim: {}", run::describe(args.first));
    }
    let is_sound = if args.canary.is_some() {
        Mutant::choose(args.canary);
        check(&args, None)
    } else {
        find_faults(args.first) & check(&args, Other::start(&args))
    };
    ExitCode::from(u8::from(!is_sound))
}

/// A task that fails because its seed wants it prints nothing.
fn keep_quiet_about_faults() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str() != Some(ON_PURPOSE) {
            hook(panic);
        }
    }));
}

/// Runs the seeds; says whether nothing was violated.
fn check(args: &Args, other: Option<Other>) -> bool {
    let (mut violations, mut steps, mut floods) = (0_u64, 0, 0_u64);
    let (mut crashes, mut faults) = (0_u64, Faults::default());
    let mut hashes = Vec::new();
    for seed in args.first..args.first.saturating_add(args.seeds) {
        floods += u64::from(run::is_flood(seed));
        crashes += u64::from(run::is_crash(seed));
        match run::run(seed) {
            Ok(ran) => {
                hashes.push(ran.trace_hash);
                steps += ran.steps;
                faults.add(ran.faults);
            }
            Err(violation) => {
                violations += 1;
                hashes.push(0);
                println!("sim: SEED={seed}: {violation}");
            }
        }
    }
    let compared = match other {
        None => "trace hashes not compared".to_owned(),
        Some(other) => {
            let others = other.hashes();
            let is_equal = |at: usize| others.get(at) == Some(&hashes[at]);
            for at in (0..hashes.len()).filter(|at| !is_equal(*at)) {
                violations += 1;
                let seed = args.first + at as u64;
                println!("sim: SEED={seed}: another trace hash in another process");
            }
            match (0..hashes.len()).all(is_equal) {
                true => format!("trace hashes equal in another process ({} checked)", hashes.len()),
                false => "trace hashes differ in another process".to_owned(),
            }
        }
    };
    println!(
        "sim: {} seeds ({floods} floods, {crashes} crashed jobs, {steps} turns), {} faults ({} crashes, {} of them \
         behind failed tasks, {} failed tasks, others ran on after {}, {} of the disk, {} flipped bits), {violations} violations, {compared}, first seed {}",
        args.seeds,
        faults.total(),
        faults.crashes,
        faults.both,
        faults.failures,
        faults.regions,
        faults.disk,
        faults.flips,
        args.first
    );
    violations == 0
}

/// Whether a seed has anything to do with a fault, as far as that is known before it runs.
fn can_meet(seed: u64, mutant: Mutant) -> bool {
    match mutant {
        Mutant::UnreadyTurn | Mutant::FrameKept | Mutant::KnockLost | Mutant::EndedEarly => true,
        Mutant::WatermarkFirst => run::is_of_case(seed, |case| case.absent_one_in.is_some()),
        Mutant::RulesUnread => run::is_of_case(seed, |case| {
            case.batch_kib.is_some() && case.meeting == Some(Meeting::Broadcast)
        }),
        // What is stored is committed in one step: only a savepoint has something pending when a job starts from it.
        Mutant::CommitForgotten => run::is_crash(seed) && Crash::of(seed).has_savepoints(),
        Mutant::FiredTimerLost => {
            run::is_crash(seed) && matches!(Crash::of(seed).work, Work::Timers(_))
        }
        Mutant::OldEntryLost => {
            run::is_crash(seed) && matches!(Crash::of(seed).work, Work::Everywhere)
        }
        _ => run::is_crash(seed),
    }
}

/// Lets each seeded fault happen until a seed finds it; says whether all were found.
fn find_faults(first: u64) -> bool {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {})); // Faults may end in assertions, and should.
    let (mut found, mut most) = (0, 0);
    for mutant in Mutant::ALL {
        let is_sound = |seed, fault| {
            Mutant::choose(fault);
            run::run(seed).is_ok()
        };
        let is_found = |seed| is_sound(seed, None) && !is_sound(seed, Some(mutant));
        let meets = |seed: &u64| can_meet(*seed, mutant);
        let seeds = (0..=u64::MAX - first).map(|number| first + number).filter(meets);
        match seeds.take(CANARY_SEEDS).position(is_found) {
            Some(before) => (found, most) = (found + 1, most.max(before + 1)),
            None => println!("sim: the fault {mutant:?} was not found in {CANARY_SEEDS} seeds"),
        }
    }
    Mutant::choose(None);
    std::panic::set_hook(hook);
    println!("sim: {found} of {} seeded faults found, within {most} seeds", Mutant::ALL.len());
    found == Mutant::ALL.len()
}

/// The same seeds in another process.
struct Other {
    child: Child,
    reader: JoinHandle<String>,
}

impl Other {
    fn start(args: &Args) -> Option<Self> {
        let program = std::env::current_exe().ok()?;
        let mut child = Command::new(program)
            .args(["--hashes", "--seed", &args.first.to_string()])
            .args(["--seeds", &args.seeds.to_string()])
            .env_remove("SEED")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut stdout = child.stdout.take()?;
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).map_or(String::new(), |_| text)
        });
        Some(Self { child, reader })
    }

    fn hashes(mut self) -> Vec<u64> {
        let text = self.reader.join().unwrap_or_default();
        let has_ended_well = self.child.wait().is_ok_and(|status| status.success());
        let hashes = text.lines().filter_map(|line| line.parse().ok());
        if has_ended_well { hashes.collect() } else { Vec::new() }
    }
}
