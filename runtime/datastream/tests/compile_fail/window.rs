//! A window without an aggregate.

use wiesel_core::seconds;
use wiesel_datastream::Environment;
use wiesel_operators::Tumbling;

macro_rules! windowed {
    () => {
        Environment::new()
            .from_collection([(7_u64, "a".to_owned())])
            .key_by::<u64>(|(key, _)| key)
            .window(Tumbling::event_time(seconds(10)))
    };
}

macro_rules! all_windowed {
    () => {
        Environment::new()
            .from_collection([(7_u64, "a".to_owned())])
            .window_all(Tumbling::event_time(seconds(10)))
    };
}

fn main() {
    windowed!().map(|(key, word)| (key + 1, word.to_uppercase())).print();
    windowed!().filter(|(_, word)| word.is_empty()).count().print();
    windowed!().flat_map::<String>(|(_, word), out| out.emit(word)).print();
    windowed!().key_by::<String>(|(_, word)| word).count().print();
    windowed!().print();
    let records = windowed!().collect();
    records.take();
    windowed!().name("seconds").count().print();
    all_windowed!().map(|(key, _)| key).print();
    all_windowed!().allowed_lateness(seconds(1)).project::<String>(|(_, word)| word).print();
    all_windowed!().write_lines("out");
}
