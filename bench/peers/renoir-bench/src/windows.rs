//! Windows of event time as the other engines have them, and the best of each on one subtask.

use std::collections::{BTreeMap, VecDeque};

use peer::generator::Bid;
use renoir::{
    Replication, Stream,
    operator::{
        Data, ExchangeData, Operator, StreamElement, Timestamp,
        window::{WindowAccumulator, WindowDescription, WindowManager, WindowResult},
    },
};

use crate::Input;

/// Records of a source between two watermarks. renoir's own example has 2^20; each of them goes through all keys.
const WATERMARK_EVERY: u64 = 1 << 18;

/// renoir's `EventTimeWindow`, but aligned to the epoch: its own begins at the first record of each key, which gives
/// results that no other engine has.
#[derive(Clone, Debug)]
pub struct Aligned {
    /// What a window covers, in milliseconds.
    pub size: i64,
    /// How far windows are apart.
    pub slide: i64,
}

/// The windows of one key.
#[derive(Clone, Debug)]
pub struct AlignedManager<A> {
    init: A,
    windows: Aligned,
    /// By their starts.
    open: VecDeque<(i64, A)>,
}

impl<A: WindowAccumulator> AlignedManager<A> {
    fn fire(&mut self, count: usize) -> Vec<WindowResult<A::Out>> {
        let size = self.windows.size;
        let fired = self.open.drain(..count);
        fired.map(|(start, acc)| WindowResult::Timestamped(acc.output(), start + size)).collect()
    }
}

impl<A: WindowAccumulator> WindowManager for AlignedManager<A>
where
    A::In: Data,
    A::Out: Data,
{
    type In = A::In;
    type Out = A::Out;
    type Output = Vec<WindowResult<A::Out>>;

    #[inline]
    fn process(&mut self, element: StreamElement<A::In>) -> Self::Output {
        match element {
            StreamElement::Timestamped(item, time) => {
                let Aligned { size, slide } = self.windows;
                let last = time - time.rem_euclid(slide);
                let mut start = last - size + slide;
                while start <= last {
                    let at = self.open.iter().position(|(other, _)| *other >= start);
                    let at = at.unwrap_or(self.open.len());
                    if self.open.get(at).is_none_or(|(other, _)| *other != start) {
                        self.open.insert(at, (start, self.init.clone()));
                    }
                    self.open[at].1.process(&item);
                    start += slide;
                }
                Vec::new()
            }
            StreamElement::Watermark(time) => {
                let size = self.windows.size;
                self.fire(self.open.partition_point(|(start, _)| start + size <= time + 1))
            }
            StreamElement::FlushAndRestart | StreamElement::Terminate => self.fire(self.open.len()),
            StreamElement::Item(_) | StreamElement::FlushBatch => Vec::new(),
        }
    }

    fn recycle(&self) -> bool {
        self.open.is_empty()
    }
}

impl<T: Data> WindowDescription<T> for Aligned {
    type Manager<A: WindowAccumulator<In = T>> = AlignedManager<A>;

    fn build<A: WindowAccumulator<In = T>>(&self, init: A) -> AlignedManager<A> {
        AlignedManager { init, windows: self.clone(), open: VecDeque::new() }
    }
}

/// Every so many records, a watermark: all later ones are at this time or after it.
pub fn watermarks_every<T>(
    records: u64,
) -> impl FnMut(&T, &Timestamp) -> Option<Timestamp> + Clone + Send + 'static {
    let mut count = 0;
    move |_, time| {
        count += 1;
        (count % records == 0).then(|| time - 1)
    }
}

/// As [`watermarks_every`], as often as is good where every event is a record.
pub fn watermarks<T>() -> impl FnMut(&T, &Timestamp) -> Option<Timestamp> + Clone + Send + 'static {
    watermarks_every(WATERMARK_EVERY)
}

/// What `read` reads of each bid, with event times.
#[inline]
pub fn timed_bids<T: Data, F: Fn(&Bid) -> T + Send + Clone + 'static>(
    input: &Input<'_>,
    read: F,
) -> Stream<impl Operator<Out = T> + use<T, F>> {
    let bids =
        input.events().filter_map(move |event| event.bid().map(|bid| (read(&bid), bid.date_time)));
    bids.add_timestamps(|(_, time)| *time as i64, watermarks()).map(|(record, _)| record)
}

/// Collects the results of each window on one subtask, and lets `best_of` say which go on once it is over. Results
/// carry the end of their window.
#[inline]
pub fn best_of_each_window<T, B>(
    results: Stream<impl Operator<Out = T> + 'static>,
    add: impl Fn(&mut Vec<T>, T) + Send + Clone + 'static,
    best_of: B,
) -> Stream<impl Operator<Out = (T, u64)>>
where
    T: ExchangeData,
    B: Fn(Vec<T>) -> Vec<T> + Send + Clone + 'static,
{
    results.replication(Replication::new_one()).rich_map_custom({
        let mut open = BTreeMap::<i64, Vec<T>>::new();
        let mut ready = VecDeque::<StreamElement<(T, u64)>>::new();
        move |mut input| {
            loop {
                if let Some(element) = ready.pop_front() {
                    return element;
                }
                let (until, then) = match input.next() {
                    StreamElement::Timestamped(result, end) => {
                        add(open.entry(end).or_default(), result);
                        continue;
                    }
                    StreamElement::Item(_) => unreachable!("results of windows have a time"),
                    // A window's results are behind the watermark that closed it only by one.
                    StreamElement::Watermark(time) => (time, None),
                    StreamElement::FlushAndRestart => {
                        (i64::MAX, Some(StreamElement::FlushAndRestart))
                    }
                    StreamElement::FlushBatch => return StreamElement::FlushBatch,
                    StreamElement::Terminate => return StreamElement::Terminate,
                };
                while let Some(first) = open.first_entry()
                    && *first.key() <= until
                {
                    let (end, results) = first.remove_entry();
                    let best = best_of(results).into_iter();
                    ready.extend(best.map(|result| StreamElement::Item((result, end as u64))));
                }
                ready.extend(then);
            }
        }
    })
}

/// Keeps the counted keys with the greatest count.
#[inline]
pub fn keep_most<K>(best: &mut Vec<(K, usize)>, counted: (K, usize)) {
    let most = best.first().map_or(0, |(_, count)| *count);
    if counted.1 > most {
        best.clear();
    }
    if counted.1 >= most {
        best.push(counted);
    }
}
