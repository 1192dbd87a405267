//! What must never be blocked, and why: by a list, however it came about, and by what an address means.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// Networks wider than this are not blocked: they are whole providers.
const IPV4_LENGTH_MIN: u8 = 8;
/// The same of IPv6.
const IPV6_LENGTH_MIN: u8 = 32;
/// `::ffff:0:0/96` has the addresses of IPv4 (RFC 4291, 2.5.5.2).
const MAPPED_LENGTH: u8 = 96;

/// What stands for nobody that could be blocked (RFC 6890), and what it is.
const SPECIAL: [(&str, &str); 8] = [
    ("0.0.0.0/8", "the address of a machine that has none yet"),
    ("127.0.0.0/8", "this machine's way to itself"),
    ("224.0.0.0/4", "multicast, which nothing comes from"),
    ("255.255.255.255/32", "the broadcast address, which nothing comes from"),
    ("::/128", "the address of a machine that has none yet"),
    ("::1/128", "this machine's way to itself"),
    ("fe80::/10", "what neighbours on a link find each other and their router by"),
    ("ff00::/8", "multicast, which nothing comes from"),
];

/// A network that must not be blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protection {
    /// The network, or one address.
    pub network: IpNet,
    /// What it is, so that `it is` can stand before it.
    pub what: String,
}

impl Protection {
    /// One address.
    pub fn of_address(address: IpAddr, what: &str) -> Self {
        Self { network: address.into(), what: what.to_owned() }
    }
}

/// All that must never be blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protected {
    protections: Vec<Protection>,
}

impl Protected {
    /// The networks of a list, and besides them what nobody could mean.
    pub fn new(list: Vec<Protection>) -> Self {
        let special = SPECIAL.iter().filter_map(|(network, what)| {
            Some(Protection { network: network.parse().ok()?, what: (*what).to_owned() })
        });
        let mut protections: Vec<Protection> = list
            .into_iter()
            .map(|each| Protection { network: unmapped(&each.network), ..each })
            .collect();
        protections.extend(special);
        Self { protections }
    }

    /// Why `network` must not be blocked, as a sentence that begins with `it`; `None` if it may be. Addresses of IPv4 that are
    /// written as IPv6 are judged as what they are.
    pub fn why(&self, network: &IpNet) -> Option<String> {
        let network = unmapped(network);
        let length = network.prefix_len();
        let by_list = self.protections.iter().find_map(|protection| {
            let Protection { network: protected, what } = protection;
            if network == *protected {
                Some(format!("it is {what}"))
            } else if protected.contains(&network) {
                Some(format!("it lies in {protected}: {what}"))
            } else if network.contains(protected) {
                Some(format!("it contains {}: {what}", super::ruleset::element(protected)))
            } else {
                None
            }
        });
        let length_min = match network {
            IpNet::V4(_) => IPV4_LENGTH_MIN,
            IpNet::V6(_) => IPV6_LENGTH_MIN,
        };
        let too_wide = || {
            (length < length_min).then(|| {
                format!("it is too wide: a network to be blocked has at least /{length_min}")
            })
        };
        by_list.or_else(too_wide)
    }
}

