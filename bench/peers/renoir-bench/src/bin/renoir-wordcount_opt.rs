//! wordcount with what renoir calls advanced: words are sent by a hash of ours to a step that has the map itself, so that
//! only the first of each word is cloned.

use std::{hash::BuildHasher, process::ExitCode};

use peer::generator::word_x;
use renoir::prelude::*;
use rustc_hash::{FxBuildHasher, FxHashMap};

fn main() -> ExitCode {
    renoir_peer::run("wordcount_opt", [1_024, 8_192], |input, sink| {
        let counts = renoir_peer::words(input)
            .repartition_by(Replication::Unlimited, |word| FxBuildHasher.hash_one(word))
            .rich_map({
                let mut counts = FxHashMap::<String, u64>::default();
                move |word| {
                    let count = match counts.get_mut(&word) {
                        Some(count) => count,
                        None => counts.entry(word.clone()).or_default(),
                    };
                    *count += 1;
                    (word, *count)
                }
            });
        sink.end(counts, |(word, count)| word_x(word.as_bytes(), count));
    })
}
