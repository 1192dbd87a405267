//! How a source is written: an address, a prefix in CIDR form, or `other` for a whole namespace.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ctwatch_common::{
    row::Tier,
    source::{FAMILY_IPV4, FAMILY_IPV6, SourceKey},
};
use ipnet::IpNet;

/// The part of IPv6 that one customer has: whoever has an address of it has all of them.
pub const CUSTOMER_IPV6: u8 = 64;

/// A hash that is quick and seeded anew for each process: all sources go through maps many times an interval.
pub type QuickHash = foldhash::fast::RandomState;
/// Something for each source.
pub type BySource<V> = HashMap<SourceKey, V, QuickHash>;

/// The address in `bytes`, which has it as `union nf_inet_addr`: network byte order, IPv4 in the first four.
/// `None` for a family that is neither IPv4 nor IPv6.
pub fn address(family: u16, bytes: &[u8; 16]) -> Option<IpAddr> {
    match family {
        FAMILY_IPV4 => {
            let [a, b, c, d, ..] = *bytes;
            Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
        }
        FAMILY_IPV6 => Some(IpAddr::V6(Ipv6Addr::from(*bytes))),
        _ => None,
    }
}

/// The key of one address and protocol in the namespace `netns`.
pub fn key(netns: u32, source: IpAddr, protocol: u8) -> SourceKey {
    let (family, prefix_length, address) = match source {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            (FAMILY_IPV4, 32, [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        }
        IpAddr::V6(v6) => (FAMILY_IPV6, 128, v6.octets()),
    };
    SourceKey { address, netns, family, protocol, prefix_length }
}

/// The kind of rows that a key is counted in.
pub fn tier(key: &SourceKey) -> Tier {
    match key.family {
        0 => Tier::Namespace,
        _ if key.is_address() => Tier::Source,
        _ => Tier::Prefix,
    }
}

/// Whether all that a key stands for lies in `network`.
pub fn is_of(key: &SourceKey, network: &IpNet) -> bool {
    key.prefix_length >= network.prefix_len()
        && address(key.family, &key.address).is_some_and(|address| network.contains(&address))
}

/// The text of a key: `10.0.1.2`, `10.0.1.0/24`, `2001:db8::/64`, or `other` for a whole namespace.
pub fn text(key: &SourceKey) -> String {
    match address(key.family, &key.address) {
        Some(address) if key.is_address() => address.to_string(),
        Some(address) => format!("{address}/{}", key.prefix_length),
        None => "other".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_of_a_network_if_all_of_it_is() {
        let v4 = key(1, "10.0.1.2".parse().unwrap(), 6);
        let v6 = key(1, "2001:db8::7".parse().unwrap(), 6);
        let is_of = |key: &SourceKey, network: &str| is_of(key, &network.parse().unwrap());
        assert!(
            is_of(&v4, "10.0.1.2/32") && is_of(&v4, "10.0.0.0/16") && is_of(&v6, "2001:db8::/32")
        );
        assert!(!is_of(&v4, "10.0.1.3/32") && !is_of(&v4, "::/0") && !is_of(&v6, "0.0.0.0/0"));
        assert!(is_of(&v4.prefix(), "10.0.1.0/24") && !is_of(&v4.prefix(), "10.0.1.0/32"));
        assert!(!is_of(&v4.namespace(), "0.0.0.0/0"));
    }

    #[test]
    fn keys_are_written_as_addresses_and_prefixes() {
        let v4 = key(1, "10.0.1.2".parse().unwrap(), 6);
        let v6 = key(1, "2001:db8::7".parse().unwrap(), 6);
        assert_eq!(text(&v4), "10.0.1.2");
        assert_eq!(text(&v4.prefix()), "10.0.1.0/24");
        assert_eq!(text(&v6), "2001:db8::7");
        assert_eq!(text(&v6.prefix()), "2001:db8::/64");
        assert_eq!(text(&v6.namespace()), "other");
        let tiers = [v4, v4.prefix(), v6, v6.prefix(), v6.namespace()].map(|key| tier(&key));
        let [source, prefix] = [Tier::Source, Tier::Prefix];
        assert_eq!(tiers, [source, prefix, source, prefix, Tier::Namespace]);
    }
}
