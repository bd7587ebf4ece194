//! What a seed draws: the input, the shape of the job, and how tight everything is.

use wiesel_core::default_max_parallelism;
use wiesel_shard::Policy;

use crate::{job::Event, meeting::Meeting};

/// splitmix64: the same draws on every machine.
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From `first` to `last`, both included.
    pub(crate) fn within(&mut self, first: u64, last: u64) -> u64 {
        first + self.next() % (last - first + 1)
    }

    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.next().is_multiple_of(count)
    }

    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.within(0, choices.len() as u64 - 1) as usize]
    }
}

/// Where records come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// A collection, in runs that readers pull.
    Collection,
    /// A generator, as fast as it can.
    Generator,
    /// A generator with this rate, so that readers wait for time to pass.
    Rated(u64),
    /// So many partitions, read in turns of so many records, which wait for each other or not. Each has watermarks of its
    /// own; those of all together would leave records behind.
    Partitions(usize, usize, bool),
}

/// What a keyed stage does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A result after every record.
    Rolling,
    /// The same by hand: states of every kind.
    States,
    /// Tumbling windows of this many milliseconds.
    Windows(i64),
    /// Windows of so many milliseconds, one every so many.
    Sliding(i64, i64),
    /// Sessions that end after a gap of this many milliseconds.
    Sessions(i64),
}

impl Stage {
    /// Whether each record has a result, which depends on those that came before it.
    pub(crate) fn is_rolling(self) -> bool {
        matches!(self, Self::Rolling | Self::States)
    }
}

/// What is between the two stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Between {
    /// Nothing: the first stage's chain ends in the second's exchange.
    Nothing,
    Forward,
    Rebalance,
    Rescale,
    Shuffle,
    Broadcast,
    Global,
}

/// All that a seed says.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) seed: u64,
    pub(crate) input: Input,
    pub(crate) events: u64,
    pub(crate) keys: u64,
    /// Of a hundred records, how many have the key 0.
    pub(crate) skew: u64,
    /// Event times go on by this much a record, and are out of order by at most the bound.
    pub(crate) step_ms: u64,
    pub(crate) bound_ms: u64,
    /// The most bytes beside key and time, and how often they are more than a frame.
    pub(crate) padding: u64,
    pub(crate) jumbo_one_in: Option<u64>,
    pub(crate) first: Stage,
    pub(crate) between: Between,
    pub(crate) second: Stage,
    /// The second stage's keys are the first's modulo this.
    pub(crate) modulus: u32,
    /// The records of the source meet a part of themselves as well.
    pub(crate) meeting: Option<Meeting>,
    /// Somebody else is asked about the records of a generator: so many at a time, in order or not.
    pub(crate) asks: (usize, bool),
    /// The first stage's output goes to a sink of its own as well.
    pub(crate) is_shared: bool,
    /// Of the source, the first stage, what is between, and the second.
    pub(crate) parallelism: [u32; 4],
    pub(crate) max_parallelism: u32,
    pub(crate) credits: usize,
    pub(crate) overdraft_kib: usize,
    pub(crate) frame_age_us: u64,
    /// Rows of state are absent at random: one in this many.
    pub(crate) absent_one_in: Option<u64>,
    pub(crate) policy: Policy,
    /// Key after key, with so many KiB to sort in; else record by record.
    pub(crate) batch_kib: Option<usize>,
}

