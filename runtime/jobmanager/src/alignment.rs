//! Who of a group of sources waits for whom.
//!
//! ```text
//!   Watermark(task, 17) ─┐
//!   Watermark(task, 12) ─┼─ least of the group ─ + max drift ──▶ WatermarkLimit to all of it, once an interval
//!   Watermark(task, ∞ ) ─┘  (idle: holds nobody back)
//! ```
//!
//! # What is always true
//!
//! 1. A task that has reported nothing yet, is idle or is over holds nobody back. If nobody does there is no limit.
//! 2. A limit is told when it is another one than the task knows, at most once per interval; a group in which nothing
//!    changes has no deadline.

use std::collections::BTreeMap;

use wiesel_core::{AlignmentGroup, AlignmentReport, Nanos, TaskId, Timestamp};

/// All groups of a job.
#[derive(Debug, Default)]
pub(crate) struct Alignment {
    groups: BTreeMap<String, Group>,
}

#[derive(Debug)]
struct Group {
    /// What was reported last.
    says: AlignmentGroup,
    members: BTreeMap<TaskId, Member>,
    /// When limits are told, if something has changed.
    due: Option<Nanos>,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    watermark: Timestamp,
    /// The limit that it was told; until then it waits.
    limit: Timestamp,
}

impl Group {
    /// How far the splits of the group may be.
    fn limit(&self) -> Timestamp {
        let least = self.members.values().map(|member| member.watermark).min();
        match least {
            None | Some(Timestamp::MAX) => Timestamp::MAX,
            Some(least) => least + self.says.max_drift,
        }
    }
}

impl Alignment {
    /// A task says where it is.
    pub(crate) fn report(&mut self, now: Nanos, task: TaskId, report: &AlignmentReport) {
        let group = self.groups.entry(report.group.name.clone()).or_insert_with(|| Group {
            says: report.group.clone(),
            members: BTreeMap::new(),
            due: None,
        });
        if group.says != report.group {
            group.says.clone_from(&report.group);
        }
        let new = Member { watermark: Timestamp::MIN, limit: Timestamp::MIN };
        group.members.entry(task).or_insert(new).watermark = report.watermark;
        group.due.get_or_insert(now + group.says.update_interval);
    }

    /// A task is over, or must stop.
    pub(crate) fn forget(&mut self, task: TaskId) {
        for group in self.groups.values_mut() {
            if group.members.remove(&task).is_some() {
                // At once: the others may wait for nobody now.
                group.due = Some(Nanos(0));
            }
        }
        self.groups.retain(|_, group| !group.members.is_empty());
    }

    /// The limits that are to be told now.
    pub(crate) fn tick(&mut self, now: Nanos) -> Vec<(TaskId, Timestamp)> {
        let mut limits = Vec::new();
        for group in self.groups.values_mut() {
            if group.due.is_none_or(|due| due > now) {
                continue;
            }
            group.due = None;
            let limit = group.limit();
            for (task, member) in &mut group.members {
                if member.limit != limit {
                    member.limit = limit;
                    limits.push((*task, limit));
                }
            }
        }
        limits
    }

    /// When [`tick`](Self::tick) has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Nanos> {
        self.groups.values().filter_map(|group| group.due).min()
    }
}

#[cfg(test)]
mod tests {
    use wiesel_core::{SubtaskIndex, VertexId, millis};

    use super::*;

    /// Steps: `0:5` task 0 says 5, `0:b:5` the same in group b, `0:idle`, `-0` task 0 is over, `@30` it is 30 ms later than
    /// the start. Expected is what is told, as `0<=15` (`+`: no limit), and `due 40` where a deadline is left.
    fn check(script: &str, expected: &str) {
        let (mut alignment, mut now, mut out) = (Alignment::default(), Nanos(0), Vec::new());
        let task = |subtask: &str| TaskId {
            vertex: VertexId(0),
            subtask: SubtaskIndex(subtask.parse().unwrap()),
        };
        for step in script.split_whitespace() {
            if let Some(ms) = step.strip_prefix('@') {
                now = Nanos(0) + millis(ms.parse().unwrap());
                for (task, limit) in alignment.tick(now) {
                    let limit = match limit {
                        Timestamp::MAX => "+".to_owned(),
                        limit => limit.as_millis().to_string(),
                    };
                    out.push(format!("{}<={limit}", task.subtask));
                }
            } else if let Some(subtask) = step.strip_prefix('-') {
                alignment.forget(task(subtask));
            } else {
                let words: Vec<&str> = step.split(':').collect();
                let name = if words.len() == 3 { words[1] } else { "a" };
                let watermark = match words[words.len() - 1] {
                    "idle" => Timestamp::MAX,
                    ms => Timestamp::from_millis(ms.parse().unwrap()),
                };
                let group = AlignmentGroup {
                    name: name.to_owned(),
                    max_drift: millis(10),
                    update_interval: millis(20),
                };
                alignment.report(now, task(words[0]), &AlignmentReport { group, watermark });
            }
        }
        if let Some(due) = alignment.next_deadline() {
            out.push(format!("due {}", due.0 / 1_000_000));
        }
        assert_eq!(out.join(" "), expected, "{script}");
    }

    #[test]
    fn nobody_is_further_than_the_drift_from_the_slowest() {
        check("0:5 1:90 @19 @20", "0<=15 1<=15");
        check("0:5 1:90 @20 0:7 @39 @40", "0<=15 1<=15 0<=17 1<=17");
        check("0:5 @10 1:3", "due 20");
    }

    #[test]
    fn a_limit_is_told_once() {
        check("0:5 1:90 @20 1:91 @40 @60", "0<=15 1<=15");
        // Who comes later hears of it too.
        check("0:5 1:90 @20 2:7 @40", "0<=15 1<=15 2<=15");
    }

    #[test]
    fn the_idle_and_those_that_are_over_hold_nobody_back() {
        check("0:idle 1:90 @20", "0<=100 1<=100");
        check("0:5 1:90 @20 0:idle @40", "0<=15 1<=15 0<=100 1<=100");
        check("0:5 1:idle @20 0:idle @40", "0<=15 1<=15 0<=+ 1<=+");
        check("0:5 1:90 @20 -0 @21", "0<=15 1<=15 1<=100");
        check("0:5 -0", "");
        check("0:9223372036854775806 1:9223372036854775806 @20", "0<=+ 1<=+");
    }

    #[test]
    fn groups_do_not_know_each_other() {
        check("0:5 1:b:90 @20", "0<=15 1<=100");
        check("0:5 1:b:90 -1 @20", "0<=15");
    }
}
