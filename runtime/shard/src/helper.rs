//! Futures of users, run beside the shards: one program that polls them all, and the end of it that each shard has.
//!
//! ```text
//!   shard: HelperClient                       helper: a program on a thread of its own, or a simulated one
//!   start(future) ──ring──▶ requests ──▶ running ──poll──▶ pending … woken ──▶ ready
//!   poll() ◀──ring── results ◀── knock ───────────────────────────────────────┘
//! ```
//!
//! # What is always true
//!
//! 1. A shard never waits for the helper: what a ring does not take waits on its own side, in order. No lock is taken on a
//!    shard.
//! 2. A future that was started is answered once, unless it was cancelled or its owner is gone before. One that panics is
//!    answered with what it said; the others go on.
//! 3. A turn is bounded: so many polls, then the next turn.
//! 4. In simulation the helper is one more program that the seed gives turns to. A client without a helper polls in place:
//!    what tests do that step by hand.

mod client;

use std::{
    any::Any,
    collections::{BTreeMap, VecDeque},
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

pub use client::{Futures, HelperClient, HelperSeat};

use crate::{
    Door, Next, Program, Shard,
    program::panic_message,
    ring::{Consumer, Producer, ring},
};

/// Requests and results of one shard that may wait for the other side: some turns of a few operators that ask for a hundred
/// records each. What does not fit waits on the side that it comes from.
const RING_SLOTS: usize = 1024;
/// Polls in a turn of the helper.
const POLLS_PER_TURN: usize = 256;
/// How soon a result is sent again that the ring had no room for: its shard is busy and takes many at once.
const RESEND_EVERY: Duration = Duration::from_millis(1);

type Value = Box<dyn Any + Send>;
type Erased = Pin<Box<dyn Future<Output = Value> + Send>>;

/// Of which operator of a shard, and the number that it has there.
type Id = (u32, u64);

enum Request {
    Start(Id, Erased),
    Cancel(Id),
    /// All of an operator.
    Forget(u32),
}

struct Answer {
    id: Id,
    value: Result<Value, String>,
}

/// A future, and how it says that it wants to be polled.
struct Running {
    future: Erased,
    signal: Arc<Signal>,
}

struct Signal {
    key: (usize, Id),
    is_woken: AtomicBool,
    woken: Arc<Woken>,
}

/// Keys of futures that want to be polled. Woken by any thread; never by a shard.
struct Woken {
    keys: Mutex<Vec<(usize, Id)>>,
    door: Door,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_woken.swap(true, Ordering::AcqRel) {
            self.woken.keys.lock().unwrap_or_else(PoisonError::into_inner).push(self.key);
            self.woken.door.knock();
        }
    }
}

/// The helper's end of one shard.
struct End {
    requests: Consumer<Request>,
    results: Producer<Answer>,
    unsent: VecDeque<Answer>,
    door: Door,
}

/// The program that polls the futures of all shards.
pub struct Helper {
    ends: Vec<End>,
    running: BTreeMap<(usize, Id), Running>,
    ready: VecDeque<(usize, Id)>,
    woken: Arc<Woken>,
}

impl Helper {
    /// A helper behind `door`, for shards behind `shards`; and the client of each.
    pub fn new(door: &Door, shards: Vec<Door>) -> (Self, Vec<HelperSeat>) {
        let (mut ends, mut seats) = (Vec::new(), Vec::new());
        for shard in shards {
            let (to, requests) = ring(RING_SLOTS);
            let (results, from) = ring(RING_SLOTS);
            ends.push(End { requests, results, unsent: VecDeque::new(), door: shard });
            seats.push(HelperSeat { requests: to, results: from, door: door.clone() });
        }
        let woken = Arc::new(Woken { keys: Mutex::default(), door: door.clone() });
        (Self { ends, running: BTreeMap::new(), ready: VecDeque::new(), woken }, seats)
    }

    fn take_requests(&mut self) -> bool {
        let mut took = false;
        for (index, end) in self.ends.iter_mut().enumerate() {
            let mut count = 0;
            while let Some(request) = end.requests.pop() {
                count += 1;
                match request {
                    Request::Start(id, future) => {
                        let (key, woken) = ((index, id), Arc::clone(&self.woken));
                        let is_woken = AtomicBool::new(true);
                        let signal = Arc::new(Signal { key, is_woken, woken });
                        self.running.insert(key, Running { future, signal });
                        self.ready.push_back(key);
                    }
                    Request::Cancel(id) => drop_future(self.running.remove(&(index, id))),
                    Request::Forget(owner) => {
                        let range = (index, (owner, 0))..=(index, (owner, u64::MAX));
                        let gone: Vec<_> = self.running.range(range).map(|(key, _)| *key).collect();
                        gone.iter().for_each(|key| drop_future(self.running.remove(key)));
                    }
                }
            }
            took |= count > 0;
            // It may have been full, and its shard may wait for room.
            if count >= RING_SLOTS {
                end.door.knock();
            }
        }
        took
    }

    /// Polls what is ready; says whether anything was.
    fn poll_ready(&mut self) -> bool {
        let woken = &self.woken.keys;
        self.ready.extend(woken.lock().unwrap_or_else(PoisonError::into_inner).drain(..));
        let count = self.ready.len().min(POLLS_PER_TURN);
        let keys: Vec<_> = self.ready.drain(..count).collect();
        keys.iter().for_each(|key| self.poll(*key));
        count > 0
    }

