//! The derives of `Record` and `Key`; documented where they are re-exported, in `wiesel-record`.
//!
//! ```text
//!   struct Bid { price: u64, channel: String }
//!      ├─▶ struct BidView<'a> { price: u64, channel: &'a str }     Copy, Debug, PartialEq
//!      ├─▶ struct ArchivedBid { price: u64_le, .. }                repr(C), checked by bytecheck
//!      └─▶ impl Record for Bid                                     one line per field and method
//! ```
//!
//! # What is always true
//!
//! 1. Generated code names only `wiesel_record` (or `wiesel`), never rkyv: users need not have it.
//! 2. Structs and variants are built and matched alike, as `Path { member: binding }`, which Rust
//!    accepts for named, tuple and unit forms.
//! 3. Every mistake of the user is an error at the user's tokens that says what to write instead.

mod input;
mod key;
mod paths;
mod record;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct or an enum a record: its view, its archive, and the way between them.
///
/// The view is named after the type, with `View` behind it, and has the type's fields and
/// visibility. Type parameters are bound by `Record`.
///
/// Options, as `#[record(..)]` on the type:
///
/// - `version = 2`: the version in its schema (1 if not given);
/// - `from = Old`: the type that this one followed, of a lower version; needs `From<Old>`. State that was written as `Old`, or as
///   what that followed, is read as this one. `Old` keeps its name, in a module of its own: `v1::Total`;
/// - `view = Name`: the name of the view;
/// - `crate = path`: where `wiesel_record` is, if it was renamed.
#[proc_macro_derive(Record, attributes(record))]
pub fn derive_record(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    input::Input::parse(input)
        .map_or_else(syn::Error::into_compile_error, |input| record::derive(&input))
        .into()
}

/// Lets a stream be keyed by this record. All fields must be keys.
#[proc_macro_derive(Key, attributes(record))]
pub fn derive_key(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    input::Input::parse(input)
        .map_or_else(syn::Error::into_compile_error, |input| key::derive(&input))
        .into()
}
