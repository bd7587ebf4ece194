use wiesel_record::Record;

#[derive(Record)]
struct Line<'a> {
    text: &'a str,
}

#[derive(Record)]
struct Word {
    text: &'static str,
}

fn main() {}
