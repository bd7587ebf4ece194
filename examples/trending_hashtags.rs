//! The ten hashtags that were used most in every ten seconds.
//!
//! ```text
//! cargo run --release -p wiesel-examples --bin trending_hashtags [FLAGS] [-- FILE]
//! ```
//!
//! Reads posts as JSON lines and prints `window_start_ms window_end_ms rank count tag`, in order of window end.
//! A hashtag is `#` and the longest run of ASCII letters, digits and `_` after it; case is kept; each occurrence
//! counts. Equal counts go by the bytes of the tag. `tests/oracle_trending.py` computes the same in Python.

use wiesel::prelude::*;

/// A line of the file.
#[derive(Record, serde::Deserialize)]
pub struct Post {
    /// When it was written, in milliseconds since the Unix epoch.
    pub at: Timestamp,
    /// Who wrote it.
    pub user: u64,
    /// What was written.
    pub text: String,
}

fn main() -> wiesel::Result<()> {
    let env = StreamExecutionEnvironment::from_args()?;
    let [file] = env.params_or(["examples/data/posts.jsonl"])?;
    env.source(JsonLines::<Post>::files(file))
        .uid("posts")
        .watermarks(bounded_out_of_orderness(seconds(2)), |post| post.at)
        .flat_map::<String>(|post, out| hashtags(post.text).for_each(|tag| out.emit(tag)))
        .key_by::<String>(|tag| tag)
        .window(Tumbling::event_time(seconds(10)))
        .count()
        .uid("counts")
        .window_all(Tumbling::event_time(seconds(10)))
        .top_n_by(10, by_count::<String>)
        .uid("trends")
        .map(|t| {
            format!(
                "{} {} {} {} {}",
                t.window_start, t.window_end, t.rank, t.item.count, t.item.key
            )
        })
        .print();
    env.execute("trending hashtags")?;
    Ok(())
}

/// The hashtags of a text, without their `#`.
pub fn hashtags(text: &str) -> impl Iterator<Item = &str> {
    let is_of_tag = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let runs = text.split('#').skip(1);
    runs.map(move |run| run.split(|c| !is_of_tag(c)).next().unwrap_or(""))
        .filter(|tag| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(hashtags(text).collect::<Vec<_>>(), expected, "{text}");
    }

    #[test]
    fn a_hashtag_is_the_longest_run_behind_its_mark() {
        check("", &[]);
        check("no tags # here #, #-1 #é", &[]);
        check("#rust", &["rust"]);
        check("a#Rust_2026! (#b)", &["Rust_2026", "b"]);
        check("##x #_ #1", &["x", "_", "1"]);
        check("#a#b #a", &["a", "b", "a"]);
        check("#caf\u{e9} \u{1f9a6}#otter", &["caf", "otter"]);
    }
}
