//! Operators: what happens to records. Pure: no clock is read, no file touched, nothing awaited.
//!
//! ```text
//!             ┌──────────────── one chain: one monomorphised type ────────────────┐
//!   frame ───▶│ head ──push──▶ link ──push──▶ link ──push──▶ end ──append──▶ output │───▶ frames
//!   (dyn, one │  ▲ cursor, keyed state, timers                     │ stop           │
//!   call per  │  └────────── reads `stop` after every record ◀─────┘                │
//!   frame)    └───────────────────────────────────────────────────────────────────┘
//! ```
//!
//! # What is always true
//!
//! 1. Nothing in a chain waits. An output always takes what it is given; if it should not have had to,
//!    it sets `stop`, and the head ends the turn with its cursor kept.
//! 2. Everything that a watermark triggers is pushed before the watermark is passed on.
//! 3. Keyed state, timers and windows exist only in heads.
//! 4. `finish` is the last thing that pushes. A stopped call is made again with the same argument.

mod alignment;
mod all_windows;
mod assign_watermarks;
mod assign_windows;
mod async_function;
mod async_queue;
mod async_wait;
mod broadcast_process;
mod chain;
mod co_process;
mod context;
mod cumulative;
mod descriptors;
mod either;
mod emit;
mod evictor;
mod filter;
mod filter_map;
mod fired;
mod flat_map;
mod folding;
mod frame_head;
mod ingestion_time;
mod interval_join;
mod join;
mod key_by;
mod key_states;
mod keyed_broadcast;
mod keyed_broadcast_head;
mod keyed_co_head;
mod keyed_co_operator;
mod keyed_co_process;
mod keyed_context;
mod keyed_core;
mod keyed_head;
mod keyed_loop;
mod keyed_operator;
mod keyed_process;
mod keyed_state;
mod keyed_table;
mod late;
mod lists;
mod map;
mod metric_group;
mod operator_state;
mod partial;
mod pre_aggregate;
mod pre_aggregate_all;
mod process;
mod process_window;
mod protocol;
mod rolling;
mod row_list;
mod session;
mod side;
mod sliding;
mod snapshot;
mod sorted;
mod spill;
mod split_watermarks;
mod spooled;
mod state_cell;
mod stopwatch;
mod tables;
mod tee;
mod temporal_join;
mod top_n;
mod trigger;
mod tumbling;
mod undo;
mod watermarks;
mod window;
mod window_join;
mod window_operator;

