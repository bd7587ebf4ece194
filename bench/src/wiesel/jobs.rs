//! The workloads as jobs.

use serde_json::json;
use wiesel::{
    Configuration,
    operators::{Chain, Start},
    prelude::*,
};

use super::{
    check_sink::{CheckSink, Total},
    events::{
        Bid, BidView, Block, Blocks, DisorderedEvents, EventView, Events, Keys, LinesOfWords,
    },
    nexmark, profile, trending, windows,
};
use crate::{
    generator::{
        Check, DISORDER_MS, Generator, KEYS, auction_price_x, bid_x, keyed_x, word_x, words,
    },
    measure::{Outcome, Run, measured},
    workload::Workload,
};

/// How long a task may work before the next one's turn. The best for throughput, as the peers have their best batch
/// sizes (1 to 2 % above the default of 50 us); where latency is measured the default holds.
const QUANTUM: &str = "200 us";

/// Builds the job of `run` and executes it.
///
/// # Errors
///
/// If the job cannot run here, or fails.
pub fn run(run: &Run) -> Result<Outcome, String> {
    let said = |error: wiesel::Error| error.to_string();
    let mut env = StreamExecutionEnvironment::new(Configuration::new());
    env.set_parallelism(run.parallelism).map_err(said)?;
    env.set("shard.quantum", QUANTUM).map_err(said)?;
    let total = build(&env, run)?;
    let (result, usage) = measured(|| env.execute(run.workload.name()));
    let result = result.map_err(said)?;
    if run.profile {
        eprint!("{}", profile::table(&result, run.events, &usage));
    }
    let mut outcome = usage.outcome(run, "wiesel", total.get());
    if run.workload.is_of_windows() {
        outcome.extra = windows::costs(&result, &outcome);
    }
    if run.workload == Workload::Exchange {
        let bytes = run.events as f64 * size_of::<Block>() as f64;
        outcome.extra = vec![("bytes_per_second", json!(bytes / usage.elapsed.as_secs_f64()))];
    }
    Ok(outcome)
}

