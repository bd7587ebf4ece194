//! q13, q14, q21, q22: every bid by itself, with something worked out of it or looked up for it.

use wiesel::{
    Out,
    operators::{Chain, Start},
    prelude::*,
};

use crate::{
    generator::{SIDE_ROWS, fields_x, fnv1a64, side_value},
    wiesel::{
        check_sink::Total,
        events::{BidView, Event, EventView},
        jobs::check,
    },
};

/// A bid, and what the side table says of its auction.
#[derive(Record)]
pub struct Enriched {
    pub auction: u64,
    pub bidder: u64,
    pub price: u64,
    pub date_time: u64,
    pub value: u64,
}

/// Bids with a value of a bounded table.
///
/// ```sql
/// SELECT B.auction, B.bidder, B.price, B.dateTime, S.value
/// FROM bid B JOIN side_input FOR SYSTEM_TIME AS OF B.p_time AS S ON mod(B.auction, 10000) = S.key
/// ```
///
/// The table does not change, so every subtask has all of it: it is read when the subtask starts.
pub fn q13<S, C>(events: DataStream<Event, S, C>) -> Total
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    check(events.process(SideInput::default()), |bid: EnrichedView<'_>| {
        fields_x([bid.auction, bid.bidder, bid.price, bid.date_time, bid.value])
    })
}

/// Looks a bid's auction up in the side table.
#[derive(Clone, Default)]
struct SideInput {
    /// By key.
    values: Vec<u64>,
}

impl ProcessFunction<Event> for SideInput {
    type Out = Enriched;
    type Side = ();

    fn open(&mut self, _: &RuntimeContext) -> Result<(), FunctionError> {
        self.values = (0..SIDE_ROWS).map(side_value).collect();
        Ok(())
    }

    #[inline]
    fn process(
        &mut self,
        event: EventView<'_>,
        _: &mut ProcessContext<'_, ()>,
        out: &mut dyn Out<Enriched>,
    ) -> Result<(), FunctionError> {
        let EventView::Bid(BidView { auction, bidder, price, date_time, .. }) = event else {
            return Ok(());
        };
        if let Some(value) = self.values.get((auction % SIDE_ROWS) as usize).copied() {
            out.emit(EnrichedView { auction, bidder, price, date_time, value });
        }
        Ok(())
    }
}

/// A bid of a medium price, in euros.
#[derive(Record)]
pub struct Calculated {
    pub auction: u64,
    pub bidder: u64,
    pub price: u64,
    pub time_of_day: String,
    pub date_time: u64,
    pub extra: String,
    pub c_count: u64,
}

/// Bids of a medium price, with what is worked out of their fields.
///
/// ```sql
/// SELECT auction, bidder, 0.908 * price AS price,
///        CASE WHEN HOUR(dateTime) BETWEEN 8 AND 18 THEN 'dayTime'
///             WHEN HOUR(dateTime) <= 6 OR HOUR(dateTime) >= 20 THEN 'nightTime'
///             ELSE 'otherTime' END AS bidTimeType,
///        dateTime, extra, count_char(extra, 'c') AS c_counts
/// FROM bid WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000
/// ```
pub fn q14<S, C>(events: DataStream<Event, S, C>) -> Total
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    check(events.filter_map::<Calculated>(calculate), |bid: CalculatedView<'_>| {
        fields_x([
            bid.auction,
            bid.bidder,
            bid.price,
            fnv1a64(bid.time_of_day.as_bytes()),
            bid.date_time,
            fnv1a64(bid.extra.as_bytes()),
            bid.c_count,
        ])
    })
}

/// Milliseconds of an hour.
const HOUR_MS: u64 = 3_600_000;

