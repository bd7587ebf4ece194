//! Trending hashtags into files that hold every trend exactly once, whatever happens to the process.
//!
//! ```text
//! cargo run --release -p wiesel-examples --bin trends_to_files -- -- posts.jsonl out 20     Cargo's `--`, then Wiesel's
//! kill -9 it, start it again: it continues from its last checkpoint (./checkpoints), a second ago at most
//! cat out/part-*
//! ```
//!
//! The program's arguments: the file, the folder of the results, and how often the file is replayed (1), event time
//! moving on by ten minutes a pass.

use std::time::Duration;

use wiesel::prelude::*;

use trending_hashtags::{Post, hashtags};

#[allow(dead_code, reason = "its job writes to standard output")]
mod trending_hashtags;

/// From one pass over the file to the next.
const PASS: Duration = Duration::from_secs(600);

fn main() -> wiesel::Result<()> {
    let mut env = StreamExecutionEnvironment::from_args()?;
    let [file, out, passes] = env.params_or(["examples/data/posts.jsonl", "out", "1"])?;
    let passes = passes.parse().unwrap_or_else(|_| {
        eprintln!("Error: `{passes}` is not a number of passes");
        std::process::exit(2)
    });
    env.enable_checkpointing(seconds(1))?;
    env.checkpoint_config().set_checkpoint_storage("checkpoints")?;
    env.source(
        JsonLines::<Post>::files(file).replay(passes, PASS, |post, by| post.at = post.at + by),
    )
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
        format!("{} {} {} {} {}", t.window_start, t.window_end, t.rank, t.item.count, t.item.key)
    })
    .write_lines(out);
    env.execute("trends to files")?;
    Ok(())
}
