//! The derive of Record and Key.

use proc_macro::TokenStream;

/// Derives `Record`.
#[proc_macro_derive(Record, attributes(record))]
pub fn derive_record(_input: TokenStream) -> TokenStream {
    TokenStream::new()
}

/// Derives `Key`.
#[proc_macro_derive(Key, attributes(record))]
pub fn derive_key(_input: TokenStream) -> TokenStream {
    TokenStream::new()
}
