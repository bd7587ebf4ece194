//! A worker without tasks, which has something to report: what becomes of it when the JobMaster is slow.

use wiesel_core::{SubtaskIndex, VertexId};
use wiesel_shard::ring::ring;
use wiesel_task::Checkpoints;

use super::*;

const JOB: JobId = JobId(1);

/// A worker whose ring to the JobMaster has so many slots, and the JobMaster's ends.
fn worker(
    slots: usize,
) -> (Worker, Producer<Envelope<ToTaskManager>>, Consumer<Envelope<ToJobMaster>>) {
    let ((to, mailbox), (outbox, from)) = (ring(8), ring(slots));
    let graph = JobGraph {
        name: "none".to_owned(),
        vertices: Vec::new(),
        edges: Vec::new(),
        is_batch: false,
        resources: BTreeMap::new(),
    };
    let task = TaskOptions {
        quantum: Duration::from_millis(1),
        frame_age_max: Duration::ZERO,
        checkpoints: Checkpoints::Off,
        is_incremental: false,
    };
    let options = WorkerOptions {
        task,
        overdraft_bytes_max: 0,
        record_bytes_max: 1 << 10,
        heartbeat_every: Duration::from_secs(3_600),
        sort_bytes_max: 0,
        tmp_folders: PathBuf::from("tmp").into(),
        allow_non_restored: false,
    };
    let spec = WorkerSpec {
        task_manager: TaskManagerId(0),
        job: JOB,
        graph,
        channels: ChannelEnds::default(),
        rewired: ring(1).1,
        checkpoints: None,
        frames: BTreeMap::new(),
        mailbox,
        outbox,
        job_master: Door::unattended(),
        options,
        row_sources: None,
        helper: None,
        pool: Arc::default(),
    };
    (Worker::new(spec, Shard::detached()), to, from)
}

#[test]
fn what_the_ring_has_no_room_for_is_sent_soon_again() {
    let (mut worker, _to, mut from) = worker(2);
    let task = TaskId { vertex: VertexId(0), subtask: SubtaskIndex(0) };
    (0..4).for_each(|number| worker.report_state(Attempt { task, number }, TaskState::Running));
    let shard = worker.shard.clone();
    assert_eq!(worker.turn(&shard), Next::Again);
    let soon = Next::Idle { until: Some(shard.now() + RESEND_EVERY) };
    assert_eq!(worker.turn(&shard), soon, "two are left, and nobody says when there is room");
    assert!(from.pop().is_some() && from.pop().is_some());
    assert_eq!(worker.turn(&shard), Next::Again);
    assert_eq!(worker.turn(&shard), Next::IDLE, "all are sent");
    assert!(from.pop().is_some() && from.pop().is_some() && from.pop().is_none());
}
