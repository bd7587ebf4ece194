//! Text sources against files, as a job meets them.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // The tests make files and servers themselves.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use wiesel_core::{Timestamp, metrics::TaskMetrics, seconds};
use wiesel_record::Record;

use super::*;
use crate::{
    Assignment, MachineDiscovery, ReaderStatus, Source, SourceReader,
    testing::{Collected, context, read_all},
};

/// What reading came to: the lines, or the failure with its place and cause.
fn read<S: Source<Record = String>>(source: &S) -> String {
    let mut results = Vec::new();
    for (turn_records, restore) in [(0, false), (1, true), (3, true)] {
        let metrics = Arc::new(TaskMetrics::default());
        let mut out = Collected { turn_records, ..Collected::default() };
        let text = match read_all(source, &metrics, &mut out, restore) {
            Ok(_) => {
                let (skipped, replaced) =
                    (metrics.bad_records_skipped.get(), metrics.text_replaced.get());
                let mut text = out.records.join("|");
                if !out.bad.is_empty() {
                    text += &format!(" bad: {}", out.bad.join("|"));
                }
                if skipped + replaced > 0 {
                    text += &format!(" ({skipped} skipped, {replaced} replaced)");
                }
                text
            }
            Err(failure) => {
                // The line number is lost in a restore; the byte is not.
                let place = failure.position.clone().unwrap_or_default();
                let place = place.rsplit_once(", ").map_or("", |(_, byte)| byte).to_owned();
                format!("{}: {place}: {}", failure.doing, failure.source)
            }
        };
        results.push(text);
    }
    assert!(results.iter().all(|result| *result == results[0]), "turns matter: {results:#?}");
    results.swap_remove(0)
}

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).expect("a disk");
    }
    folder
}

fn path(folder: &tempfile::TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}

#[test]
fn files_of_every_shape() {
    let cases: &[(&[u8], &str)] = &[
        (b"", ""),
        (b"a\nb\n", "a|b"),
        (b"a\r\nb", "a|b"),
        ("\u{feff}a\nb".as_bytes(), "a|b"),
        (b"\n\n", "|"),
        ("é\n日本\n".as_bytes(), "é|日本"),
    ];
    for (bytes, expected) in cases {
        let folder = folder(&[("x", bytes)]);
        for split_bytes in [1, 2, 3, 100] {
            let source = Lines::files(path(&folder, "x")).split_bytes(split_bytes);
            assert_eq!(read(&source), *expected, "{bytes:?} in splits of {split_bytes}");
        }
    }
}

#[test]
fn a_large_file_in_splits_of_any_size() {
    let text: String = (0..60_000).map(|n| format!("{n} {}\n", "x".repeat(n % 41))).collect();
    let folder = folder(&[("x", text.as_bytes())]);
    for split_bytes in [70_000, 600_000, 1 << 30] {
        let source = Lines::files(path(&folder, "x")).split_bytes(split_bytes);
        let mut out = Collected { turn_records: 7_777, ..Collected::default() };
        let place = read_all(&source, &Arc::default(), &mut out, true).expect("a file");
        assert!(out.records.iter().map(String::as_str).eq(text.lines()), "splits of {split_bytes}");
        assert!(place.is_some_and(|place| place.contains(", byte ")));
    }
}

#[test]
fn globs_are_read_in_order_and_compression_goes_by_name() {
    let packed = [gzip("b1\nb2\n"), gzip("b3\n")].concat();
    let zstd = zstd::encode_all("c1\nc2".as_bytes(), 1).expect("memory");
    let folder = folder(&[("b.gz", &packed), ("c.zst", &zstd), ("a", b"a1\na2"), ("empty", b"")]);
    fs::create_dir(folder.path().join("d")).expect("a disk");
    assert_eq!(read(&Lines::files(path(&folder, "*"))), "a1|a2|b1|b2|b3|c1|c2");
    let two = Lines::files(path(&folder, "c*")).and_files(path(&folder, "a"));
    assert_eq!(read(&two), "c1|c2|a1|a2");
    assert_eq!(read(&two.repeat(2, Duration::ZERO)), "c1|c2|a1|a2|c1|c2|a1|a2");
    fs::write(folder.path().join("b.gz"), &packed[..packed.len() - 4]).expect("a disk");
    let short = Lines::files(path(&folder, "b.gz"));
    let short = read_all(&short, &Arc::default(), &mut Collected::default(), false);
    let failure = short.expect_err("it ends within a member");
    let text = format!("{failure}: {}", failure.source);
    assert!(text.contains("b.gz") && text.contains("unexpected end of file"), "{text}");
}

