//! The same programs on both machines: parking, more shards than cores, panics, timers, files, pipes, sockets.
//!
//! Nothing here sleeps: programs poll, and give up when the shard's clock passes a limit far beyond need. Under
//! `--cfg sim` each test runs under a hundred seeds.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests of the seam")]
#![cfg(not(loom))]

use std::{
    cell::{Cell, RefCell},
    io::ErrorKind,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use wiesel_core::{Nanos, ShardId, millis, seconds};
use wiesel_shard::{
    CreateMode, Door, File, Io, Launch, Next, Outcome, Program, Report, Shard, ShardSpec, Token,
    available_cores, fs,
    ring::{Consumer, Producer, ring},
};

/// Unpinned shards that never spin: every hand-over parks.
fn parked(count: usize) -> Launch {
    Launch::new(ShardSpec::spread(count, &[])).expect("descriptors for the bells")
}

/// Runs what `build` launches; in simulation under many seeds, of which the last one's report comes back.
#[cfg(not(sim))]
fn run(build: impl FnOnce() -> Launch) -> Report {
    wiesel_shard::Machine::start(build()).expect("a fit machine").join()
}

#[cfg(sim)]
fn run(build: impl Fn() -> Launch) -> Report {
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
fn folder() -> (PathBuf, impl Sized) {
    let folder = tempfile::tempdir().expect("a folder");
    (folder.path().to_owned(), folder)
}

#[cfg(sim)]
fn folder() -> (PathBuf, impl Sized) {
    wiesel_shard::SimDisk::new().install();
    wiesel_shard::fs::create_dir_all("/data").expect("an empty disk");
    ("/data".into(), ())
}

/// Ends a test that hangs with a panic instead.
struct Limit(Option<Nanos>);

impl Limit {
    fn check(&mut self, shard: &Shard) {
        let limit = *self.0.get_or_insert(shard.now() + seconds(60));
        assert!(shard.now() < limit, "nothing happened for a minute");
    }
}

/// Takes numbers from one ring and passes them on, one more each, until `last`.
struct Relay {
    from: Consumer<u64>,
    to: Producer<u64>,
    next: Door,
    last: u64,
    limit: Limit,
}

impl Program for Relay {
    fn turn(&mut self, shard: &Shard) -> Next {
        self.limit.check(shard);
        match self.from.pop() {
            Some(number) if number >= self.last => Next::Done,
            Some(number) => {
                assert!(self.to.push(number + 1).is_ok(), "one number goes round a ring with room");
                self.next.knock();
                Next::Again
            }
            None if self.from.is_closed() => Next::Done,
            None => Next::IDLE,
        }
    }
}

/// A number goes round all shards until it is `last`.
fn go_round(specs: &[ShardSpec], last: u64) {
    run(|| round(Launch::new(specs.to_vec()).expect("descriptors"), last))
        .outcome()
        .expect("no panic");
}

fn round(mut launch: Launch, last: u64) -> Launch {
    let ids = launch.ids();
    let (producers, mut consumers): (Vec<_>, Vec<_>) = ids.iter().map(|_| ring(2)).unzip();
    consumers.rotate_right(1);
    for ((id, to), from) in ids.iter().zip(producers).zip(consumers) {
        let next = launch.door(ids[(id.index() + 1) % ids.len()]);
        let starts = id.index() == 0;
        launch.program(*id, move |_| {
            let mut relay = Relay { from, to, next, last, limit: Limit(None) };
            if starts {
                assert!(relay.to.push(0).is_ok());
                relay.next.knock();
            }
            Box::new(relay)
        });
    }
    launch
}

#[test]
fn shards_that_park_wake_each_other() {
    go_round(&ShardSpec::spread(2, &[]), 2_000);
}

#[test]
fn pinned_shards_that_spin_pass_numbers_on() {
    let cores = available_cores();
    let specs = ShardSpec::spread(cores.len().min(2), &cores);
    assert!(specs.iter().all(|spec| spec.core.is_some() && !spec.spin.is_zero()));
    go_round(&specs, 2_000);
}

#[test]
fn more_shards_than_cores_work() {
    go_round(&ShardSpec::spread(available_cores().len().max(2) * 2 + 3, &[]), 2_000);
}

#[test]
fn a_panic_ends_one_program_and_closes_its_rings() {
    let report = run(|| {
        let mut launch = parked(3);
        let ids = launch.ids();
        let (mut to, mut from) = ring::<u64>(1);
        launch.program(ids[0], move |_| {
            let mut turns = 0;
            Box::new(move |_: &Shard| {
                turns += 1;
                assert!(turns < 3, "three is too many, {}", to.push(7).is_ok());
                Next::Again
            })
        });
        launch.program(ids[1], move |_| {
            let mut limit = Limit(None);
            Box::new(move |shard: &Shard| {
                limit.check(shard);
                match from.pop() {
                    Some(7) => Next::Again,
                    Some(other) => panic!("{other}"),
                    None if from.is_closed() => Next::Done,
                    None => Next::IDLE,
                }
            })
        });
        launch.program(ids[2], |_| -> Box<dyn Program> { panic!("cannot be made") });
        launch
    });
    let panicked = report.shards[0].as_ref().expect_err("it panicked");
    assert_eq!(panicked.to_string(), "shard-0 panicked: three is too many, true");
    assert_eq!(panicked.shard, Some(ShardId(0)));
    assert!(report.shards[1].is_ok() && report.control.is_ok());
    assert_eq!(report.shards[2].as_ref().expect_err("no program").message, "cannot be made");
}

#[test]
fn timers_come_in_time_and_not_before() {
    let counters = Cell::new(None);
    let report = run(|| {
        let mut launch = parked(1);
        counters.set(Some(launch.counters(ShardId(0))));
        let timer = move || {
            let (mut due, mut fired) = (None, 0);
            Box::new(move |shard: &Shard| {
                let at = *due.get_or_insert(shard.now() + millis(3));
                if shard.now() < at {
                    return Next::Idle { until: Some(at) };
                }
                due = None;
                fired += 1;
                if fired == 20 { Next::Done } else { Next::Again }
            }) as Box<dyn Program>
        };
        let other = timer;
        launch.program(ShardId(0), move |_| timer());
        launch.control(move |_| other());
        launch
    });
    report.outcome().expect("no panic");
    let parks = counters.take().expect("it was launched").parks.get();
    assert!(parks >= 20, "it sleeps until the timer, {parks} times");
}

#[test]
fn the_control_program_and_a_shard_talk() {
    let report = run(|| {
        let mut launch = parked(1);
        let (mut ask, mut asked) = ring::<u64>(1);
        let (mut answer, mut answered) = ring::<u64>(1);
        let (control, shard) = (launch.control_door(), launch.door(ShardId(0)));
        launch.program(ShardId(0), move |_| {
            Box::new(move |_: &Shard| match asked.pop() {
                Some(number) => {
                    assert!(answer.push(number * 2).is_ok());
                    control.knock();
                    Next::Again
                }
                None if asked.is_closed() => Next::Done,
                None => Next::IDLE,
            })
        });
        launch.control(move |_| {
            let (mut number, mut waits) = (0, false);
            Box::new(move |_: &Shard| {
                if waits {
                    let Some(doubled) = answered.pop() else { return Next::IDLE };
                    assert_eq!(doubled, number * 2);
                    number += 1;
                }
                if number == 500 {
                    return Next::Done;
                }
                assert!(ask.push(number).is_ok());
                waits = true;
                shard.knock();
                Next::Again
            })
        });
        launch
    });
    report.outcome().expect("no panic");
}

/// A program that does one operation after the other: each step gets the outcome of the one before.
struct Script<F> {
    step: F,
    token: Option<Token>,
    last: Option<std::io::Result<Outcome>>,
    limit: Limit,
}

impl<F: FnMut(&Io, Option<std::io::Result<Outcome>>) -> Option<Token>> Program for Script<F> {
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

fn script(
    step: impl FnMut(&Io, Option<std::io::Result<Outcome>>) -> Option<Token> + 'static,
) -> Box<dyn Program> {
    Box::new(Script { step, token: None, last: None, limit: Limit(None) })
}

#[test]
fn a_file_is_written_renamed_and_read_back() {
    let content = (0..1_000_003_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8);
    let content = content.collect::<Vec<_>>();
    let counted = Arc::new(AtomicU64::new(0));
    let kept = RefCell::new(Vec::new());
    let report = run(|| {
        let mut launch = parked(1);
        let (seen, content) = (Arc::clone(&counted), content.clone());
        let (folder, keep) = folder();
        kept.borrow_mut().push(keep);
        let (draft, path, made) = (folder.join("draft"), folder.join("final"), folder.join("made"));
        counted.store(0, Ordering::Relaxed);
        launch.program(ShardId(0), move |_| {
            let (mut step, mut file, mut offset, mut read) = (0, None, 0, Vec::new());
            script(move |io, last| {
                let last =
                    last.map(|outcome| outcome.map_err(|error| (error.kind(), error.to_string())));
                step += 1;
                Some(match step {
                    1 => io.create(&draft, CreateMode::New),
                    2 => {
                        file = Some(last?.ok()?.into_file());
                        io.write(file.as_ref()?, 0, content.clone())
                    }
                    3 => {
                        let (buffer, count) = last?.ok()?.into_bytes();
                        assert_eq!((buffer.len(), count), (content.len(), content.len()));
                        io.fsync(file.as_ref()?)
                    }
                    4 => {
                        assert!(matches!(last, Some(Ok(Outcome::Done))));
                        io.rename(&draft, &path)
                    }
                    5 => io.fsync_dir(path.parent()?),
                    6 => {
                        assert!(matches!(last, Some(Ok(Outcome::Done))));
                        io.open_read(&draft)
                    }
                    7 => {
                        let (kind, text) = last?.expect_err("renamed away");
                        assert_eq!(kind, ErrorKind::NotFound);
                        assert!(
                            text.starts_with("open ") && text.contains("draft: No such file"),
                            "{text}"
                        );
                        io.create(&path, CreateMode::New)
                    }
                    8 => {
                        assert_eq!(last?.expect_err("it exists").0, ErrorKind::AlreadyExists);
                        io.open_read(&path)
                    }
                    9 => {
                        file = Some(last?.ok()?.into_file());
                        io.read(file.as_ref()?, 0, Vec::new())
                    }
                    10 => {
                        assert_eq!(last?.expect_err("no room").0, ErrorKind::InvalidInput);
                        io.read(file.as_ref()?, 0, Vec::with_capacity(64 << 10))
                    }
                    11 => {
                        let (mut buffer, count) = last?.ok()?.into_bytes();
                        assert_eq!(buffer.len(), count);
                        read.append(&mut buffer);
                        offset += count as u64;
                        if count > 0 {
                            step -= 1;
                            return Some(io.read(file.as_ref()?, offset, buffer));
                        }
                        assert_eq!(read, content);
                        io.make_dir(&made)
                    }
                    12 => io.remove(&path),
                    13 => {
                        assert!(matches!(last, Some(Ok(Outcome::Done))));
                        assert!(
                            fs::metadata(&made).is_ok_and(|made| made.is_dir) && !fs::exists(&path)
                        );
                        seen.store(1, Ordering::Relaxed);
                        return None;
                    }
                    _ => unreachable!(),
                })
            })
        });
        launch
    });
    report.outcome().expect("no panic");
    assert_eq!(counted.load(Ordering::Relaxed), 1, "the script ran to its end");
}

#[test]
fn append_and_truncate_do_what_they_say() {
    for (before, mode, text, expected) in [
        ("", CreateMode::Append, "one", "one"),
        ("one", CreateMode::Append, "two", "onetwo"),
        ("onetwo", CreateMode::Truncate, "x", "x"),
    ] {
        let (folder, _keep) = folder();
        let path = folder.join("log");
        let report = run(|| {
            fs::write(&path, before).expect("a small file");
            let mut launch = parked(1);
            let to = path.clone();
            launch.program(ShardId(0), move |_| {
                script(move |io, last| match last {
                    None => Some(io.create(&to, mode)),
                    Some(Ok(Outcome::File(file))) => Some(io.write(&file, 0, text.into())),
                    Some(outcome) => {
                        assert_eq!(outcome.expect("written").into_bytes().1, text.len());
                        None
                    }
                })
            });
            launch
        });
        report.outcome().expect("no panic");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), expected);
    }
}

/// Sends back what it reads from the first peer, until that peer is gone.
fn echo(listener: File) -> Box<dyn Program> {
    let mut peer = None;
    script(move |io, last| {
        let outcome = match last {
            None => return Some(io.accept(&listener)),
            Some(outcome) => outcome.expect("no error"),
        };
        match outcome {
            Outcome::File(file) => peer = Some(file),
            Outcome::Bytes { count: 0, .. } => return None,
            Outcome::Bytes { buffer, .. } if buffer.capacity() == 64 => {
                return Some(io.write_stream(peer.as_ref()?, [&b"+"[..], &buffer].concat()));
            }
            _ => {}
        }
        Some(io.read_stream(peer.as_ref()?, Vec::with_capacity(64)))
    })
}

/// Sends `hello` until the echo has come back `rounds` times, in whatever pieces.
fn greet(address: SocketAddr, rounds: u64, done: Arc<AtomicU64>) -> Box<dyn Program> {
    let (mut server, mut heard) = (None, String::new());
    script(move |io, last| {
        let outcome = match last {
            None => return Some(io.connect(address)),
            Some(outcome) => outcome.expect("no error"),
        };
        match outcome {
            Outcome::File(file) => {
                server = Some(file);
                return Some(io.write_stream(server.as_ref()?, b"hello".to_vec()));
            }
            Outcome::Bytes { buffer, .. } if buffer.capacity() == 64 => {
                heard.extend(buffer.iter().map(|byte| char::from(*byte)).filter(|c| *c != '+'));
                if heard == "hello" {
                    heard.clear();
                    if done.fetch_add(1, Ordering::Relaxed) + 1 == rounds {
                        return None;
                    }
                    return Some(io.write_stream(server.as_ref()?, b"hello".to_vec()));
                }
                assert!("hello".starts_with(&heard), "{heard}");
            }
            _ => {}
        }
        Some(io.read_stream(server.as_ref()?, Vec::with_capacity(64)))
    })
}

#[test]
fn sockets_connect_and_echo() {
    let rounds = Arc::new(AtomicU64::new(0));
    let report = run(|| {
        rounds.store(0, Ordering::Relaxed);
        let mut launch = parked(2);
        let (mut tell, mut told) = ring(1);
        let client = launch.door(ShardId(1));
        launch.program(ShardId(0), move |shard| {
            let any = "127.0.0.1:0".parse().expect("an address");
            let (listener, address) = shard.io().listen(any).expect("a free port");
            assert!(tell.push(address).is_ok());
            client.knock();
            echo(listener)
        });
        let done = Arc::clone(&rounds);
        launch.program(ShardId(1), move |_| {
            let mut greeter = None;
            Box::new(move |shard: &Shard| {
                if let Some(address) = told.pop() {
                    greeter = Some(greet(address, 100, Arc::clone(&done)));
                }
                greeter.as_mut().map_or(Next::IDLE, |greeter| greeter.turn(shard))
            })
        });
        launch
    });
    report.outcome().expect("no panic");
    assert_eq!(rounds.load(Ordering::Relaxed), 100);
}

#[test]
fn nobody_listens() {
    let report = run(|| {
        let mut launch = parked(1);
        launch.program(ShardId(0), move |shard| {
            let any = "127.0.0.1:0".parse().expect("an address");
            let (listener, address) = shard.io().listen(any).expect("a free port");
            drop(listener);
            script(move |io, last| {
                let Some(outcome) = last else { return Some(io.connect(address)) };
                let error = outcome.expect_err("nobody listens");
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                assert!(error.to_string().starts_with("connect to 127.0.0.1:"), "{error}");
                None
            })
        });
        launch
    });
    report.outcome().expect("no panic");
}

#[test]
fn a_turn_keeps_its_quantum() {
    let longest = Arc::new(AtomicU64::new(0));
    let report = run(|| {
        let mut launch = parked(1);
        let seen = Arc::clone(&longest);
        launch.program(ShardId(0), move |_| {
            let mut turns = 0;
            Box::new(move |shard: &Shard| {
                let mut quantum = shard.quantum(Duration::from_micros(50));
                let started = shard.read_clock();
                let mut records = 0_u64;
                while !quantum.spent() {
                    records += 1;
                }
                let spent = shard.read_clock().since(started);
                assert!(cfg!(sim) || spent >= Duration::from_micros(45), "{spent:?}");
                seen.fetch_max(records, Ordering::Relaxed);
                turns += 1;
                if turns == 100 { Next::Done } else { Next::Again }
            })
        });
        launch
    });
    report.outcome().expect("no panic");
    assert!(longest.load(Ordering::Relaxed) > if cfg!(sim) { 30 } else { 1_000 });
}

/// Descriptors that come from the system.
#[cfg(not(sim))]
mod pipes {
    use std::{
        io::{PipeReader, PipeWriter},
        os::unix::net::UnixStream,
    };

    use super::*;

    /// One shard writes `pieces` to `to`, the other reads `from` to its end and compares.
    fn pass_through(to: File, from: File, pieces: usize) {
        let report = run(|| {
            let mut launch = parked(2);
            let piece = |number: usize| vec![number as u8; 100 * 1_024 + number];
            launch.program(ShardId(0), move |_| {
                let mut written = 0;
                script(move |io, last| {
                    if let Some(outcome) = last {
                        assert_eq!(
                            outcome.expect("written").into_bytes().1,
                            piece(written - 1).len()
                        );
                    }
                    written += 1;
                    (written <= pieces).then(|| io.write_stream(&to, piece(written - 1)))
                })
            });
            let expected = (0..pieces).flat_map(piece).collect::<Vec<_>>();
            launch.program(ShardId(1), move |_| {
                let mut read = Vec::new();
                script(move |io, last| {
                    if let Some(outcome) = last {
                        let (mut buffer, count) = outcome.expect("read").into_bytes();
                        read.append(&mut buffer);
                        if count == 0 {
                            assert!(read == expected, "{} of {} bytes", read.len(), expected.len());
                            return None;
                        }
                    }
                    Some(io.read_stream(&from, Vec::with_capacity(9_999)))
                })
            });
            launch
        });
        report.outcome().expect("no panic");
    }

    fn pipe() -> (PipeReader, PipeWriter) {
        std::io::pipe().expect("a pipe")
    }

    #[test]
    fn a_pipe_is_read_to_its_end() {
        let (reader, writer) = pipe();
        pass_through(File::from_fd("to", writer.into()), File::from_fd("from", reader.into()), 9);
    }

    #[test]
    fn streams_that_do_not_block_are_waited_for() {
        let (to, from) = UnixStream::pair().expect("a pair");
        to.set_nonblocking(true).expect("a flag");
        from.set_nonblocking(true).expect("a flag");
        pass_through(File::from_fd("to", to.into()), File::from_fd("from", from.into()), 9);
    }

    #[test]
    fn writing_to_a_pipe_without_a_reader_is_an_error() {
        let (reader, writer) = pipe();
        drop(reader);
        let report = run(|| {
            let mut launch = parked(1);
            launch.program(ShardId(0), move |_| {
                let to = File::from_fd("a pipe", writer.into());
                script(move |io, last| {
                    let Some(outcome) = last else {
                        return Some(io.write_stream(&to, b"x".to_vec()));
                    };
                    let error = outcome.expect_err("nobody reads");
                    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
                    assert_eq!(error.to_string(), "write a pipe: Broken pipe (os error 32)");
                    None
                })
            });
            launch
        });
        report.outcome().expect("no panic");
    }

    #[test]
    fn a_shard_ends_with_operations_in_flight() {
        let (reader, writer) = pipe();
        let report = run(|| {
            let mut launch = parked(1);
            launch.program(ShardId(0), move |_| {
                let from = File::from_fd("a silent pipe", reader.into());
                let mut turns = 0;
                Box::new(move |shard: &Shard| {
                    turns += 1;
                    let io = shard.io();
                    let token = io.read_stream(&from, Vec::with_capacity(4_096));
                    if turns % 2 == 0 {
                        io.forget(token);
                    }
                    assert!(io.take(token).is_none());
                    if turns == 200 { Next::Done } else { Next::Again }
                })
            });
            launch
        });
        report.outcome().expect("no panic");
        drop(writer);
    }
}
