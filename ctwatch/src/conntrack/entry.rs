//! What an entry of the table is, and reads one out of ctnetlink's attributes; it must never do I/O, and
//! whatever the bytes are, there is a result.
//!
//! Only what ctwatch uses is read: a table has a million entries.

use std::net::IpAddr;

use crate::model::{
    census::{
        entry::{SourceNat, WalkedEntry},
        state::State,
    },
    trace::Flow,
};
use ctwatch_common::source::{FAMILY_IPV4, FAMILY_IPV6, SourceKey};

use super::attribute::{DecodeError, be16, be32, byte, fixed, for_each_attribute, ipv4, ipv6};

/// One direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Source port, identifier of an ICMP query, or GRE key; 0 for a protocol without.
    pub source_port: u16,
    /// Destination port, or of ICMP the type in the upper and the code in the lower byte; 0 without.
    pub destination_port: u16,
}

impl Tuple {
    /// The flow, as the hooks see it, in the namespace of this number.
    pub fn flow(&self, netns: u32) -> Flow {
        Flow {
            source: self.source_key(netns),
            destination: self.destination,
            source_port: self.source_port,
            destination_port: self.destination_port,
        }
    }

    /// The key under which the source of this direction is counted.
    pub fn source_key(&self, netns: u32) -> SourceKey {
        let (family, prefix_length) = match self.source {
            IpAddr::V4(_) => (FAMILY_IPV4, 32),
            IpAddr::V6(_) => (FAMILY_IPV6, 128),
        };
        let protocol = self.protocol;
        SourceKey { address: address_bytes(self.source), netns, family, protocol, prefix_length }
    }
}

/// The `IPS_` bits of an entry (`enum ip_conntrack_status`, include/uapi/linux/netfilter/nf_conntrack_common.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Status(pub u32);

impl Status {
    /// Another connection announced it.
    pub const EXPECTED: Self = Self(1);
    /// The other side has answered.
    pub const SEEN_REPLY: Self = Self(1 << 1);
    /// The kernel does not evict it to make room.
    pub const ASSURED: Self = Self(1 << 2);
    /// It is in the table; an entry whose first packet is still under way is not.
    pub const CONFIRMED: Self = Self(1 << 3);
    /// Its source is translated.
    pub const SOURCE_NAT: Self = Self(1 << 4);
    /// Its destination is translated.
    pub const DESTINATION_NAT: Self = Self(1 << 5);
    /// It has been taken out of the table.
    pub const DYING: Self = Self(1 << 9);
    /// Packets no longer change its timeout.
    pub const FIXED_TIMEOUT: Self = Self(1 << 10);
    /// Its packets go through a flow table, past netfilter.
    pub const OFFLOAD: Self = Self(1 << 14);

    /// Whether all bits of `bits` are set.
    pub const fn contains(self, bits: Self) -> bool {
        self.0 & bits.0 == bits.0
    }

    /// These bits and those of `bits`.
    pub const fn with(self, bits: Self) -> Self {
        Self(self.0 | bits.0)
    }
}

/// One entry of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The direction of the first packet, before any translation.
    pub original: Tuple,
    /// The direction of the answers, as they arrive: translation is seen here.
    pub reply: Option<Tuple>,
    /// What has happened to it.
    pub status: Status,
    /// Seconds until it expires; not told of one that has expired or is offloaded.
    pub timeout_s: Option<u32>,
    /// The kernel's number of this entry; another connection with the same tuple has another one. 0 in /proc, which
    /// does not tell it.
    pub id: u32,
    /// Of TCP, one of `enum tcp_conntrack` (include/uapi/linux/netfilter/nf_conntrack_tcp.h).
    pub tcp_state: Option<u8>,
    /// The conntrack zone, 0 unless rules set one.
    pub zone: u16,
    /// Whether a helper reads its packets, which may set its timeout too; not told in /proc.
    pub has_helper: bool,
}