/// The folder of a sink, in which somebody writes.
#[test]
fn hidden_files_are_read_only_if_they_are_named() {
    use std::os::unix::ffi::OsStrExt;

    let folder = folder(&[
        ("part-0-1", b"a"),
        (".part-0-2.inprogress", b"b"),
        (".part-0-3.undone", b"c"),
        ("_SUCCESS", b"d"),
    ]);
    let strange = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    fs::write(folder.path().join(strange), "e").expect("a disk");
    let read = |pattern: &str| {
        let source = Lines::files(path(&folder, pattern));
        let mut out = Collected::default();
        read_all(&source, &Arc::default(), &mut out, false).expect("files");
        out.records.join("|")
    };
    for (pattern, expected) in
        [("*", "a"), ("**/*", "a"), (".part-*", "b|c"), ("_*", "d"), (".part-0-3.undone", "c")]
    {
        assert_eq!(read(pattern), expected, "{pattern}");
    }
}

#[test]
fn what_cannot_be_found_is_named() {
    let folder = folder(&[("x", b"a")]);
    let cases = [
        ("missing", "No such file"),
        ("missing*", "no file matches; names that begin with . or _ are left out"),
        ("", "it is a folder; for the files in it write"),
        ("a[", "Pattern syntax error"),
    ];
    for (name, expected) in cases {
        let source = Lines::files(path(&folder, name));
        let failure = source.enumerator(1, &MachineDiscovery).expect_err("not a file");
        let text = format!("{failure}: {}", failure.source);
        assert!(text.contains(expected) && text.contains(&path(&folder, name)), "{text}");
        assert!(!failure.retryable);
    }
    let device = Lines::files("/dev/null").enumerator(1, &MachineDiscovery);
    let cause = device.expect_err("a device").source.to_string();
    assert!(cause.contains("standard input"), "{cause}");
}

#[test]
fn a_file_that_is_gone_or_shorter_is_named() {
    let folder = folder(&[("x", b"0123\n5678\n")]);
    let source = Lines::files(path(&folder, "x")).split_bytes(6);
    let mut enumerator = source.enumerator(1, &MachineDiscovery).expect("a file");
    let shard = wiesel_shard::Shard::detached();
    let mut failure_of = |change: &dyn Fn(&Path)| {
        let mut reader = source.reader(&context(&Arc::default()));
        let Assignment::Split(split) = enumerator.request_split(wiesel_core::SubtaskIndex(0))
        else {
            panic!("two splits");
        };
        change(&folder.path().join("x"));
        SourceReader::add_split(&mut reader, split).expect("a split");
        let mut out = Collected::<String>::default();
        loop {
            shard.look();
            match SourceReader::poll(&mut reader, &shard, &mut out) {
                Ok(ReaderStatus::Waiting(_)) => {}
                Ok(status) => panic!("{status:?}"),
                Err(failure) => return format!("{failure}: {}", failure.source),
            }
        }
    };
    let short = failure_of(&|path| fs::write(path, "01").expect("a disk"));
    assert!(short.contains("it had 10 bytes when the job started, and now 2"), "{short}");
    let gone = failure_of(&|path| fs::remove_file(path).expect("a disk"));
    assert!(gone.contains("No such file") && gone.contains(&path(&folder, "x")), "{gone}");
}

