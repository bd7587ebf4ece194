//! What the READMEs say of the program is what the program is: its job, its options, its methods, the examples.
#![allow(clippy::disallowed_methods)] // It reads the tree.

use std::{fs, path::Path};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn read(path: &str) -> String {
    let text = fs::read_to_string(Path::new(ROOT).join(path));
    text.unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_table_has_every_option_and_its_default() {
    let page = read("runtime/wiesel/README.md");
    let options = wiesel::config::options::describe_all();
    let rows = options.iter().map(|info| format!("| `{}` | `{}` |", info.key, info.default));
    let missing: Vec<_> = rows.filter(|row| !page.contains(row)).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn the_readmes_job_is_the_example() {
    let (readme, example) = (read("README.md"), include_str!("../trending_hashtags.rs"));
    let (_, job) = example.split_once("\n\n").expect("docs, then the job");
    let (job, _) = job.split_once("\n#[cfg(test)]").expect("then the tests");
    let (_, block) = readme.split_once("```rust\n").expect("the README has a job");
    let (block, _) = block.split_once("```").expect("it ends");
    assert_eq!(block.trim(), job.trim());
}

#[test]
fn the_readmes_checkpoints_are_those_of_the_example() {
    let (readme, example) = (read("README.md"), include_str!("../trends_to_files.rs"));
    let (_, block) = readme.split_once("```rust\nenv.enable_checkpointing").expect("the lines");
    let (block, _) = block.split_once("```").expect("it ends");
    let lines = format!("env.enable_checkpointing{block}");
    let missing: Vec<_> = lines.lines().filter(|line| !example.contains(line)).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn every_program_has_a_row() {
    let (page, manifest) = (read("examples/README.md"), read("examples/Cargo.toml"));
    let paths = manifest.lines().filter_map(|line| line.strip_prefix("path = \""));
    let paths: Vec<&str> = paths.map(|path| path.trim_end_matches('"')).collect();
    assert!(paths.len() > 4, "{paths:?}");
    let missing: Vec<_> =
        paths.iter().filter(|path| !page.contains(&format!("({path})"))).collect();
    assert_eq!(missing, [&""; 0]);
}

/// A row of the table of methods: `| Flink | ours | where |`.
struct Row<'t> {
    line: &'t str,
    /// What it says of ours; of Flink's, if ours is the same.
    names: &'t str,
    files: Vec<&'t str>,
}

impl<'t> Row<'t> {
    fn of(line: &'t str) -> Option<Self> {
        let cells: Vec<&str> = line.trim_matches(['|', ' ']).split(" | ").collect();
        let [flink, ours, place] = cells[..] else { return None };
        let names = if ours.starts_with("the same") { flink } else { ours };
        let links = place.split("](").skip(1).filter_map(|link| link.split(')').next());
        (flink != "Flink").then(|| Self { line, names, files: links.collect() })
    }

    /// The words of its names, as they are spelled here: `Tumbling` and `event_time` of `Tumbling::event_time`.
    fn words(&self) -> Vec<String> {
        let spans = self.names.split('`').skip(1).step_by(2);
        let names = spans.filter(|span| span.starts_with(char::is_alphabetic));
        let names = names.map(|span| span.split(['(', '<', '=', ' ']).next().unwrap_or_default());
        names.flat_map(|name| name.split("::")).filter(|word| !word.is_empty()).map(snake).collect()
    }
}

/// `startNewChain` as `start_new_chain`; a type stays as it is.
fn snake(name: &str) -> String {
    if name.starts_with(char::is_uppercase) {
        return name.to_owned();
    }
    let parts = name.chars().map(|c| match c.is_uppercase() {
        true => format!("_{}", c.to_ascii_lowercase()),
        false => c.to_string(),
    });
    parts.collect()
}

/// Whether a file has the function, or at least the name of the type.
fn has(text: &str, word: &str) -> bool {
    let needle =
        if word.starts_with(char::is_uppercase) { word.to_owned() } else { format!("fn {word}") };
    text.match_indices(&needle).any(|(at, _)| {
        let part = |c: char| c.is_alphanumeric() || c == '_';
        !text[..at].ends_with(part) && !text[at + needle.len()..].starts_with(part)
    })
}

#[test]
fn every_method_of_the_table_is_in_the_file_that_is_linked() {
    let (folder, table) = ("runtime/datastream", read("runtime/datastream/README.md"));
    let rows: Vec<Row<'_>> = table.lines().filter_map(Row::of).collect();
    assert!(rows.len() > 70, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for row in &rows {
        if row.files.is_empty() && !row.line.contains("not yet") {
            wrong.push(format!("no link: {}", row.line));
        }
        let text: String = row.files.iter().map(|file| read(&format!("{folder}/{file}"))).collect();
        // A page about a subject has no single method.
        if row.files.iter().any(|file| file.ends_with(".rs")) {
            let missing = row.words().into_iter().filter(|word| !has(&text, word));
            wrong.extend(missing.map(|word| format!("{word} is not in {:?}", row.files)));
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn every_public_method_of_a_stream_has_an_example() {
    let (mut count, mut missing) = (0, Vec::new());
    let files = fs::read_dir(Path::new(ROOT).join("runtime/datastream/src")).expect("a folder");
    for file in files {
        let name = file.expect("an entry").file_name().into_string().expect("text");
        if !name.ends_with(".rs") {
            continue;
        }
        let text = read(&format!("runtime/datastream/src/{name}"));
        let mut has_example = false;
        for line in text.lines().map(str::trim_start) {
            if let Some(doc) = line.strip_prefix("///") {
                has_example |= doc.trim_start().starts_with("```");
            } else if let Some(method) = line.strip_prefix("pub fn ").filter(|m| !m.contains('$')) {
                count += 1;
                if !has_example {
                    missing
                        .push(format!("{name}: {}", method.split(['(', '<']).next().unwrap_or("")));
                }
                has_example = false;
            } else if !line.starts_with("#[") {
                has_example = false;
            }
        }
    }
    assert!(count > 150, "{count} methods");
    assert_eq!(missing, [""; 0]);
}
