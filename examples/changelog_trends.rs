//! The ten bugs that the Debian changelogs of this machine name most often, by year.
//!
//! ```text
//! cargo run --release -p wiesel-examples --bin changelog_trends [FLAGS] [-- PATTERN]
//!
//!   bash (5.2-1) unstable; urgency=medium          an entry begins: bugs of an entry without an end are forgotten
//!     * Fix it. Closes: #123456, #654321           bugs: `#` and digits
//!    -- Somebody <some@body>  Mon, 26 Sep 2022 20:22:01 +0200        its end: the time of its bugs
//! ```
//!
//! Prints `year rank count #bug`, in order of years. The same pipeline as the hashtags', over text that nobody here
//! wrote. Files are newest-first and unrelated in time, so there are no watermarks, and the windows fire when everything
//! has been read. Packages of one source share their changelog, so most counts are the number of packages.
//!
//! A year is 365.25 days from 1970 on: what was written in the last or the first hours of a year may be in its neighbour.
//! Bytes that are not UTF-8 are replaced and counted in the closing table; ends of entries whose date cannot be read are
//! counted in the last line. Files of several gzip members are read to their end.

use jiff::fmt::rfc2822::DateTimeParser;
use wiesel::{operators::FunctionError, prelude::*};

/// Where Debian keeps them.
const CHANGELOGS: &str = "/usr/share/doc/*/changelog*.gz";

const YEAR_HOURS: u64 = 8_766;

/// A bug, named in an entry.
#[derive(Record)]
struct Mention {
    at: Timestamp,
    bug: u64,
}

fn main() -> wiesel::Result<()> {
    let env = StreamExecutionEnvironment::from_args()?;
    let [pattern] = env.params_or([CHANGELOGS])?;
    let bad_dates = OutputTag::<String>::new("bad-dates");
    let mentions = env
        .source(Lines::files(&pattern).utf8(Utf8::Replace).bad_lines(BadLines::SkipAndCount))
        .uid("changelogs")
        .process_with_side(Entries::default(), &bad_dates);
    mentions
        .get_side_output(&bad_dates)
        .watermarks(no_watermarks(), |_| Timestamp::from_millis(0))
        .window_all(Tumbling::event_time(hours(1)))
        .count()
        .uid("bad dates")
        .map(|dates| format!("{} entries with a date that cannot be read", dates.count))
        .print();
    mentions
        .watermarks(no_watermarks(), |mention| mention.at)
        .key_by::<u64>(|mention| mention.bug)
        .window(Tumbling::event_time(hours(YEAR_HOURS)))
        .count()
        .uid("counts")
        .window_all(Tumbling::event_time(hours(YEAR_HOURS)))
        .top_n_by(10, by_count::<u64>)
        .uid("trends")
        .map(|t| format!("{} {} {} #{}", year(t.window_start), t.rank, t.item.count, t.item.key))
        .print();
    env.execute("changelog trends").inspect_err(|error| {
        if matches!(error, wiesel::Error::Start { .. }) {
            eprintln!("hint: changelogs are read from {pattern}; others are named after `--`");
        }
    })?;
    Ok(())
}

fn year(window_start: Timestamp) -> i64 {
    1970 + window_start.as_millis().div_euclid(YEAR_HOURS as i64 * 3_600_000)
}

/// Puts the lines of entries together. A file is read by one subtask, from its first line to its last; what is kept
/// between lines is in no checkpoint, so this would begin in the middle of an entry after a restart.
#[derive(Clone, Default)]
struct Entries {
    in_entry: bool,
    bugs: Vec<u64>,
}

impl ProcessFunction<String> for Entries {
    type Out = Mention;
    type Side = String;

    fn process(
        &mut self,
        line: &str,
        context: &mut ProcessContext<'_, String>,
        out: &mut dyn Out<Mention>,
    ) -> Result<(), FunctionError> {
        if is_heading(line) {
            self.in_entry = true;
            self.bugs.clear();
        } else if let Some(end) = line.strip_prefix(" -- ") {
            match date(end) {
                Some(at) => self.bugs.drain(..).for_each(|bug| out.emit(MentionView { at, bug })),
                None => context.side(line),
            }
            self.in_entry = false;
            self.bugs.clear();
        } else if self.in_entry {
            self.bugs.extend(bugs(line));
        }
        Ok(())
    }
}

/// `bash (5.2-1) unstable; urgency=medium`.
fn is_heading(line: &str) -> bool {
    let Some((package, rest)) = line.split_once(" (") else { return false };
    !package.is_empty()
        && package.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._".contains(&b))
        && rest.contains(')')
}

/// The date behind the author: `Somebody <some@body>  Mon, 26 Sep 2022 20:22:01 +0200`.
fn date(end: &str) -> Option<Timestamp> {
    // Some changelogs name the wrong day of the week; the date stands.
    const PARSER: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);
    let (_, date) = end.rsplit_once('>')?;
    let at = PARSER.parse_timestamp(date.trim()).ok()?;
    Some(Timestamp::from_millis(at.as_millisecond()))
}

/// The numbers behind a `#`.
fn bugs(line: &str) -> impl Iterator<Item = u64> {
    line.split('#').skip(1).filter_map(|after| {
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        after[..digits].parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        for line in ["bash (5.2-1) unstable; urgency=medium", "libstdc++6 (1:4.0) x"] {
            assert!(is_heading(line), "{line}");
        }
        for line in ["", "  * a (b)", "two words (1)", "bash", "bash (1", " -- A <b>  (c)"] {
            assert!(!is_heading(line), "{line}");
        }
        let found: Vec<u64> = bugs("Closes: #123456, #7; # #x LP: #1a ##2").collect();
        assert_eq!(found, [123_456, 7, 1, 2]);
    }

    #[test]
    fn dates_are_read_whatever_day_of_the_week_they_claim() {
        let at = |text: &str| date(text).map(Timestamp::as_millis);
        assert_eq!(at("A B <a@b>  Thu, 01 Jan 1970 00:00:01 +0000"), Some(1_000));
        assert_eq!(at("A B <a@b>  Fri, 01 Jan 1970 02:00:00 +0200"), Some(0));
        assert_eq!(at("A B <a@b> Thu,  1 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!([at("A B <a@b>"), at("A B  Thu, 01 Jan 1970"), at("<>  yesterday")], [None; 3]);
    }

    #[test]
    fn years_are_named_by_their_first_window() {
        let day = 86_400_000;
        let of = |days: i64| {
            year(
                Tumbling::event_time(hours(YEAR_HOURS))
                    .window_of(Timestamp::from_millis(days * day))
                    .start,
            )
        };
        assert_eq!([of(0), of(364), of(366), of(-1), of(20_000)], [1970, 1970, 1971, 1969, 2024]);
    }
}
