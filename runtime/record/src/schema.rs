//! What a record looks like, as a constant: for the handshake of two processes and for snapshots.
//!
//! # What is always true
//!
//! 1. Two records with the same hash have the same name, the same fields in the same order and the
//!    same types within, however those types were spelled.
//! 2. The version is the user's word about meaning; it is not part of the hash.

use std::fmt;

/// The schema of a record.
///
/// ```
/// use wiesel_record::Record;
///
/// #[derive(Record)]
/// struct Bid {
///     auction: u64,
///     channel: String,
/// }
/// assert_eq!(Bid::SCHEMA.to_string(), "Bid { auction: u64, channel: String } version 1");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The name of the type, without its module.
    pub name: &'static str,
    /// Its fields in order. Those of an enum are `Variant`, and `Variant.field` for each of its fields.
    pub fields: &'static [Field],
    /// What the user calls it: `#[record(version = 2)]`; 1 if nothing was said.
    pub version: u32,
    /// A hash of name, fields and their types.
    pub hash: u64,
}

/// A field of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name; its number in a tuple.
    pub name: &'static str,
    /// Its type as it is written in the program.
    pub type_name: &'static str,
    /// The hash of its type's schema.
    pub hash: u64,
}

impl Schema {
    /// The schema of a type without fields of its own, such as a number.
    pub const fn leaf(name: &'static str) -> Self {
        Self::of(name, &[])
    }

    /// A schema of version 1.
    pub const fn of(name: &'static str, fields: &'static [Field]) -> Self {
        Self { name, fields, version: 1, hash: hash_fields(name, fields) }
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        for (index, field) in self.fields.iter().enumerate() {
            f.write_str(if index == 0 { " { " } else { ", " })?;
            f.write_str(field.name)?;
            if !field.type_name.is_empty() {
                write!(f, ": {}", field.type_name)?;
            }
        }
        f.write_str(if self.fields.is_empty() { "" } else { " }" })?;
        write!(f, " version {}", self.version)
    }
}

/// FNV-1a, 64 bits: good enough to tell schemas apart, and it runs in the compiler.
const fn fnv(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut index = 0;
    while index < bytes.len() {
        hash = (hash ^ bytes[index] as u64).wrapping_mul(0x0100_0000_01b3);
        index += 1;
    }
    (hash ^ 0xff).wrapping_mul(0x0100_0000_01b3) // An end, so that "ab" "c" is not "a" "bc".
}

/// The hash of a schema.
pub const fn hash_fields(name: &str, fields: &[Field]) -> u64 {
    let mut hash = fnv(0xcbf2_9ce4_8422_2325, name.as_bytes());
    let mut index = 0;
    while index < fields.len() {
        hash = fnv(hash, fields[index].name.as_bytes());
        hash = fnv(hash, &fields[index].hash.to_le_bytes());
        index += 1;
    }
    hash
}

/// The largest of some alignments.
pub const fn max_align(aligns: &[usize]) -> usize {
    let (mut largest, mut index) = (1, 0);
    while index < aligns.len() {
        if aligns[index] > largest {
            largest = aligns[index];
        }
        index += 1;
    }
    largest
}
