//! The jobs give the right answers, at every parallelism.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // Processes and files, from outside.

use std::{collections::BTreeMap, fs, io::Write, path::Path};

use common::*;
use flate2::{Compression, write::GzEncoder};

mod common;

#[test]
fn trends_are_the_oracles_at_every_parallelism() {
    let want = oracle(&posts(), 1);
    assert!(want.lines().count() > 500);
    for parallelism in ["1", "2", "3", "7"] {
        let ended = run(TRENDING, &["--parallelism", parallelism]);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "parallelism {parallelism}");
        same_lines(&ended.out, &want, &format!("parallelism {parallelism}"));
    }
}

#[test]
fn trends_do_not_depend_on_splits_frames_or_credits() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = first_posts(folder.path(), 5_000);
    let want = oracle(&file, 1);
    let file = file.to_str().expect("text");
    for setting in [
        "taskmanager.network.memory.buffers-per-channel=1",
        "shard.quantum=1 us",
        "shard.spin=0",
        "execution.buffer-timeout.interval=0",
        "taskmanager.cpu.pin=false",
    ] {
        let ended = run(TRENDING, &["--parallelism", "3", "-D", setting, "--", file]);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{setting}");
        same_lines(&ended.out, &want, setting);
    }
}

#[test]
fn the_demo_shows_the_last_trends_of_the_replay_its_latency_and_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = first_posts(folder.path(), 5_000);
    let want = oracle(&file, 3);
    let file = file.to_str().expect("text");
    for parallelism in ["1", "2", "3"] {
        let own = ["--posts", "15000", "--rate", "20000", "--seconds", "1", file];
        let often = ["-D", "execution.checkpointing.interval=100 ms"];
        let flags = [["--parallelism", parallelism], often].concat();
        let ended = run(DEMO, &[&flags, ["--"].as_slice(), &own].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        assert!(
            ended.out.lines().count() > 10 && want.ends_with(&of_file(&ended.out)),
            "{}",
            ended.out
        );
        let late = ended.err.lines().filter(|line| line.starts_with("  late records "));
        assert_eq!(late.map(|line| line.ends_with(" 0")).collect::<Vec<_>>(), [true; 3]);
        for figure in
            ["records read             15,000", "records read             20,000", "p99.9 "]
        {
            assert!(ended.err.contains(figure), "no {figure:?} in\n{}", ended.err);
        }
        let windows = ended.err.split(" windows)").next().and_then(|text| text.rsplit('(').next());
        let windows = windows.and_then(|windows| windows.replace(',', "").parse::<u64>().ok());
        assert!(windows.is_some_and(|windows| windows > 10), "{}", ended.err);
        let killed = ["killed with SIGKILL after ", "continued from ", "each of them once"];
        let at = killed.map(|words| ended.err.find(words));
        assert!(at.is_sorted() && at[0].is_some(), "{}", ended.err);
    }
}

#[test]
fn a_demo_whose_report_nobody_reads_ends_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = first_posts(folder.path(), 5_000);
    let file = file.to_str().expect("text");
    let own = ["--", "--posts", "5000", "--rate", "5000", "--seconds", "1", file];
    let mut command = command(DEMO, &own);
    command.env("WIESEL_LOG", "info"); // The log has no reader either.
    let mut child = command.spawn().expect("the program was built");
    drop(child.stderr.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert!(!output.stdout.is_empty());
}

/// Trends as the demo shows them, as lines of a file: `2025-06-15 23:26:10 to 23:26:20  1  105  #cats`.
fn of_file(shown: &str) -> String {
    let line = |line: &str| {
        let [day, start, _, end, rank, count, tag] =
            line.split_whitespace().collect::<Vec<_>>()[..]
        else {
            panic!("not a trend: {line}")
        };
        let ms = |time: &str| {
            let at: jiff::Timestamp = format!("{day}T{time}Z").parse().expect("a time");
            at.as_millisecond()
        };
        format!("{} {} {rank} {count} {}\n", ms(start), ms(end), tag.trim_start_matches('#'))
    };
    shown.lines().map(line).collect()
}

/// The first posts of the file of the demo.
fn first_posts(folder: &Path, count: usize) -> std::path::PathBuf {
    let text = fs::read_to_string(posts()).expect("the file is committed");
    let lines: String = text.split_inclusive('\n').take(count).collect();
    let file = folder.join("posts.jsonl");
    fs::write(&file, lines).expect("it can be written");
    file
}

