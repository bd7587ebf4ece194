//! wordcount: a running count per word, as renoir's own examples group and count: every word is cloned, to be the key of
//! itself.

use std::process::ExitCode;

use peer::generator::word_x;

fn main() -> ExitCode {
    renoir_peer::run("wordcount", [1_024, 8_192], |input, sink| {
        let counts = renoir_peer::words(input)
            .group_by(String::clone)
            .rich_map({
                let mut count = 0_u64;
                move |_| {
                    count += 1;
                    count
                }
            })
            .unkey();
        sink.end(counts, |(word, count)| word_x(word.as_bytes(), count));
    })
}
