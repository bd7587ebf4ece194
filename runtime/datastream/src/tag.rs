//! The name and type of a side output.

use std::marker::PhantomData;

use wiesel_record::Record;

/// Names a side output with records of type `T`.
///
/// ```
/// use wiesel_datastream::OutputTag;
///
/// let late = OutputTag::<u64>::new("late");
/// assert_eq!(late.id(), "late");
/// ```
#[derive(Clone, Debug)]
pub struct OutputTag<T> {
    id: String,
    types: PhantomData<fn() -> T>,
}

impl<T: Record> OutputTag<T> {
    /// A tag. Two side outputs of one chain with one name are an error of the graph, also if both have one type, such as late
    /// records of either side of a join.
    ///
    /// ```
    /// # use wiesel_datastream::OutputTag;
    /// let late = OutputTag::<(u64, String)>::new("late");
    /// ```
    pub fn new(id: &str) -> Self {
        Self { id: id.to_owned(), types: PhantomData }
    }

    /// The name.
    ///
    /// ```
    /// # use wiesel_datastream::OutputTag;
    /// assert_eq!(OutputTag::<u64>::new("late").id(), "late");
    /// ```
    pub fn id(&self) -> &str {
        &self.id
    }
}
