//! The committed counts, and when a new one is too far from its own.
//!
//! ```text
//!   # a comment                                                          instructions.txt
//!   made with rustc 1.95.0, valgrind-3.24.0, glibc 2.41
//!   ring      12.50
//!
//!   found   … 98 %          │ 98 % … 102 % │          102 % …
//!           less: record it │   the same   │ more: the gate fails
//! ```
//!
//! # What is always true
//!
//! 1. Each kernel has one baseline, each baseline a kernel: the gate fails otherwise.
//! 2. A line that fails says what to do about it.

use std::{collections::BTreeMap, fmt, str::FromStr};

/// How far from its baseline a count may be, in percent. Counts of one build repeat exactly; this is for what a
/// compiler does differently when something beside a kernel changes.
const PERCENT_MAX: f64 = 2.0;

/// Instructions per operation by kernel, and what they were made with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Baselines {
    pub made_with: String,
    pub counts: BTreeMap<String, f64>,
}

/// One kernel's count beside its baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    Same(f64),
    More(f64),
    Less(f64),
    New,
}

/// Judges `found`; the numbers are percent of the baseline, positive for more.
pub fn judge(found: f64, baseline: Option<f64>) -> Verdict {
    let Some(baseline) = baseline else { return Verdict::New };
    let percent = 100.0 * (found - baseline) / baseline;
    if percent > PERCENT_MAX {
        Verdict::More(percent)
    } else if percent < -PERCENT_MAX {
        Verdict::Less(percent)
    } else {
        Verdict::Same(percent)
    }
}

/// What the gate has to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// A line a kernel that fails the gate.
    pub failures: Vec<String>,
    /// A line a kernel that has become better.
    pub hints: Vec<String>,
}

impl Baselines {
    /// Compares what was found now, with these tools, with these baselines.
    pub fn compare(&self, made_with: &str, found: &[(&str, f64)]) -> Report {
        let mut report = Report::default();
        for (name, found) in found {
            let baseline = self.counts.get(*name).copied();
            let pair = format!("{name}: {found:.1} instructions, baseline");
            let was = baseline.unwrap_or_default();
            match judge(*found, baseline) {
                Verdict::Same(_) => {}
                Verdict::More(percent) => report.failures.push(format!(
                    "{pair} {was:.1}: {percent:.1} % more; if that is meant: make instructions-record"
                )),
                Verdict::Less(percent) => report.hints.push(format!(
                    "{pair} {was:.1}: {:.1} % less; to keep it so: make instructions-record",
                    -percent
                )),
                Verdict::New => report.failures.push(format!(
                    "{name}: {found:.1} instructions, but no baseline: make instructions-record"
                )),
            }
        }
        for name in self.counts.keys().filter(|name| !found.iter().any(|row| row.0 == **name)) {
            report.failures.push(format!(
                "{name}: has a baseline, but is no kernel any more: make instructions-record"
            ));
        }
        if self.made_with != made_with && report != Report::default() {
            let note = format!(
                "some of it may be the tools': the baselines were made with {}, this with {made_with}",
                self.made_with
            );
            let lines = match report.failures.is_empty() {
                true => &mut report.hints,
                false => &mut report.failures,
            };
            lines.push(note);
        }
        report
    }
}

impl FromStr for Baselines {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut baselines = Self::default();
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(tools) = line.strip_prefix("made with ") {
                tools.clone_into(&mut baselines.made_with);
                continue;
            }
            let row = line.split_once(char::is_whitespace).and_then(|(name, count)| {
                Some((name, count.trim().parse().ok().filter(|count: &f64| *count > 0.0)?))
            });
            let Some((name, count)) = row else {
                return Err(format!("line {number}, `{line}`, is not a kernel and a number"));
            };
            if baselines.counts.insert(name.to_owned(), count).is_some() {
                return Err(format!("line {number}: `{name}` has two baselines"));
            }
        }
        Ok(baselines)
    }
}

