//! The rules of nf_tables that keep blocked sources out: one chain before conntrack, and sets whose elements have a timeout, so
//! that everybody is let in again even if nobody thinks of it. `ctwatch block` and the nft formats use the same ones, so that
//! `ctwatch blocks` lists all and `ctwatch unblock` takes back all.

use ipnet::{IpNet, Ipv6Net};
use serde_json::{Value, json};

use crate::model::source::CUSTOMER_IPV6;

/// The family of ctwatch's own table.
pub const FAMILY: &str = "inet";
/// ctwatch's own table, beside the operator's rules.
pub const TABLE: &str = "ctwatch";
/// The chain that drops.
pub const CHAIN: &str = "block";
/// Before conntrack (-200), and before whatever else is done at raw (-300), but behind defragmentation (-400), so that no
/// fragment slips by (include/uapi/linux/netfilter_ipv4.h).
pub const PRIORITY: i32 = -310;
/// The most elements of a set.
pub const ELEMENTS_MAX: usize = 131_072;

/// A set of blocked sources. Addresses, and the /64s of IPv6, are looked up in a hash; other networks in a tree, from which nft
/// 1.0.6 takes elements out in a time that grows with the square of their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Set {
    /// IPv4 addresses.
    Addresses4,
    /// IPv6 addresses.
    Addresses6,
    /// IPv6 networks of a customer's length, by their first address.
    Customers6,
    /// IPv4 networks.
    Networks4,
    /// Other IPv6 networks.
    Networks6,
}

impl Set {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Addresses4, Self::Addresses6, Self::Customers6, Self::Networks4, Self::Networks6];

    /// The set that a source belongs to.
    pub fn of(network: &IpNet) -> Self {
        let is_one = network.prefix_len() == network.max_prefix_len();
        match network {
            IpNet::V4(_) if is_one => Self::Addresses4,
            IpNet::V6(_) if is_one => Self::Addresses6,
            IpNet::V4(_) => Self::Networks4,
            IpNet::V6(network) if network.prefix_len() == CUSTOMER_IPV6 => Self::Customers6,
            IpNet::V6(_) => Self::Networks6,
        }
    }

    /// Its name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Addresses4 => "block4",
            Self::Addresses6 => "block6",
            Self::Customers6 => "block6_64",
            Self::Networks4 => "block4_networks",
            Self::Networks6 => "block6_networks",
        }
    }

    /// What its elements are, in nft's words.
    pub const fn element_type(self) -> &'static str {
        match self {
            Self::Addresses4 | Self::Networks4 => "ipv4_addr",
            Self::Addresses6 | Self::Customers6 | Self::Networks6 => "ipv6_addr",
        }
    }

    /// Its flags, in nft's words.
    pub const fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Addresses4 | Self::Addresses6 | Self::Customers6 => &["timeout"],
            Self::Networks4 | Self::Networks6 => &["interval", "timeout"],
        }
    }

    /// The protocol whose source address is looked up in it, in nft's words.
    pub const fn protocol(self) -> &'static str {
        match self {
            Self::Addresses4 | Self::Networks4 => "ip",
            Self::Addresses6 | Self::Customers6 | Self::Networks6 => "ip6",
        }
    }

    /// Which bits of the source address are looked up, in nft's words; `None` for all.
    pub const fn mask(self) -> Option<&'static str> {
        match self {
            Self::Customers6 => Some("ffff:ffff:ffff:ffff::"),
            Self::Addresses4 | Self::Addresses6 | Self::Networks4 | Self::Networks6 => None,
        }
    }

    /// What stands in a rule before the set's name: the source, masked where the set asks for that.
    pub fn looked_up(self) -> String {
        let protocol = self.protocol();
        let mask = self.mask().map_or_else(String::new, |mask| format!("& {mask} "));
        format!("{protocol} saddr {mask}@{}", self.name())
    }

    /// The same in nft's JSON (libnftables-json(5)), without the set.
    pub fn looked_up_json(self) -> Value {
        let source = json!({"payload": {"protocol": self.protocol(), "field": "saddr"}});
        match self.mask() {
            Some(mask) => json!({"&": [source, mask]}),
            None => source,
        }
    }

    /// A source as an element of this set: its first address alone where the set says how long it is.
    pub fn element(self, network: &IpNet) -> String {
        match self {
            Self::Customers6 => network.addr().to_string(),
            Self::Addresses4 | Self::Addresses6 | Self::Networks4 | Self::Networks6 => {
                element(network)
            }
        }
    }

    /// The source that an element of this set stands for; as it is where the element says so itself.
    pub fn source(self, network: IpNet) -> IpNet {
        match (self, network) {
            (Self::Customers6, IpNet::V6(first)) => {
                Ipv6Net::new(first.addr(), CUSTOMER_IPV6).map_or(network, IpNet::V6)
            }
            _ => network,
        }
    }
}

/// The commands, one a line, that make table and sets where they are not there yet; they change nothing that is.
///
/// A set has a counter, as nft 1.0.6 lets no element have one otherwise.
pub fn sets() -> String {
    let mut text = format!("add table {FAMILY} {TABLE}\n");
    for set in Set::ALL {
        let (name, kind, flags) = (set.name(), set.element_type(), set.flags().join(","));
        text += &format!(
            "add set {FAMILY} {TABLE} {name} {{ type {kind}; flags {flags}; size {ELEMENTS_MAX}; counter; }}\n"
        );
    }
    text
}

/// The commands that make the chain and its rules anew.
pub fn chain() -> String {
    let mut text = format!(
        "add chain {FAMILY} {TABLE} {CHAIN} {{ type filter hook prerouting priority {PRIORITY}; policy accept; }}\n\
         flush chain {FAMILY} {TABLE} {CHAIN}\n"
    );
    for set in Set::ALL {
        let looked_up = set.looked_up();
        text += &format!("add rule {FAMILY} {TABLE} {CHAIN} {looked_up} counter drop\n");
    }
    text
}

/// A source as people write it: an address without its length.
pub fn element(network: &IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() {
        network.addr().to_string()
    } else {
        network.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_a_network_have_sets_of_their_own() {
        for (network, set, text) in [
            ("10.0.1.66/32", Set::Addresses4, "10.0.1.66"),
            ("10.0.1.0/24", Set::Networks4, "10.0.1.0/24"),
            ("2001:db8::1/128", Set::Addresses6, "2001:db8::1"),
            ("2001:db8::/64", Set::Customers6, "2001:db8::/64"),
            ("2001:db8::/63", Set::Networks6, "2001:db8::/63"),
        ] {
            let network: IpNet = network.parse().unwrap();
            assert_eq!((Set::of(&network), element(&network)), (set, text.to_owned()));
            let element: IpNet = match set.element(&network).parse() {
                Ok(network) => network,
                Err(_) => set.element(&network).parse::<std::net::IpAddr>().unwrap().into(),
            };
            assert_eq!(set.source(element), network);
        }
        assert_eq!(Set::Customers6.looked_up(), "ip6 saddr & ffff:ffff:ffff:ffff:: @block6_64");
    }
}
