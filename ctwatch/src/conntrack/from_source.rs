//! Writes the requests about all entries from one address, as bytes: to list them, and to end them; it must never do I/O.
//!
//! Not every kernel does as it is asked, and an answer alone does not show it:
//!
//! - Before 5.8 a listing is not filtered, before 6.12 no end is (`ctnetlink_flush_conntrack` refuses, or does not know of, a
//!   filter). Such kernels end no entry here, though, as a request with a tuple is to them one about one entry, which lacks
//!   its protocol (`ctnetlink_parse_tuple_proto`, net/netfilter/nf_conntrack_netlink.c).
//! - In many of the others the filter for IPv6 is inverted: it lists, and ends, the entries of all other sources
//!   (`ctnetlink_filter_match_tuple` takes equal addresses for a difference). Seen on 6.18.44; mended in 6.12.118 and 7.3.4.
//!
//! Listing and ending share that function, so whoever wants to end entries must have seen first that a listing by the same
//! address has entries from it, and none from others.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP};

use super::{
    entry::{attribute, ip_attribute, tuple_attribute},
    message::{self, MESSAGE_DELETE, MESSAGE_GET},
    one_entry::{Wanted, nested, value},
};

/// `CTA_FILTER_ORIG_FLAGS` (`enum ctattr_filter`).
const ORIGINAL_FLAGS: u16 = 1;
/// `CTA_FILTER_F_CTA_IP_SRC` (net/netfilter/nf_internals.h).
const BY_SOURCE: u32 = 1;

/// The bytes of a request: of the entries whose first packet came from this address, whatever zone they are in.
pub(super) fn request(source: IpAddr, wanted: Wanted, sequence_number: u32) -> Vec<u8> {
    let (family, address) = match source {
        IpAddr::V4(source) => (libc::AF_INET, value(ip_attribute::V4_SOURCE, &source.octets())),
        IpAddr::V6(source) => (libc::AF_INET6, value(ip_attribute::V6_SOURCE, &source.octets())),
    };
    let tuple = nested(tuple_attribute::IP, &address);
    let filter = value(ORIGINAL_FLAGS, &BY_SOURCE.to_ne_bytes());
    let attributes =
        [nested(attribute::TUPLE_ORIGINAL, &tuple), nested(attribute::FILTER, &filter)].concat();
    let (message_type, flags) = match wanted {
        Wanted::Told => (MESSAGE_GET, NLM_F_DUMP),
        Wanted::Ended => (MESSAGE_DELETE, NLM_F_ACK),
    };
    // AF_INET is 2, AF_INET6 10.
    message::request(message_type, flags, family as u8, &attributes, sequence_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_the_source_and_says_that_it_is_all_that_counts() {
        let source = "10.0.1.66".parse().unwrap();
        let expected = [
            [52, 0, 0, 0, 2, 1, 5, 0, 7, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0].as_slice(),
            &[16, 0, 1, 0x80, 12, 0, 1, 0x80, 8, 0, 1, 0, 10, 0, 1, 66],
            &[12, 0, 25, 0x80, 8, 0, 1, 0, 1, 0, 0, 0],
        ]
        .concat();
        let mut expected = expected;
        expected[0] = expected.len() as u8;
        assert_eq!(request(source, Wanted::Ended, 7), expected);
        let told = request(source, Wanted::Told, 7);
        assert_eq!((&told[4..8], &told[8..]), ([1, 1, 1, 3].as_slice(), &expected[8..]));
    }

    #[test]
    fn a_request_to_end_always_has_a_tuple() {
        for source in ["0.0.0.0", "::", "2001:db8::1"] {
            let request = request(source.parse().unwrap(), Wanted::Ended, 1);
            assert_eq!(request[22..24], [1, 0x80], "{source}");
            assert!(request.len() == usize::from(request[0]), "{source}");
        }
    }
}
