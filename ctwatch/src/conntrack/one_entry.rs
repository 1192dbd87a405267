//! Writes the requests about one entry, as bytes: to tell of it, and to end it; it must never do I/O.
//!
//! A request to end entries that names none ends them all (`ctnetlink_del_conntrack`,
//! net/netfilter/nf_conntrack_netlink.c), so there is no way here to write one without the entry's tuple. Those of one
//! source: [`from_source`](super::from_source).

use std::net::IpAddr;

use netlink_packet_core::NLM_F_ACK;

use super::{
    entry::{Tuple, attribute, ip_attribute, protocol_attribute, tuple_attribute},
    message::{self, MESSAGE_DELETE, MESSAGE_GET},
};
use crate::model::protocol;

/// `NLA_F_NESTED` (include/uapi/linux/netlink.h).
const NESTED: u16 = 1 << 15;
const ATTRIBUTE_HEADER_BYTES: usize = 4;
const GRE: u8 = 47;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Which entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OneEntry {
    /// The direction of its first packet.
    pub original: Tuple,
    /// Its zone.
    pub zone: u16,
    /// Its number. It comes from where the entry lies in memory and from its tuple (`nf_ct_get_id`,
    /// net/netfilter/nf_conntrack_core.c): it tells connections apart that follow each other under one tuple, unless the
    /// later one got the same memory.
    pub id: u32,
}

/// What is wanted of an entry, or of all from one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// To be told of the entry: the answer is its message, or a refusal with `ENOENT`.
    Told,
    /// Its end, if it still has this number: the answer is a refusal with 0, or with `ENOENT`.
    Ended,
}

impl OneEntry {
    /// The bytes of a request; `None` if the two addresses are of different families, which no entry's are.
    pub fn request(&self, wanted: Wanted, sequence_number: u32) -> Option<Vec<u8>> {
        let tuple = &self.original;
        let (family, addresses) = match (tuple.source, tuple.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => (
                libc::AF_INET,
                [
                    value(ip_attribute::V4_SOURCE, &source.octets()),
                    value(ip_attribute::V4_DESTINATION, &destination.octets()),
                ],
            ),
            (IpAddr::V6(source), IpAddr::V6(destination)) => (
                libc::AF_INET6,
                [
                    value(ip_attribute::V6_SOURCE, &source.octets()),
                    value(ip_attribute::V6_DESTINATION, &destination.octets()),
                ],
            ),
            _ => return None,
        };
        let tuple = [
            nested(tuple_attribute::IP, &addresses.concat()),
            nested(tuple_attribute::PROTOCOL, &protocol_attributes(tuple)),
        ];
        let mut attributes = nested(attribute::TUPLE_ORIGINAL, &tuple.concat());
        if self.zone != 0 {
            // Also where only one direction has the zone: a look-up asks for that of the tuple's direction
            // (`nf_ct_zone_id`), and a kernel without zones refuses the attribute.
            attributes.extend(value(attribute::ZONE, &self.zone.to_be_bytes()));
        }
        attributes.extend(value(attribute::ID, &self.id.to_be_bytes()));
        let (message_type, flags) = match wanted {
            Wanted::Told => (MESSAGE_GET, 0),
            Wanted::Ended => (MESSAGE_DELETE, NLM_F_ACK),
        };
        let family = u8::try_from(family).ok()?;
        Some(message::request(message_type, flags, family, &attributes, sequence_number))
    }
}

/// What the kernel wants to know of a protocol to find an entry of it (`nlattr_to_tuple` of each tracker).
fn protocol_attributes(tuple: &Tuple) -> Vec<u8> {
    use protocol_attribute::{
        DESTINATION_PORT, ICMP_CODE, ICMP_ID, ICMP_TYPE, ICMPV6_CODE, ICMPV6_ID, ICMPV6_TYPE,
        NUMBER, SOURCE_PORT,
    };
    let mut attributes = value(NUMBER, &[tuple.protocol]);
    let source_port = tuple.source_port.to_be_bytes();
    let [upper, lower] = tuple.destination_port.to_be_bytes();
    let of_icmp = |id, kind, code| {
        [value(id, &source_port), value(kind, &[upper]), value(code, &[lower])].concat()
    };
    match tuple.protocol {
        ICMP => attributes.extend(of_icmp(ICMP_ID, ICMP_TYPE, ICMP_CODE)),
        ICMPV6 => attributes.extend(of_icmp(ICMPV6_ID, ICMPV6_TYPE, ICMPV6_CODE)),
        GRE => {
            attributes.extend(value(SOURCE_PORT, &source_port));
            attributes.extend(value(DESTINATION_PORT, &[upper, lower]));
        }
        number if protocol::has_ports(number) => {
            attributes.extend(value(SOURCE_PORT, &source_port));
            attributes.extend(value(DESTINATION_PORT, &[upper, lower]));
        }
        _ => {}
    }
    attributes
}

