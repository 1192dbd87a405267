//! Opens ctnetlink sockets inside a network namespace, and only where that loads no module.

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use super::attribute::DecodeError;
use crate::host::{
    modules::{self, Presence},
    namespace::{NamespaceError, NetworkNamespace},
};

/// Why the table cannot be asked about through ctnetlink.
#[derive(Debug, thiserror::Error)]
pub enum ConntrackSocketError {
    /// Asking would make the kernel load a module, which looking must not do.
    #[error(
        "the kernel module nf_conntrack_netlink is not loaded, and ctwatch loads no module to look: \
         load it with 'modprobe nf_conntrack_netlink' to list the entries that exist"
    )]
    ModuleNotLoaded,
    /// The namespace cannot be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The kernel gives no socket.
    #[error("cannot open a ctnetlink socket")]
    Open(#[source] io::Error),
    /// The kernel does not let this user ask.
    #[error("no permission to read the conntrack table: run as root, or with CAP_NET_ADMIN")]
    NotPermitted,
    /// The kernel refused the request, or ended its answer early.
    #[error("the kernel did not list the conntrack table")]
    Refused(#[source] io::Error),
    /// The request cannot be sent.
    #[error("cannot send a ctnetlink request")]
    Send(#[source] io::Error),
    /// The answer cannot be received, or did not come in time.
    #[error("cannot receive from the ctnetlink socket")]
    Receive(#[source] io::Error),
    /// The answer is not what the kernel writes.
    #[error("cannot understand the answer of ctnetlink")]
    Unreadable(#[source] DecodeError),
}

impl ConntrackSocketError {
    /// The error of a request that the kernel answered with this `errno`.
    pub(super) fn refused(errno: i32) -> Self {
        let error = io::Error::from_raw_os_error(errno);
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::NotPermitted,
            _ => Self::Refused(error),
        }
    }
}

/// Opens a socket to the conntrack side of the kernel; no other program can send to it.
///
/// # Errors
///
/// [`ConntrackSocketError::ModuleNotLoaded`] without having asked the kernel for anything; otherwise the
/// namespace or the socket cannot be opened.
pub(super) fn open_in(namespace: &NetworkNamespace) -> Result<Socket, ConntrackSocketError> {
    if modules::conntrack_netlink() == Presence::Absent {
        return Err(ConntrackSocketError::ModuleNotLoaded);
    }
    namespace.run(open)?.map_err(ConntrackSocketError::Open)
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    // A connected netlink socket takes messages from its peer alone (`netlink_getsockbyportid`).
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// Whether a datagram was longer than the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Datagram {
    /// It is all there.
    Whole,
    /// Its end is lost.
    CutOff,
}

/// Receives one datagram into the capacity that `datagram` has.
pub(super) fn receive(socket: &Socket, datagram: &mut Vec<u8>) -> io::Result<Datagram> {
    loop {
        datagram.clear();
        match socket.recv(datagram, libc::MSG_TRUNC) {
            Ok(bytes) if bytes > datagram.len() => return Ok(Datagram::CutOff),
            Ok(_) => return Ok(Datagram::Whole),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
