//! How often each word of standard input has come so far.
//!
//! ```text
//! $ printf 'to be or\nnot to be\n' | cargo run --release -p wiesel-examples --bin word_count
//! to 1
//! be 1
//! or 1
//! not 1
//! to 2
//! be 2
//! ```
//!
//! Counts are running: a line for every word that comes, so it can be watched while somebody types. The last line of a
//! word has its total. Words are separated by white space. With more than one subtask the lines of one word are in order,
//! those of different words are in none.

use wiesel::prelude::*;

fn main() -> wiesel::Result<()> {
    let env = StreamExecutionEnvironment::from_args()?;
    let [] = env.params_or([])?; // A file comes by `< FILE`.
    env.source(Lines::stdin().utf8(Utf8::Replace))
        .uid("lines")
        .flat_map::<String>(|line, out| line.split_whitespace().for_each(|word| out.emit(word)))
        .key_by::<String>(|word| word)
        .count()
        .uid("counts")
        .map(|word| format!("{} {}", word.key, word.count))
        .print();
    env.execute("word count")?;
    Ok(())
}
