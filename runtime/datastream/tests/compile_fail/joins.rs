//! Joins of which something was not said.

use wiesel_core::seconds;
use wiesel_datastream::Environment;
use wiesel_operators::{Tumbling, after, before};

fn main() {
    let env = Environment::new();
    let stream = || env.from_collection([1_u64]);
    macro_rules! keyed {
        () => {
            stream().key_by::<u64>(|n| n)
        };
    }
    let windows = Tumbling::event_time(seconds(10));

    stream().join(stream()).apply::<u64>(|a, b, out| out.emit(a + b)).print();
    stream().join(stream()).window(windows).print();
    stream().co_group(stream()).equal_to(|n| n).print();
    stream().join(stream()).where_key::<u64>(|n| n).window(windows).print();
    stream().join(stream()).where_key::<u64>(|n| n).equal_to(|n| n).map(|pair| pair).print();
    let by_key = stream().join(stream()).where_key::<u64>(|n| n).equal_to(|n| n);
    by_key.apply::<u64>(|a, b, out| out.emit(a + b)).print();
    let by_key = stream().join(stream()).where_key::<u64>(|n| n).equal_to(|n| n);
    by_key.window(windows).print();

    keyed!().join(keyed!()).unbounded().print();
    keyed!().join(keyed!()).map(|(a, b)| a + b).print();
    keyed!().interval_join(keyed!()).apply::<u64>(|a, b, out| out.emit(a + b)).print();
    keyed!().interval_join(keyed!()).between(before(seconds(1)), after(seconds(1))).print();
    keyed!().temporal_join(keyed!()).left_outer().map(|(a, _)| a).print();
}
