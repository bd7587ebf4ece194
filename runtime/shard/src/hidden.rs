//! Which of the paths that match a pattern are meant: hidden ones only if the pattern says so.
//!
//! ```text
//!   out/*       out/part-0 ✓   out/.part-0-1.inprogress ✗   out/_SUCCESS ✗
//!   out/.part-* out/.part-0-1.inprogress ✓
//!   **/*.txt    a/b.txt ✓      .git/b.txt ✗                  _old/b.txt ✓
//! ```
//!
//! # What is always true
//!
//! 1. A path is left out if a part of it begins with `.`, or its last one with `_`, and the part of the pattern that
//!    matches it does not begin so itself. Those are files that somebody is still writing, or notes about the others.
//! 2. `glob`'s own option for this is of no use here: it leaves out what the pattern names, and panics at names that are
//!    no UTF-8.

use std::path::{Component, Path};

use glob::Pattern;

/// Whether `path`, which matches `pattern`, is meant by it.
pub(crate) fn is_meant(pattern: &str, path: &Path) -> bool {
    let patterns: Vec<_> =
        pattern.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_string_lossy()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    });
    let parts: Vec<_> = parts.collect();
    let parts: Vec<_> = parts.iter().map(|part| &**part).collect();
    // It has matched: what we cannot follow has nothing that is hidden in it, or is left out.
    are_meant(&patterns, &parts)
        || !parts.iter().enumerate().any(|(at, part)| is_hidden(part, at + 1 == parts.len()))
}

fn is_hidden(part: &str, is_last: bool) -> bool {
    part.starts_with('.') || is_last && part.starts_with('_')
}

fn are_meant(patterns: &[&str], parts: &[&str]) -> bool {
    let (Some((pattern, patterns_left)), [part, parts_left @ ..]) = (patterns.split_first(), parts)
    else {
        return parts.is_empty() && patterns.iter().all(|pattern| *pattern == "**");
    };
    let hidden = is_hidden(part, parts_left.is_empty());
    if *pattern == "**" {
        return are_meant(patterns_left, parts) || !hidden && are_meant(patterns, parts_left);
    }
    let is_named = !hidden || pattern.as_bytes()[0] == part.as_bytes()[0];
    let matches = || Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(part));
    is_named && matches() && are_meant(patterns_left, parts_left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_paths_are_meant_if_the_pattern_says_so() {
        for (pattern, path, expected) in [
            ("out/*", "out/part-0", true),
            ("out/*", "out/.part-0-9.inprogress", false),
            ("out/*", "out/_SUCCESS", false),
            ("out/?*", "out/.x", false),
            ("out/[._]x", "out/.x", false),
            ("out/.part-*", "out/.part-0-9.inprogress", true),
            ("out/.*", "out/.x", true),
            ("out/_*", "out/_x", true),
            ("_old/*", "_old/x", true),
            ("*/x", "_old/x", true),
            ("*/x", ".git/x", false),
            (".git/*", ".git/x", true),
            (".git/*", ".git/.x", false),
            ("/a/.b/*", "/a/.b/c", true),
            ("/a/.b/*", "/a/.b/.c", false),
            ("**/*.txt", "a/b.txt", true),
            ("**/*.txt", "b.txt", true),
            ("**/*.txt", ".a/b.txt", false),
            ("**/.a/*.txt", "x/y/.a/b.txt", true),
            ("**/.a/**/*.txt", "x/.a/.y/b.txt", false),
            ("**/.a/**/*.txt", ".a/b.txt", true),
            ("x/**", "x/a/_b", false),
            ("x/**", "x/a/b", true),
            // `glob` gives the pattern's own way back in another spelling.
            ("./out//*", "out/x", true),
            ("./out//*", "out/.x", false),
            ("../out/*", "../out/x", true),
            ("../out/*", "../out/.x", false),
            ("a/../*/x", "a/../b/x", true),
        ] {
            assert_eq!(is_meant(pattern, Path::new(path)), expected, "{pattern} {path}");
        }
    }
}
