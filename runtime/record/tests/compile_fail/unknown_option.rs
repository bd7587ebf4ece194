use wiesel_record::Record;

#[derive(Record)]
#[record(vesion = 2)]
struct Bid {
    price: u64,
}

#[derive(Record)]
enum Never {}

fn main() {}