#[test]
fn bad_lines_go_where_they_were_sent() {
    let folder = folder(&[("x", b"ok\nlonger than nine\na\xffb\nend")]);
    let source = Lines::files(path(&folder, "x")).line_bytes_max(9);
    for split_bytes in [4, 100] {
        let source = source.clone().split_bytes(split_bytes);
        let failed = read(&source);
        assert!(
            failed.starts_with("read a line: byte 3: the line has more than 9 bytes"),
            "{failed}"
        );
        assert!(failed.contains(".line_bytes_max(") && failed.contains("SkipAndCount"), "{failed}");
        let skipping = source.clone().bad_lines(BadLines::SkipAndCount);
        assert_eq!(read(&skipping), "ok|end (2 skipped, 0 replaced)");
        let replacing = skipping.clone().utf8(Utf8::Replace);
        assert_eq!(read(&replacing), "ok|a\u{fffd}b|end (1 skipped, 1 replaced)");
        let aside = source.clone().bad_lines(BadLines::SideOutput);
        let expected = "ok|end bad: longer th|a\u{fffd}b (2 skipped, 0 replaced)";
        assert_eq!(read(&aside), expected);
    }
    let failed = read(&source.line_bytes_max(100));
    assert!(
        failed.starts_with("read a line: byte 20: byte 1 of the line is not UTF-8"),
        "{failed}"
    );
}

#[derive(Record, serde::Deserialize, Debug, PartialEq)]
struct Post {
    at: Timestamp,
    text: String,
}

#[test]
fn a_replay_moves_event_time_on() {
    let folder = folder(&[("x", b"{\"at\": 1, \"text\": \"a\"}\n{\"at\": 2, \"text\": \"b\"}\n")]);
    let source = JsonLines::<Post>::files(path(&folder, "x")).split_bytes(10).replay(
        3,
        seconds(10),
        |post, by| post.at = post.at + by,
    );
    let mut out = Collected { turn_records: 1, ..Collected::default() };
    read_all(&source, &Arc::default(), &mut out, true).expect("a file");
    let times: Vec<i64> = out.records.iter().map(|post: &Post| post.at.as_millis()).collect();
    assert_eq!(times, [1, 2, 10_001, 10_002, 20_001, 20_002]);
}

#[test]
fn a_bad_json_line_is_placed() {
    let folder = folder(&[("x", b"{\"at\": 1, \"text\": \"a\"}\n{\"at\": 1}\n")]);
    let source = JsonLines::<Post>::files(path(&folder, "x"));
    let mut out = Collected::default();
    let failure = read_all(&source, &Arc::default(), &mut out, false).expect_err("a bad line");
    let text = format!("{failure}: {}", failure.source);
    assert!(
        text.ends_with(
            "/x, line 2, byte 23): missing field `text` (column 9) \
         (to skip and count such lines use .bad_lines(BadLines::SkipAndCount))"
        ),
        "{text}"
    );
}

#[test]
fn every_split_of_a_csv_file_knows_its_header() {
    let csv = b"text,at\na,1\nb,2\nc,3\n";
    let packed = gzip(str::from_utf8(csv).expect("text"));
    let folder = folder(&[("x.csv", csv), ("y.csv.gz", &packed)]);
    for (name, split_bytes) in [("x.csv", 1), ("x.csv", 9), ("x.csv", 100), ("y.csv.gz", 1)] {
        let source = Csv::<Post>::files(path(&folder, name)).header(true).split_bytes(split_bytes);
        let mut out = Collected { turn_records: 1, ..Collected::default() };
        read_all(&source, &Arc::default(), &mut out, true).expect("a file");
        let read: String =
            out.records.iter().map(|post| format!("{} {};", post.text, post.at)).collect();
        assert_eq!(read, "a 1;b 2;c 3;", "{name} in splits of {split_bytes}");
    }
}

#[test]
fn a_socket_is_read_until_the_server_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a reader");
        stream.write_all(b"a\r\nb\nwithout an end").expect("a reader");
    });
    let source = Lines::socket(&*address);
    assert!(!source.is_bounded() && source.describe() == format!("lines of {address}"));
    let mut out = Collected::default();
    let place = read_all(&source, &Arc::default(), &mut out, false).expect("a server");
    assert_eq!(out.records, ["a", "b", "without an end"]);
    assert_eq!(place, Some(format!("{address}, line 3, byte 5")));
    server.join().expect("it sent");
    // The port is free again: nobody listens there now.
    let failure = read_all(&source, &Arc::default(), &mut out, false).expect_err("no server");
    assert!(failure.to_string().contains(&address) && failure.retryable, "{failure}");
    let nowhere = Lines::socket("no port").enumerator(1, &MachineDiscovery);
    assert!(nowhere.expect_err("not an address").to_string().contains("connect to no port"));
}