/// Without host bits, and as IPv4 if all of it is that.
pub fn unmapped(network: &IpNet) -> IpNet {
    let network = network.trunc();
    let mapped = match network {
        IpNet::V6(v6) => v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(MAPPED_LENGTH)),
        IpNet::V4(_) => None,
    };
    mapped
        .and_then(|(address, length)| Ipv4Net::new(address, length).ok())
        .map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn protected(list: &[(&str, &str)]) -> Protected {
        let protection = |(network, what): &(&str, &str)| Protection {
            network: network.parse().unwrap(),
            what: (*what).to_owned(),
        };
        Protected::new(list.iter().map(protection).collect())
    }

    #[test]
    fn what_is_protected_lies_in_it_or_contains_it_is_not_blocked() {
        let protected = protected(&[
            ("192.0.2.1/32", "a router"),
            ("10.5.0.0/16", "monitoring"),
            ("2001:db8::1/128", "an address of this machine"),
        ]);
        let why = |network: &str| protected.why(&network.parse().unwrap());
        assert_eq!(why("192.0.2.1/32").as_deref(), Some("it is a router"));
        assert_eq!(why("192.0.2.0/24").as_deref(), Some("it contains 192.0.2.1: a router"));
        assert_eq!(why("10.5.7.8/32").as_deref(), Some("it lies in 10.5.0.0/16: monitoring"));
        let own = "it contains 2001:db8::1: an address of this machine";
        assert_eq!(why("2001:db8::/64").as_deref(), Some(own));
        for free in ["192.0.2.2/32", "10.6.0.0/16", "2001:db8::2/128", "2001:db8:0:1::/64"] {
            assert_eq!(why(free), None, "{free}");
        }
    }

    #[test]
    fn ipv4_in_ipv6_is_judged_as_ipv4() {
        let protected = protected(&[("192.0.2.1/32", "a router"), ("::ffff:10.5.0.0/112", "x")]);
        let why = |network: &str| protected.why(&network.parse().unwrap());
        assert_eq!(why("::ffff:192.0.2.1/128").as_deref(), Some("it is a router"));
        assert_eq!(why("::ffff:192.0.2.0/120").as_deref(), Some("it contains 192.0.2.1: a router"));
        assert_eq!(why("::ffff:192.0.2.2/128"), None);
        assert_eq!(why("10.5.7.8/32").as_deref(), Some("it lies in 10.5.0.0/16: x"));
        assert!(why("::ffff:0:0/96").is_some());
    }

    #[test]
    fn nobody_and_everybody_are_not_blocked() {
        let nothing = protected(&[]);
        for network in [
            "0.0.0.0/0",
            "0.0.0.0/32",
            "10.0.0.0/7",
            "127.0.0.1/32",
            "224.0.0.251/32",
            "255.255.255.255/32",
            "::/0",
            "::/128",
            "::1/128",
            "2001::/16",
            "2400::/31",
            "fe80::1/128",
            "fe80::/64",
            "ff02::1/128",
        ] {
            assert!(nothing.why(&network.parse().unwrap()).is_some(), "{network}");
        }
        for network in ["10.0.0.0/8", "2001:db8::/32", "100.64.0.1/32"] {
            assert_eq!(nothing.why(&network.parse().unwrap()), None, "{network}");
        }
    }

    /// Networks close together, so that many of them meet.
    fn network() -> impl Strategy<Value = IpNet> {
        let v4 = (0_u32..1 << 10, 20_u8..=32)
            .prop_map(|(bits, length)| (0x0a00_0000 | bits, length))
            .prop_map(|(bits, length)| Ipv4Net::new(bits.into(), length).unwrap().trunc().into());
        let v6 = (0_u128..1 << 10, 118_u8..=128).prop_map(|(bits, length)| {
            let address = std::net::Ipv6Addr::from_bits(0x2001_0db8 << 96 | bits);
            IpNet::new(address.into(), length).unwrap().trunc()
        });
        prop_oneof![v4, v6]
    }

    proptest! {
        /// By the addresses that each of them has, and not by how the judgement is made.
        #[test]
        fn what_shares_an_address_with_something_protected_is_never_blocked(
            list in prop::collection::vec(network(), 0..8),
            judged in network(),
        ) {
            let protected = Protected::new(
                list.iter().map(|network| Protection { network: *network, what: "x".into() }).collect(),
            );
            let range = |network: &IpNet| (network.network(), network.broadcast());
            let (first, last) = range(&judged);
            let shares = list.iter().any(|each| {
                let (from, to) = range(each);
                first.is_ipv4() == from.is_ipv4() && first <= to && from <= last
            });
            prop_assert_eq!(protected.why(&judged).is_some(), shares);
            if let IpNet::V4(v4) = judged {
                let mapped = IpNet::new(v4.addr().to_ipv6_mapped().into(), v4.prefix_len() + 96).unwrap();
                prop_assert_eq!(protected.why(&mapped), protected.why(&judged));
            }
        }
    }
}
