//! The rules of the house that a program can check: layers, names, docs, sizes, `unsafe`, the seam.
//!
//! ```text
//!   Cargo.toml of each crate ──▶ layers, names          README.md of each folder ──▶ maps
//!   *.rs of each crate ──strip comments, strings──▶ unsafe, banned calls, sizes, docs
//! ```
//!
//! # What is always true
//!
//! 1. A rule is a table and a function. An exception is a row with its reason, never a change of the function.
//! 2. A row that no file needs any more fails the test: tables do not rot.
//! 3. A failure names every place that breaks the rule, and the table to look at.
//!
//! Clippy resolves names and finds more banned calls than this file can (`.clippy.toml`); this file also sees
//! what an `allow` would hide.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // It reads the tree; nobody simulates it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use scan::{
    Manifest, files, grouped_use, has_word, manifests, random_maps, root, sources, unsafe_places,
    without_tests,
};

#[path = "tidy_scan.rs"]
mod scan;

/// Folder, layer. An arrow of dependence points to a lower layer (`runtime/README.md`).
const LAYERS: &[(&str, u32)] = &[
    ("runtime/core", 0),
    ("runtime/record", 0),
    ("runtime/record-derive", 0),
    ("runtime/shard", 1),
    ("runtime/graph", 1),
    ("net/wire", 1),
    ("state/backend", 1),
    ("runtime/operators", 2),
    ("runtime/checkpoint", 2),
    ("net/exchange", 2),
    ("net/rpc", 2),
    ("state/storage", 2),
    ("runtime/connectors", 3),
    ("runtime/task", 3),
    ("runtime/datastream", 4),
    ("runtime/taskmanager", 4),
    ("runtime/jobmanager", 4),
    ("runtime/cluster", 6),
    ("runtime/wiesel", 7),
    ("bench", 9),
    ("examples", 9),
    ("tests", 9),
];

/// Folder, folder, reason: arrows inside one layer.
const LEVEL_ARROWS: &[(&str, &str, &str)] = &[
    ("runtime/record", "runtime/core", "a timestamp is a record"),
    ("runtime/record", "runtime/record-derive", "a derive is one half of its trait"),
    ("runtime/operators", "net/exchange", "its tests merge watermarks as a task does"),
    ("net/rpc", "state/storage", "an acknowledgement names the files of the task's state"),
];

/// Folder, package, reason: packages that are not named `wiesel-<folder>`.
const NAMES: &[(&str, &str, &str)] = &[
    ("runtime/wiesel", "wiesel", "users type it"),
    (
        "state/backend",
        "wiesel-state",
        "descriptors and the table; its backends are crates of their own",
    ),
];

/// Package, folder: what only one crate may depend on.
const OWNED: &[(&str, &str)] = &[
    ("glommio", "runtime/shard"),
    ("io-uring", "runtime/shard"),
    ("core_affinity", "runtime/shard"),
];

/// Folders outside the seam: they meet the machine, or the simulator does not run them.
const OUTSIDE_THE_SEAM: &[&str] =
    &["runtime/shard", "runtime/record-derive", "bench", "examples", "tests"];

/// Words that reach around the seam, and what to say instead.
const BANNED: &[(&str, &str)] = &[
    ("Instant::now", "Shard::now or Shard::read_clock"),
    ("SystemTime::now", "Shard::wall_time"),
    ("thread::spawn", "wiesel_shard starts threads"),
    ("thread::scope", "wiesel_shard starts threads"),
    ("thread::Builder", "wiesel_shard starts threads"),
    ("thread::sleep", "Next::Idle { until }"),
    ("thread::park", "Next::Idle { until }"),
    ("thread::yield_now", "Next::Idle { until }"),
    ("spin_loop", "only the seam's real backend waits in a loop"),
    ("std::fs", "Shard::io, or wiesel_shard::fs on the control thread"),
    ("std::os::unix::fs", "Shard::io, or wiesel_shard::fs on the control thread"),
    ("TcpStream", "Shard::io"),
    ("TcpListener", "Shard::io"),
    ("UdpSocket", "Shard::io"),
    ("RandomState", "BTreeMap, or a map with a fixed hasher"),
    ("glommio", "only runtime/shard names it"),
    ("io_uring::", "only runtime/shard names it"),
];

