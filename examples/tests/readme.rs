//! What the README says of the program is what the program is: its job, its options.
#![allow(clippy::disallowed_methods)] // It reads the tree.

use std::fs;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");

#[test]
fn the_readmes_table_has_every_option_and_its_default() {
    let readme = fs::read_to_string(README).expect("there is a README");
    let options = wiesel::config::options::describe_all();
    let rows = options.iter().map(|info| format!("| `{}` | `{}` |", info.key, info.default));
    let missing: Vec<_> = rows.filter(|row| !readme.contains(row)).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn every_method_of_the_table_has_a_place() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../runtime/datastream/");
    let table = fs::read_to_string(format!("{folder}README.md")).expect("there is a table");
    let methods: Vec<&str> =
        table.lines().filter(|line| line.matches(" | ").count() >= 2).collect();
    assert!(methods.len() > 30, "{methods:?}");
    for method in methods.iter().filter(|method| !method.contains("| Flink |")) {
        let links: Vec<&str> = method.split("](").skip(1).collect();
        assert!(!links.is_empty() || method.contains("not yet"), "no link: {method}");
        for link in links {
            let (path, _) = link.split_once(')').expect("a link ends");
            assert!(fs::exists(format!("{folder}{path}")).is_ok_and(|is| is), "no file: {path}");
        }
    }
}

#[test]
fn the_readmes_job_is_the_example() {
    let readme = fs::read_to_string(README).expect("there is a README");
    let example = include_str!("../trending_hashtags.rs");
    let (_, job) = example.split_once("\n\n").expect("docs, then the job");
    let (job, _) = job.split_once("\n#[cfg(test)]").expect("then the tests");
    let (_, block) = readme.split_once("```rust\n").expect("the README has a job");
    let (block, _) = block.split_once("```").expect("it ends");
    assert_eq!(block.trim(), job.trim());
}
