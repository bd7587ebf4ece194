//! q11: what each bidder bids before they are silent for a while.
//!
//! ```text
//!   bids ══ by bidder ══▶ sessions: they end ten seconds behind their last bid ─▶ count, end
//! ```

use wiesel::{
    operators::{Chain, Start},
    prelude::*,
};

use super::time;
use crate::{
    generator::{SESSION_GAP_MS, window_x},
    wiesel::{
        check_sink::Total,
        events::{Event, EventView},
        jobs::check,
        windows::Count,
    },
};

/// Bids by bidder and session.
///
/// ```sql
/// SELECT bidder, count(*) AS bid_count, window_start, window_end
/// FROM TABLE(SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR(dateTime), INTERVAL '10' SECOND))
/// GROUP BY bidder, window_start, window_end
/// ```
///
/// Events may be out of order by `disorder_ms`.
pub fn q11<S, C>(events: DataStream<Event, S, C>, disorder_ms: u64) -> Total
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    let sessions = events
        .filter_map::<(u64, u64)>(|event| {
            let EventView::Bid(bid) = event else { return None };
            Some((bid.bidder, bid.date_time))
        })
        .watermarks(bounded_out_of_orderness(millis(disorder_ms)), |(_, at)| time(at))
        .project::<u64>(|(bidder, _)| bidder)
        .key_by::<u64>(|bidder| bidder)
        .window(Session::with_gap(millis(SESSION_GAP_MS)))
        .fold_with(Count)
        .uid("bids by bidder");
    check(sessions, |(bidder, count, end)| window_x(bidder, count, end))
}
