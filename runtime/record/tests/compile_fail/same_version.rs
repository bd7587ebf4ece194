use wiesel_record::Record;

#[derive(Record)]
struct Old {
    price: u32,
}

#[derive(Record)]
#[record(from = Old)]
struct New {
    price: u64,
}

impl From<Old> for New {
    fn from(old: Old) -> Self {
        Self { price: old.price.into() }
    }
}

fn main() {}
