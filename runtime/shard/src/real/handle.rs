//! Open descriptors, and the addresses and sockets that they come from.
//!
//! `unsafe` here: borrowing a descriptor that the handle keeps open, asking about one and setting its flags, owning one that
//! was just made, and writing a socket address into storage that is large and aligned enough for all of them.

use std::{
    io::{self, IsTerminal},
    mem,
    net::{SocketAddr, TcpStream},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use crate::File;

/// An open descriptor.
pub(crate) struct Handle {
    fd: RawFd,
    /// None: one of the standard three, which stay open.
    _owned: Option<OwnedFd>,
}

impl Handle {
    pub(crate) fn owned(fd: OwnedFd) -> Self {
        Self { fd: fd.as_raw_fd(), _owned: Some(fd) }
    }

    pub(crate) const fn standard(fd: RawFd) -> Self {
        Self { fd, _owned: None }
    }

    /// Standard output. If it is a regular file each write goes to its end: the rings of several shards take the file's
    /// position from each other without a lock, and would write over each other's lines. The flag is set on the open file
    /// that the shell has given us, not on one of our own, so that what follows in `(job; echo done) > file` follows here, too.
    pub(crate) fn standard_output() -> Self {
        // SAFETY: all zeros are a valid `stat`.
        let mut found = unsafe { mem::zeroed::<libc::stat>() };
        // SAFETY: `found` is large enough and outlives the call.
        let is_known = unsafe { libc::fstat(libc::STDOUT_FILENO, &raw mut found) } == 0;
        if is_known && found.st_mode & libc::S_IFMT == libc::S_IFREG {
            // SAFETY: no pointers.
            let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFL) };
            let appends = flags >= 0
                // SAFETY: no pointers.
                && unsafe {
                    libc::fcntl(libc::STDOUT_FILENO, libc::F_SETFL, flags | libc::O_APPEND)
                } == 0;
            if !appends {
                let error = io::Error::last_os_error();
                tracing::warn!(
                    "standard output is a file that cannot be appended to ({error}): lines of several subtasks may be \
                     lost; write `| cat >` instead of `>`"
                );
            }
        }
        Self::standard(libc::STDOUT_FILENO)
    }

    pub(super) const fn fd(&self) -> RawFd {
        self.fd
    }

    pub(crate) fn is_terminal(&self) -> bool {
        // SAFETY: open as long as this handle.
        unsafe { BorrowedFd::borrow_raw(self.fd) }.is_terminal()
    }
}

/// A stream without the 40 ms of Nagle and delayed acknowledgements.
pub(super) fn connected(fd: OwnedFd, name: &str) -> File {
    let stream = TcpStream::from(fd);
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(name, %error, "no TCP_NODELAY");
    }
    File::new(name, Handle::owned(stream.into()))
}

/// A TCP socket for addresses of this family.
pub(super) fn tcp_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: no pointers.
    let fd = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// An address as the kernel takes it, and its length.
pub(super) fn socket_address(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: all zeros are a valid `sockaddr_storage`.
    let mut storage = unsafe { mem::zeroed::<libc::sockaddr_storage>() };
    let len = match address {
        SocketAddr::V4(address) => {
            let v4 = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
                sin_zero: [0; 8],
            };
            // SAFETY: a `sockaddr_storage` is large and aligned enough for every address.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in>().write(v4) };
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(address) => {
            let v6 = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: address.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                sin6_scope_id: address.scope_id(),
            };
            // SAFETY: as above.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in6>().write(v6) };
            size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, len as libc::socklen_t)
}
