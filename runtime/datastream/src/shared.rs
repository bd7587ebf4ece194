//! A stream with several uses.

use std::marker::PhantomData;

use wiesel_record::Record;

use crate::{
    FrameStream,
    builder::GraphBuilder,
    stream::{forward_edge, frame_stream},
};

/// A stream that can be used several times.
///
/// ```
/// # use wiesel_datastream::Environment;
/// # let env = Environment::new();
/// let numbers = env.from_collection([1_u64, 2, 3]).share();
/// numbers.stream().filter(|n| n % 2 == 0).print();
/// numbers.stream().filter(|n| n % 2 == 1).print();
/// ```
#[must_use = "a shared stream does nothing until it is used: `.stream()`, once for each use"]
pub struct SharedStream<T: Record> {
    pub(crate) builder: GraphBuilder,
    pub(crate) vertex: usize,
    pub(crate) has_time: bool,
    pub(crate) types: PhantomData<fn() -> T>,
}

impl<T: Record> Clone for SharedStream<T> {
    fn clone(&self) -> Self {
        Self {
            builder: self.builder.clone(),
            vertex: self.vertex,
            has_time: self.has_time,
            types: PhantomData,
        }
    }
}

impl<T: Record> SharedStream<T> {
    /// One use of the stream.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// let numbers = env.from_collection([1_u64, 2]).share();
    /// numbers.stream().print();
    /// numbers.stream().map(|n| n + 1).print();
    /// ```
    pub fn stream(&self) -> FrameStream<T> {
        let target = self.builder.open_vertex("Shared");
        self.builder.edge(forward_edge::<T>(self.vertex, target));
        frame_stream(self.builder.clone(), target, self.has_time)
    }
}