/// File, word, reason: banned words that stay.
const BANNED_ALLOWED: &[(&str, &str, &str)] = &[];

/// Lines of a file: above the first number it needs a row below, the second is the end.
const LINES_MAX: usize = 500;
const LINES_END: usize = 700;

/// File, reason: one idea that would be harder to follow in pieces.
const LONG_FILES: &[(&str, &str)] = &[];

/// File, what makes it sound and what checks it. The file's first lines say what its `unsafe` rests on. A path that
/// ends in `/` stands for the parts of the module of that name, whose own file says it for them.
const UNSAFE_MODULES: &[(&str, &str)] = &[
    ("bench/src/allocations.rs", "passes every call on to the system's allocator"),
    (
        "examples/tests/no_io_uring.rs",
        "two system calls between fork and exec; the tests are these",
    ),
    ("net/wire/src/crc32c.rs", "one instruction, after asking the processor; both ways compared"),
    (
        "net/wire/src/frame.rs",
        "a frame owns its buffer; round trips, and checks of untrusted bytes",
    ),
    ("net/wire/src/prefetch.rs", "a prefetch has no effect; which lines is tested"),
    (
        "net/wire/src/view.rs",
        "records of a sealed frame; round trips, and checks of untrusted bytes",
    ),
    (
        "net/wire/src/writer.rs",
        "records and index inside one frame; round trips at every fill level",
    ),
    (
        "runtime/operators/src/row_list.rs",
        "blocks hold what was pushed there; random tests against a model",
    ),
    (
        "runtime/operators/src/state_cell.rs",
        "cells hold what was stored in them; random tests against a model",
    ),
    ("runtime/operators/tests/allocations.rs", "passes every call on to the system's allocator"),
    (
        "runtime/record-derive/src/record.rs",
        "what it writes has the layout that it declares; round trips",
    ),
    ("runtime/record/src/boundary.rs", "regions: written by us or validated; validation is fuzzed"),
    (
        "runtime/record/src/containers.rs",
        "the layout of an archived option; round trips over all kinds",
    ),
    ("runtime/record/src/list.rs", "native element types; layouts asserted at compile time"),
    ("runtime/record/src/region_buf.rs", "blocks as bytes; round trips"),
    ("runtime/record/src/scalars.rs", "inline strings and native scalars; round trips"),
    ("runtime/record/src/writer.rs", "places inside the buffer; round trips at every fill level"),
    ("runtime/record/tests/zoo/main.rs", "reads back what it wrote"),
    (
        "runtime/shard/src/real/clock.rs",
        "reads the processor's counter; compared with the kernel's clock",
    ),
    ("runtime/shard/src/real/bell.rs", "system calls on an own descriptor"),
    ("runtime/shard/src/real/executor.rs", "system calls of the real backend"),
    ("runtime/shard/src/real/handle.rs", "system calls on an own descriptor"),
    ("runtime/shard/src/real/signals.rs", "one system call's handler"),
    (
        "runtime/shard/src/real/uring.rs",
        "buffers stay with their operation until it completes; address sanitizer",
    ),
    ("runtime/shard/src/ring.rs", "slots owned by one side; loom"),
    ("state/backend/src/arena.rs", "spans inside live chunks; the table's random tests"),
    ("state/backend/src/blocks.rs", "counted blocks; the table's random tests"),
    ("state/backend/src/pool.rs", "regions that live as long as their pool; its random tests"),
    ("state/backend/src/row.rs", "areas of live rows; the table's random tests"),
    ("state/backend/src/segment.rs", "one layout behind one pointer; the table's random tests"),
    ("state/backend/src/segment/", "as its module; the table's random tests"),
    ("state/backend/src/table/", "as its module; random tests against a model"),
    ("state/backend/src/table.rs", "segments owned by one table; random tests against a model"),
];

/// Parts of a path below which `.rs` files are inputs of a test: no docs asked of them.
const TEST_INPUTS: &[&str] = &["/ui/", "/compile_fail/", "/compile-fail/", "/compile_pass/"];

