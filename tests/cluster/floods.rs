//! Stages that flood each other through the tightest channels, and more shards than cores.

use std::collections::BTreeMap;

use wiesel_connectors::DataGen;
use wiesel_core::{Timestamp, millis, seconds};
use wiesel_datastream::Environment;
use wiesel_operators::{Tumbling, bounded_out_of_orderness};

use crate::{assert_sound, config, records_into_sinks, run, watched};

/// Records that each record becomes.
const EXPANSION: u64 = 1_000;
const KEYS: u64 = 97;

/// `records` records go all to all, each becomes a thousand, and those go all to all again.
#[track_caller]
fn check_flood(parallelism: u32, credits: &str, records: u64) {
    let credits = credits.to_owned();
    watched(move || {
        let environment = Environment::new();
        let counts = environment
            .source(DataGen::new(|tick| tick.number).count(records))
            .rebalance()
            .flat_map::<u64>(|number, out| {
                (0..EXPANSION).for_each(|copy| out.emit(number * EXPANSION + copy));
            })
            .map(|number| number % KEYS)
            .key_by::<u64>(|key| key)
            .count()
            .filter(|counted| counted.count % 1_000 == 0)
            .collect();
        let config = config(&[
            ("taskmanager.network.memory.buffers-per-channel", &credits),
            ("taskmanager.network.memory.max-overdraft-size", "256 kb"),
            ("taskmanager.network.record-bytes-max", "256 kb"),
        ]);
        let result = run(&environment, parallelism, &config);
        assert_sound(&result);
        assert_eq!(records_into_sinks(&result), records * EXPANSION);
        let mut found = BTreeMap::new();
        for counted in counts.take() {
            let greatest: &mut u64 = found.entry(counted.key).or_default();
            *greatest = counted.count.max(*greatest);
        }
        let all = records * EXPANSION;
        let of_key = |key| (all + KEYS - 1 - key) / KEYS / 1_000 * 1_000;
        assert_eq!(found, (0..KEYS).map(|key| (key, of_key(key))).collect());
    });
}

#[test]
fn two_shards_flood_each_other_with_one_frame_in_flight() {
    check_flood(2, "1", 400);
}

#[test]
fn two_shards_flood_each_other_with_two_frames_in_flight() {
    check_flood(2, "2", 400);
}

#[test]
fn seven_shards_flood_each_other() {
    check_flood(7, "1", 300);
}

/// A windowed count at this parallelism is what it is by hand.
#[track_caller]
fn check_windows(parallelism: u32) {
    const RECORDS: u64 = 100_000;
    const SIZE_MS: u64 = 250;
    // Out of order by less than 16 ms.
    let at_ms = |number: u64| number / 10 + (number * 7) % 16;
    let key = |number: u64| number % 31;
    let found = watched(move || {
        let environment = Environment::new();
        let windows = environment
            .source(DataGen::new(|tick| tick.number).count(RECORDS))
            .watermarks(bounded_out_of_orderness(millis(16)), move |number| {
                Timestamp::from_millis(at_ms(number) as i64)
            })
            .map(move |number| (key(number), at_ms(number) / SIZE_MS))
            .key_by::<u64>(|(key, _)| key)
            .window(Tumbling::event_time(millis(SIZE_MS)))
            .fold((0_u64, 0_u64), |(count, window), (_, at)| {
                (*count, *window) = (*count + 1, at);
            })
            .collect();
        let result = run(&environment, parallelism, &config(&[]));
        assert_sound(&result);
        assert_eq!(result.progress.records_read(), RECORDS);
        windows.take()
    });
    let mut expected = BTreeMap::new();
    for number in 0..RECORDS {
        *expected.entry((key(number), at_ms(number) / SIZE_MS)).or_insert(0_u64) += 1;
    }
    let found = found.into_iter().map(|all| ((all.key, all.value.1), all.value.0));
    let mut found: Vec<_> = found.collect();
    found.sort_unstable();
    assert_eq!(found, Vec::from_iter(expected), "parallelism {parallelism}");
}

#[test]
fn windows_are_the_same_at_every_parallelism() {
    for parallelism in [1, 2, 3, 7] {
        check_windows(parallelism);
    }
}

#[test]
fn an_empty_source_ends() {
    watched(|| {
        let environment = Environment::new();
        let counts = environment
            .from_collection(Vec::<u64>::new())
            .watermarks(bounded_out_of_orderness(seconds(1)), |_| Timestamp::from_millis(0))
            .key_by::<u64>(|key| key)
            .window(Tumbling::event_time(seconds(1)))
            .count()
            .collect();
        assert_sound(&run(&environment, 3, &config(&[])));
        assert_eq!(counts.take(), []);
    });
}