fn build(env: &StreamExecutionEnvironment, run: &Run) -> Result<Total, String> {
    let generator = Generator::new(run.seed, run.event_rate);
    let events = || env.source(Events::source(generator, run.events)).uid("events");
    Ok(match run.workload {
        Workload::Gen => check(events().filter(|_| false), |_| 0),
        Workload::Q0 => check(events().filter_map::<Bid>(bid), x_of_bid),
        Workload::Q1 => check(events().filter_map::<Bid>(bid).project::<Bid>(in_euros), x_of_bid),
        Workload::Q2 => check(
            events()
                .filter_map::<Bid>(bid)
                .filter(|bid| bid.auction.is_multiple_of(123))
                .map(|bid| (bid.auction, bid.price)),
            |(auction, price)| auction_price_x(auction, price),
        ),
        Workload::Q3 => nexmark::q3(events()),
        Workload::Q4 => nexmark::q4(events()),
        Workload::Q5 => nexmark::q5(events()),
        Workload::Q6 => nexmark::q6(events()),
        Workload::Q7 => nexmark::q7(events()),
        Workload::Q8 => nexmark::q8(events()),
        Workload::Q9 => nexmark::q9(events()),
        Workload::Q10 => nexmark::q10(events(), run)?,
        Workload::Q11 if run.disorder == 0 => nexmark::q11(events(), 0),
        Workload::Q11 => {
            let late = DisorderedEvents::source(generator, run.events, run.disorder);
            nexmark::q11(env.source(late).uid("events"), DISORDER_MS)
        }
        Workload::Q12 => nexmark::q12(events()),
        Workload::Q13 => nexmark::q13(events()),
        Workload::Q14 => nexmark::q14(events()),
        Workload::Q15 => nexmark::q15(events()),
        Workload::Q16 => nexmark::q16(events()),
        Workload::Q17 => nexmark::q17(events()),
        Workload::Q18 => nexmark::q18(events()),
        Workload::Q19 => nexmark::q19(events()),
        Workload::Q20 => nexmark::q20(events()),
        Workload::Q21 => nexmark::q21(events()),
        Workload::Q22 => nexmark::q22(events()),
        Workload::Q23 => nexmark::q23(events()),
        Workload::Trending => trending::top_ten(env, run),
        Workload::GenTweets => trending::gen_only(env, run),
        Workload::Q0Shuffle => check(
            events().filter_map::<Bid>(bid).partition_custom::<u64>(
                |hash, subtasks| (hash >> 32) as u32 % subtasks,
                |bid| bid.auction,
            ),
            x_of_bid,
        ),
        Workload::Keyed => keyed(env, run, move |number| generator.key(number, KEYS)),
        Workload::KeyedSkew => keyed(env, run, move |number| generator.skewed_key(number, KEYS)),
        Workload::WordCount => check(
            env.source(LinesOfWords::source(generator, run.events))
                .uid("lines")
                .flat_map::<String>(|line, out| words(line).for_each(|word| out.emit(word)))
                .key_by::<String>(|word| word)
                .count()
                .uid("counts"),
            |counted| word_x(counted.key.as_bytes(), counted.count),
        ),
        Workload::Tumbling | Workload::Sliding | Workload::Session => windows::build(env, run),
        Workload::GenKeys => {
            let keys = Keys::source(move |number| generator.key(number, KEYS), run.events);
            check(env.source(keys).filter(|_| false), |_| 0)
        }
        Workload::GenLines => {
            let lines = LinesOfWords::source(generator, run.events);
            check(env.source(lines).filter(|_| false), |_| 0)
        }
        Workload::Exchange => {
            let written = env.source(Blocks::source(run.events)).uid("write").set_parallelism(1);
            let read = written.slot_sharing_group("write").global().slot_sharing_group("read");
            check(read.set_parallelism(1), |block| block.iter().fold(0, u64::wrapping_add))
        }
        other => return Err(format!("{other} is not a job")),
    })
}

fn keyed(
    env: &StreamExecutionEnvironment,
    run: &Run,
    key_of: impl Fn(u64) -> u64 + Clone + Send + 'static,
) -> Total {
    let keys = env.source(Keys::source(key_of, run.events)).uid("keys");
    let counts = keys.key_by::<u64>(|(key, _)| key).count().uid("counts");
    check(counts, |counted| keyed_x(counted.key, counted.count))
}

/// Ends a stream in a check sum.
pub(super) fn check<T, S, C, F>(stream: DataStream<T, S, C>, x_of: F) -> Total
where
    T: Record,
    S: Start,
    C: Chain<S::Out, Out = T>,
    F: for<'a> Fn(T::View<'a>) -> u64 + Clone + Send + 'static,
{
    check_with(stream, move |output: T::View<'_>, check: &mut Check| check.add(x_of(output)))
}

/// Ends a stream in a check sum that takes in each output by a rule of its own.
pub(super) fn check_with<T, S, C, F>(stream: DataStream<T, S, C>, take: F) -> Total
where
    T: Record,
    S: Start,
    C: Chain<S::Out, Out = T>,
    F: for<'a> Fn(T::View<'a>, &mut Check) + Clone + Send + 'static,
{
    let (sink, total) = CheckSink::new(take);
    stream.sink_to(sink);
    total
}

pub(super) fn bid(event: EventView<'_>) -> Option<BidView<'_>> {
    if let EventView::Bid(bid) = event { Some(bid) } else { None }
}

fn in_euros(bid: BidView<'_>) -> BidView<'_> {
    BidView { price: bid.price * 908 / 1_000, ..bid }
}

fn x_of_bid(bid: BidView<'_>) -> u64 {
    bid_x(bid.auction, bid.bidder, bid.price, bid.date_time)
}
