//! Writes ctnetlink requests and reads ctnetlink messages, as bytes; it must never do I/O, and whatever the
//! bytes are, there is a result.
//!
//! The format is that of include/uapi/linux/netfilter/nfnetlink_conntrack.h;
//! the kernel's side is net/netfilter/nf_conntrack_netlink.c.

use std::net::IpAddr;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN,
    NetlinkBuffer,
};

use super::{attribute::DecodeError, entry::Entry, from_source, one_entry::Wanted};

/// `NFNL_SUBSYS_CTNETLINK`, the upper byte of the message type (include/uapi/linux/netfilter/nfnetlink.h).
const SUBSYSTEM: u16 = 1 << 8;
/// `enum cntl_msg_types`.
const MESSAGE_NEW: u16 = SUBSYSTEM;
pub(super) const MESSAGE_GET: u16 = SUBSYSTEM | 1;
pub(super) const MESSAGE_DELETE: u16 = SUBSYSTEM | 2;
const MESSAGE_GET_STATISTICS_OF_CPUS: u16 = SUBSYSTEM | 4;
/// `NFT_MSG_GETOBJ` of `NFNL_SUBSYS_NFTABLES` (include/uapi/linux/netfilter/nf_tables.h).
const MESSAGE_GET_NFT_OBJECTS: u16 = 10 << 8 | 19;
/// `IPCTNL_MSG_TIMEOUT_GET` of `NFNL_SUBSYS_CTNETLINK_TIMEOUT` (include/uapi/linux/netfilter/nfnetlink_cttimeout.h).
const MESSAGE_GET_TIMEOUT_POLICIES: u16 = 8 << 8 | 1;
/// `struct nlmsghdr` (include/uapi/linux/netlink.h).
const HEADER_BYTES: usize = 16;
/// `struct nfgenmsg`.
const FAMILY_HEADER_BYTES: usize = 4;
/// `AF_UNSPEC`.
const ALL_FAMILIES: u8 = 0;

/// What is asked of ctnetlink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// All entries of the namespace, of every family.
    Entries,
    /// Those from this address, if the kernel does as it is asked: some list all others, see [`from_source`].
    EntriesFrom(IpAddr),
    /// The statistics of each CPU.
    Statistics,
    /// All objects that nf_tables has in the namespace.
    NftObjects,
    /// All policies that give connections other timeouts.
    TimeoutPolicies,
}

impl Request {
    /// The bytes of the request. The kernel repeats the sequence number in every message of its answer.
    pub fn to_bytes(self, sequence_number: u32) -> Vec<u8> {
        let message_type = match self {
            Self::Entries => MESSAGE_GET,
            Self::EntriesFrom(source) => {
                return from_source::request(source, Wanted::Told, sequence_number);
            }
            Self::Statistics => MESSAGE_GET_STATISTICS_OF_CPUS,
            Self::NftObjects => MESSAGE_GET_NFT_OBJECTS,
            Self::TimeoutPolicies => MESSAGE_GET_TIMEOUT_POLICIES,
        };
        request(message_type, NLM_F_DUMP, ALL_FAMILIES, &[], sequence_number)
    }
}

/// The bytes of a request of this type and with these attributes; `flags` are those beside `NLM_F_REQUEST`.
pub(super) fn request(
    message_type: u16,
    flags: u16,
    family: u8,
    attributes: &[u8],
    sequence_number: u32,
) -> Vec<u8> {
    // Version 0 and no resource, as in every ctnetlink request.
    let mut bytes = [[0; HEADER_BYTES].as_slice(), &[family, 0, 0, 0], attributes].concat();
    // The longest are some hundred bytes long.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut header = NetlinkBuffer::new(&mut bytes);
    header.set_length(length);
    header.set_message_type(message_type);
    header.set_flags(NLM_F_REQUEST | flags);
    header.set_sequence_number(sequence_number);
    bytes
}

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// An entry of the table, in an answer; in an event, one that was made or has changed.
    Entry(Entry),
    /// An event: the entry has ended.
    Ended(Entry),
    /// The answer is complete; otherwise than 0, it was ended by this `errno`.
    Done(i32),
    /// The request was refused with this `errno`; 0 says that it was done.
    Refused(i32),
    /// Messages were lost.
    Overrun,
    /// A message of another kind, its type and what follows its two headers.
    Other(u16, &'a [u8]),
}

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// That of the request it answers; 0 of an event.
    pub sequence_number: u32,
    /// `NLM_F_DUMP_INTR`: the table changed under the answer, which may have gaps or repetitions.
    pub interrupted: bool,
    /// What it says.
    pub content: Content<'a>,
}

/// The messages of one datagram, in order.
///
/// A message that cannot be read is one error, and the next one follows; after a wrong message length
/// nothing can follow.
pub fn messages(datagram: &[u8]) -> Messages<'_> {
    Messages { rest: datagram }
}

/// See [`messages`].
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Ok(header) = NetlinkBuffer::new_checked(self.rest) else {
            self.rest = &[];
            return Some(Err(DecodeError::MessageLength));
        };
        let next = (header.length() as usize).next_multiple_of(4);
        self.rest = self.rest.get(next..).unwrap_or_default();
        Some(message(&header))
    }
}