#[test]
fn every_crate_has_a_layer_and_its_name() {
    let mut wrong = Vec::new();
    for manifest in manifests() {
        let folder = &manifest.folder;
        if !LAYERS.iter().any(|(known, _)| known == folder) {
            wrong.push(format!("{folder}: no layer; add a row to LAYERS"));
        }
        let last = folder.rsplit('/').next().expect("a path has a last part");
        let expected = NAMES
            .iter()
            .find(|(known, ..)| known == folder)
            .map_or(format!("wiesel-{last}"), |(_, name, _)| (*name).to_owned());
        if manifest.name != expected {
            wrong.push(format!("{folder}: is named `{}`, not `{expected}`", manifest.name));
        }
        if folder.matches('/').count() > 1 {
            wrong.push(format!("{folder}: a crate is one level down"));
        }
    }
    let folders: BTreeSet<String> = manifests().into_iter().map(|crate_| crate_.folder).collect();
    for (folder, _) in LAYERS {
        if !folders.contains(*folder) {
            wrong.push(format!("{folder}: is in LAYERS but has no Cargo.toml"));
        }
    }
    report("names (LAYERS, NAMES)", wrong);
}

#[test]
fn dependence_points_down() {
    let manifests = manifests();
    let folder_of: BTreeMap<&str, &str> =
        manifests.iter().map(|known| (known.name.as_str(), known.folder.as_str())).collect();
    let layer_of =
        |folder: &str| LAYERS.iter().find(|(known, _)| *known == folder).map(|row| row.1);
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for Manifest { folder, needs, .. } in &manifests {
        for need in needs {
            if let Some(to) = folder_of.get(need.as_str()) {
                let level = LEVEL_ARROWS.iter().position(|(a, b, _)| a == folder && b == to);
                used.extend(level);
                if level.is_none() && layer_of(to) >= layer_of(folder) {
                    wrong.push(format!("{folder} depends on {to}, which is not below it"));
                }
            }
            if let Some((_, owner)) = OWNED.iter().find(|(package, _)| package == need)
                && owner != folder
            {
                wrong.push(format!("{folder} depends on {need}, which belongs to {owner}"));
            }
        }
    }
    for (row, (from, to, _)) in LEVEL_ARROWS.iter().enumerate() {
        if !used.contains(&row) {
            wrong.push(format!("{from} -> {to} is in LEVEL_ARROWS but nobody needs it"));
        }
    }
    report("layers (LAYERS, LEVEL_ARROWS, OWNED)", wrong);
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let wrong = sources()
        .iter()
        .filter(|file| !TEST_INPUTS.iter().any(|part| file.path.contains(part)))
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| format!("{}: starts without `//!` docs", file.path))
        .collect();
    report("module docs", wrong);
}

#[test]
fn files_are_short() {
    let mut wrong = Vec::new();
    for file in sources() {
        let lines = file.text.lines().count();
        let listed = LONG_FILES.iter().any(|(path, _)| *path == file.path);
        if lines > LINES_END {
            wrong.push(format!("{}: {lines} lines; split it, the end is {LINES_END}", file.path));
        } else if lines > LINES_MAX && !listed {
            wrong.push(format!("{}: {lines} lines; split it, or give a reason", file.path));
        } else if lines <= LINES_MAX && listed {
            wrong.push(format!("{}: is in LONG_FILES but has {lines} lines", file.path));
        }
    }
    report("sizes (LONG_FILES)", wrong);
}

#[test]
fn the_machine_is_met_in_the_seam() {
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for file in sources() {
        if OUTSIDE_THE_SEAM.iter().any(|folder| file.path.starts_with(&format!("{folder}/"))) {
            continue;
        }
        let code = without_tests(&file);
        for (number, line) in code.lines().enumerate() {
            for (word, instead) in BANNED.iter().filter(|(word, _)| has_word(line, word)) {
                match BANNED_ALLOWED.iter().position(|row| row.0 == file.path && row.1 == *word) {
                    Some(row) => drop(used.insert(row)),
                    None => {
                        wrong.push(format!("{}:{}: `{word}`: use {instead}", file.path, number + 1))
                    }
                }
            }
        }
        for module in ["fs", "thread"].iter().filter(|name| grouped_use(code, name)) {
            wrong.push(format!(
                "{}: `use std::{{{module}, ..}}` reaches around the seam",
                file.path
            ));
        }
        for (number, name) in random_maps(code) {
            wrong.push(format!(
                "{}:{number}: `{name}` with a random hasher: BTreeMap, or name a fixed hasher",
                file.path
            ));
        }
    }
    for (row, (path, word, _)) in BANNED_ALLOWED.iter().enumerate() {
        if !used.contains(&row) {
            wrong.push(format!("{path}: `{word}` is in BANNED_ALLOWED but nobody needs it"));
        }
    }
    report("the seam (BANNED, BANNED_ALLOWED)", wrong);
}