#[test]
fn words_are_counted_as_they_come() {
    for parallelism in ["1", "4"] {
        let input = b"to be or\r\nnot to be\n\n caf\xe9 be"; // No newline at the end; bytes that are no text.
        let ended = run_on(input, WORD_COUNT, &["--parallelism", parallelism]);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
        let counts = ended.out.lines().map(|line| line.split_once(' ').expect("word count"));
        let mut by_word: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        counts.for_each(|(word, count)| by_word.entry(word).or_default().push(count));
        let by_word: Vec<_> =
            by_word.into_iter().map(|(w, c)| format!("{w} {}", c.join(","))).collect();
        assert_eq!(by_word, ["be 1,2,3", "caf\u{fffd} 1", "not 1", "or 1", "to 1,2"]);
    }
    assert_eq!(run_on(b"", WORD_COUNT, &[]).out, "");
}

/// Each subtask writes through a ring of its own, and what the shell writes behind the job follows.
#[test]
fn lines_of_several_subtasks_in_a_file_are_all_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, out) = (folder.path().join("words"), folder.path().join("out"));
    let words: Vec<_> = (0..40_000).map(|number| format!("word{}", number % 1_000)).collect();
    fs::write(&input, words.join("\n")).expect("a disk");
    let script = format!(
        "(echo begin; {WORD_COUNT} --parallelism 2 < {}; echo end) > {}",
        input.display(),
        out.display()
    );
    let ended = run("/bin/sh", &["-c", &script]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    let text = fs::read_to_string(&out).expect("text");
    let mut lines: Vec<_> = text.lines().collect();
    assert_eq!((lines.first(), lines.last()), (Some(&"begin"), Some(&"end")));
    lines.sort_unstable();
    let of_words = (0..1_000).flat_map(|n| (1..=40).map(move |count| format!("word{n} {count}")));
    let mut expected: Vec<_> = of_words.chain(["begin".into(), "end".into()]).collect();
    expected.sort_unstable();
    assert!(lines == expected, "{} of {} lines", lines.len(), expected.len());
}

#[test]
fn changelogs_are_read_to_the_end_of_every_member_and_what_is_wrong_in_them_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let entry = |bugs: &str, date: &str| {
        format!(
            "tool (1.0-1) unstable; urgency=low\n\n  * Closes: {bugs}\n\n -- A B <a@b>  {date}\n\n"
        )
    };
    let newest = entry("#7, #8, #7", "Sun, 01 Jun 2003 10:00:00 +0200");
    let older = entry("#9", "Sat, 01 Jun 2002 10:00:00 +0200");
    let undated = entry("#1", "some day");
    let cut = "tool (0.1-1) unstable; urgency=low\n  * Closes: #5\n";
    gzip(&folder.path().join("changelog.Debian.gz"), &[newest.as_bytes(), older.as_bytes()]);
    gzip(
        &folder.path().join("changelog.gz"),
        &[b"not an entry, #3, caf\xe9\n", undated.as_bytes(), newest.as_bytes(), cut.as_bytes()],
    );
    let pattern = folder.path().join("changelog*.gz");
    let pattern = pattern.to_str().expect("text");
    for parallelism in ["1", "3"] {
        let ended = run(CHANGELOGS, &["--parallelism", parallelism, "--", pattern]);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
        let (dates, trends): (Vec<_>, Vec<_>) =
            ended.out.lines().partition(|line| line.contains("date"));
        assert_eq!(dates, ["1 entries with a date that cannot be read"]);
        assert_eq!(trends, ["2002 1 1 #9", "2003 1 4 #7", "2003 2 2 #8"]);
    }
    let none = folder.path().join("no-changelogs*.gz");
    let none = none.to_str().expect("text");
    let ended = run(CHANGELOGS, &["--", none]);
    assert_eq!(ended.code, Some(1));
    let hint = format!("hint: changelogs are read from {none}; others are named after `--`\n");
    assert!(ended.err.starts_with(&hint) && ended.err.contains("no file matches"), "{}", ended.err);
}

/// A file of several members.
fn gzip(path: &Path, members: &[&[u8]]) {
    let mut bytes = Vec::new();
    for member in members {
        let mut encoder = GzEncoder::new(&mut bytes, Compression::fast());
        encoder
            .write_all(member)
            .and_then(|()| encoder.finish().map(drop))
            .expect("memory takes it");
    }
    fs::write(path, bytes).expect("it can be written");
}