/// The protocol number of TCP.
const TCP: u8 = 6;
/// Of ICMP the identifier is what source NAT changes, and it is in the same place in both directions.
const ICMP: [u8; 2] = [1, 58];

impl Entry {
    /// What a walk of the table in the namespace of this number counts of it.
    pub fn walked(&self, netns: u32) -> WalkedEntry {
        let unreplied = !self.status.contains(Status::SEEN_REPLY);
        let state = match self.tcp_state {
            Some(state) if self.original.protocol == TCP => State::Tcp(state),
            None if self.original.protocol == TCP && self.status.contains(Status::OFFLOAD) => {
                State::Offloaded
            }
            _ if unreplied => State::Unreplied,
            _ => State::Replied,
        };
        let translated = self.reply.filter(|_| self.status.contains(Status::SOURCE_NAT));
        let source_nat = translated.map(|reply| SourceNat {
            address: reply.destination,
            port: if ICMP.contains(&reply.protocol) {
                reply.source_port
            } else {
                reply.destination_port
            },
            destination: reply.source,
            destination_port: reply.source_port,
        });
        WalkedEntry {
            flow: self.original.flow(netns),
            source_nat,
            state,
            assured: self.status.contains(Status::ASSURED),
            unreplied,
            zone: self.zone,
            remaining_s: self.timeout_s.filter(|_| self.is_governed_by_timeouts()),
        }
    }

    /// Whether what it has left comes from the timeout of its protocol and state. Helpers set that of what they read
    /// (`nf_ct_refresh` in nf_conntrack_sip.c and nf_conntrack_h323_main.c), that of PPTP also of the GRE that it
    /// announces (`pptp_expectfn`, nf_conntrack_pptp.c); a flow table refreshes what passes through it.
    pub fn is_governed_by_timeouts(&self) -> bool {
        const GRE: u8 = 47;
        let has = |bit| self.status.contains(bit);
        let is_of_pptp = self.original.protocol == GRE && has(Status::EXPECTED);
        let by_others = has(Status::FIXED_TIMEOUT) || has(Status::DYING) || has(Status::OFFLOAD);
        !(by_others || is_of_pptp || self.has_helper)
    }

    /// Reads an entry out of the attributes of its message.
    ///
    /// # Errors
    ///
    /// An attribute is not what the kernel writes, or one that every entry has is missing.
    pub fn parse(attributes: &[u8]) -> Result<Self, DecodeError> {
        let (mut original, mut reply, mut status, mut timeout_s) = (None, None, None, None);
        let (mut id, mut tcp_state, mut zone, mut has_helper) = (None, None, None, false);
        for_each_attribute(attributes, |kind, value| {
            match kind {
                attribute::TUPLE_ORIGINAL => {
                    let (parsed, zone_of_direction) = tuple(value)?;
                    original = Some(parsed);
                    zone = zone.or(zone_of_direction);
                }
                attribute::TUPLE_REPLY => reply = Some(tuple(value)?.0),
                attribute::STATUS => status = Some(Status(be32(value)?)),
                attribute::PROTOCOL_INFO => tcp_state = state_of_tcp(value)?,
                attribute::TIMEOUT => timeout_s = Some(be32(value)?),
                attribute::HELP => has_helper = true,
                attribute::ID => id = Some(be32(value)?),
                attribute::ZONE => zone = Some(be16(value)?),
                _ => {}
            }
            Ok(())
        })?;
        Ok(Self {
            original: original.ok_or(DecodeError::Missing("original direction"))?,
            reply,
            status: status.ok_or(DecodeError::Missing("status"))?,
            timeout_s,
            id: id.ok_or(DecodeError::Missing("id"))?,
            tcp_state,
            zone: zone.unwrap_or(0),
            has_helper,
        })
    }
}

