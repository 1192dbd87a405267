//! Asks the kernel for the routers that its routes lead to: those of all tables, all paths of a route with several, and next hop
//! objects. /proc/net/route shows the main table alone, and the first path of each.

use std::{collections::BTreeSet, io, net::IpAddr, time::Duration};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NlaBuffer,
    NlasIterator,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

/// `RTM_GETROUTE` and its answer (include/uapi/linux/rtnetlink.h), the bytes of `struct rtmsg`, and the attributes that name a
/// router: `RTA_GATEWAY`, `RTA_VIA`, and `RTA_MULTIPATH`, which has several paths.
const ROUTES: Question = Question { request: 26, answer: 24, header_bytes: 12, gateway: 5 };
const VIA: u16 = 18;
const MULTIPATH: u16 = 9;
/// `RTM_GETNEXTHOP`, `struct nhmsg`, and `NHA_GATEWAY` (include/uapi/linux/nexthop.h).
const OBJECTS: Question = Question { request: 106, answer: 104, header_bytes: 8, gateway: 6 };
/// `struct nlmsghdr`.
const MESSAGE_HEADER_BYTES: usize = 16;
/// `struct rtnexthop`; its first two bytes are its length.
const PATH_HEADER_BYTES: usize = 8;
/// The kernel fills at most so much for each receive (`netlink_dump`, net/netlink/af_netlink.c).
const DATAGRAM_BYTES: usize = 32 * 1024;
/// Only there so that nobody waits for ever.
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer that changed while it was given is asked for again; what all of them name counts.
const ATTEMPTS: usize = 5;

struct Question {
    request: u16,
    answer: u16,
    header_bytes: usize,
    gateway: u16,
}

/// The routers of the namespace of the calling thread, of both families.
///
/// # Errors
///
/// The kernel does not tell.
pub fn read() -> io::Result<BTreeSet<IpAddr>> {
    let mut found = BTreeSet::new();
    ask(&ROUTES, &mut found)?;
    match ask(&OBJECTS, &mut found) {
        // Before Linux 5.3 there are none.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
        asked => asked?,
    }
    found.retain(|address| !address.is_unspecified());
    Ok(found)
}

fn ask(question: &Question, found: &mut BTreeSet<IpAddr>) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    // A connected netlink socket takes messages from the kernel alone.
    socket.connect(&SocketAddr::new(0, 0))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    for _ in 0..ATTEMPTS {
        socket.send(&question.to_bytes(), 0)?;
        if answer(&socket, question, found)? == Answer::Whole {
            break;
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Whole,
    /// Routes came or went meanwhile.
    Changed,
}

fn answer(
    socket: &Socket,
    question: &Question,
    found: &mut BTreeSet<IpAddr>,
) -> io::Result<Answer> {
    let mut datagram = Vec::with_capacity(DATAGRAM_BYTES);
    let mut answer = Answer::Whole;
    loop {
        datagram.clear();
        socket.recv(&mut datagram, 0)?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let message = NetlinkBuffer::new_checked(rest).map_err(|_| unreadable())?;
            if message.flags() & NLM_F_DUMP_INTR != 0 {
                answer = Answer::Changed;
            }
            match message.message_type() {
                NLMSG_DONE => return Ok(answer),
                NLMSG_ERROR => return Err(refusal(message.payload())),
                kind if kind == question.answer => question.read(message.payload(), found)?,
                _ => {}
            }
            let next = (message.length() as usize).next_multiple_of(4);
            rest = rest.get(next..).unwrap_or_default();
        }
    }
}

impl Question {
    /// Asks for both families at once: what follows the header stays zero, which is `AF_UNSPEC`.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; MESSAGE_HEADER_BYTES + self.header_bytes];
        let length = bytes.len() as u32;
        let mut header = NetlinkBuffer::new(&mut bytes);
        header.set_length(length);
        header.set_message_type(self.request);
        header.set_flags(NLM_F_REQUEST | NLM_F_DUMP);
        bytes
    }

    fn read(&self, payload: &[u8], found: &mut BTreeSet<IpAddr>) -> io::Result<()> {
        let attributes = payload.get(self.header_bytes..).ok_or_else(unreadable)?;
        self.read_attributes(attributes, found)
    }

    fn read_attributes(&self, attributes: &[u8], found: &mut BTreeSet<IpAddr>) -> io::Result<()> {
        for attribute in NlasIterator::new(attributes) {
            let attribute: NlaBuffer<&[u8]> = attribute.map_err(|_| unreadable())?;
            let value = attribute.value();
            match attribute.kind() {
                kind if kind == self.gateway => found.extend(address(value)),
                // `struct rtvia`: the family, then the address.
                VIA => found.extend(value.get(2..).and_then(address)),
                MULTIPATH => self.read_paths(value, found)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn read_paths(&self, mut paths: &[u8], found: &mut BTreeSet<IpAddr>) -> io::Result<()> {
        while let Some(length) = paths.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes)) {
            let length = usize::from(length);
            let attributes = paths.get(PATH_HEADER_BYTES..length).ok_or_else(unreadable)?;
            self.read_attributes(attributes, found)?;
            paths = paths.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(())
    }
}

fn address(value: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(value).map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(value).map(IpAddr::from);
    v4().or_else(|_| v6()).ok()
}

/// `struct nlmsgerr` begins with the negative error number.
fn refusal(payload: &[u8]) -> io::Error {
    payload.first_chunk().map_or_else(unreadable, |code| {
        io::Error::from_raw_os_error(i32::from_ne_bytes(*code).saturating_neg())
    })
}

fn unreadable() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the kernel's answer about routes cannot be understood",
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len() + 4).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn path(attributes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(PATH_HEADER_BYTES + attributes.len()).unwrap();
        [&length.to_ne_bytes(), [0; 6].as_slice(), attributes].concat()
    }

    #[test]
    fn every_path_of_a_route_is_found_in_whatever_way_it_is_told() {
        let v6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let via = [&[10, 0], v6.as_slice()].concat();
        let paths = [path(&attribute(5, &[10, 0, 0, 1])), path(&attribute(VIA, &via))].concat();
        let payload = [
            vec![0; 12],
            attribute(5, &[192, 0, 2, 1]),
            attribute(MULTIPATH, &paths),
            attribute(15, &[0, 0, 0, 9]),
        ]
        .concat();
        let mut found = BTreeSet::new();
        ROUTES.read(&payload, &mut found).unwrap();
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.1", "192.0.2.1", "2001:db8::1"]);
    }

    #[test]
    fn the_kernel_answers() {
        // Which routers there are is the machine's own business; `tests/degraded` looks at one whose routes are known.
        assert!(!read().unwrap().iter().any(IpAddr::is_unspecified));
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_are_there_is_a_result(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for question in [ROUTES, OBJECTS] {
                drop(question.read(&bytes, &mut BTreeSet::new()));
            }
        }
    }
}