    fn poll(&mut self, key: (usize, Id)) {
        let Some(running) = self.running.get_mut(&key) else { return };
        running.signal.is_woken.store(false, Ordering::Release);
        let waker = Waker::from(Arc::clone(&running.signal));
        let future = running.future.as_mut();
        let polled =
            catch_unwind(AssertUnwindSafe(|| future.poll(&mut Context::from_waker(&waker))));
        let value = match polled {
            Ok(Poll::Pending) => return,
            Ok(Poll::Ready(value)) => Ok(value),
            Err(panic) => Err(panic_message(&*panic)),
        };
        drop_future(self.running.remove(&key));
        self.ends[key.0].unsent.push_back(Answer { id: key.1, value });
    }

    /// Sends what waits; says whether anything is left.
    fn send(&mut self) -> bool {
        let mut is_left = false;
        for end in &mut self.ends {
            let mut knocks = false;
            while let Some(answer) = end.unsent.pop_front() {
                if let Err(answer) = end.results.push(answer) {
                    end.unsent.push_front(answer);
                    break;
                }
                knocks = true;
            }
            if knocks {
                end.door.knock();
            }
            if end.results.is_closed() {
                end.unsent.clear();
            }
            is_left |= !end.unsent.is_empty();
        }
        is_left
    }

    fn is_over(&self) -> bool {
        self.ends.iter().all(|end| end.requests.is_closed() && end.requests.is_empty())
    }

    /// One round: requests, polls, results. Says whether anything was done, and whether results are left.
    fn step(&mut self) -> (bool, bool) {
        let worked = self.take_requests() | self.poll_ready();
        (worked, self.send())
    }
}

/// What a future holds is user code as well: a panic of it is nobody's answer.
fn drop_future(running: Option<Running>) {
    drop(catch_unwind(AssertUnwindSafe(|| drop(running))));
}

impl Program for Helper {
    fn turn(&mut self, shard: &Shard) -> Next {
        let (worked, is_left) = self.step();
        if self.is_over() {
            return Next::Done;
        }
        match (worked, is_left) {
            (true, _) => Next::Again,
            (false, true) => Next::Idle { until: Some(shard.now() + RESEND_EVERY) },
            (false, false) => Next::IDLE,
        }
    }
}

impl fmt::Debug for Helper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Helper({} running)", self.running.len())
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;
    use crate::{Launch, Machine, ShardSpec};

    /// Ready after so many polls, each of which wakes it.
    struct After(u32);

    impl Future for After {
        type Output = &'static str;
        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<&'static str> {
            if self.0 == 0 {
                return Poll::Ready("done");
            }
            self.0 -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    }

    fn all<R: Send + 'static>(futures: &mut Futures<R>) -> Vec<(u64, Result<R, String>)> {
        std::iter::from_fn(|| futures.poll()).collect()
    }

    #[test]
    fn results_come_as_futures_are_ready() {
        let client = HelperClient::in_place();
        let (mut slow, mut fast) = (client.futures(), client.futures());
        assert_eq!((slow.start(After(3)), slow.start(After(0)), slow.start(After(1))), (0, 1, 2));
        fast.start(ready(7));
        assert_eq!(all(&mut slow), [(1, Ok("done")), (2, Ok("done")), (0, Ok("done"))]);
        assert_eq!(all(&mut fast), [(0, Ok(7))]);
    }

    #[test]
    fn a_future_that_is_cancelled_is_dropped_and_not_answered() {
        let client = HelperClient::in_place();
        let held = Arc::new(());
        let holding = |held: &Arc<()>| {
            let held = Arc::clone(held);
            async move {
                pending::<()>().await;
                drop(held)
            }
        };
        let mut futures = client.futures();
        let number = futures.start(holding(&held));
        futures.start(holding(&held));
        assert_eq!((futures.poll(), Arc::strong_count(&held)), (None, 3));
        futures.cancel(number);
        assert_eq!((futures.poll(), Arc::strong_count(&held)), (None, 2));
        drop(futures);
        assert_eq!(client.futures::<()>().poll(), None);
        assert_eq!(Arc::strong_count(&held), 1, "what an operator has started goes with it");
    }

    #[test]
    fn a_panic_is_an_answer() {
        let mut futures = HelperClient::in_place().futures::<u32>();
        futures.start(async { panic!("no such host") });
        futures.start(ready(1));
        assert_eq!(all(&mut futures), [(0, Err("no such host".to_owned())), (1, Ok(1))]);
    }

    /// More than the rings hold, from two shards, on a machine or in simulation.
    #[test]
    fn shards_get_all_their_results() {
        const COUNT: u64 = 3_000;
        let mut specs = ShardSpec::spread(3, &[]);
        specs[2].name = "helper".to_owned();
        let mut launch = Launch::new(specs).expect("descriptors");
        let ids = launch.ids();
        let doors = ids[..2].iter().map(|id| launch.door(*id)).collect();
        let (helper, seats) = Helper::new(&launch.door(ids[2]), doors);
        launch.program(ids[2], move |_| Box::new(helper));
        for (id, seat) in ids.into_iter().zip(seats) {
            launch.program(id, move |_| {
                let mut futures = HelperClient::new(seat).futures();
                for number in 0..COUNT {
                    futures.start(async move {
                        After((number % 3) as u32).await;
                        number
                    });
                }
                let mut left = COUNT;
                Box::new(move |_: &Shard| {
                    let before = left;
                    while let Some((number, value)) = futures.poll() {
                        assert_eq!(value, Ok(number));
                        left -= 1;
                    }
                    match left {
                        0 => Next::Done,
                        _ if left < before => Next::Again,
                        _ => Next::IDLE,
                    }
                })
            });
        }
        assert!(Machine::start(launch).expect("this machine is fit").join().outcome().is_ok());
    }
}