/// `enum ctattr_type`.
pub(super) mod attribute {
    pub(in crate::conntrack) const TUPLE_ORIGINAL: u16 = 1;
    pub(in crate::conntrack) const TUPLE_REPLY: u16 = 2;
    pub(in crate::conntrack) const STATUS: u16 = 3;
    pub(in crate::conntrack) const PROTOCOL_INFO: u16 = 4;
    pub(in crate::conntrack) const HELP: u16 = 5;
    pub(in crate::conntrack) const TIMEOUT: u16 = 7;
    pub(in crate::conntrack) const ID: u16 = 12;
    pub(in crate::conntrack) const ZONE: u16 = 18;
    pub(in crate::conntrack) const FILTER: u16 = 25;
}

/// `enum ctattr_tuple`.
pub(super) mod tuple_attribute {
    pub(in crate::conntrack) const IP: u16 = 1;
    pub(in crate::conntrack) const PROTOCOL: u16 = 2;
    pub(in crate::conntrack) const ZONE: u16 = 3;
}

/// `enum ctattr_ip`.
pub(super) mod ip_attribute {
    pub(in crate::conntrack) const V4_SOURCE: u16 = 1;
    pub(in crate::conntrack) const V4_DESTINATION: u16 = 2;
    pub(in crate::conntrack) const V6_SOURCE: u16 = 3;
    pub(in crate::conntrack) const V6_DESTINATION: u16 = 4;
}

/// `enum ctattr_l4proto`.
pub(super) mod protocol_attribute {
    pub(in crate::conntrack) const NUMBER: u16 = 1;
    pub(in crate::conntrack) const SOURCE_PORT: u16 = 2;
    pub(in crate::conntrack) const DESTINATION_PORT: u16 = 3;
    pub(in crate::conntrack) const ICMP_ID: u16 = 4;
    pub(in crate::conntrack) const ICMP_TYPE: u16 = 5;
    pub(in crate::conntrack) const ICMP_CODE: u16 = 6;
    pub(in crate::conntrack) const ICMPV6_ID: u16 = 7;
    pub(in crate::conntrack) const ICMPV6_TYPE: u16 = 8;
    pub(in crate::conntrack) const ICMPV6_CODE: u16 = 9;
}

/// `CTA_PROTOINFO_TCP` (`enum ctattr_protoinfo`).
const PROTOCOL_INFO_TCP: u16 = 1;
/// `CTA_PROTOINFO_TCP_STATE` (`enum ctattr_protoinfo_tcp`).
const TCP_STATE: u16 = 1;

/// A direction, and its zone where each direction has its own.
fn tuple(attributes: &[u8]) -> Result<(Tuple, Option<u16>), DecodeError> {
    let (mut source, mut destination, mut protocol, mut zone) = (None, None, None, None);
    let (mut source_port, mut destination_port) = (0, [0, 0]);
    for_each_attribute(attributes, |kind, value| match kind {
        tuple_attribute::IP => for_each_attribute(value, |kind, value| {
            match kind {
                ip_attribute::V4_SOURCE => source = Some(ipv4(value)?),
                ip_attribute::V4_DESTINATION => destination = Some(ipv4(value)?),
                ip_attribute::V6_SOURCE => source = Some(ipv6(value)?),
                ip_attribute::V6_DESTINATION => destination = Some(ipv6(value)?),
                _ => {}
            }
            Ok(())
        }),
        tuple_attribute::PROTOCOL => for_each_attribute(value, |kind, value| {
            use protocol_attribute::{
                DESTINATION_PORT, ICMP_CODE, ICMP_ID, ICMP_TYPE, ICMPV6_CODE, ICMPV6_ID,
                ICMPV6_TYPE, NUMBER, SOURCE_PORT,
            };
            let [upper, lower] = &mut destination_port;
            match kind {
                NUMBER => protocol = Some(byte(value)?),
                SOURCE_PORT | ICMP_ID | ICMPV6_ID => source_port = be16(value)?,
                DESTINATION_PORT => [*upper, *lower] = fixed(value)?,
                ICMP_TYPE | ICMPV6_TYPE => *upper = byte(value)?,
                ICMP_CODE | ICMPV6_CODE => *lower = byte(value)?,
                _ => {}
            }
            Ok(())
        }),
        tuple_attribute::ZONE => {
            zone = Some(be16(value)?);
            Ok(())
        }
        _ => Ok(()),
    })?;
    let tuple = Tuple {
        source: source.ok_or(DecodeError::Missing("source address"))?,
        destination: destination.ok_or(DecodeError::Missing("destination address"))?,
        protocol: protocol.ok_or(DecodeError::Missing("protocol"))?,
        source_port,
        destination_port: u16::from_be_bytes(destination_port),
    };
    Ok((tuple, zone))
}

