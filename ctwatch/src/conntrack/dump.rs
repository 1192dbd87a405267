//! Lists all entries of the table through ctnetlink. A listing costs the kernel 2 to 4 µs an entry, so the
//! caller must leave pauses between two of them.

use std::{
    net::IpAddr,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::{
    entry::Entry,
    from_source,
    message::{Content, Request, messages},
    one_entry::{OneEntry, Wanted},
    socket::{ConntrackSocket, ConntrackSocketError, Datagram},
};
use crate::host::namespace::NetworkNamespace;

/// The kernel fills at most 32 KiB for each receive (`netlink_dump`, net/netlink/af_netlink.c), so a larger
/// buffer, here or in the socket, makes no listing faster.
const DATAGRAM_BYTES: usize = 32 * 1024;
/// Longer than the kernel can take for one datagram; only there so that no thread waits for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// A socket for listings.
#[derive(Debug)]
pub struct DumpSocket {
    socket: ConntrackSocket,
    datagram: Vec<u8>,
    sequence_number: u32,
}

/// How a listing went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DumpReport {
    /// Entries that were handed on.
    pub entries: u64,
    /// Messages that could not be read.
    pub decode_errors: u64,
    /// How long it took, from the request to the end of the answer.
    pub duration: Duration,
    /// The kernel says that the table changed so that entries may be missing or repeated.
    pub interrupted: bool,
}

impl DumpSocket {
    /// Opens a socket in a namespace; it stays bound to it.
    ///
    /// # Errors
    ///
    /// See [`ConntrackSocketError`].
    pub fn open_in(namespace: &NetworkNamespace) -> Result<Self, ConntrackSocketError> {
        let socket = ConntrackSocket::open_in(namespace)?;
        set_socket_timeout(&socket.socket, Timeout::Recv, Some(PATIENCE))
            .map_err(|errno| ConntrackSocketError::open(errno.into()))?;
        Ok(Self { socket, datagram: Vec::with_capacity(DATAGRAM_BYTES), sequence_number: 0 })
    }

    /// Lists the table and calls `each` with every entry until that says to break off; blocks until the end.
    ///
    /// The kernel leaves out entries that have expired, and frees them on the way, and those that wait for
    /// their first packet to leave; `nf_conntrack_count` counts both. Entries that come or go meanwhile may
    /// or may not be listed, and a change of the number of buckets can repeat or skip entries.
    ///
    /// # Errors
    ///
    /// The kernel refused or stopped, or `each` did. Some entries may have been handed on by then; open another
    /// socket.
    pub fn dump(
        &mut self,
        each: impl FnMut(&Entry) -> ControlFlow<()>,
    ) -> Result<DumpReport, ConntrackSocketError> {
        self.list(Request::Entries, each)
    }

    /// As [`dump`](Self::dump), but the kernel is asked for the entries from this address alone: it may hand on all, or all
    /// others, see [`from_source`].
    pub(crate) fn dump_from(
        &mut self,
        source: IpAddr,
        each: impl FnMut(&Entry) -> ControlFlow<()>,
    ) -> Result<DumpReport, ConntrackSocketError> {
        self.list(Request::EntriesFrom(source), each)
    }

    fn list(
        &mut self,
        request: Request,
        mut each: impl FnMut(&Entry) -> ControlFlow<()>,
    ) -> Result<DumpReport, ConntrackSocketError> {
        let mut entries = 0;
        let answer = self.ask(request, |content| match content {
            Content::Entry(entry) => {
                entries += 1;
                each(&entry)
            }
            _ => ControlFlow::Continue(()),
        })?;
        let Answer { decode_errors, duration, interrupted } = answer;
        Ok(DumpReport { entries, decode_errors, duration, interrupted })
    }

    /// Sends a request about one entry, and waits for the one message that answers it.
    pub(crate) fn exchange(
        &mut self,
        entry: &OneEntry,
        wanted: Wanted,
    ) -> Result<Reply, ConntrackSocketError> {
        self.sequence_number = self.sequence_number.wrapping_add(1);
        match entry.request(wanted, self.sequence_number) {
            Some(request) => self.reply(&request),
            None => Ok(Reply::Refused(libc::EINVAL)),
        }
    }

    /// Sends the request to end all entries from this address, and waits for its answer. To be sent only to a kernel of which
    /// [`dump_from`](Self::dump_from) has shown that it does not end all others.
    pub(crate) fn exchange_from(
        &mut self,
        source: IpAddr,
        wanted: Wanted,
    ) -> Result<Reply, ConntrackSocketError> {
        self.sequence_number = self.sequence_number.wrapping_add(1);
        self.reply(&from_source::request(source, wanted, self.sequence_number))
    }

    fn reply(&mut self, request: &[u8]) -> Result<Reply, ConntrackSocketError> {
        self.socket.send(request)?;
        loop {
            self.socket.receive(&mut self.datagram).map_err(ConntrackSocketError::Receive)?;
            for message in messages(&self.datagram) {
                let message = message.map_err(ConntrackSocketError::Unreadable)?;
                if message.sequence_number != self.sequence_number {
                    continue;
                }
                match message.content {
                    Content::Entry(entry) => return Ok(Reply::Told(entry)),
                    Content::Refused(0) => return Ok(Reply::Done),
                    Content::Refused(errno) => return Ok(Reply::Refused(errno)),
                    _ => {}
                }
            }
        }
    }

    /// Sends a request and calls `each` with what every message of the answer says, until that breaks off.
    pub(super) fn ask(
        &mut self,
        request: Request,
        mut each: impl FnMut(Content<'_>) -> ControlFlow<()>,
    ) -> Result<Answer, ConntrackSocketError> {
        let start = Instant::now();
        self.sequence_number = self.sequence_number.wrapping_add(1);
        let bytes = request.to_bytes(self.sequence_number);
        self.socket.send(&bytes)?;
        let mut answer = Answer { decode_errors: 0, duration: Duration::ZERO, interrupted: false };
        loop {
            let datagram =
                self.socket.receive(&mut self.datagram).map_err(ConntrackSocketError::Receive)?;
            answer.decode_errors += u64::from(datagram == Datagram::CutOff);
            for message in messages(&self.datagram) {
                let Ok(message) = message else {
                    answer.decode_errors += 1;
                    continue;
                };
                // The rest of an answer that was given up is not this one's.
                if message.sequence_number != self.sequence_number {
                    continue;
                }
                answer.interrupted |= message.interrupted;
                match message.content {
                    Content::Done(0) => {
                        answer.duration = start.elapsed();
                        return Ok(answer);
                    }
                    Content::Done(errno) | Content::Refused(errno) => {
                        return Err(ConntrackSocketError::refused(errno));
                    }
                    content => {
                        if each(content).is_break() {
                            return Err(ConntrackSocketError::BrokenOff);
                        }
                    }
                }
            }
        }
    }
}

/// What the kernel says to a request about one entry, or to end those of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The entry.
    Told(Entry),
    /// It was done.
    Done,
    /// It was not, with this `errno`.
    Refused(i32),
}

/// How an answer went.
pub(super) struct Answer {
    pub(super) decode_errors: u64,
    pub(super) duration: Duration,
    pub(super) interrupted: bool,
}
