//! q12: counts in windows of the time of day.

use wiesel::{
    Out,
    operators::{Chain, Start},
    prelude::*,
};

use crate::{
    generator::Check,
    wiesel::{
        check_sink::Total,
        events::{Event, EventView},
        jobs::check_with,
    },
};

/// Bids by bidder and ten seconds of the time of day.
///
/// ```sql
/// SELECT bidder, count(*), window_end
/// FROM TABLE(TUMBLE(TABLE (SELECT *, PROCTIME() AS p_time FROM bid), DESCRIPTOR(p_time), INTERVAL '10' SECOND))
/// GROUP BY bidder, window_start, window_end
/// ```
///
/// What is counted when depends on the clock. So the check sum is that of the bids of each bidder in all windows together:
/// as if each count of `n` were `n` outputs. At the end of the input open windows are output too, where Flink drops them.
pub fn q12<S, C>(events: DataStream<Event, S, C>) -> Total
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    let counts = events
        .filter_map::<u64>(|event| match event {
            EventView::Bid(bid) => Some(bid.bidder),
            _ => None,
        })
        .key_by::<u64>(|bidder| bidder)
        .process(TenSeconds { open: ValueState::new("open") })
        .uid("bids by bidder");
    check_with(counts, |(bidder, count, _), check: &mut Check| check.add_times(bidder, count))
}

/// Counts the records of a key by ten seconds of the time of day.
#[derive(Clone)]
struct TenSeconds {
    /// The count of the window that is open, and its end.
    open: ValueState<(u64, Timestamp)>,
}

impl KeyedProcessFunction<u64, u64> for TenSeconds {
    /// Key, count, end of the window.
    type Out = (u64, u64, u64);
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.open);
    }

    fn process(
        &mut self,
        bidder: u64,
        context: &mut KeyedContext<'_, u64, ()>,
        out: &mut dyn Out<Self::Out>,
    ) -> Result<(), FunctionError> {
        let now = context.processing_time();
        let (count, end) = match context.get(&self.open) {
            Some((count, end)) if now < end => (count + 1, end),
            before => {
                if let Some((count, end)) = before {
                    out.emit((bidder, count, end.as_millis() as u64)); // Its timer is on its way.
                }
                let end = Tumbling::event_time(seconds(10)).window_of(now).end;
                context.register_processing_timer(end);
                context.register_event_timer(Timestamp::MAX); // The end of the input.
                (1, end)
            }
        };
        context.set(&self.open, (count, end));
        Ok(())
    }

    fn on_timer(
        &mut self,
        time: Timestamp,
        domain: TimeDomain,
        context: &mut KeyedContext<'_, u64, ()>,
        out: &mut dyn Out<Self::Out>,
    ) -> Result<(), FunctionError> {
        let Some((count, end)) = context.get(&self.open) else { return Ok(()) };
        if domain == TimeDomain::ProcessingTime && time < end {
            return Ok(()); // A record came before the timer of its window did.
        }
        context.with_key(|bidder| out.emit((bidder, count, end.as_millis() as u64)));
        context.clear(&self.open);
        context.delete_event_timer(Timestamp::MAX);
        Ok(())
    }
}
