//! Seeded random values of every type that records are made of.

use std::time::Duration;

use wiesel_core::Timestamp;

/// A seeded generator (splitmix64).
pub struct Dice(u64);

impl Dice {
    /// A fresh seed for each run, or the one in `ZOO_SEED`.
    pub fn seeded() -> (u64, Self) {
        let seed = match std::env::var("ZOO_SEED") {
            Ok(seed) => seed.parse().expect("ZOO_SEED is a number"),
            Err(_) => fresh(),
        };
        (seed, Self(seed))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// A seed that differs between runs, without a clock: the process's number and where its stack is.
fn fresh() -> u64 {
    let here = 0_u8;
    let address = &raw const here as usize as u64;
    Dice(address ^ (u64::from(std::process::id()) << 40)).next()
}

/// A random value. Edges are more likely than they should be.
pub trait Roll {
    fn roll(dice: &mut Dice) -> Self;
}

macro_rules! numbers {
    ($($type:ty)+) => {$(
        impl Roll for $type {
            fn roll(dice: &mut Dice) -> Self {
                match dice.below(6) {
                    0 => 0 as $type,
                    1 => <$type>::MAX,
                    2 => <$type>::MIN,
                    3 => dice.below(4) as $type,
                    _ => (((dice.next() as u128) << 64) | dice.next() as u128) as $type,
                }
            }
        }
    )+};
}

numbers!(u8 i8 u16 i16 u32 i32 u64 i64 u128 i128 f32 f64);

impl Roll for bool {
    fn roll(dice: &mut Dice) -> Self {
        dice.below(2) == 1
    }
}

impl Roll for char {
    fn roll(dice: &mut Dice) -> Self {
        ['a', '\0', 'ß', '√', '🦦', char::MAX][dice.below(6) as usize]
    }
}

impl Roll for () {
    fn roll(_: &mut Dice) -> Self {}
}

impl Roll for Timestamp {
    fn roll(dice: &mut Dice) -> Self {
        Timestamp::from_millis(Roll::roll(dice))
    }
}

impl Roll for Duration {
    fn roll(dice: &mut Dice) -> Self {
        Duration::new(Roll::roll(dice), dice.below(1_000_000_000) as u32)
    }
}

impl Roll for String {
    fn roll(dice: &mut Dice) -> Self {
        let len = [0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 33][dice.below(12) as usize];
        (0..len).map(|_| char::roll(dice)).collect()
    }
}

impl<T: Roll> Roll for Vec<T> {
    fn roll(dice: &mut Dice) -> Self {
        (0..dice.below(5)).map(|_| T::roll(dice)).collect()
    }
}

impl<T: Roll> Roll for Box<[T]> {
    fn roll(dice: &mut Dice) -> Self {
        Vec::roll(dice).into()
    }
}

impl<T: Roll, const N: usize> Roll for [T; N] {
    fn roll(dice: &mut Dice) -> Self {
        std::array::from_fn(|_| T::roll(dice))
    }
}

impl<T: Roll> Roll for Option<T> {
    fn roll(dice: &mut Dice) -> Self {
        bool::roll(dice).then(|| T::roll(dice))
    }
}

macro_rules! tuples {
    ($(($($T:ident),+))+) => {$(
        impl<$($T: Roll),+> Roll for ($($T,)+) {
            fn roll(dice: &mut Dice) -> Self {
                ($($T::roll(dice),)+)
            }
        }
    )+};
}

tuples! { (A, B) (A, B, C) (A, B, C, D, E, F, G, H, I, J, K, L) }

/// Structs as they stand, and `Roll` for them field by field.
macro_rules! record {
    () => {};
    ($(#[$attribute:meta])* struct $name:ident($type:ty); $($rest:tt)*) => {
        $(#[$attribute])*
        struct $name($type);

        impl Roll for $name {
            fn roll(dice: &mut Dice) -> Self {
                Self(Roll::roll(dice))
            }
        }

        record! { $($rest)* }
    };
    ($(#[$attribute:meta])* struct $name:ident { $($field:ident: $type:ty),+ } $($rest:tt)*) => {
        $(#[$attribute])*
        struct $name {
            $($field: $type),+
        }

        impl Roll for $name {
            fn roll(dice: &mut Dice) -> Self {
                Self { $($field: Roll::roll(dice)),+ }
            }
        }

        record! { $($rest)* }
    };
}

pub(crate) use record;