pub(super) fn nested(kind: u16, attributes: &[u8]) -> Vec<u8> {
    value(kind | NESTED, attributes)
}

/// An attribute, padded to a whole number of words.
pub(super) fn value(kind: u16, value: &[u8]) -> Vec<u8> {
    // All values here are a few bytes long, nested ones less than a hundred.
    let length = u16::try_from(ATTRIBUTE_HEADER_BYTES + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(ATTRIBUTE_HEADER_BYTES), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{entry::Entry, samples},
        *,
    };

    fn one(sample: &str) -> (Entry, OneEntry) {
        let entry = Entry::parse(&samples::bytes(sample)[20..]).unwrap();
        (entry, OneEntry { original: entry.original, zone: entry.zone, id: entry.id })
    }

    /// The entry that a request names; it has no status, which parsing wants.
    fn named(request: &[u8]) -> Entry {
        let attributes = [&request[20..], &value(attribute::STATUS, &[0; 4])].concat();
        Entry::parse(&attributes).unwrap()
    }

    #[test]
    fn the_request_to_end_an_entry_is_what_conntrack_tools_send() {
        let original = Tuple {
            source: "10.0.1.2".parse().unwrap(),
            destination: "192.0.2.1".parse().unwrap(),
            protocol: 17,
            source_port: 0x0400,
            destination_port: 53,
        };
        let one = OneEntry { original, zone: 0, id: 0x01020304 };
        let expected = [
            [80, 0, 0, 0, 2, 1, 5, 0, 7, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0].as_slice(),
            &[52, 0, 1, 0x80, 20, 0, 1, 0x80],
            &[8, 0, 1, 0, 10, 0, 1, 2, 8, 0, 2, 0, 192, 0, 2, 1],
            &[
                28, 0, 2, 0x80, 5, 0, 1, 0, 17, 0, 0, 0, 6, 0, 2, 0, 4, 0, 0, 0, 6, 0, 3, 0, 0, 53,
                0, 0,
            ],
            &[8, 0, 12, 0, 1, 2, 3, 4],
        ]
        .concat();
        assert_eq!(one.request(Wanted::Ended, 7).unwrap(), expected);
        let told = one.request(Wanted::Told, 7).unwrap();
        assert_eq!((told[4..8].to_vec(), &told[8..]), (vec![1, 1, 1, 0], &expected[8..]));
    }

    #[test]
    fn each_entry_is_named_by_what_the_kernel_told_of_it() {
        for sample in [
            samples::TCP,
            samples::UDP,
            samples::UDP_V6,
            samples::ICMP,
            samples::ICMPV6,
            samples::ESP,
            samples::ZONE,
            samples::ORIGINAL_ZONE,
        ] {
            let (entry, one) = one(sample);
            let named = named(&one.request(Wanted::Ended, 1).unwrap());
            assert_eq!(
                (named.original, named.zone, named.id),
                (entry.original, entry.zone, entry.id)
            );
        }
    }

    #[test]
    fn mixed_families_name_no_entry() {
        let (_, mut one) = one(samples::UDP);
        one.original.destination = "::1".parse().unwrap();
        assert_eq!(one.request(Wanted::Ended, 1), None);
    }

    proptest! {
        #[test]
        fn every_request_names_its_entry(
            addresses in prop_oneof![
                any::<([u8; 4], [u8; 4])>().prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b))),
                any::<([u8; 16], [u8; 16])>().prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b))),
            ],
            protocol in any::<u8>(),
            ports in any::<(u16, u16)>(),
            zone in any::<u16>(),
            id in any::<u32>(),
        ) {
            let has_ports = protocol::has_ports(protocol) || [GRE, ICMP, ICMPV6].contains(&protocol);
            let (source_port, destination_port) = if has_ports { ports } else { (0, 0) };
            let (source, destination) = addresses;
            let original = Tuple { source, destination, protocol, source_port, destination_port };
            let request = OneEntry { original, zone, id }.request(Wanted::Ended, 1).unwrap();
            prop_assert_eq!(request.len(), request[0] as usize);
            let named = named(&request);
            prop_assert_eq!((named.original, named.zone, named.id), (original, zone, id));
        }
    }
}
