//! The bytes of the first packet of a flow, with correct checksums: conntrack drops others before it makes an entry
//! (`nf_conntrack_checksum`). It must not send them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::flow::{Flow, FlowProtocol};

/// Protocol numbers of the IANA registry.
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const GRE: u8 = 47;
const ICMPV6: u8 = 58;
const EXPERIMENTAL: u8 = 253;

/// Hop limit of what the lab sends.
const HOPS: u8 = 64;

/// The packet that opens `flow`, from the IP header on; `None` if its two addresses are of different families.
#[must_use]
pub fn opening(flow: &Flow) -> Option<Vec<u8>> {
    match (flow.source, flow.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let (protocol, segment) = segment(flow, &pseudo_v4(source, destination));
            Some([header_v4(source, destination, protocol, &segment).as_slice(), &segment].concat())
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let (protocol, segment) = segment(flow, &pseudo_v6(source, destination));
            Some([header_v6(source, destination, protocol, &segment).as_slice(), &segment].concat())
        }
        _ => None,
    }
}

/// What the checksum of an upper protocol covers besides its own bytes: the addresses, and for IPv6 also ICMP
/// (RFC 4443 section 2.3), which has none over IPv4 (RFC 792).
struct PseudoHeader {
    addresses: Vec<u8>,
    family: Family,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

fn pseudo_v4(source: Ipv4Addr, destination: Ipv4Addr) -> PseudoHeader {
    PseudoHeader { addresses: [source.octets(), destination.octets()].concat(), family: Family::V4 }
}

fn pseudo_v6(source: Ipv6Addr, destination: Ipv6Addr) -> PseudoHeader {
    PseudoHeader { addresses: [source.octets(), destination.octets()].concat(), family: Family::V6 }
}

/// The protocol number and the bytes after the IP header.
fn segment(flow: &Flow, pseudo: &PseudoHeader) -> (u8, Vec<u8>) {
    let ports = [flow.source_port.to_be_bytes(), flow.destination_port.to_be_bytes()].concat();
    match flow.protocol {
        FlowProtocol::Udp => {
            // RFC 768: ports, length, checksum, and eight bytes of data.
            let build = |checksum: [u8; 2]| {
                [ports.as_slice(), &16_u16.to_be_bytes(), &checksum, b"ctwatch!"].concat()
            };
            let sum = match checksum_with(pseudo, UDP, &build([0, 0])) {
                // A sum of zero is sent as all ones: zero means "none".
                0 => u16::MAX,
                sum => sum,
            };
            (UDP, build(sum.to_be_bytes()))
        }
        FlowProtocol::TcpSyn | FlowProtocol::TcpHandshake | FlowProtocol::TcpAck => {
            // RFC 9293 section 3.1: a header of five words, SYN or ACK, window, no option.
            let sequence = 1_u32.to_be_bytes();
            let (acknowledged, flags) = match flow.protocol {
                FlowProtocol::TcpAck => (1_u32.to_be_bytes(), 0x10),
                _ => ([0; 4], 0x02),
            };
            let build = |checksum: [u8; 2]| {
                [
                    ports.as_slice(),
                    &sequence,
                    &acknowledged,
                    &[0x50, flags],
                    &64_240_u16.to_be_bytes(),
                    &checksum,
                    &[0; 2],
                ]
                .concat()
            };
            let sum = checksum_with(pseudo, TCP, &build([0, 0]));
            (TCP, build(sum.to_be_bytes()))
        }
        FlowProtocol::IcmpEcho => {
            // RFC 792 and RFC 4443 section 4.1: type, code, checksum, identifier, sequence number.
            let (protocol, kind) = match pseudo.family {
                Family::V4 => (ICMP, 8),
                Family::V6 => (ICMPV6, 128),
            };
            let identifier = flow.source_port.to_be_bytes();
            let build = |checksum: [u8; 2]| {
                [[kind, 0].as_slice(), &checksum, &identifier, &1_u16.to_be_bytes(), b"ctwatch!"]
                    .concat()
            };
            let sum = match pseudo.family {
                Family::V4 => checksum(&build([0, 0])),
                Family::V6 => checksum_with(pseudo, ICMPV6, &build([0, 0])),
            };
            (protocol, build(sum.to_be_bytes()))
        }
        // RFC 2784 section 2.1: no checksum, version 0, and the type of what it carries (IPv4).
        FlowProtocol::Gre => (GRE, [[0, 0, 8, 0].as_slice(), b"ctwatch!"].concat()),
        FlowProtocol::Untracked => (EXPERIMENTAL, b"ctwatch!".to_vec()),
    }
}

/// RFC 791 section 3.1, without options, "don't fragment".
fn header_v4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, segment: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + segment.len()).unwrap_or(u16::MAX);
    let build = |checksum: [u8; 2]| {
        [
            [0x45, 0].as_slice(),
            &length.to_be_bytes(),
            &[0, 0, 0x40, 0, HOPS, protocol],
            &checksum,
            &source.octets(),
            &destination.octets(),
        ]
        .concat()
    };
    let sum = checksum(&build([0, 0]));
    build(sum.to_be_bytes())
}