fn message<'a>(header: &NetlinkBuffer<&'a [u8]>) -> Result<Message<'a>, DecodeError> {
    let payload = header.payload();
    let body = || payload.get(FAMILY_HEADER_BYTES..).ok_or(DecodeError::MessageLength);
    let content = match header.message_type() {
        MESSAGE_NEW => Content::Entry(Entry::parse(body()?)?),
        MESSAGE_DELETE => Content::Ended(Entry::parse(body()?)?),
        NLMSG_DONE => Content::Done(errno(payload)?),
        NLMSG_ERROR => Content::Refused(errno(payload)?),
        NLMSG_OVERRUN => Content::Overrun,
        other => Content::Other(other, body().unwrap_or_default()),
    };
    Ok(Message {
        sequence_number: header.sequence_number(),
        interrupted: header.flags() & NLM_F_DUMP_INTR != 0,
        content,
    })
}

/// The kernel writes an error as its negative number, in the machine's byte order.
fn errno(payload: &[u8]) -> Result<i32, DecodeError> {
    let bytes = payload.first_chunk().ok_or(DecodeError::MessageLength)?;
    Ok(i32::from_ne_bytes(*bytes).saturating_neg())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{entry::Status, samples},
        *,
    };

    fn only(sample: &str) -> Message<'static> {
        let datagram: &'static [u8] = samples::bytes(sample).leak();
        let mut messages = messages(datagram);
        let message = messages.next().unwrap().unwrap();
        assert_eq!(messages.next(), None);
        message
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_request_is_what_conntrack_tools_send() {
        let expected = [
            20, 0, 0, 0, // length
            1, 1, // IPCTNL_MSG_CT_GET of NFNL_SUBSYS_CTNETLINK
            1, 3, // NLM_F_REQUEST, NLM_F_DUMP
            7, 0, 0, 0, // sequence number
            0, 0, 0, 0, // port
            0, 0, 0, 0, // AF_UNSPEC, version, resource
        ];
        assert_eq!(Request::Entries.to_bytes(7), expected);
        assert_eq!(Request::Statistics.to_bytes(7)[4..6], [4, 1]);
    }

    #[test]
    fn a_listing_is_its_entries_and_an_end() {
        let datagram = samples::listing();
        let messages: Vec<Message<'_>> = messages(&datagram).map(Result::unwrap).collect();
        assert_eq!(messages.len(), 10);
        assert!(messages.iter().all(|message| message.sequence_number == 7));
        let entries = messages.iter().filter(|m| matches!(m.content, Content::Entry(_))).count();
        assert_eq!(entries, 9);
        assert_eq!(messages.last().unwrap().content, Content::Done(0));
    }

    #[test]
    fn events_tell_of_beginnings_and_ends() {
        let Content::Entry(begun) = only(samples::EVENT_NEW).content else { panic!() };
        assert_eq!((begun.tcp_state, begun.timeout_s), (Some(1), Some(120)));
        assert_eq!(begun.reply.unwrap().source, address("127.0.0.1"));
        assert!(!begun.status.contains(Status::SEEN_REPLY));
        let Content::Ended(ended) = only(samples::EVENT_ENDED).content else { panic!() };
        assert_eq!((ended.id, ended.original), (begun.id, begun.original));
        assert!(ended.status.contains(Status::DYING));
    }

    #[test]
    fn a_refusal_carries_its_errno() {
        assert_eq!(only(samples::REFUSED).content, Content::Refused(22));
    }

    #[test]
    fn an_interrupted_listing_says_so() {
        let mut datagram = samples::bytes(samples::UDP);
        datagram[6] |= 0x10;
        assert!(messages(&datagram).next().unwrap().unwrap().interrupted);
    }

    #[test]
    fn other_messages_keep_their_kind() {
        let Content::Other(kind, attributes) = only(samples::STATISTICS).content else { panic!() };
        assert_eq!((kind, attributes.len()), (0x104, 80));
        let overrun = "10000000040000000000000000000000";
        assert_eq!(only(overrun).content, Content::Overrun);
    }

    #[test]
    fn a_broken_message_does_not_hide_the_next_one() {
        let mut datagram = samples::bytes(samples::UDP);
        // The length of the first attribute.
        datagram[20] = 3;
        datagram.extend(samples::bytes(samples::DONE));
        let results: Vec<_> = messages(&datagram).collect();
        assert_eq!(results[0], Err(DecodeError::AttributeLength));
        assert_eq!(results[1].unwrap().content, Content::Done(0));
    }

    #[test]
    fn nothing_follows_a_wrong_message_length() {
        for length in [0_u8, 15, 0xff] {
            let mut datagram = samples::listing();
            datagram[..4].copy_from_slice(&[length, 0, 0, 0xff]);
            let results: Vec<_> = messages(&datagram).collect();
            assert_eq!(results, [Err(DecodeError::MessageLength)]);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_result(datagram in prop::collection::vec(any::<u8>(), 0..512)) {
            // Each message takes its header from the bytes, so there is an end.
            prop_assert!(messages(&datagram).count() <= datagram.len() / HEADER_BYTES + 1);
        }

        #[test]
        fn any_change_of_a_real_answer_gives_a_result(
            changes in prop::collection::vec((0..1500_usize, any::<u8>()), 1..20),
            end in 0..1600_usize,
        ) {
            let mut datagram = samples::listing();
            for (place, value) in changes {
                datagram[place] = value;
            }
            datagram.truncate(end);
            prop_assert!(messages(&datagram).count() <= datagram.len() / HEADER_BYTES + 1);
        }
    }
}