#[test]
fn unsafe_has_an_address() {
    let mut wrong = Vec::new();
    for file in sources() {
        let places = unsafe_places(&file);
        let listed = UNSAFE_MODULES.iter().any(|(path, _)| *path == file.path);
        let parts = UNSAFE_MODULES.iter().map(|row| row.0).filter(|path| path.ends_with('/'));
        let is_part = parts.into_iter().any(|folder| file.path.starts_with(folder));
        if places.is_empty() {
            if listed {
                wrong.push(format!("{}: is in UNSAFE_MODULES but has no `unsafe`", file.path));
            }
            continue;
        }
        if !listed && !is_part {
            let lines: Vec<String> = places.iter().map(|place| place.line.to_string()).collect();
            wrong.push(format!(
                "{}: `unsafe` (lines {}) in a file that UNSAFE_MODULES does not list",
                file.path,
                lines.join(", ")
            ));
        }
        // A test has no first screen to promise anything on; its blocks are explained all the same.
        let promises = !is_part && !file.path.contains("/tests/");
        let docs: String = file.text.lines().take_while(|line| line.starts_with("//!")).collect();
        if promises && !docs.contains("`unsafe`") && !docs.contains("always true") {
            wrong.push(format!("{}: its first lines do not say what `unsafe` rests on", file.path));
        }
        for place in places.iter().filter(|place| !place.explained) {
            wrong.push(format!("{}:{}: no SAFETY comment above", file.path, place.line));
        }
    }
    for (path, _) in UNSAFE_MODULES {
        if !root().join(path).exists() {
            wrong.push(format!("{path}: is in UNSAFE_MODULES but does not exist"));
        }
    }
    report("unsafe (UNSAFE_MODULES)", wrong);
}

#[test]
fn nothing_names_a_machine() {
    // Spelled in halves, or this file would find itself.
    let needles = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/tm", "p/"),
        concat!("[sou", "rce."),
        concat!("[regis", "tries"),
        concat!("registry-", "index"),
    ];
    let mut wrong = places_of(&needles);
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("versions are locked");
    let home = "registry+https://github.com/rust-lang/crates.io-index";
    let sources = lock.lines().filter_map(|line| line.strip_prefix("source = "));
    for source in sources.filter(|source| source.trim_matches('"') != home) {
        wrong.push(format!("Cargo.lock: a package from {source}"));
    }
    report("machine paths and registries", wrong);
}

#[test]
fn pages_that_are_named_are_in_the_repository() {
    // Folders of notes that were never committed. Spelled in halves, or this file would find itself.
    let needles = [concat!("refer", "ence/"), concat!("des", "ign/"), concat!("DES", "IGN")];
    report("pages that are not here", places_of(&needles));
}

#[test]
fn the_maps_name_every_crate() {
    let mut wrong = Vec::new();
    if !root().join("README.md").exists() {
        return; // The first README brings the others with it.
    }
    for top in ["runtime", "net", "state"] {
        let Ok(map) = fs::read_to_string(root().join(top).join("README.md")) else {
            wrong.push(format!("{top}/README.md: does not exist"));
            continue;
        };
        for Manifest { folder, .. } in manifests() {
            if let Some(name) = folder.strip_prefix(&format!("{top}/"))
                && !map.lines().any(|line| has_word(line, name))
            {
                wrong.push(format!("{top}/README.md: does not mention `{name}`"));
            }
        }
    }
    report("maps", wrong);
}

/// Where in the repository's text one of these is.
fn places_of(needles: &[&str]) -> Vec<String> {
    let mut places = Vec::new();
    for path in files(&root()) {
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue }; // Not text.
        for (number, line) in text.lines().enumerate() {
            for needle in needles.iter().filter(|needle| line.contains(**needle)) {
                places.push(format!("{path}:{}: `{needle}`", number + 1));
            }
        }
    }
    places
}

/// Fails with one line per place.
fn report(rule: &str, wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{rule}: tests/tidy.rs\n  {}\n", wrong.join("\n  "));
}