fn calculate(event: EventView<'_>) -> Option<CalculatedView<'_>> {
    let EventView::Bid(bid) = event else { return None };
    let thousandths = bid.price * 908;
    if thousandths <= 1_000_000_000 || thousandths >= 50_000_000_000 {
        return None;
    }
    let time_of_day = match bid.date_time / HOUR_MS % 24 {
        8..=18 => "dayTime",
        0..=6 | 20.. => "nightTime",
        _ => "otherTime",
    };
    Some(CalculatedView {
        auction: bid.auction,
        bidder: bid.bidder,
        price: thousandths / 1_000,
        time_of_day,
        date_time: bid.date_time,
        extra: bid.extra,
        c_count: bid.extra.bytes().filter(|byte| *byte == b'c').count() as u64,
    })
}

/// A bid with the number of its channel.
#[derive(Record)]
pub struct WithChannel {
    pub auction: u64,
    pub bidder: u64,
    pub price: u64,
    pub channel: String,
    pub channel_id: String,
}

/// Bids with the number of their channel: a known one, or what the URL says.
///
/// ```sql
/// SELECT auction, bidder, price, channel,
///        CASE WHEN lower(channel) = 'apple' THEN '0' WHEN lower(channel) = 'google' THEN '1'
///             WHEN lower(channel) = 'facebook' THEN '2' WHEN lower(channel) = 'baidu' THEN '3'
///             ELSE REGEXP_EXTRACT(url, '(&|^)channel_id=([^&]*)', 2) END AS channel_id
/// FROM bid
/// WHERE REGEXP_EXTRACT(url, '(&|^)channel_id=([^&]*)', 2) IS NOT NULL
///    OR lower(channel) IN ('apple', 'google', 'facebook', 'baidu')
/// ```
pub fn q21<S, C>(events: DataStream<Event, S, C>) -> Total
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    check(events.filter_map::<WithChannel>(with_channel), |bid: WithChannelView<'_>| {
        let (channel, id) = (fnv1a64(bid.channel.as_bytes()), fnv1a64(bid.channel_id.as_bytes()));
        fields_x([bid.auction, bid.bidder, bid.price, channel, id])
    })
}

fn with_channel(event: EventView<'_>) -> Option<WithChannelView<'_>> {
    let EventView::Bid(BidView { auction, bidder, price, channel, url, .. }) = event else {
        return None;
    };
    let known = ["apple", "google", "facebook", "baidu"];
    let known = known.iter().position(|name| channel.eq_ignore_ascii_case(name));
    let channel_id = match known {
        Some(at) => ["0", "1", "2", "3"].get(at).copied(),
        None => url.split('&').find_map(|part| part.strip_prefix("channel_id=")),
    };
    channel_id.map(|channel_id| WithChannelView { auction, bidder, price, channel, channel_id })
}

/// A bid with the folders of its URL.
#[derive(Record)]
pub struct WithFolders {
    pub auction: u64,
    pub bidder: u64,
    pub price: u64,
    pub channel: String,
    pub first: String,
    pub second: String,
    pub third: String,
}

/// Bids with the folders of their URL.
///
/// ```sql
/// SELECT auction, bidder, price, channel, SPLIT_INDEX(url, '/', 3) AS dir1,
///        SPLIT_INDEX(url, '/', 4) AS dir2, SPLIT_INDEX(url, '/', 5) AS dir3 FROM bid
/// ```
pub fn q22<S, C>(events: DataStream<Event, S, C>) -> Total
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    check(events.filter_map::<WithFolders>(with_folders), |bid: WithFoldersView<'_>| {
        let [channel, first, second, third] =
            [bid.channel, bid.first, bid.second, bid.third].map(|text| fnv1a64(text.as_bytes()));
        fields_x([bid.auction, bid.bidder, bid.price, channel, first, second, third])
    })
}

fn with_folders(event: EventView<'_>) -> Option<WithFoldersView<'_>> {
    let EventView::Bid(BidView { auction, bidder, price, channel, url, .. }) = event else {
        return None;
    };
    let mut parts = url.split('/').skip(3);
    let [first, second, third] = [(); 3].map(|()| parts.next().unwrap_or_default());
    Some(WithFoldersView { auction, bidder, price, channel, first, second, third })
}
