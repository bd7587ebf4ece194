//! What can be measured, and with which input.

use std::fmt;

/// A workload: what is computed, over which input. Its outputs are fixed by the generator's specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Events are made and dropped: the ceiling of q0 to q2, and what their `cpu_ratio` leaves out.
    Gen,
    /// Keys are made and dropped: what `cpu_ratio` leaves out of keyed and keyed_skew.
    GenKeys,
    /// Lines are made and dropped: what `cpu_ratio` leaves out of wordcount.
    GenLines,
    /// Tweets are made and dropped: what `cpu_ratio` leaves out of trending.
    GenTweets,
    /// Every bid.
    Q0,
    /// Every bid, its price converted.
    Q1,
    /// The bids on every 123rd auction.
    Q2,
    /// Auctions of a category with their sellers in some states.
    Q3,
    /// Averages of the winning bids of each category.
    Q4,
    /// The auctions with the most bids of ten seconds, every two seconds.
    Q5,
    /// Averages of the last winning bids of each seller.
    Q6,
    /// The highest price of ten seconds.
    Q7,
    /// Who signs up and sells within ten seconds.
    Q8,
    /// The winning bid of each auction.
    Q9,
    /// Bids as lines in files.
    Q10,
    /// Bids by bidder and session.
    Q11,
    /// Bids by bidder and ten seconds of the time of day.
    Q12,
    /// Bids with a value of a side table.
    Q13,
    /// Bids of a medium price, with what is worked out of them.
    Q14,
    /// Counts of each day.
    Q15,
    /// Counts of each channel and day.
    Q16,
    /// Statistics of each auction and day.
    Q17,
    /// The last bid of each bidder on each auction.
    Q18,
    /// The ten highest bids of each auction.
    Q19,
    /// Bids with their auctions.
    Q20,
    /// Bids with the number of their channel.
    Q21,
    /// Bids with the folders of their URL.
    Q22,
    /// Bids with their bidders and what they sell.
    Q23,
    /// Every bid, whole, to the shard of its auction.
    Q0Shuffle,
    /// A running count of 2^20 keys, uniform.
    Keyed,
    /// As `keyed`, but half of the records have key 0.
    KeyedSkew,
    /// A running count of words; a line has eight.
    WordCount,
    /// The ten most frequent hashtags of each second.
    Trending,
    /// A count of 10,000 keys in windows of a minute.
    Tumbling,
    /// The same in windows that overlap.
    Sliding,
    /// The same in sessions.
    Session,
    /// A fused chain over archived frames.
    Chain,
    /// Frames from one shard to the other, every byte written and read.
    Exchange,
    /// One record to the other shard and back.
    Handoff,
    /// The keyed count at a steady rate, open loop.
    Latency,
    /// A keyed count with checkpoints and without.
    Checkpoint,
    /// Updates of values of 32 bytes.
    State,
    /// From a kill to the first output of the next process.
    Recovery,
}

impl Workload {
    /// All of them, in the order of the manual.
    pub const ALL: [Self; 43] = [
        Self::Gen,
        Self::GenKeys,
        Self::GenLines,
        Self::GenTweets,
        Self::Q0,
        Self::Q1,
        Self::Q2,
        Self::Q3,
        Self::Q4,
        Self::Q5,
        Self::Q6,
        Self::Q7,
        Self::Q8,
        Self::Q9,
        Self::Q10,
        Self::Q11,
        Self::Q12,
        Self::Q13,
        Self::Q14,
        Self::Q15,
        Self::Q16,
        Self::Q17,
        Self::Q18,
        Self::Q19,
        Self::Q20,
        Self::Q21,
        Self::Q22,
        Self::Q23,
        Self::Q0Shuffle,
        Self::Keyed,
        Self::KeyedSkew,
        Self::WordCount,
        Self::Trending,
        Self::Tumbling,
        Self::Sliding,
        Self::Session,
        Self::Chain,
        Self::Exchange,
        Self::Handoff,
        Self::Latency,
        Self::Checkpoint,
        Self::State,
        Self::Recovery,
    ];

