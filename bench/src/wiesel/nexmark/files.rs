//! q10: bids as lines in files, a folder for each minute of event time.
//!
//! ```text
//!   bids ─▶ folder/dt=2023-11-14/hm=22:13/part-0      while bids of that minute come
//!           folder/dt=2023-11-14/hm=22:14/part-0      the file before is closed: complete, and on the disk
//! ```
//!
//! # What is always true
//!
//! 1. Each subtask writes a part of its own. It sees bids in order of time, so it writes one file at a time.
//! 2. The folders are made before anything runs, by what the generator's input spans.
//! 3. The files are of a temporary folder, which goes with the run.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tempfile::TempDir;
use wiesel::{
    Item, Record, TaskFailure, Viewed,
    connectors::{
        AsLines, Discovery, FileSink, FileWriter, Sink, SinkWriter, WriterContext, WriterStatus,
    },
    operators::{Chain, Start},
    prelude::*,
    shard::Shard,
};

use crate::{
    generator::{BASE_MS, Check, DAY_MS, bid_x},
    measure::Run,
    wiesel::{
        check_sink::Total,
        events::{BidView, Event, EventView},
    },
};

/// Milliseconds of a minute.
const MINUTE_MS: u64 = 60_000;

/// What q10 logs of a bid.
#[derive(Record)]
pub struct Logged {
    pub auction: u64,
    pub bidder: u64,
    pub price: u64,
    pub date_time: u64,
    pub extra: String,
}

/// Every bid as a line in a file of its minute.
///
/// ```sql
/// CREATE TABLE log (auction BIGINT, bidder BIGINT, price BIGINT, dateTime TIMESTAMP(3), extra VARCHAR, dt STRING, hm STRING)
/// PARTITIONED BY (dt, hm) WITH ('connector' = 'filesystem', 'format' = 'csv', …);
/// INSERT INTO log
/// SELECT auction, bidder, price, dateTime, extra, DATE_FORMAT(dateTime, 'yyyy-MM-dd'), DATE_FORMAT(dateTime, 'HH:mm')
/// FROM bid
/// ```
///
/// # Errors
///
/// If there is no temporary folder to write to.
pub fn q10<S, C>(events: DataStream<Event, S, C>, run: &Run) -> Result<Total, String>
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    let folder = TempDir::with_prefix("wiesel-q10-");
    let folder = folder.map_err(|error| format!("a temporary folder for q10: {error}"))?;
    let total = log(events, folder.path(), run);
    Ok(total.keeping(folder))
}

fn log<S, C>(events: DataStream<Event, S, C>, folder: &Path, run: &Run) -> Total
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    let (total, last) = (Arc::default(), BASE_MS + run.events * 1_000 / run.event_rate);
    events
        .filter_map::<Logged>(|event| {
            let EventView::Bid(BidView { auction, bidder, price, date_time, extra, .. }) = event
            else {
                return None;
            };
            Some(LoggedView { auction, bidder, price, date_time, extra })
        })
        .sink_to(MinuteSink {
            folder: folder.into(),
            minutes: (BASE_MS / MINUTE_MS, last / MINUTE_MS),
            total: Arc::clone(&total),
        });
    Total::of(total)
}

/// The folder of a minute since the epoch.
fn folder_of(minute: u64) -> String {
    let (days, minutes) = (minute * MINUTE_MS / DAY_MS, minute % (DAY_MS / MINUTE_MS));
    let (year, month, day) = date(days);
    format!("dt={year:04}-{month:02}-{day:02}/hm={:02}:{:02}", minutes / 60, minutes % 60)
}

/// Year, month and day of a day since the epoch. Years are counted from March, so that the odd day is the last one.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // From the first of March of the year 0.
    let (era, of_era) = (days / 146_097, days % 146_097);
    let of_era_years = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * of_era_years + of_era_years / 4 - of_era_years / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + of_era_years + u64::from(month <= 2), month, day)
}

/// Writes to files of minutes, and adds up what was written.
#[derive(Clone)]
struct MinuteSink {
    folder: PathBuf,
    /// The first and the last minute that bids are of.
    minutes: (u64, u64),
    total: Arc<Mutex<Check>>,
}

impl MinuteSink {
    fn files_of(&self, minute: u64) -> FileSink<String, AsLines> {
        FileSink::lines(self.folder.join(folder_of(minute)))
    }
}

impl Sink for MinuteSink {
    type Record = Logged;
    type Writer = MinuteWriter;

    fn prepare(&self, discovery: &dyn Discovery) -> Result<(), TaskFailure> {
        let (first, last) = self.minutes;
        (first..=last).try_for_each(|minute| self.files_of(minute).prepare(discovery))
    }

    fn writer(&self, context: &WriterContext) -> MinuteWriter {
        MinuteWriter {
            sink: self.clone(),
            context: context.clone(),
            minute: 0,
            open: None,
            closing: Vec::new(),
            line: String::new(),
            check: Check::default(),
            finishes: false,
        }
    }

    fn describe(&self) -> String {
        format!("lines by minute in {}", self.folder.display())
    }
}

