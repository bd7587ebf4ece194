//! How tidy reads the tree: manifests, and Rust files without comments and what is in strings.
//!
//! ```text
//!   text   let path = "std::fs"; // unsafe        code   let path = "";
//! ```
//!
//! # What is always true
//!
//! 1. Line `n` of the code is line `n` of the text.
//! 2. This is a scanner, not a parser: it may be fooled by macros, and Clippy is the second pair of eyes.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The root of the workspace.
pub fn root() -> PathBuf {
    // Asked when it runs: clones that share a target folder also share what was compiled in another one.
    let tests = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    Path::new(&tests).parent().expect("tests/ is in the root").to_owned()
}

/// What a `Cargo.toml` says.
pub struct Manifest {
    pub folder: String,
    pub name: String,
    pub needs: Vec<String>,
}

pub fn manifests() -> Vec<Manifest> {
    let mut found = Vec::new();
    for path in files(&root()) {
        let Some(folder) = path.strip_suffix("/Cargo.toml") else { continue };
        if folder.starts_with("bench/peers") {
            continue; // A workspace of its own.
        }
        let text = fs::read_to_string(root().join(&path)).expect("a manifest can be read");
        let (mut section, mut name, mut needs) = (String::new(), String::new(), Vec::new());
        for line in text.lines().map(str::trim) {
            if let Some(header) = line.strip_prefix('[') {
                section = header.trim_end_matches(']').to_owned();
            } else if let Some((key, value)) = line.split_once('=') {
                let key = key.trim();
                if section == "package" && key == "name" {
                    name = value.trim().trim_matches('"').to_owned();
                } else if section.ends_with("dependencies") {
                    needs.push(key.split('.').next().unwrap_or(key).to_owned());
                }
            }
        }
        found.push(Manifest { folder: folder.to_owned(), name, needs });
    }
    found
}

/// A Rust file: as it is, and without comments and what is in strings.
pub struct Source {
    pub path: String,
    pub text: String,
    pub code: String,
}

pub fn sources() -> Vec<Source> {
    let paths = files(&root()).into_iter().filter(|path| path.ends_with(".rs"));
    paths
        .filter(|path| !path.starts_with("bench/peers"))
        .map(|path| {
            let text = fs::read_to_string(root().join(&path)).expect("a source can be read");
            Source { code: strip_code(&text), path, text }
        })
        .collect()
}

/// All files of the tree but what is built and what git keeps, with `/` between the parts.
pub fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).expect("a folder can be read").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = folder.join(&name);
            let Ok(kind) = entry.file_type() else { continue };
            // `.git` is a folder in a clone and a file in a work tree.
            let ours = name != ".git" && name != "target" && !name.starts_with("target-");
            if kind.is_dir() && ours {
                folders.push(path);
            } else if kind.is_file() && ours {
                found.push(path.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    found.sort();
    found
}

/// Removes comments and the insides of strings; keeps the lines where they are.
fn strip_code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    let mut at = 0;
    let keep_lines = |code: &mut Vec<u8>, skipped: &[u8]| {
        code.extend(skipped.iter().filter(|byte| **byte == b'\n'));
    };
    while at < bytes.len() {
        let rest = &bytes[at..];
        let skipped = if rest.starts_with(b"//") {
            rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            block_comment(rest)
        } else if let Some(raw) = raw_string(&bytes[..at], rest) {
            raw
        } else if rest[0] == b'"' {
            string(rest)
        } else if rest.starts_with(b"'\"'") || rest.starts_with(b"'\\\"'") {
            code.extend(b"' '");
            at += if rest[1] == b'"' { 3 } else { 4 };
            continue;
        } else {
            code.push(rest[0]);
            at += 1;
            continue;
        };
        let quoted = rest[0] != b'/';
        code.extend(quoted.then_some(b'"'));
        keep_lines(&mut code, &rest[..skipped]);
        code.extend(quoted.then_some(b'"'));
        at += skipped;
    }
    String::from_utf8(code).expect("whole characters were kept or dropped")
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a raw string at the start of `rest`, if there is one.
fn raw_string(before: &[u8], rest: &[u8]) -> Option<usize> {
    let in_word = before.last().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let body = rest.strip_prefix(b"br").or_else(|| rest.strip_prefix(b"r"))?;
    let hashes = body.iter().take_while(|byte| **byte == b'#').count();
    if in_word || body.get(hashes) != Some(&b'"') {
        return None;
    }
    let mut end = vec![b'"'];
    end.resize(1 + hashes, b'#');
    let inside = &body[hashes + 1..];
    let length = inside.windows(end.len()).position(|window| window == end)?;
    Some(rest.len() - inside.len() + length + end.len())
}

/// Whether `line` has `word`, not as a part of a longer word.
pub fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(part) && !line[at + word.len()..].starts_with(part))
}

