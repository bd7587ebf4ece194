//! What the program says of where records go and what runs together: each partitioner does what its name says, at every
//! parallelism of both sides.

use std::collections::{BTreeMap, BTreeSet};

use wiesel_connectors::{DataGen, FileSink};
use wiesel_datastream::{Environment, FrameStream};
use wiesel_graph::GraphDefaults;
use wiesel_operators::{FunctionError, ProcessContext, ProcessFunction};
use wiesel_record::{Key, Out};

use crate::{assert_sound, config, run, watched};

const RECORDS: u64 = 6_000;

/// Says which subtask had a record.
#[derive(Clone)]
struct Stamp;

impl ProcessFunction<u64> for Stamp {
    type Out = (u64, u32);
    type Side = ();

    fn process(
        &mut self,
        number: u64,
        context: &mut ProcessContext<'_, ()>,
        out: &mut dyn Out<(u64, u32)>,
    ) -> Result<(), FunctionError> {
        assert!(context.subtask() < context.parallelism());
        out.emit((number, context.subtask()));
        Ok(())
    }
}

impl ProcessFunction<(u64, u32)> for Stamp {
    type Out = (u64, u32, u32);
    type Side = ();

    fn process(
        &mut self,
        (number, from): (u64, u32),
        context: &mut ProcessContext<'_, ()>,
        out: &mut dyn Out<(u64, u32, u32)>,
    ) -> Result<(), FunctionError> {
        out.emit((number, from, context.subtask()));
        Ok(())
    }
}

/// The way of each record: its number, producer and consumer.
type Ways = Vec<(u64, u32, u32)>;

/// The ways through `exchange`, from so many subtasks to so many.
fn ways(
    from: u32,
    to: u32,
    exchange: impl Fn(FrameStream<(u64, u32)>) -> FrameStream<(u64, u32)>,
) -> Ways {
    let environment = Environment::new();
    let stamped = environment
        .source(DataGen::new(|tick| tick.number).count(RECORDS))
        .rebalance()
        .process(Stamp)
        .set_parallelism(from)
        .start_new_chain()
        .set_parallelism(from);
    let results = exchange(stamped).process(Stamp).set_parallelism(to).collect();
    assert_sound(&run(&environment, from.max(to), &config(&[])));
    let mut ways = results.take();
    ways.sort_unstable();
    ways
}

/// How many records went each way.
fn counts(ways: &Ways) -> BTreeMap<(u32, u32), u64> {
    let mut counts = BTreeMap::new();
    ways.iter().for_each(|(_, from, to)| *counts.entry((*from, *to)).or_default() += 1);
    counts
}

/// Every record once.
#[track_caller]
fn assert_each_once(ways: &Ways) {
    assert!(ways.iter().map(|way| way.0).eq(0..RECORDS), "{} records", ways.len());
}

/// What each producer has sent was dealt out evenly among those that it sent to.
#[track_caller]
fn assert_even(counts: &BTreeMap<(u32, u32), u64>) {
    for (way, count) in counts {
        let of_producer = counts.iter().filter(|(other, _)| other.0 == way.0);
        assert!(
            of_producer.into_iter().all(|(_, other)| count.abs_diff(*other) <= 1),
            "{counts:?}"
        );
    }
}

const PARALLELISMS: [(u32, u32); 6] = [(1, 1), (2, 2), (3, 3), (1, 3), (3, 1), (2, 3)];

#[test]
fn records_are_dealt_out_as_it_was_said() {
    watched(|| {
        for (from, to) in PARALLELISMS {
            let rebalanced = ways(from, to, |stream| stream.rebalance());
            assert_each_once(&rebalanced);
            assert_even(&counts(&rebalanced));
            assert_eq!(counts(&rebalanced).len() as u32, from * to);

            let shuffled = ways(from, to, |stream| stream.shuffle());
            assert_each_once(&shuffled);
            assert_eq!(counts(&shuffled).len() as u32, from * to, "everybody sends to everybody");

            let global = ways(from, to, |stream| stream.global());
            assert_each_once(&global);
            assert!(global.iter().all(|way| way.2 == 0));

            let broadcast = ways(from, to, |stream| stream.broadcast());
            let everywhere = (0..RECORDS).flat_map(|number| (0..to).map(move |to| (number, to)));
            let mut found: Vec<(u64, u32)> = broadcast.iter().map(|way| (way.0, way.2)).collect();
            found.sort_unstable();
            assert!(found.into_iter().eq(everywhere), "from {from} to {to}");
        }
    });
}

