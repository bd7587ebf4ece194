//! Splits: requests of readers, and the enumerators' answers.

use wiesel_core::{Nanos, TaskId, VertexId};
use wiesel_rpc::{Attempt, TaskState, ToTaskManager};

use super::JobMaster;
use crate::{
    SPLIT_RETRY_INTERVAL,
    source_desk::{Answer, SourceDesk},
};

impl JobMaster {
    pub(super) fn on_request(&mut self, now: Nanos, attempt: Attempt) {
        let Some(index) = self.listening(attempt) else { return };
        let is_running = self.tasks[index].state == TaskState::Running;
        let Some(desk) = self.desks.get_mut(&attempt.task.vertex).filter(|_| is_running) else {
            return self.does_not_fit(now, index, "a request for a split");
        };
        match desk.request(attempt.task.subtask) {
            Some(answer) => self.answer(index, answer),
            None => self.wait_for_splits(now),
        }
    }

    /// Asks again for readers whose enumerator had nothing, if it is time.
    pub(super) fn retry_splits(&mut self, now: Nanos) {
        if self.retry_deadline.is_some_and(|deadline| deadline <= now) {
            self.retry_deadline = None;
            let retry = |(vertex, desk): (&VertexId, &mut SourceDesk)| {
                let vertex = *vertex;
                let task = move |(subtask, answer)| (TaskId { vertex, subtask }, answer);
                desk.retry().into_iter().map(task).collect::<Vec<_>>()
            };
            let answers: Vec<_> = self.desks.iter_mut().flat_map(retry).collect();
            for (task, answer) in answers {
                let index = self.graph.task_index(task).expect("who waits is a task of the job");
                self.answer(index, answer);
            }
            self.wait_for_splits(now);
        }
    }

    fn answer(&mut self, index: usize, answer: Answer) {
        let attempt = self.tasks[index].attempt;
        self.send(
            index,
            match answer {
                Answer::Split(split) => ToTaskManager::Split(attempt, split),
                Answer::NoMoreSplits => ToTaskManager::NoMoreSplits(attempt),
            },
        );
    }

    fn wait_for_splits(&mut self, now: Nanos) {
        if self.desks.values().any(SourceDesk::has_waiting) {
            self.retry_deadline.get_or_insert(now + SPLIT_RETRY_INTERVAL);
        }
    }
}
