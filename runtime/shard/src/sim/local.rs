//! Questions from other processes, in simulation: there are none.

use std::{io, path::Path};

/// Never there.
#[derive(Debug)]
pub struct Listener(());

/// Nobody is there to ask.
///
/// # Errors
///
/// Always.
pub fn listen(
    _path: &Path,
    _answer: impl Fn(&str) -> String + Send + Sync + 'static,
) -> io::Result<Listener> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "a simulated machine has no sockets for it"))
}

/// Nobody listens.
///
/// # Errors
///
/// Always.
pub fn ask(_path: &Path, _line: &str) -> io::Result<String> {
    Err(io::ErrorKind::NotFound.into())
}

/// Nobody listens.
pub fn wait_until_gone(_path: &Path) {}