impl Case {
    /// What `seed` draws.
    pub(crate) fn of(seed: u64) -> Self {
        let draw = &mut Draw::new(seed);
        let parallelism = [0; 4].map(|_: u32| draw.within(1, 5) as u32);
        let between = draw.of(&[
            Between::Nothing,
            Between::Forward,
            Between::Rebalance,
            Between::Rescale,
            Between::Shuffle,
            Between::Broadcast,
            Between::Global,
        ]);
        let parallelism = match between {
            // Equal numbers on both sides are what makes an edge forward.
            Between::Forward => [parallelism[0], parallelism[1], parallelism[1], parallelism[3]],
            _ => parallelism,
        };
        let stage = |draw: &mut Draw| match draw.within(0, 5) {
            0 | 1 => Stage::Rolling,
            2 => Stage::Windows(draw.of(&[1, 7, 100, 1_000])),
            3 => Stage::States,
            4 => Stage::Sessions(draw.of(&[1, 3, 10, 100, 1_000])),
            _ => {
                let (size_ms, slide_ms) = draw.of(&[(10, 5), (25, 10), (7, 1), (100, 30), (3, 8)]);
                Stage::Sliding(size_ms, slide_ms)
            }
        };
        let jumbo_one_in = if draw.one_in(6) { Some(draw.of(&[3, 20])) } else { None };
        let absent_one_in = if draw.one_in(3) { Some(draw.of(&[1, 2, 5, 50])) } else { None };
        let input = match draw.within(0, 5) {
            0 | 1 => Input::Collection,
            2 | 3 => Input::Generator,
            4 => Input::Partitions(
                draw.within(1, 6) as usize,
                draw.within(1, 50) as usize,
                draw.one_in(2),
            ),
            _ => Input::Rated(draw.of(&[5_000, 50_000, 1_000_000])),
        };
        let events = if draw.one_in(25) { draw.within(0, 3) } else { draw.within(10, 500) };
        // Pairs are many: of few records.
        let meets = events <= 150 && draw.one_in(2);
        // What meets is put out three times by the source, and frames are opened for each.
        let outputs = if meets { 4 } else { 1 };
        let case = Self {
            seed,
            input,
            events,
            meeting: if meets { Some(draw.of(&Meeting::ALL)) } else { None },
            keys: draw.of(&[1, 2, 10, 100]),
            skew: draw.of(&[0, 0, 50, 95]),
            step_ms: draw.of(&[0, 1, 5]),
            bound_ms: draw.of(&[0, 1, 20, 500]),
            padding: draw.of(&[0, 0, 100, 3_000, 12_000]),
            jumbo_one_in,
            first: stage(draw),
            between,
            second: stage(draw),
            modulus: draw.of(&[1, 2, 7, 100]),
            asks: (draw.within(1, 20) as usize, draw.one_in(2)),
            is_shared: draw.one_in(3),
            parallelism,
            max_parallelism: draw.of(&[5, 8, default_max_parallelism(5)]),
            credits: draw.within(1, 3) as usize,
            // One record: three copies, each in a frame of its own or a jumbo frame of 128 KiB; a batch of parked
            // records: some frames to each of five channels.
            overdraft_kib: outputs
                * match (jumbo_one_in, absent_one_in) {
                    (None, None) => 128,
                    _ => 1_024,
                },
            frame_age_us: draw.of(&[0, 0, 100, 1_000]),
            absent_one_in,
            policy: draw.of(&[
                Policy::Mixed,
                Policy::Mixed,
                Policy::Random,
                Policy::RoundRobin,
                Policy::Starve,
                Policy::Burst,
                Policy::Priority,
            ]),
            batch_kib: None,
        };
        let batch = &mut Draw::new(seed ^ 0xBA7C);
        // With little memory each record is copied several times, a block and a step of the simulation at a time.
        let is_large = case.jumbo_one_in.is_some() || case.padding > 3_000;
        let memories = if is_large { [1_024; 3] } else { [8, 16, 1_024] };
        let batch_kib = batch.one_in(2).then(|| batch.of(&memories));
        Self { batch_kib, ..case }.without_touching_sessions()
    }

    /// The records of the source, in order of their number.
    pub(crate) fn input_events(&self) -> Vec<Event> {
        let draw = &mut Draw::new(self.seed ^ 0xE7E7);
        let event = |number| {
            let is_hot = draw.within(1, 100) <= self.skew;
            let key = if is_hot { 0 } else { draw.within(0, self.keys - 1) as u32 };
            let jitter_ms = draw.within(0, self.bound_ms);
            let copies = draw.of(&[0, 1, 1, 1, 2, 3]);
            let padding = match self.jumbo_one_in {
                Some(one_in) if draw.one_in(one_in) => draw.within(40_000, 100_000),
                _ => draw.within(0, self.padding),
            };
            let at_ms = (number * self.step_ms + jitter_ms) as i64;
            Event { key, at_ms, copies, padding: "~".repeat(padding as usize) }
        };
        (0..self.events).map(event).collect()
    }
}
