//! A shard's end of the helper: starts futures, and hears what came of them.
//!
//! # What is always true
//!
//! 1. What the ring does not take waits here, in order; the helper knocks when it has emptied a full ring.
//! 2. Results of an operator that is gone are dropped.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    fmt,
    future::Future,
    marker::PhantomData,
    rc::Rc,
};

use super::{Answer, Helper, Request, Value};
use crate::{
    Door,
    ring::{Consumer, Producer},
};

/// Rounds in which a client without a helper polls in place. A future that wakes itself without end is asked again later.
const ROUNDS_IN_PLACE: usize = 64;

/// Results of one operator, by the numbers of its futures.
type Arrived = VecDeque<(u64, Result<Value, String>)>;

/// The place of a shard at a [`Helper`], on its way to the shard.
pub struct HelperSeat {
    pub(super) requests: Producer<Request>,
    pub(super) results: Consumer<Answer>,
    pub(super) door: Door,
}

/// A shard's end of a [`Helper`]. Clones are the same end; it never leaves its shard.
#[derive(Clone)]
pub struct HelperClient(Rc<RefCell<Client>>);

struct Client {
    seat: HelperSeat,
    /// What the ring did not take.
    unsent: VecDeque<Request>,
    /// Results by operator.
    arrived: BTreeMap<u32, Arrived>,
    next_owner: u32,
    /// Polls in place, if nobody else does.
    in_place: Option<Helper>,
}

impl HelperClient {
    /// The client of a helper that is a program of its own.
    pub fn new(seat: HelperSeat) -> Self {
        Self::with(seat, None)
    }

    /// A client that polls futures itself, when it is asked for results.
    pub fn in_place() -> Self {
        let door = Door::unattended();
        let (helper, mut seats) = Helper::new(&door, vec![door.clone()]);
        match seats.pop() {
            Some(seat) => Self::with(seat, Some(helper)),
            None => unreachable!("one shard has one seat"),
        }
    }

    fn with(seat: HelperSeat, in_place: Option<Helper>) -> Self {
        Self(Rc::new(RefCell::new(Client {
            seat,
            unsent: VecDeque::new(),
            arrived: BTreeMap::new(),
            next_owner: 0,
            in_place,
        })))
    }

    /// The futures of one operator, whose results are of type `R`.
    pub fn futures<R: Send + 'static>(&self) -> Futures<R> {
        let mut client = self.0.borrow_mut();
        let owner = client.next_owner;
        client.next_owner += 1;
        client.arrived.insert(owner, VecDeque::new());
        Futures { client: self.clone(), owner, next: 0, types: PhantomData }
    }
}

impl Client {
    fn send(&mut self, request: Request) {
        self.unsent.push_back(request);
        self.exchange();
    }

    /// Sends what waits, and takes what has come.
    fn exchange(&mut self) {
        let mut knocks = false;
        while let Some(request) = self.unsent.pop_front() {
            if let Err(request) = self.seat.requests.push(request) {
                self.unsent.push_front(request);
                break;
            }
            knocks = true;
        }
        if knocks {
            self.seat.door.knock();
        }
        while let Some(Answer { id: (owner, number), value }) = self.seat.results.pop() {
            if let Some(arrived) = self.arrived.get_mut(&owner) {
                arrived.push_back((number, value));
            }
        }
    }

    fn poll_in_place(&mut self) {
        let Some(mut helper) = self.in_place.take() else { return };
        for _ in 0..ROUNDS_IN_PLACE {
            let (worked, _) = helper.step();
            self.exchange();
            if !worked {
                break;
            }
        }
        self.in_place = Some(helper);
    }
}

/// The futures that one operator has started.
///
/// ```
/// use wiesel_shard::HelperClient;
///
/// let mut futures = HelperClient::in_place().futures::<u32>();
/// let number = futures.start(async { 6 * 7 });
/// assert_eq!(futures.poll(), Some((number, Ok(42))));
/// assert_eq!(futures.poll(), None);
/// ```
pub struct Futures<R> {
    client: HelperClient,
    owner: u32,
    next: u64,
    types: PhantomData<fn() -> R>,
}

impl<R: Send + 'static> Futures<R> {
    /// Has a future polled until it is ready; gives the number that its result will have.
    pub fn start(&mut self, future: impl Future<Output = R> + Send + 'static) -> u64 {
        let number = self.next;
        self.next += 1;
        let future = Box::pin(async move { Box::new(future.await) as Value });
        self.client.0.borrow_mut().send(Request::Start((self.owner, number), future));
        number
    }

    /// Drops a future. Its result may be under way: who cancels forgets the number.
    pub fn cancel(&mut self, number: u64) {
        self.client.0.borrow_mut().send(Request::Cancel((self.owner, number)));
    }

    /// The next result: its number, and the value or what a panic said.
    pub fn poll(&mut self) -> Option<(u64, Result<R, String>)> {
        let mut client = self.client.0.borrow_mut();
        let take =
            |client: &mut Client| client.arrived.get_mut(&self.owner).and_then(VecDeque::pop_front);
        let next = take(&mut client).or_else(|| {
            client.exchange();
            client.poll_in_place();
            take(&mut client)
        });
        next.map(|(number, value)| {
            let value = value.map(|value| match value.downcast::<R>() {
                Ok(value) => *value,
                Err(_) => unreachable!("an operator's futures have one type"),
            });
            (number, value)
        })
    }
}

impl<R> Drop for Futures<R> {
    fn drop(&mut self) {
        let mut client = self.client.0.borrow_mut();
        client.arrived.remove(&self.owner);
        client.send(Request::Forget(self.owner));
    }
}

impl fmt::Debug for HelperClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HelperClient")
    }
}

impl fmt::Debug for HelperSeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HelperSeat")
    }
}