    /// What the command line calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gen => "gen",
            Self::GenKeys => "gen_keys",
            Self::GenLines => "gen_lines",
            Self::GenTweets => "gen_tweets",
            Self::Q0 => "q0",
            Self::Q1 => "q1",
            Self::Q2 => "q2",
            Self::Q3 => "q3",
            Self::Q4 => "q4",
            Self::Q5 => "q5",
            Self::Q6 => "q6",
            Self::Q7 => "q7",
            Self::Q8 => "q8",
            Self::Q9 => "q9",
            Self::Q10 => "q10",
            Self::Q11 => "q11",
            Self::Q12 => "q12",
            Self::Q13 => "q13",
            Self::Q14 => "q14",
            Self::Q15 => "q15",
            Self::Q16 => "q16",
            Self::Q17 => "q17",
            Self::Q18 => "q18",
            Self::Q19 => "q19",
            Self::Q20 => "q20",
            Self::Q21 => "q21",
            Self::Q22 => "q22",
            Self::Q23 => "q23",
            Self::Q0Shuffle => "q0shuffle",
            Self::Keyed => "keyed",
            Self::KeyedSkew => "keyed_skew",
            Self::WordCount => "wordcount",
            Self::Trending => "trending",
            Self::Tumbling => "tumbling",
            Self::Sliding => "sliding",
            Self::Session => "session",
            Self::Chain => "chain",
            Self::Exchange => "exchange",
            Self::Handoff => "handoff",
            Self::Latency => "latency",
            Self::Checkpoint => "checkpoint",
            Self::State => "state",
            Self::Recovery => "recovery",
        }
    }

    /// Events of a run, if the command line says nothing: those of the specification's reference sums, where it has any.
    pub const fn events(self) -> u64 {
        match self {
            Self::Gen | Self::Q0 | Self::Q1 | Self::Q2 | Self::Q7 | Self::Q0Shuffle => 20_000_000,
            Self::Q3 | Self::Q8 | Self::Q12 | Self::Q13 | Self::Q14 => 20_000_000,
            Self::Q21 | Self::Q22 | Self::Tumbling | Self::Sliding => 20_000_000,
            Self::Q11 | Self::Session => 20_000_000,
            Self::GenKeys | Self::Keyed | Self::KeyedSkew | Self::Latency => 10_000_000,
            Self::Q4 | Self::Q5 | Self::Q6 | Self::Q9 | Self::Q10 => 10_000_000,
            Self::Q15 | Self::Q17 => 10_000_000,
            Self::Q16 | Self::Q18 | Self::Q19 => 4_000_000, // Much is kept.
            Self::Q20 | Self::Q23 => 1_000_000,             // All is kept.
            Self::GenTweets | Self::Trending => 2_000_000,
            Self::GenLines | Self::WordCount | Self::Handoff => 1_000_000,
            Self::Chain => 2_000_000,
            Self::Exchange => 10_000_000,
            Self::Checkpoint => 100_000_000,
            Self::State => 50_000_000,
            Self::Recovery => 1,
        }
    }

    /// Events per second of event time, if the command line says nothing.
    pub const fn event_rate(self) -> u64 {
        match self {
            Self::Tumbling | Self::Sliding | Self::Session => 100_000,
            Self::GenTweets | Self::Trending | Self::Q11 => 200_000,
            _ => 1_000_000,
        }
    }

    /// Shards, if the command line says nothing.
    pub const fn parallelism(self) -> u32 {
        match self {
            Self::Exchange | Self::Handoff | Self::Latency => 2,
            Self::Checkpoint | Self::State | Self::Recovery => 2,
            _ => 1,
        }
    }

    /// Shards that it is about.
    pub const fn parallelism_needed(self) -> Option<u32> {
        match self {
            Self::Exchange | Self::Handoff => Some(2),
            Self::Chain => Some(1),
            _ => None,
        }
    }

    /// Whether it is a query of Nexmark that only we run: what it is for is its results, and its cost over time.
    pub const fn is_ours_alone(self) -> bool {
        matches!(
            self,
            Self::Q4
                | Self::Q6
                | Self::Q9
                | Self::Q10
                | Self::Q12
                | Self::Q13
                | Self::Q14
                | Self::Q15
                | Self::Q16
                | Self::Q17
                | Self::Q18
                | Self::Q19
                | Self::Q20
                | Self::Q21
                | Self::Q22
                | Self::Q23
        )
    }

    /// Whether it is about state; then the command line may say how much there is of it.
    pub const fn is_of_state(self) -> bool {
        matches!(self, Self::Checkpoint | Self::State | Self::Recovery)
    }

    /// Whether it counts keys in windows; then what updates and results cost is said apart.
    pub const fn is_of_windows(self) -> bool {
        matches!(self, Self::Tumbling | Self::Sliding | Self::Session | Self::Q11)
    }

    /// Whether it counts in sessions; then its input may be out of order.
    pub const fn is_of_sessions(self) -> bool {
        matches!(self, Self::Session | Self::Q11)
    }

    /// The workload that makes the same input and drops it.
    pub const fn input(self) -> Option<Self> {
        match self {
            Self::Q0 | Self::Q1 | Self::Q2 | Self::Q3 | Self::Q5 | Self::Q7 | Self::Q8 => {
                Some(Self::Gen)
            }
            Self::Q12 | Self::Q13 | Self::Q14 | Self::Q15 | Self::Q16 | Self::Q17 => {
                Some(Self::Gen)
            }
            Self::Q18 | Self::Q19 | Self::Q21 | Self::Q22 | Self::Q0Shuffle => Some(Self::Gen),
            Self::Q4 | Self::Q6 | Self::Q9 | Self::Q10 | Self::Q11 => Some(Self::Gen),
            Self::Q20 | Self::Q23 => Some(Self::Gen),
            Self::Keyed | Self::KeyedSkew => Some(Self::GenKeys),
            Self::WordCount => Some(Self::GenLines),
            Self::Trending => Some(Self::GenTweets),
            _ => None,
        }
    }

    /// Events, outputs and check sum of a run over the specification's input, where it gives them.
    pub const fn reference(self) -> Option<(u64, u64, u64)> {
        match self {
            Self::Q0 | Self::Q0Shuffle => Some((20_000_000, 18_400_000, 0xcc70_1320_1478_dcca)),
            Self::Q1 => Some((20_000_000, 18_400_000, 0x331c_cb76_fe82_9627)),
            Self::Q2 => Some((20_000_000, 150_469, 0x835b_f7ae_b1e1_95e0)),
            Self::Q3 => Some((20_000_000, 118_643, 0x134c_f85f_8ab2_073e)),
            Self::Q8 => Some((20_000_000, 1_199_683, 0xd11d_3f7e_939f_41a2)),
            Self::Q5 => Some((10_000_000, 9, 0x4976_385f_befd_4837)),
            Self::Q7 => Some((20_000_000, 2, 0xfee9_e2fd_ea6d_ea1c)),
            Self::Trending => Some((2_000_000, 100, 0x6d60_05a3_03d4_2d54)),
            Self::WordCount => Some((1_000_000, 8_000_000, 0x8883_c89f_0f71_35c2)),
            Self::Keyed => Some((10_000_000, 10_000_000, 0x7959_6fb7_ded5_f395)),
            _ => None,
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
