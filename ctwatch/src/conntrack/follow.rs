//! Follows the entries that are made and that end, through ctnetlink events. Every event socket makes new
//! connections dearer and their entries larger, so the caller decides for how long one may be open; it is
//! never a reliable one, which would keep ended entries in a full table.

use std::io;

use netlink_sys::Socket;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};

use super::{
    entry::Entry,
    message::{Content, messages},
    socket::{ConntrackSocket, ConntrackSocketError, Datagram},
};
use crate::host::namespace::NetworkNamespace;

/// `NFNLGRP_CONNTRACK_NEW` (include/uapi/linux/netfilter/nfnetlink.h).
const GROUP_NEW: u32 = 1;
/// `NFNLGRP_CONNTRACK_DESTROY`.
const GROUP_DESTROY: u32 = 3;
/// Room for 13 000 events, measured; twice what the rate up to which events are worth their cost brings in
/// a second.
pub const RECEIVE_BUFFER_BYTES_DEFAULT: usize = 8 << 20;
/// An event is a datagram of its own, of some 200 bytes.
const DATAGRAM_BYTES: usize = 16 * 1024;
/// So many datagrams are taken at once, so that no flood keeps the caller from its other work.
const DATAGRAMS_AT_ONCE: usize = 512;

/// What happened to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was made: its first packet got through.
    New(Entry),
    /// It ended, for whatever reason.
    Ended(Entry),
}

/// What one call of [`EventSocket::receive`] took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Events that were handed on.
    pub events: u64,
    /// Times that the kernel said that it lost events, at least one each (`ENOBUFS`; `netlink_overrun`,
    /// net/netlink/af_netlink.c).
    pub overruns: u64,
    /// Messages that could not be read.
    pub decode_errors: u64,
    /// Whether nothing was left to take; otherwise call again before waiting.
    pub drained: bool,
}

/// A socket that receives events and never blocks.
#[derive(Debug)]
pub struct EventSocket {
    socket: ConntrackSocket,
    datagram: Vec<u8>,
}

impl EventSocket {
    /// Opens a socket in a namespace and joins the events, which wait in `buffer_bytes` of the kernel's memory; it stays
    /// bound to the namespace.
    ///
    /// Where `nf_conntrack_events` is 2, its default since 5.19, entries older than the first listener of
    /// the namespace send no event when they end.
    ///
    /// # Errors
    ///
    /// See [`ConntrackSocketError`].
    pub fn open_in(
        namespace: &NetworkNamespace,
        buffer_bytes: usize,
    ) -> Result<Self, ConntrackSocketError> {
        let socket = ConntrackSocket::open_in(namespace)?;
        join(&socket.socket, buffer_bytes).map_err(ConntrackSocketError::open)?;
        Ok(Self { socket, datagram: Vec::with_capacity(DATAGRAM_BYTES) })
    }

    /// Takes what has arrived, up to a bound, and calls `each` with every event.
    ///
    /// # Errors
    ///
    /// The socket fails otherwise than by having lost events.
    pub fn receive(
        &mut self,
        mut each: impl FnMut(Event),
    ) -> Result<Received, ConntrackSocketError> {
        let mut received = Received::default();
        for _ in 0..DATAGRAMS_AT_ONCE {
            match self.socket.receive(&mut self.datagram) {
                Ok(Datagram::Whole) => {}
                Ok(Datagram::CutOff) => received.decode_errors += 1,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    received.drained = true;
                    break;
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    received.overruns += 1;
                    continue;
                }
                Err(error) => return Err(ConntrackSocketError::Receive(error)),
            }
            for message in messages(&self.datagram) {
                let event = match message.map(|message| message.content) {
                    Ok(Content::Entry(entry)) => Event::New(entry),
                    Ok(Content::Ended(entry)) => Event::Ended(entry),
                    Ok(_) => continue,
                    Err(_) => {
                        received.decode_errors += 1;
                        continue;
                    }
                };
                received.events += 1;
                each(event);
            }
        }
        Ok(received)
    }
}

fn join(socket: &Socket, buffer_bytes: usize) -> io::Result<()> {
    socket.set_non_blocking(true)?;
    // Without CAP_NET_ADMIN the size is what net.core.rmem_max permits.
    if set_socket_recv_buffer_size_force(socket, buffer_bytes).is_err() {
        set_socket_recv_buffer_size(socket, buffer_bytes)?;
    }
    socket.add_membership(GROUP_NEW)?;
    socket.add_membership(GROUP_DESTROY)
}
