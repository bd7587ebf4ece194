//! Two streams without a function, a broadcast stream alone, and a shared one that was not asked for a use.

use wiesel_datastream::Environment;
use wiesel_operators::BroadcastState;

const RULES: BroadcastState<u64, ()> = BroadcastState::new("rules");

fn main() {
    let env = Environment::new();
    let stream = || env.from_collection([1_u64]);
    stream().connect(stream()).print();
    stream().connect(stream()).filter(|n| n > 1).print();
    stream().connect(stream()).key_by(|n| n, |n| n).print();
    stream().key_by::<u64>(|n| n).connect(stream().key_by::<u64>(|n| n)).map(|n| n, |n| n).print();
    stream().connect_broadcast(stream().broadcast_state(&RULES)).print();
    let rules = stream().broadcast_state(&RULES);
    stream().key_by::<u64>(|n| n).connect_broadcast(rules).map(|n| n, |n| n).print();
    stream().broadcast_state(&RULES).map(|n| n + 1).print();
    stream().share().map(|n| n + 1).print();
    let shared = stream().share();
    shared.print();
}
