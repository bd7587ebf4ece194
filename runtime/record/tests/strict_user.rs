//! A crate that forbids what the derive's code does inside still compiles, also when it has the
//! library under another name.

#![forbid(unsafe_code)]
#![deny(missing_docs, warnings, clippy::pedantic)]

use renamed::record::{Key, Record};

mod renamed {
    pub use wiesel_record as record;
}

/// Some of its names are those of the prelude.
#[derive(Record, Key)]
#[record(crate = renamed::record)]
pub enum Option<T> {
    /// Nothing.
    None,
    /// Something.
    Some(T),
}

/// Nothing reads its fields.
#[derive(Record, Key)]
#[record(crate = renamed::record)]
struct Unread {
    view: u64,
    writer: std::string::String,
    out: (u8, char),
    parts: Option<bool>,
    bytes: std::vec::Vec<u16>,
    hasher: (),
}

#[test]
fn a_strict_crate_compiles() {
    let unread = Unread {
        view: 1,
        writer: "w".to_owned(),
        out: (2, 'o'),
        parts: Option::Some(true),
        bytes: vec![3],
        hasher: (),
    };
    let hash = Unread::key_hash(unread.view());
    Unread::with_key_bytes(unread.view(), &mut Vec::new(), |bytes| {
        Unread::with_key(bytes, |view| assert_eq!(Unread::key_hash(view), hash));
    });
    let none: Option<u64> = Option::None;
    assert_eq!(none.view(), OptionView::None);
}