#[test]
fn neighbours_keep_to_themselves() {
    watched(|| {
        for parallelism in [1, 2, 3] {
            for straight in [
                ways(parallelism, parallelism, |stream| stream.forward()),
                ways(parallelism, parallelism, |stream| stream.start_new_chain()),
                ways(parallelism, parallelism, |stream| {
                    stream.disable_chaining(|n| n.filter(|_| true))
                }),
            ] {
                assert_each_once(&straight);
                assert!(straight.iter().all(|way| way.1 == way.2), "at {parallelism}");
            }
        }
        for (from, to) in [(1, 1), (2, 4), (4, 2), (1, 3), (3, 1), (2, 2)] {
            let rescaled = ways(from, to, |stream| stream.rescale());
            assert_each_once(&rescaled);
            let counts = counts(&rescaled);
            assert_even(&counts);
            // Each side has as many neighbours as the other is larger, and no neighbour twice.
            assert_eq!(counts.len() as u32, from.max(to), "{counts:?}");
            assert_eq!(counts.keys().map(|way| way.0).collect::<BTreeSet<_>>().len() as u32, from);
            assert_eq!(counts.keys().map(|way| way.1).collect::<BTreeSet<_>>().len() as u32, to);
        }
    });
}

#[test]
fn a_function_of_ones_own_says_where_a_key_goes() {
    watched(|| {
        for (from, to) in PARALLELISMS {
            let custom = ways(from, to, |stream| {
                let last_for_odd = |hash: u64, subtasks: u32| (hash % 2) as u32 * (subtasks - 1);
                stream.partition_custom::<u64>(last_for_odd, |(number, _)| number)
            });
            assert_each_once(&custom);
            for (number, _, subtask) in custom {
                let is_odd = <u64 as Key>::key_hash(number) % 2 == 1;
                assert_eq!(subtask, if is_odd { to - 1 } else { 0 }, "{number} to {to}");
            }
        }
    });
}

#[test]
fn key_groups_are_those_that_the_operator_was_given() {
    watched(|| {
        for parallelism in [1, 2, 3] {
            let environment = Environment::new();
            let counts = environment
                .source(DataGen::new(|tick| tick.number % 100).count(RECORDS))
                .key_by::<u64>(|number| number)
                .count()
                .set_max_parallelism(3)
                .name("counts of three groups")
                .uid("counts")
                .slot_sharing_group("counts")
                .filter(|counted| counted.count == RECORDS / 100)
                .map(|counted| counted.key)
                .collect();
            assert_sound(&run(&environment, parallelism, &config(&[])));
            let mut counts = counts.take();
            counts.sort_unstable();
            assert!(counts.into_iter().eq(0..100), "at {parallelism}");
        }
    });
}

#[test]
fn a_folder_of_output_belongs_to_one_sink() {
    let graph_of = |first: &str, second: &str| {
        let environment = Environment::new();
        for folder in [first, second] {
            let numbers = environment.source(DataGen::new(|tick| tick.number).count(1));
            numbers.map(|number| number.to_string()).sink_to(FileSink::lines(folder));
        }
        environment.job_graph("test", &GraphDefaults::from_config(&config(&[]), 1)).map(|_| ())
    };
    // The same folder, said in other ways.
    let absolute = std::path::absolute("out/numbers").expect("there is a working folder");
    for second in ["./out/./numbers/", absolute.to_str().expect("its name is text")] {
        let error = graph_of("out/numbers", second).expect_err("they share a folder").to_string();
        for part in ["both write to", "out/numbers", "give each sink a folder of its own"] {
            assert!(error.contains(part), "{error}");
        }
    }
    assert!(graph_of("out/evens", "out/odds").is_ok());
}
