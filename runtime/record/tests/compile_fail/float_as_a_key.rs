use wiesel_record::{Key, Record};

#[derive(Record, Key)]
struct Point {
    name: String,
    x: f64,
}

fn needs_key<K: Key>() {}

fn main() {
    needs_key::<(u64, f64)>();
}
