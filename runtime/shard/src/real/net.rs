//! Names to addresses, for the control plane: this waits for the resolver.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
};

use crate::io::with_context;

/// The addresses of `host:port`. Waits; never call it from a shard.
///
/// # Errors
///
/// When the text is not `host:port`, or the name is not known.
pub fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
    let found = address.to_socket_addrs();
    found
        .map(Iterator::collect)
        .map_err(|error| with_context(format_args!("resolve {address}"), error))
}