/// Whether `use std::{..}` names `module` at its first level.
pub fn grouped_use(code: &str, module: &str) -> bool {
    code.split("use std::{").skip(1).any(|group| {
        let (mut depth, mut word) = (1, String::new());
        for c in group.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ if depth == 1 && (c.is_alphanumeric() || c == '_') => {
                    word.push(c);
                    continue;
                }
                _ => {}
            }
            if word == module {
                return true;
            }
            // What follows `::` is inside another module.
            word = if c == ':' { ":".to_owned() } else { String::new() };
            if depth == 0 {
                break;
            }
        }
        false
    })
}

/// `HashMap<K, V>` and `HashSet<K>` without a hasher: line and name.
pub fn random_maps(code: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for (name, parameters) in [("HashMap", 3), ("HashSet", 2)] {
        for (at, _) in code.match_indices(&format!("{name}<")) {
            let (mut depth, mut commas) = (0_i32, 0);
            for c in code[at + name.len()..].chars() {
                match c {
                    '<' | '(' | '[' => depth += 1,
                    '>' | ')' | ']' => depth -= 1,
                    ',' if depth == 1 => commas += 1,
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
            if commas + 1 < parameters {
                found.push((code[..at].matches('\n').count() + 1, name));
            }
        }
    }
    found
}

/// The code that jobs run: without the tests at the end of a file, test files, and programs that measure. They may
/// look behind the seam's back.
pub fn without_tests(file: &Source) -> &str {
    let apart = ["/tests/", "/examples/", "/benches/"].iter().any(|part| file.path.contains(part));
    if apart || file.path.ends_with("/tests.rs") {
        return "";
    }
    file.code.find("\nmod tests {").map_or(&file.code, |end| &file.code[..end])
}

/// One `unsafe` block, function or impl.
pub struct UnsafePlace {
    pub line: usize,
    pub explained: bool,
}

/// How far above `unsafe` its comment may start: a statement that is broken over lines stands between.
const SAFETY_LINES_MAX: usize = 12;

pub fn unsafe_places(file: &Source) -> Vec<UnsafePlace> {
    let text: Vec<&str> = file.text.lines().collect();
    let code = file.code.lines().enumerate();
    code.filter(|(_, line)| has_word(line, "unsafe"))
        .filter(|(_, line)| !line.contains("unsafe_op_in_unsafe_fn"))
        .map(|(index, _)| {
            let above = &text[index.saturating_sub(SAFETY_LINES_MAX)..=index];
            let explained =
                above.iter().any(|line| line.contains("SAFETY:") || line.contains("# Safety"));
            UnsafePlace { line: index + 1, explained }
        })
        .collect()
}

#[test]
fn the_scanner_reads_rust() {
    let strip = |text: &str| strip_code(text);
    assert_eq!(strip("a // unsafe {\nb"), "a \nb");
    assert_eq!(strip("a /* x /* y */ z */ b"), "a  b");
    assert_eq!(strip(r#"f("std::fs \" // ", 'x')"#), "f(\"\", 'x')");
    assert_eq!(strip("r#\"unsafe \" {\"# 'a: &'static str '\"' b"), "\"\" 'a: &'static str ' ' b");
    assert_eq!(strip("a\n/* b\nc */ d \"e\nf\" g"), "a\n\n d \"\n\" g");

    assert!(has_word("let x = fs::read(p)", "fs::read") && !has_word("offs::read", "fs::read"));
    assert!(grouped_use("use std::{\n    fs,\n    io::{self, net},\n};", "fs"));
    assert!(!grouped_use("use std::{io::{fs}, fmt};", "fs"));
    assert_eq!(random_maps("x: HashMap<u64, (u8, u8)>"), [(1, "HashMap")]);
    assert_eq!(random_maps("\nx: HashSet<Vec<(u8, u8)>>"), [(2, "HashSet")]);
    assert!(random_maps("HashMap<u64, Vec<u8>, Fixed> HashSet<u8, Fixed>").is_empty());

    let places = |text: &str| {
        let file = Source { path: String::new(), code: strip_code(text), text: text.to_owned() };
        unsafe_places(&file).iter().map(|place| (place.line, place.explained)).collect::<Vec<_>>()
    };
    assert_eq!(places("unsafe { f() }"), [(1, false)]);
    assert_eq!(places("// SAFETY: f is fine.\nlet x =\n    unsafe { f() };"), [(3, true)]);
    assert_eq!(places("// SAFETY: plain data.\nunsafe impl Send for X {}"), [(2, true)]);
    assert_eq!(places("/// # Safety\n///\n/// x\npub unsafe fn f() {}"), [(4, true)]);
    assert_eq!(places("// unsafe\nlet unsafe_count = \"unsafe\";"), []);
}