pub use alignment::SplitAlignment;
pub use all_windows::{AllWindows, AllWindowsStart};
pub use assign_watermarks::{AssignWatermarks, AssignWatermarksTo};
pub use assign_windows::{AssignWindows, Global, ProcessingTime};
pub use async_function::{AsyncAnswer, AsyncClosure, AsyncFunction, AsyncOptions, AsyncRetry};
pub use async_wait::{AsyncWait, AsyncWaitTo};
pub use broadcast_process::{BroadcastProcess, BroadcastProcessFunction, BroadcastStart};
pub use chain::{Chain, Nothing, Start};
pub use co_process::{CoFlatMap, CoHead, CoMap, CoProcessFunction, CoStart};
pub use context::{BatchOptions, RowSources, TaskContext};
pub use cumulative::Cumulative;
pub use either::Either;
pub use emit::{End, FanOut};
pub use evictor::{CountEvictor, DeltaEvictor, Evictable, Evictor, NoEvictor, TimeEvictor};
pub use filter::{Filter, FilterBy, TryFilter, TryFilterBy};
pub use filter_map::{FilterMap, FilterMapTo};
pub use flat_map::{FlatMap, FlatMapTo, TryFlatMap, TryFlatMapTo};
pub use folding::{
    Aggregate, AggregateFunction, Aggregated, AggregatedView, ByRank, Combine, Count, Counted,
    CountedView, Fold, FoldMerging, Folding, FunctionError, Max, Min, Number, OfNumber, Reduce,
    Sum,
};
pub use frame_head::{FrameHead, FrameStart};
pub use ingestion_time::{IngestionTime, IngestionTimeTo};
pub use interval_join::{
    IntervalJoin, IntervalJoinStart, IntervalOptions, PairFunction, ProcessJoinContext,
    ProcessJoinFunction, TimeBound, after, before,
};
pub use join::{Join, JoinFunction, JoinStart, Retention, TimeToLive, Unbounded};
pub use key_by::{KeyBy, KeyByTo};
pub use key_states::KeyStates;
pub use keyed_broadcast::{KeyedBroadcastContext, KeyedBroadcastProcessFunction};
pub use keyed_broadcast_head::{KeyedBroadcastHead, KeyedBroadcastStart};
pub use keyed_co_head::{KeyedCoHead, KeyedCoHeadStart};
pub use keyed_co_operator::{KeyedCoOperator, KeyedCoStart};
pub use keyed_co_process::{KeyedCoProcess, KeyedCoProcessFunction, KeyedCoProcessStart};
pub use keyed_context::{KeyedContext, TimeDomain};
pub use keyed_head::{KeyedHead, KeyedHeadStart};
pub use keyed_operator::{KeyedOperator, KeyedStart, Located};
pub use keyed_process::{KeyedProcess, KeyedProcessFunction, KeyedProcessStart};
pub use keyed_state::{
    AggregatingState, AppendingState, KeyList, KeyMap, KeyedState, ListState, MapState,
    ReadableState, ReducingState, StateRegistry, StateTtl, TtlUpdate, TtlVisibility, ValueState,
};
pub use lists::{ListPart, ListPiece, VisitList, WalkedList};
pub use map::{Map, MapTo, Project, ProjectTo, TryMap, TryMapTo};
pub use metric_group::{Counter, Gauge, Histogram, MetricGroup, RuntimeContext};
pub use operator_state::{
    BroadcastMap, BroadcastState, BroadcastStates, OperatorList, OperatorListState, OperatorState,
    OperatorStateRegistry,
};
pub use partial::{Merged, Partial, PartialView, Uncombined, key_of_partial};
pub use pre_aggregate::{PreAggregate, PreAggregateTo};
pub use pre_aggregate_all::{PreAggregateAll, PreAggregateAllTo};
pub use process::{Process, ProcessContext, ProcessFunction, ProcessTo};
pub use process_window::{
    AggregateValue, FoldElements, PassOn, ProcessWindowFunction, WindowContext, WindowElement,
    WindowElements, WindowStates,
};
pub use protocol::{
    Control, Head, Link, Mail, Output, OutputPort, Pace, Polled, Progress, Restoring, SplitChange,
    SplitId, Status,
};
pub use rolling::{Rolling, RollingStart};
pub use row_list::{Elements, Stamped, Stamps, Unstamped};
pub use session::{DynamicGap, FixedGap, Session, SessionGap, SessionStart, SessionWindows};
pub use side::{SideOutput, side_output};
pub use sliding::{SlidingStart, SlidingWindows};
pub use snapshot::{COMMITTABLES, Snapshot};
pub use sorted::{AlignedBytes, BatchHead, SortedHead, SortedRecord, Sorter};
pub use spooled::SpooledHead;
pub use state_cell::StateCell;
pub use stopwatch::{SAMPLED_RECORD, Stage, Stopwatch};
pub use tables::{TablePart, VisitTable};
pub use tee::Tee;
pub use temporal_join::{
    EndsWhen, InnerTemporal, LeftTemporal, NeverEnds, TemporalFunction, TemporalJoin,
    TemporalJoinStart, VersionEnd,
};
pub use top_n::{Ranked, RankedView, TopN, by_count};
pub use trigger::{
    ContinuousEventTimeTrigger, ContinuousProcessingTimeTrigger, CountTrigger, DeltaTrigger,
    EventTimeTrigger, NeverTrigger, ProcessingTimeTrigger, PurgingTrigger, Trigger, TriggerContext,
    TriggerResult,
};
pub use tumbling::{TumblingStart, TumblingWindows, WindowOptions};
pub use watermarks::{
    BoundedOutOfOrderness, NoWatermarks, Punctuated, WatermarkGenerator, WatermarkStrategy,
    bounded_out_of_orderness, monotonous_timestamps, no_watermarks, punctuated,
};
pub use window::{EventTimeWindows, Sliding, TimeWindow, Tumbling};
pub use window_join::{
    BothSides, EachPair, JoinWindows, WindowJoin, WindowJoinStart, WindowPairing,
};
pub use window_operator::{
    AggregatingStart, ContentsStart, ListingStart, WindowContents, WindowOperator,
    WindowOperatorStart,
};
