//! Event time of a stream: times and watermarks from its records, or from the clock.

use wiesel_core::Timestamp;
use wiesel_operators::{
    AssignWatermarksTo, Chain, IngestionTimeTo, Start, WatermarkGenerator, WatermarkStrategy,
};
use wiesel_record::Record;

use crate::DataStream;

impl<T: Record, S: Start, C: Chain<S::Out, Out = T>> DataStream<T, S, C> {
    /// Gives each record its event time, and the stream its watermarks. In the vertex of a source each split has
    /// watermarks of its own, and the least of them counts. Those of an earlier `watermarks` are replaced, and so is what it
    /// said of idleness: a stream that may fall silent needs a timeout here as well.
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// # use wiesel_core::{Timestamp, seconds};
    /// # use wiesel_operators::bounded_out_of_orderness;
    /// # let env = Environment::new();
    /// env.from_collection([(1_000_i64, 7_u64), (3_000, 8)])
    ///     .watermarks(bounded_out_of_orderness(seconds(2)).with_idleness(seconds(30)), |(at, _)| {
    ///         Timestamp::from_millis(at)
    ///     })
    ///     .print();
    /// ```
    ///
    /// The graph of the job is an error if a time of the strategy is none, or if it aligns watermarks and this is not the vertex
    /// of a source: nothing here could wait. Call `watermarks` before `key_by`, `rebalance` and whatever else breaks the chain.
    pub fn watermarks<G, F>(
        self,
        strategy: WatermarkStrategy<G>,
        time_of: F,
    ) -> DataStream<T, S, AssignWatermarksTo<C, F, G>>
    where
        G: WatermarkGenerator<T>,
        F: for<'a> Fn(T::View<'a>) -> Timestamp + Clone + Send + 'static,
    {
        self.builder.mistake_of("Watermarks", strategy.mistake());
        let is_source = self.builder.vertex(self.vertex, |vertex| vertex.enumerator.is_some());
        if strategy.is_aligned() && !is_source {
            let what = "watermark alignment needs the vertex of a source: call `watermarks` before the chain is broken";
            self.builder.mistake(self.builder.last_name(self.vertex), what);
        }
        let stream =
            self.chained("Watermarks", |chain| AssignWatermarksTo::new(chain, strategy, time_of));
        DataStream { has_time: true, ..stream }
    }

    /// Gives each record the time of day at which it came by, and the stream watermarks that follow the clock: Flink's
    /// ingestion time. Best right after the source.
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// # use wiesel_core::seconds;
    /// # use wiesel_operators::Tumbling;
    /// # let env = Environment::new();
    /// env.from_collection(["a".to_owned(), "b".to_owned()])
    ///     .ingestion_time()
    ///     .key_by::<String>(|word| word)
    ///     .window(Tumbling::event_time(seconds(1)))
    ///     .count()
    ///     .print();
    /// ```
    pub fn ingestion_time(self) -> DataStream<T, S, IngestionTimeTo<C>> {
        let stream = self.chained("IngestionTime", IngestionTimeTo::new);
        DataStream { has_time: true, ..stream }
    }
}
