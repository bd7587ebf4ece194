use wiesel_record::{Key, Record};

#[derive(Record, Key)]
struct Price(u32);

fn needs_key<K: Key>() {}

fn main() {
    needs_key::<Price>();
    needs_key::<(u64, f64)>();
}
