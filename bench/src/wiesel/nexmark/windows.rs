//! q5 and q7: the most bids, and the highest bid, of a window.
//!
//! ```text
//!   q5   bids ══ by auction ══▶ counts in sliding windows ─ combined ─══▶ the auctions with the most
//!   q7   bids ─ combined ─══▶ the highest in tumbling windows
//! ```

use wiesel::{
    Out,
    operators::{Chain, Folding, Start},
    prelude::*,
};

use super::{millis_of, time};
use crate::{
    generator::{Q5_SLIDE_MS, Q5_WINDOW_MS, Q7_WINDOW_MS, price_x, window_x},
    wiesel::{
        check_sink::Total,
        events::{Event, EventView},
        jobs::check,
    },
};

/// The auctions with the most bids of the last ten seconds, every two seconds.
///
/// ```sql
/// SELECT auction, num, window_end FROM (
///   SELECT auction, count(*) AS num, window_end,
///          RANK() OVER (PARTITION BY window_end ORDER BY count(*) DESC) AS place
///   FROM TABLE(HOP(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
///   GROUP BY auction, window_start, window_end)
/// WHERE place = 1
/// ```
pub fn q5<S, C>(events: DataStream<Event, S, C>) -> Total
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    // Results carry the last time of their window: those of one sliding window are those of one slide.
    let slides = Tumbling::event_time(millis(Q5_SLIDE_MS));
    let hottest = events
        .filter_map::<(u64, u64)>(|event| match event {
            EventView::Bid(bid) => Some((bid.auction, bid.date_time)),
            _ => None,
        })
        .watermarks(monotonous_timestamps(), |(_, at)| time(at))
        .project::<u64>(|(auction, _)| auction)
        .key_by::<u64>(|auction| auction)
        .window(Sliding::event_time(millis(Q5_WINDOW_MS), millis(Q5_SLIDE_MS)))
        .pre_aggregate(true)
        .count()
        .uid("bids by auction")
        .window_all(slides)
        .fold_with(Most)
        .uid("most bids");
    check(hottest, |(auction, count, end)| window_x(auction, count, end))
}

/// Keeps the auctions with the greatest count.
#[derive(Clone)]
struct Most;

impl Folding<(), Counted<u64>> for Most {
    /// The count, and who has it.
    type Acc = (u64, Vec<u64>);
    /// Auction, count, end of the window.
    type Out = (u64, u64, u64);

    fn first(&self, counted: CountedView<'_, u64>) -> Result<Self::Acc, FunctionError> {
        Ok((counted.count, vec![counted.key]))
    }

    fn add(
        &self,
        (most, auctions): &mut Self::Acc,
        counted: CountedView<'_, u64>,
    ) -> Result<(), FunctionError> {
        if counted.count > *most {
            *most = counted.count;
            auctions.clear();
        }
        if counted.count == *most {
            auctions.push(counted.key);
        }
        Ok(())
    }

    const MERGES: bool = true;

    fn merge(
        &self,
        (most, auctions): &mut Self::Acc,
        (other, others): <Self::Acc as Record>::View<'_>,
    ) -> Result<(), FunctionError> {
        if other > *most {
            *most = other;
            auctions.clear();
        }
        if other == *most {
            auctions.extend(others.iter());
        }
        Ok(())
    }

    fn emit(
        &self,
        (): (),
        window: TimeWindow,
        (most, auctions): <Self::Acc as Record>::View<'_>,
        out: &mut dyn Out<Self::Out>,
    ) {
        auctions.iter().for_each(|auction| out.emit((auction, most, millis_of(window.end))));
    }
}

/// The highest price of each ten seconds.
///
/// ```sql
/// SELECT max(price), window_end
/// FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '10' SECOND))
/// GROUP BY window_start, window_end
/// ```
pub fn q7<S, C>(events: DataStream<Event, S, C>) -> Total
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    let windows = Tumbling::event_time(millis(Q7_WINDOW_MS));
    let highest = events
        .filter_map::<(u64, u64)>(|event| match event {
            EventView::Bid(bid) => Some((bid.price, bid.date_time)),
            _ => None,
        })
        .watermarks(monotonous_timestamps(), |(_, at)| time(at))
        .project::<u64>(|(price, _)| price)
        .window_all(windows)
        .top_n_by(1, |a, b| b.cmp(&a))
        .uid("highest");
    check(highest, |highest| price_x(highest.item, millis_of(highest.window_end)))
}