/// One subtask's part of every minute.
struct MinuteWriter {
    sink: MinuteSink,
    context: WriterContext,
    minute: u64,
    /// The file of the minute.
    open: Option<FileWriter<AsLines>>,
    /// Those of minutes before, whose last bytes are on their way.
    closing: Vec<FileWriter<AsLines>>,
    line: String,
    check: Check,
    finishes: bool,
}

impl MinuteWriter {
    /// The file of a bid's minute; that of the minute before is closed.
    fn turn_to(&mut self, minute: u64) -> &mut FileWriter<AsLines> {
        if minute != self.minute {
            self.close();
            self.minute = minute;
        }
        let (sink, context) = (&self.sink, &self.context);
        self.open.get_or_insert_with(|| sink.files_of(minute).writer(context))
    }

    fn close(&mut self) {
        if let Some(mut open) = self.open.take() {
            SinkWriter::<String>::finish(&mut open);
            self.closing.push(open);
        }
    }
}

impl SinkWriter<Logged> for MinuteWriter {
    fn write<I: Item<Logged>>(&mut self, item: I) {
        let LoggedView { auction, bidder, price, date_time, extra } = item.view();
        self.check.add(bid_x(auction, bidder, price, date_time));
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        // Writing to a string does not fail.
        let _ = write!(line, "{auction},{bidder},{price},{date_time},{extra}");
        self.turn_to(date_time / MINUTE_MS).write(Viewed::<String>(&line));
        self.line = line;
    }

    fn wants_pause(&self) -> bool {
        self.open.as_ref().is_some_and(SinkWriter::<String>::wants_pause)
    }

    fn flush(&mut self) {
        self.open.iter_mut().for_each(SinkWriter::<String>::flush);
    }

    fn poll(&mut self, shard: &Shard) -> Result<WriterStatus, TaskFailure> {
        let mut all = WriterStatus::Idle;
        for index in (0..self.closing.len()).rev() {
            match SinkWriter::<String>::poll(&mut self.closing[index], shard)? {
                WriterStatus::Finished => drop(self.closing.swap_remove(index)),
                WriterStatus::Moved => all = WriterStatus::Moved,
                _ if all == WriterStatus::Idle => all = WriterStatus::Waiting,
                _ => {}
            }
        }
        if let Some(open) = &mut self.open {
            match SinkWriter::<String>::poll(open, shard)? {
                WriterStatus::Idle => {}
                status => all = status,
            }
        }
        let is_finished = self.finishes && self.open.is_none() && self.closing.is_empty();
        Ok(if is_finished { WriterStatus::Finished } else { all })
    }

    fn finish(&mut self) {
        self.close();
        if !self.finishes {
            self.finishes = true;
            self.sink.total.lock().unwrap_or_else(PoisonError::into_inner).merge(self.check);
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // The tests look at the files behind the seam's back.
mod tests {
    use std::{collections::BTreeMap, fs};

    use wiesel::Configuration;

    use super::*;
    use crate::{
        generator::{Event as Made, Generator, PersonText, SEED},
        measure::Mode,
        wiesel::events::Events,
        workload::Workload,
    };

    #[test]
    fn each_minute_has_a_folder_with_its_bids() {
        let run = Run {
            workload: Workload::Q10,
            events: 20_000,
            parallelism: 3,
            event_rate: 100,
            slides: 1,
            disorder: 0,
            rate: 1,
            mode: Mode::Spin,
            seed: SEED,
            profile: false,
            state: Default::default(),
        };
        let generator = Generator::new(run.seed, run.event_rate);
        let mut expected = BTreeMap::<String, Vec<String>>::new();
        let mut text = PersonText::default();
        for number in 0..run.events {
            if let Made::Bid(b) = generator.event(number, &mut text) {
                let line =
                    format!("{},{},{},{},{}", b.auction, b.bidder, b.price, b.date_time, b.extra);
                expected.entry(folder_of(b.date_time / MINUTE_MS)).or_default().push(line);
            }
        }
        expected.values_mut().for_each(|lines| lines.sort());
        assert_eq!(expected.len(), 4, "{:?}", expected.keys());
        let folder = tempfile::tempdir().unwrap();
        let mut env = StreamExecutionEnvironment::new(Configuration::new());
        env.set_parallelism(run.parallelism).unwrap();
        log(env.source(Events::source(generator, run.events)), folder.path(), &run);
        env.execute("q10").unwrap();
        for (minute, lines) in expected {
            let parts = fs::read_dir(folder.path().join(&minute)).unwrap();
            let parts: Vec<String> =
                parts.map(|part| fs::read_to_string(part.unwrap().path()).unwrap()).collect();
            let mut found: Vec<&str> = parts.iter().flat_map(|part| part.lines()).collect();
            found.sort_unstable();
            assert_eq!(found, lines, "{minute}");
        }
    }

    #[test]
    fn minutes_have_dates() {
        for (minute, folder) in [
            (0, "dt=1970-01-01/hm=00:00"),
            (951_782_400 / 60 + 61, "dt=2000-02-29/hm=01:01"),
            (BASE_MS / MINUTE_MS, "dt=2023-11-14/hm=22:13"),
            (4_107_542_399 / 60, "dt=2100-02-28/hm=23:59"),
            (4_107_542_400 / 60, "dt=2100-03-01/hm=00:00"),
        ] {
            assert_eq!(folder_of(minute), folder);
        }
    }
}
