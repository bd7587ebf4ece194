//! `handoff`: one record to another shard and back, when both have nothing else to do.
//!
//! ```text
//!   shard 0: append, flush ─▶ channel ─▶ gate: take, read, send home ─▶ append, flush ─▶ channel ─▶ shard 0
//!            └───────────────────────── one round trip ──────────────────────────────────────────────┘
//! ```
//!
//! The way is that of a record between two tasks: a result partition, a frame, a channel, an input gate, with credits
//! and frames that go home; only the operators are missing.

use std::sync::{Arc, Mutex, PoisonError};

use hdrhistogram::Histogram;
use serde_json::json;
use wiesel_core::{Meta, Nanos, ShardId, StopFlag};
use wiesel_exchange::{
    ChannelReceiver, ChannelSender, GateElement, GateEvent, InputGate, Overdraft, PartitionOptions,
    Partitioner, ResultPartition, channel,
};
use wiesel_record::Owned;
use wiesel_shard::{Launch, Machine, Next, Program, Shard, ShardSpec, available_cores};
use wiesel_wire::{FramePool, FrameShape, FrameView};

use crate::{
    generator::Check,
    measure::{Mode, Outcome, Run, histogram, measured},
};

/// Frames in flight: one is under way, the other is filled meanwhile.
const CREDITS: usize = 2;

/// Round trips before those that count, of a hundred.
const WARM_UP_PERCENT: u64 = 10;

/// One end. The first asks and measures, the second answers.
struct End {
    gate: InputGate,
    partition: ResultPartition,
    asks: bool,
    /// Round trips that are left.
    left: u64,
    warm_up: u64,
    asked_at: Option<Nanos>,
    round_trips: Histogram<u64>,
    check: Check,
    result: Arc<Mutex<(Option<Histogram<u64>>, Check)>>,
}

impl End {
    fn new(
        to: ChannelSender,
        from: ChannelReceiver,
        asks: bool,
        run: &Run,
        result: Arc<Mutex<(Option<Histogram<u64>>, Check)>>,
    ) -> Self {
        let pool = FramePool::new(CREDITS + 2, 0);
        let frames = pool.reserve(CREDITS + 2).expect("all of a pool made for it");
        let options = PartitionOptions {
            partitioner: Partitioner::Forward,
            shape: FrameShape::of::<u64>(false, false),
            subtask: u32::from(!asks),
            seed: 0,
            record_bytes_max: 1 << 15,
        };
        let (stop, overdraft) = (StopFlag::new(), Overdraft::new(1 << 20));
        Self {
            gate: InputGate::new(vec![from]),
            partition: ResultPartition::new(&options, vec![to], frames, stop, overdraft),
            asks,
            left: run.events,
            warm_up: run.events * WARM_UP_PERCENT / 100,
            asked_at: None,
            round_trips: histogram(),
            check: Check::default(),
            result,
        }
    }

    fn send(&mut self, number: u64) {
        self.partition.append::<u64, _>(&Owned(number), Meta::NONE);
        self.partition.flush();
    }

    /// The frame that has come, if one has, and the number in it.
    fn take(&mut self) -> Option<(GateElement, u64)> {
        let GateEvent::Data(element) = self.gate.poll()? else { return None };
        let number = FrameView::<u64>::new(element.frame()).record(0).get();
        Some((element, number))
    }
}

impl Program for End {
    fn turn(&mut self, shard: &Shard) -> Next {
        let taken = self.take();
        if taken.is_none() {
            self.partition.poll(); // Frames that came home, while there is time.
        }
        if !self.asks {
            if let Some((element, number)) = taken {
                self.send(number + 1); // What waits for the answer comes before what waits for the frame.
                self.gate.done_with(element);
                self.left -= 1;
                return Next::Again;
            }
            return if self.left == 0 && self.partition.is_drained() {
                Next::Done
            } else {
                Next::IDLE
            };
        }
        let mut read = None;
        if let Some((element, number)) = taken {
            let now = shard.read_clock();
            read = Some(element);
            self.check.add(number);
            self.left -= 1;
            if let Some(asked_at) = self.asked_at.take()
                && self.warm_up < number
            {
                self.round_trips.saturating_record(now.since(asked_at).as_nanos() as u64);
            }
        }
        if self.left > 0 && self.asked_at.is_none() {
            self.asked_at = Some(shard.read_clock());
            let number = self.left;
            self.send(number);
        }
        if let Some(element) = read {
            self.gate.done_with(element);
            return Next::Again;
        }
        if self.left == 0 {
            if self.partition.is_drained() {
                let trips = std::mem::replace(&mut self.round_trips, histogram());
                *self.result.lock().unwrap_or_else(PoisonError::into_inner) =
                    (Some(trips), self.check);
                return Next::Done;
            }
            return Next::IDLE;
        }
        Next::IDLE
    }
}

/// Sends `run.events` records there and back.
///
/// # Errors
///
/// If the shards cannot be started here, or an answer is wrong.
pub fn run(run: &Run) -> Result<Outcome, String> {
    let mut specs = ShardSpec::spread(2, &available_cores());
    if run.mode == Mode::Spin {
        specs.iter_mut().for_each(|spec| spec.spin = std::time::Duration::from_secs(3_600));
    }
    let mut launch = Launch::new(specs).map_err(|error| format!("start two shards: {error}"))?;
    let doors = [0, 1].map(|id| launch.door(ShardId(id)));
    let way = |from: usize, to: usize| {
        channel(CREDITS, Some(doors[to].clone()), Some(doors[from].clone()))
    };
    let ((to_second, at_second), (to_first, at_first)) = (way(0, 1), way(1, 0));
    let result = Arc::default();
    for (id, to, from) in [(0, to_second, at_first), (1, to_first, at_second)] {
        let (run, result) = (run.clone(), Arc::clone(&result));
        launch.program(ShardId(id), move |_| Box::new(End::new(to, from, id == 0, &run, result)));
    }
    let (ended, usage) = measured(|| match Machine::start(launch) {
        Ok(machine) => machine.join().outcome().map_err(|panic| panic.to_string()),
        Err(error) => Err(format!("start two shards: {error}")),
    });
    ended?;
    let (trips, check) = result.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let trips = trips.ok_or("the first shard ended without a result")?;
    // The answers are 2 to N + 1: each number, one more.
    let mut expected = Check::default();
    (2..=run.events + 1).for_each(|number| expected.add(number));
    if check != expected {
        return Err(format!("{} answers, and not those to what was asked", check.out));
    }
    let ns = |quantile: f64| json!(trips.value_at_quantile(quantile));
    let mut outcome = usage.outcome(run, "wiesel", check);
    outcome.extra = vec![
        ("mode", json!(run.mode.name())),
        ("rtt_p50_ns", ns(0.5)),
        ("rtt_p90_ns", ns(0.9)),
        ("rtt_p99_ns", ns(0.99)),
        ("rtt_p999_ns", ns(0.999)),
    ];
    Ok(outcome)
}