/// Sends `connections`, each to a reader of its own.
fn serve(connections: &'static [&'static str]) -> (String, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let server = thread::spawn(move || {
        for text in connections {
            let (mut stream, _) = listener.accept().expect("a reader");
            stream.write_all(text.as_bytes()).expect("a reader");
        }
    });
    (address, server)
}

#[test]
fn a_new_connection_begins_with_a_line() {
    let (address, server) = serve(&["a\nb\nc", "d\ne\n", "f"]);
    let mut out = Collected { turn_records: 2, ..Collected::default() };
    read_all(&Lines::socket(&*address), &Arc::default(), &mut out, true).expect("a server");
    assert_eq!(out.records, ["a", "b", "d", "e", "f"]);
    server.join().expect("it sent");

    let (address, server) = serve(&["text,at\na,1\n", "at,text\n2,b\n", "text,at\n"]);
    let source = Csv::<Post>::socket(&*address).header(true);
    let mut out = Collected { turn_records: 1, ..Collected::default() };
    read_all(&source, &Arc::default(), &mut out, true).expect("a server");
    let posts = out.records.iter().map(|post: &Post| format!("{} {};", post.text, post.at));
    assert_eq!(posts.collect::<String>(), "a 1;b 2;");
    server.join().expect("it sent");
}

/// Set for the process whose standard input is read.
const IS_CHILD: &str = "WIESEL_TEST_STDIN";

/// Each piece is written to another process once that has read the one before.
#[track_caller]
fn check_stdin(pieces: &[(&str, &str)]) {
    let mut child = Command::new(env::current_exe().expect("this test's program"))
        .args(["--exact", "text::tests::prints_standard_input", "--nocapture"])
        .env(IS_CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut stdin = child.stdin.take().expect("it is piped");
    let mut printed = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut next = || loop {
        let line = printed.next().expect("it prints").expect("text");
        if let Some((_, read)) = line.split_once("read=") {
            return read.to_owned();
        }
    };
    for (piece, expected) in pieces {
        stdin.write_all(piece.as_bytes()).expect("it reads");
        assert_eq!(next(), *expected, "{piece:?}");
    }
    drop(stdin);
    assert_eq!(next(), "end");
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn standard_input_goes_on_where_it_was_left() {
    check_stdin(&[
        ("text,at\na,1\nb,2\n", "a 1;b 2;"),
        ("c,3\nd", "c 3;"),
        (",4\ne,", "d 4;"),
        ("5\n\nf,6\n", "e 5;f 6;"),
    ]);
}

/// What [`check_stdin`] runs. A new reader goes on after each record, and after every second read.
#[test]
fn prints_standard_input() {
    if env::var_os(IS_CHILD).is_none() {
        return;
    }
    let (shard, metrics) = (wiesel_shard::Shard::detached(), Arc::default());
    let source = Csv::<Post>::stdin().header(true);
    let mut enumerator = source.enumerator(1, &MachineDiscovery).expect("standard input");
    let Assignment::Split(split) = enumerator.request_split(wiesel_core::SubtaskIndex(0)) else {
        panic!("one split");
    };
    let start = |splits: Vec<_>| {
        let mut reader = source.reader(&context(&metrics));
        splits.into_iter().try_for_each(|split| reader.add_split(split)).expect("a split");
        reader.no_more_splits();
        reader
    };
    let mut reader = start(vec![split]);
    let mut out = Collected { turn_records: 1, ..Collected::default() };
    let mut is_second = false;
    loop {
        if shard.look() > 0 {
            is_second = !is_second;
            if is_second {
                reader = start(reader.unread());
            }
        }
        match reader.poll(&shard, &mut out).expect("standard input") {
            ReaderStatus::MoreAvailable => reader = start(reader.unread()),
            ReaderStatus::Waiting(_) if out.records.is_empty() => {}
            ReaderStatus::Waiting(_) => {
                shard.look(); // What is cancelled reads no more.
                let posts = out.records.drain(..).map(|post| format!("{} {};", post.text, post.at));
                println!("read={}", posts.collect::<String>());
            }
            ReaderStatus::NeedSplit => panic!("there are no more splits"),
            ReaderStatus::Finished => return println!("read=end"),
        }
    }
}
