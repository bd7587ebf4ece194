use std::collections::HashMap;

use wiesel_record::Record;

#[derive(Record)]
struct Line<'a> {
    text: &'a str,
}

#[derive(Record)]
struct Word {
    text: &'static str,
}

#[derive(Record)]
struct Count(Option<usize>);

#[derive(Record)]
enum Counts {
    All { by_name: HashMap<String, u64> },
}

fn main() {}
