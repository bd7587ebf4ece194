//! The kernel of a fused chain: the bench's, in which the compiler has to see through six operators and a user's
//! closure that emits. An operation is one record read from a frame.
//!
//! What is lost when one call of it is no longer inlined is a quarter of its speed, and no test of results sees it.

#[path = "../../chain/fused.rs"]
mod fused;

use std::time::Duration;

use wiesel_wire::FrameView;

use self::fused::{Bid, Fused, Sum};

/// Records of the one frame, which is read again and again: operations come in multiples of them.
const RECORDS: u64 = 128;

/// So long that no turn ends for its time.
const QUANTUM: Duration = Duration::from_secs(3_600);

pub fn fused(n: u64) {
    let frames = fused::frames(RECORDS as usize, true);
    let [frame] = &frames[..] else { panic!("{RECORDS} records are one frame") };
    let mut chain = Fused::new();
    (0..n / RECORDS).for_each(|_| chain.drive(frame, QUANTUM));
    let mut once = Sum::default();
    for (record, _) in FrameView::<Bid>::new(frame).iter() {
        let bid = record.get();
        if bid.price > 500 && bid.auction % 4 != 0 && bid.channel.len() > 8 {
            for word in bid.extra.split_ascii_whitespace() {
                once.add(
                    (word.len() as u64 * 31 + u64::from(word.as_bytes()[0])).rotate_left(7)
                        ^ 0x5DEE,
                );
            }
        }
    }
    assert!(once.count > 0, "something comes through");
    let rounds = n / RECORDS;
    let expected = Sum { count: rounds * once.count, sum: once.sum.wrapping_mul(rounds) };
    assert_eq!(chain.sum(), expected);
}
