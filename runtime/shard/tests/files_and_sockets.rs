//! The same operations on both machines: files, pipes, sockets.
//!
//! Nothing here sleeps; under `--cfg sim` each test runs under a hundred seeds.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests of the seam")]
#![cfg(not(loom))]

mod common;

use std::{
    cell::RefCell,
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use common::{folder, parked, run, script};
use wiesel_core::ShardId;
use wiesel_shard::{CreateMode, File, Next, Outcome, Program, Shard, fs, ring::ring};

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
