use wiesel_record::Record;

struct Inner;

#[derive(Record)]
struct Outer {
    inner: Inner,
}

fn main() {}
