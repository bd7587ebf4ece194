//! A keyed stream without an operator, and a stream whose key is missing.

use wiesel_core::seconds;
use wiesel_datastream::Environment;
use wiesel_operators::Tumbling;

fn main() {
    let env = Environment::new();
    macro_rules! keyed {
        () => {
            env.from_collection([(7_u64, "a".to_owned())]).key_by::<u64>(|(key, _)| key)
        };
    }
    keyed!().map(|(_, word)| word.len() as u64).print();
    keyed!().filter(|(_, word)| word.is_empty()).print();
    keyed!().flat_map::<String>(|(_, word), out| out.emit(word)).print();
    keyed!().print();
    keyed!().set_parallelism(2).uid("keys").count().print();

    let numbers = || env.from_collection([1_u64]);
    numbers().count().print();
    numbers().sum(|n| n).print();
    numbers().reduce(|a, b| a + b).print();
    numbers().window(Tumbling::event_time(seconds(10))).count().print();
}
