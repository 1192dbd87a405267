//! Opens ctnetlink sockets inside a network namespace and sends requests, but never where that would load a
//! module.

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use super::attribute::DecodeError;
use crate::host::{
    modules::{self, Part, Presence},
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
    #[error("the kernel refused to tell of the conntrack table")]
    Refused(#[source] io::Error),
    /// The request cannot be sent.
    #[error("cannot send a ctnetlink request")]
    Send(#[source] io::Error),
    /// The answer cannot be received, or did not come in time.
    #[error("cannot receive from the ctnetlink socket")]
    Receive(#[source] io::Error),
    /// Whoever took the answer did not want the rest of it.
    #[error("the answer of ctnetlink was broken off")]
    BrokenOff,
    /// The answer is not what the kernel writes.
    #[error("cannot understand the answer of ctnetlink")]
    Unreadable(#[source] DecodeError),
}

impl ConntrackSocketError {
    /// The error of a socket that could not be opened or set up.
    pub(super) fn open(error: io::Error) -> Self {
        Self::unless_not_permitted(error, Self::Open)
    }

    /// The error of a request that the kernel answered with this `errno`.
    pub(super) fn refused(errno: i32) -> Self {
        Self::unless_not_permitted(io::Error::from_raw_os_error(errno), Self::Refused)
    }

    fn unless_not_permitted(error: io::Error, otherwise: fn(io::Error) -> Self) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::NotPermitted,
            _ => otherwise(error),
        }
    }
}

/// A socket to the conntrack side of the kernel; no other program can send to it.
#[derive(Debug)]
pub(super) struct ConntrackSocket {
    pub(super) socket: Socket,
    presence: Presence,
}

impl ConntrackSocket {
    /// Opens a socket in a namespace; it stays bound to it.
    ///
    /// # Errors
    ///
    /// [`ConntrackSocketError::ModuleNotLoaded`] without having asked the kernel for anything; otherwise the
    /// namespace or the socket cannot be opened.
    pub(super) fn open_in(namespace: &NetworkNamespace) -> Result<Self, ConntrackSocketError> {
        let presence = present()?;
        let socket = namespace.run(open)?.map_err(ConntrackSocketError::open)?;
        Ok(Self { socket, presence })
    }

    /// Sends a request.
    ///
    /// # Errors
    ///
    /// [`ConntrackSocketError::ModuleNotLoaded`] if the module has been removed since: a request would load
    /// it again.
    pub(super) fn send(&self, request: &[u8]) -> Result<(), ConntrackSocketError> {
        if self.presence == Presence::Module {
            present()?;
        }
        self.socket.send(request, 0).map_err(ConntrackSocketError::Send)?;
        Ok(())
    }

    /// Receives one datagram into the capacity that `datagram` has.
    pub(super) fn receive(&self, datagram: &mut Vec<u8>) -> io::Result<Datagram> {
        loop {
            datagram.clear();
            match self.socket.recv(datagram, libc::MSG_TRUNC) {
                Ok(bytes) if bytes > datagram.len() => return Ok(Datagram::CutOff),
                Ok(_) => return Ok(Datagram::Whole),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether a datagram was longer than the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Datagram {
    /// It is all there.
    Whole,
    /// Its end is lost.
    CutOff,
}

fn present() -> Result<Presence, ConntrackSocketError> {
    match modules::presence_of(Part::ConntrackNetlink) {
        Presence::Absent => Err(ConntrackSocketError::ModuleNotLoaded),
        presence => Ok(presence),
    }
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    // A connected netlink socket takes messages from its peer alone (`netlink_getsockbyportid`).
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_privilege_is_told_apart_from_other_refusals() {
        let refused = ConntrackSocketError::refused(libc::EPERM);
        assert!(matches!(refused, ConntrackSocketError::NotPermitted), "{refused}");
        let refused = ConntrackSocketError::refused(libc::EINVAL);
        assert!(matches!(refused, ConntrackSocketError::Refused(_)), "{refused}");
    }
}