fn state_of_tcp(attributes: &[u8]) -> Result<Option<u8>, DecodeError> {
    let mut state = None;
    for_each_attribute(attributes, |kind, value| {
        if kind != PROTOCOL_INFO_TCP {
            return Ok(());
        }
        for_each_attribute(value, |kind, value| {
            if kind == TCP_STATE {
                state = Some(byte(value)?);
            }
            Ok(())
        })
    })?;
    Ok(state)
}

fn address_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::samples, *};

    /// The attributes of a sample, behind its two headers.
    fn parse(sample: &str) -> Entry {
        Entry::parse(&samples::bytes(sample)[20..]).unwrap()
    }

    fn tuple(source: &str, destination: &str, protocol: u8, ports: (u16, u16)) -> Tuple {
        Tuple {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            protocol,
            source_port: ports.0,
            destination_port: ports.1,
        }
    }

    #[test]
    fn an_established_connection_is_read_whole() {
        assert_eq!(
            parse(samples::TCP),
            Entry {
                original: tuple("127.0.0.1", "127.0.0.1", 6, (5002, 4444)),
                reply: Some(tuple("127.0.0.1", "127.0.0.1", 6, (4444, 5002))),
                status: Status(0x18e),
                timeout_s: Some(431_999),
                id: 917_987_773,
                tcp_state: Some(3),
                zone: 0,
                has_helper: false,
            }
        );
    }

    #[test]
    fn translation_shows_in_the_reply_alone() {
        let entry = parse(samples::SOURCE_NAT);
        assert_eq!(entry.original, tuple("127.0.0.1", "127.0.0.2", 17, (5000, 7003)));
        assert_eq!(entry.reply, Some(tuple("127.0.0.2", "10.9.0.1", 17, (7003, 5000))));
        assert!(entry.status.contains(Status::SOURCE_NAT));
        assert!(!entry.status.contains(Status::SEEN_REPLY));
    }

    #[test]
    fn icmp_has_an_identifier_a_type_and_a_code() {
        let echo_request = 8 << 8;
        assert_eq!(
            parse(samples::ICMP).original,
            tuple("127.0.0.1", "127.0.0.2", 1, (0x1234, echo_request))
        );
        let echo_request = 128 << 8;
        assert_eq!(parse(samples::ICMPV6).original, tuple("::1", "::1", 58, (0x77, echo_request)));
    }

    #[test]
    fn a_protocol_without_ports_has_zeros() {
        assert_eq!(parse(samples::ESP).original, tuple("127.0.0.1", "127.0.0.2", 50, (0, 0)));
    }

    #[test]
    fn the_zone_is_that_of_the_entry_or_of_its_original_direction() {
        assert_eq!(parse(samples::UDP).zone, 0);
        assert_eq!(parse(samples::ZONE).zone, 5);
        assert_eq!(parse(samples::ORIGINAL_ZONE).zone, 6);
    }

    #[test]
    fn a_source_is_counted_under_its_own_address() {
        let key = parse(samples::UDP).original.source_key(9);
        let mut address = [0; 16];
        address[..4].copy_from_slice(&[127, 0, 0, 1]);
        assert_eq!(Some(key), SourceKey::of_address(9, FAMILY_IPV4, 17, address));
        let key = parse(samples::UDP_V6).original.source_key(9);
        let mut address = [0; 16];
        address[15] = 1;
        assert_eq!(Some(key), SourceKey::of_address(9, FAMILY_IPV6, 17, address));
    }

    #[test]
    fn a_walk_counts_state_answer_zone_and_port_of_an_entry() {
        let walked = parse(samples::TCP).walked(9);
        assert_eq!(walked.flow, parse(samples::TCP).original.flow(9));
        assert_eq!((walked.state, walked.assured, walked.unreplied), (State::Tcp(3), true, false));
        assert_eq!((walked.source_nat, walked.remaining_s), (None, Some(431_999)));
        let walked = parse(samples::SOURCE_NAT).walked(9);
        assert_eq!(
            (walked.state, walked.assured, walked.unreplied),
            (State::Unreplied, false, true)
        );
        let source_nat = SourceNat {
            address: "10.9.0.1".parse().unwrap(),
            port: 5000,
            destination: "127.0.0.2".parse().unwrap(),
            destination_port: 7003,
        };
        assert_eq!(walked.source_nat, Some(source_nat));
        assert_eq!(parse(samples::ZONE).walked(9).zone, 5);
        assert_eq!(parse(samples::ICMP).walked(9).state, State::Replied);
        let offloaded = Entry {
            tcp_state: None,
            status: Status::SEEN_REPLY.with(Status::OFFLOAD),
            ..parse(samples::TCP)
        };
        assert_eq!(offloaded.walked(9).state, State::Offloaded);
        assert_eq!(offloaded.walked(9).remaining_s, None);
    }

    #[test]
    fn what_something_else_governs_has_no_time_left_that_is_known() {
        let tcp = parse(samples::TCP);
        let with = |bit| Entry { status: tcp.status.with(bit), ..tcp };
        let gre =
            |status| Entry { original: Tuple { protocol: 47, ..tcp.original }, status, ..tcp };
        for (entry, is_governed) in [
            (with(Status::EXPECTED), true),
            (with(Status::FIXED_TIMEOUT), false),
            (with(Status::DYING), false),
            (with(Status::OFFLOAD), false),
            (Entry { has_helper: true, ..tcp }, false),
            (gre(tcp.status), true),
            (gre(tcp.status.with(Status::EXPECTED)), false),
        ] {
            assert_eq!(entry.walked(9).remaining_s.is_some(), is_governed, "{entry:?}");
        }
    }

    #[test]
    fn the_identifier_is_the_port_of_icmp() {
        let mut entry = parse(samples::ICMP);
        entry.status = entry.status.with(Status::SOURCE_NAT);
        assert_eq!(entry.walked(9).source_nat.unwrap().port, 0x1234);
    }

    #[test]
    fn an_entry_cut_off_anywhere_is_an_error_or_lacks_only_what_was_cut() {
        let attributes = &samples::bytes(samples::TCP)[20..];
        let whole = Entry::parse(attributes).unwrap();
        for end in 0..attributes.len() {
            match Entry::parse(&attributes[..end]) {
                Ok(entry) => assert_eq!((entry.original, entry.id), (whole.original, whole.id)),
                Err(error) => assert_ne!(error, DecodeError::MessageLength),
            }
        }
        assert_eq!(Entry::parse(&[]), Err(DecodeError::Missing("original direction")));
    }

    #[test]
    fn a_value_of_another_size_is_an_error() {
        // A status of two bytes.
        let attributes = [6, 0, attribute::STATUS as u8, 0, 0, 1, 0, 0];
        assert_eq!(
            Entry::parse(&attributes),
            Err(DecodeError::ValueLength { expected: 4, found: 2 })
        );
    }
}
