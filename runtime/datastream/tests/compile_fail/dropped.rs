//! Builders that nobody goes on with.
#![deny(unused_must_use)]

use wiesel_core::seconds;
use wiesel_datastream::Environment;
use wiesel_operators::{BroadcastState, Tumbling};

const RULES: BroadcastState<u64, ()> = BroadcastState::new("rules");

fn main() {
    let env = Environment::new();
    let stream = || env.from_collection([1_u64]);
    macro_rules! keyed {
        () => {
            stream().key_by::<u64>(|n| n)
        };
    }
    let windows = Tumbling::event_time(seconds(10));
    stream().map(|n| n + 1);
    keyed!();
    keyed!().window(windows);
    stream().window_all(windows);
    keyed!().join(keyed!()).unbounded();
    stream().join(stream());
    stream().join(stream()).where_key::<u64>(|n| n);
    stream().join(stream()).where_key::<u64>(|n| n).equal_to(|n| n);
    stream().join(stream()).where_key::<u64>(|n| n).equal_to(|n| n).window(windows);
    keyed!().interval_join(keyed!());
    keyed!().temporal_join(keyed!());
    stream().connect(stream());
    keyed!().connect(keyed!());
    stream().broadcast_state(&RULES);
    stream().connect_broadcast(stream().broadcast_state(&RULES));
    keyed!().connect_broadcast(stream().broadcast_state(&RULES));
    stream().share();
}