/// RFC 8200 section 3.
fn header_v6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, segment: &[u8]) -> Vec<u8> {
    let length = u16::try_from(segment.len()).unwrap_or(u16::MAX);
    [
        [0x60, 0, 0, 0].as_slice(),
        &length.to_be_bytes(),
        &[protocol, HOPS],
        &source.octets(),
        &destination.octets(),
    ]
    .concat()
}

/// The checksum of `segment` and its pseudo header. RFC 8200 section 8.1 has longer fields than RFC 9293 section 3.1 for
/// length and protocol, which give the same sum.
fn checksum_with(pseudo: &PseudoHeader, protocol: u8, segment: &[u8]) -> u16 {
    let length = u16::try_from(segment.len()).unwrap_or(u16::MAX);
    checksum(
        &[&pseudo.addresses, [0, protocol].as_slice(), &length.to_be_bytes(), segment].concat(),
    )
}

/// The Internet checksum of RFC 1071: the ones' complement of the ones' complement sum of 16-bit words.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    let sum: u64 = bytes
        .chunks(2)
        .map(|pair| {
            let high = pair.first().copied().unwrap_or(0);
            let low = pair.get(1).copied().unwrap_or(0);
            u64::from(u16::from_be_bytes([high, low]))
        })
        .sum();
    let mut folded = sum;
    while folded > u64::from(u16::MAX) {
        folded = (folded & 0xffff) + (folded >> 16);
    }
    !u16::try_from(folded).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(protocol: FlowProtocol, source: &str, destination: &str) -> Flow {
        Flow {
            protocol,
            source: source.parse().unwrap(),
            source_port: 4000,
            destination: destination.parse().unwrap(),
            destination_port: 53,
        }
    }

    /// The numbers of RFC 1071 section 3, and the header that Wikipedia's "Internet checksum" computes (b861).
    #[test]
    fn checksums_are_those_of_the_books() {
        assert_eq!(!checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
        let header = [
            0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0,
            0xc7,
        ];
        assert_eq!(checksum(&header), 0xb861);
        assert_eq!(checksum(&[0xff]), 0x00ff);
    }

    /// A receiver sums everything, checksum included, and gets all ones, so the complement is zero.
    #[test]
    fn a_receiver_accepts_every_packet() {
        for protocol in
            [FlowProtocol::Udp, FlowProtocol::TcpSyn, FlowProtocol::TcpAck, FlowProtocol::IcmpEcho]
        {
            let packet = opening(&flow(protocol, "10.0.1.2", "198.51.100.1")).unwrap();
            assert_eq!(checksum(&packet[..20]), 0, "{protocol:?} IPv4 header");
            assert_eq!(usize::from(u16::from_be_bytes([packet[2], packet[3]])), packet.len());
            let segment = &packet[20..];
            if protocol == FlowProtocol::IcmpEcho {
                assert_eq!(checksum(segment), 0);
            } else {
                let pseudo =
                    pseudo_v4("10.0.1.2".parse().unwrap(), "198.51.100.1".parse().unwrap());
                assert_eq!(checksum_with(&pseudo, packet[9], segment), 0, "{protocol:?} over IPv4");
            }

            let packet = opening(&flow(protocol, "fd00:10::2", "2001:db8:100::1")).unwrap();
            let pseudo =
                pseudo_v6("fd00:10::2".parse().unwrap(), "2001:db8:100::1".parse().unwrap());
            assert_eq!(
                checksum_with(&pseudo, packet[6], &packet[40..]),
                0,
                "{protocol:?} over IPv6"
            );
            assert_eq!(usize::from(u16::from_be_bytes([packet[4], packet[5]])), packet.len() - 40);
        }
    }

    #[test]
    fn an_ipv4_udp_packet_has_these_bytes() {
        let packet = opening(&flow(FlowProtocol::Udp, "10.0.1.2", "198.51.100.1")).unwrap();
        assert_eq!(
            packet,
            [
                0x45, 0, 0, 36, 0, 0, 0x40, 0, 64, 17, 0x05, 0x93, 10, 0, 1, 2, 198, 51, 100,
                1, // IPv4
                0x0f, 0xa0, 0, 53, 0, 16, 0x03, 0x68, // UDP
                b'c', b't', b'w', b'a', b't', b'c', b'h', b'!',
            ]
        );
    }

    #[test]
    fn mixed_families_make_no_packet() {
        assert_eq!(opening(&flow(FlowProtocol::Udp, "10.0.1.2", "2001:db8:100::1")), None);
    }
}