impl fmt::Display for Baselines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Instructions per operation: `make instructions` compares with them,")?;
        writeln!(f, "# `make instructions-record` writes them.")?;
        writeln!(f, "made with {}", self.made_with)?;
        let mut rows = self.counts.iter();
        rows.try_for_each(|(name, count)| writeln!(f, "{name:20} {count:8.2}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# words\nmade with rustc 1\nring    100.0\n\n  view 20\n";

    /// Counts of `ring` and `view` against 100 and 20, with the tools of the baselines. Expected: what the lines of
    /// failures begin with, then those of hints after `|`.
    #[track_caller]
    fn check(found: &[(&str, f64)], expected: &str) {
        check_with("rustc 1", found, expected);
    }

    #[track_caller]
    fn check_with(tools: &str, found: &[(&str, f64)], expected: &str) {
        let report = TEXT.parse::<Baselines>().unwrap().compare(tools, found);
        let found = format!("{}|{}", report.failures.join("\n"), report.hints.join("\n"));
        assert_eq!(found, expected);
    }

    #[test]
    fn more_than_two_percent_fails() {
        check(&[("ring", 100.0), ("view", 20.0)], "|");
        check(&[("ring", 102.0), ("view", 19.6)], "|");
        let more = "ring: 102.1 instructions, baseline 100.0: 2.1 % more; if that is meant: make instructions-record";
        check(&[("ring", 102.1), ("view", 20.0)], &format!("{more}|"));
        let less = "view: 19.5 instructions, baseline 20.0: 2.5 % less; to keep it so: make instructions-record";
        check(&[("ring", 100.0), ("view", 19.5)], &format!("|{less}"));
        check(&[("ring", 102.1), ("view", 19.5)], &format!("{more}|{less}"));
    }

    #[test]
    fn five_percent_fail_in_every_kernel() {
        for baseline in [0.5, 3.0, 31.9, 250.0, 12_345.0] {
            assert!(matches!(judge(baseline * 1.05, Some(baseline)), Verdict::More(_)));
            assert!(matches!(judge(baseline * 0.95, Some(baseline)), Verdict::Less(_)));
            assert!(matches!(judge(baseline * 1.01, Some(baseline)), Verdict::Same(_)));
        }
    }

    #[test]
    fn kernels_and_baselines_are_the_same_set() {
        let gone = "view: has a baseline, but is no kernel any more: make instructions-record";
        check(&[("ring", 100.0)], &format!("{gone}|"));
        let new = "sort: 7.0 instructions, but no baseline: make instructions-record";
        check(&[("ring", 100.0), ("view", 20.0), ("sort", 7.0)], &format!("{new}|"));
    }

    #[test]
    fn other_tools_are_named_where_something_differs() {
        check_with("rustc 2", &[("ring", 101.0), ("view", 20.0)], "|");
        let report = TEXT.parse::<Baselines>().unwrap().compare("rustc 2", &[("ring", 110.0)]);
        let note =
            "some of it may be the tools': the baselines were made with rustc 1, this with rustc 2";
        assert_eq!(report.failures.last().map(String::as_str), Some(note));
        let report = TEXT.parse::<Baselines>().unwrap();
        let report = report.compare("rustc 2", &[("ring", 90.0), ("view", 20.0)]);
        assert_eq!((report.failures.len(), report.hints.len()), (0, 2));
        assert_eq!(report.hints[1], note);
    }

    #[test]
    fn what_is_written_is_read() {
        let baselines: Baselines = TEXT.parse().unwrap();
        assert_eq!(baselines.counts, [("ring".into(), 100.0), ("view".into(), 20.0)].into());
        assert_eq!(baselines.to_string().parse(), Ok(baselines));
        for (text, expected) in [
            ("ring", "line 1, `ring`, is not a kernel and a number"),
            ("# x\nring many", "line 2, `ring many`, is not a kernel and a number"),
            ("ring 0", "line 1, `ring 0`, is not a kernel and a number"),
            ("ring 1\nring 2", "line 2: `ring` has two baselines"),
        ] {
            assert_eq!(text.parse::<Baselines>(), Err(expected.to_owned()));
        }
    }
}
