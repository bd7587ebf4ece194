use wiesel_record::Record;

#[derive(Record)]
struct Old {
    price: u32,
}

#[derive(Record)]
#[record(version = 2, from = Old)]
struct New {
    price: u64,
}

fn main() {}
