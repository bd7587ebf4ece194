//! Work before a job runs, on all cores at once.

use std::{
    panic::resume_unwind,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::available_cores;

/// What `work` makes of each item, in their order. It waits for the last of them: never on a data path.
///
/// ```
/// let lengths = wiesel_shard::in_parallel(&["chk-1", "savepoint"], |name| name.len());
/// assert_eq!(lengths, [5, 9]);
/// ```
///
/// # Panics
///
/// If `work` does.
pub fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let take_part = || -> Vec<(usize, R)> {
        let mut made = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            match items.get(at) {
                Some(item) => made.push((at, work(item))),
                None => return made,
            }
        }
    };
    let mut made = thread::scope(|scope| {
        let others = 1..available_cores().len().min(items.len());
        // Where no thread can be had, those that there are do it.
        let start = |_| thread::Builder::new().spawn_scoped(scope, take_part).ok();
        let others: Vec<_> = others.filter_map(start).collect();
        let mut made = take_part();
        for other in others {
            made.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        made
    });
    made.sort_by_key(|(at, _)| *at);
    made.into_iter().map(|(_, made)| made).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_is_worked_on_once_and_stays_in_its_place() {
        let items: Vec<usize> = (0..1000).collect();
        let done = AtomicUsize::new(0);
        let squares = in_parallel(&items, |item| {
            done.fetch_add(1, Ordering::Relaxed);
            item * item
        });
        assert_eq!(squares, items.iter().map(|item| item * item).collect::<Vec<_>>());
        assert_eq!(done.into_inner(), items.len());
        assert!(in_parallel(&[0_u8; 0], |_| 0).is_empty());
    }

    #[test]
    #[should_panic(expected = "seven")]
    fn a_panic_is_that_of_the_caller() {
        in_parallel(&[6, 7, 8], |item| assert!(*item != 7, "seven"));
    }
}
