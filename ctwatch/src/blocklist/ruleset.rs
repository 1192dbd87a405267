//! The rules of nf_tables that keep blocked sources out: one chain before conntrack, and sets whose elements have a timeout, so
//! that everybody is let in again even if nobody thinks of it. `ctwatch block` and the nft formats use the same ones, so that
//! `ctwatch blocks` lists all and `ctwatch unblock` takes back all.

use ipnet::IpNet;

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

/// A set of blocked sources: addresses are looked up in a hash, networks in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Set {
    /// IPv4 addresses.
    Addresses4,
    /// IPv6 addresses.
    Addresses6,
    /// IPv4 networks.
    Networks4,
    /// IPv6 networks.
    Networks6,
}

impl Set {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Addresses4, Self::Addresses6, Self::Networks4, Self::Networks6];

    /// The set that a source belongs to.
    pub fn of(network: &IpNet) -> Self {
        let is_one = network.prefix_len() == network.max_prefix_len();
        match (network, is_one) {
            (IpNet::V4(_), true) => Self::Addresses4,
            (IpNet::V6(_), true) => Self::Addresses6,
            (IpNet::V4(_), false) => Self::Networks4,
            (IpNet::V6(_), false) => Self::Networks6,
        }
    }

    /// Its name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Addresses4 => "block4",
            Self::Addresses6 => "block6",
            Self::Networks4 => "block4_networks",
            Self::Networks6 => "block6_networks",
        }
    }

    /// What its elements are, in nft's words.
    pub const fn element_type(self) -> &'static str {
        match self {
            Self::Addresses4 | Self::Networks4 => "ipv4_addr",
            Self::Addresses6 | Self::Networks6 => "ipv6_addr",
        }
    }

    /// Its flags, in nft's words.
    pub const fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Addresses4 | Self::Addresses6 => &["timeout"],
            Self::Networks4 | Self::Networks6 => &["interval", "timeout"],
        }
    }

    /// The protocol whose source address is looked up in it, in nft's words.
    pub const fn protocol(self) -> &'static str {
        match self {
            Self::Addresses4 | Self::Networks4 => "ip",
            Self::Addresses6 | Self::Networks6 => "ip6",
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
        let (protocol, name) = (set.protocol(), set.name());
        text +=
            &format!("add rule {FAMILY} {TABLE} {CHAIN} {protocol} saddr @{name} counter drop\n");
    }
    text
}

/// A source as an element is written: an address without its length.
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
            ("2001:db8::/64", Set::Networks6, "2001:db8::/64"),
        ] {
            let network: IpNet = network.parse().unwrap();
            assert_eq!((Set::of(&network), element(&network)), (set, text.to_owned()));
        }
    }
}
