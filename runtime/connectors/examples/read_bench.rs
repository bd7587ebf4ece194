//! How fast a reader reads: `cargo run --release -p wiesel-connectors --example read_bench -- FILE [PASSES]`.
//!
//! Lines and JSON lines of posts, one shard, nothing behind the reader; nanoseconds a record.
#![allow(clippy::disallowed_methods)] // It measures, from outside a job.

use std::{env, process::ExitCode, sync::Arc, time::Instant};

use serde::Deserialize;
use wiesel_connectors::{
    Assignment, JsonLines, Lines, MachineDiscovery, ReaderContext, ReaderStatus, Source,
    SourceOutput, SourceReader,
};
use wiesel_core::{SubtaskIndex, TaskFailure, Timestamp, seconds};
use wiesel_record::{Item, Record};
use wiesel_shard::Shard;

#[derive(Record, Deserialize)]
struct Post {
    at: Timestamp,
    user: u64,
    text: String,
}

/// Adds up what it is given, so that nothing can be left out.
struct Sum<F> {
    of: F,
    records: u64,
    sum: u64,
}

impl<T: Record, F: for<'a> Fn(T::View<'a>) -> u64> SourceOutput<T> for Sum<F> {
    fn collect<I: Item<T>>(&mut self, item: I, _time: Option<Timestamp>) -> bool {
        self.records += 1;
        self.sum = self.sum.wrapping_add((self.of)(item.view()));
        self.records.is_multiple_of(256)
    }

    fn skip(&mut self) -> bool {
        false
    }
}

fn measure<S, F>(source: &S, of: F) -> Result<(), TaskFailure>
where
    S: Source,
    F: for<'a> Fn(<S::Record as Record>::View<'a>) -> u64,
{
    let shard = Shard::detached();
    let mut enumerator = source.enumerator(1, &MachineDiscovery)?;
    let context =
        ReaderContext { subtask: SubtaskIndex(0), parallelism: 1, metrics: Arc::default() };
    let mut reader = source.reader(&context);
    let mut sum = Sum { of, records: 0, sum: 0 };
    let started = Instant::now();
    loop {
        shard.look();
        match reader.poll(&shard, &mut sum)? {
            ReaderStatus::NeedSplit => match enumerator.request_split(SubtaskIndex(0)) {
                Assignment::Split(split) => reader.add_split(split)?,
                _ => reader.no_more_splits(),
            },
            ReaderStatus::Finished => break,
            ReaderStatus::MoreAvailable | ReaderStatus::Waiting(_) => {}
        }
    }
    let ns = started.elapsed().as_nanos() as f64 / sum.records.max(1) as f64;
    println!(
        "{}: {} records, {ns:.0} ns a record (sum {})",
        source.describe(),
        sum.records,
        sum.sum
    );
    Ok(())
}

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let Some(file) = arguments.next() else {
        eprintln!("usage: read_bench FILE [PASSES]");
        return ExitCode::from(2);
    };
    let passes = arguments.next().and_then(|passes| passes.parse().ok()).unwrap_or(10);
    let lines = Lines::files(&*file).repeat(passes, seconds(0));
    let posts = JsonLines::<Post>::files(&*file)
        .replay(passes, seconds(600), |post, by| post.at = post.at + by);
    let measured = measure(&lines, |line| line.len() as u64).and_then(|()| {
        measure(&posts, |post: PostView<'_>| {
            post.user.wrapping_add(post.at.as_millis() as u64) + post.text.len() as u64
        })
    });
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}: {}", failure.source);
            ExitCode::FAILURE
        }
    }
}
