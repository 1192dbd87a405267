//! The rules of nf_tables that cap sources: a chain behind conntrack, and for each cap a set of one element, whose time ends the
//! cap, and one rule, which counts entries. A rule whose set is empty matches nobody: it is swept away by the next call.
//!
//! A rule of its own for each cap, as the kernel counts the entries of all packets that reach one `ct count`
//! (`nft_connlimit_do_eval`, net/netfilter/nft_connlimit.c). No element of a set with timeouts can have a `ct count` of its own
//! (`nft_set_elem_expr_alloc`, net/netfilter/nf_tables_api.c), and a verdict map would hold its chains until its elements are
//! collected, some time after their end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::ruleset::{FAMILY, TABLE};

/// The chain that caps.
pub const CHAIN: &str = "cap";
/// Behind conntrack (-200), which must have made the entry, and before destination NAT (-100), so that what is dropped costs no
/// more than that (include/uapi/linux/netfilter_ipv4.h).
pub const PRIORITY: i32 = -150;
/// The most entries that a cap can leave to a source: for a new one the kernel looks up those that it has counted
/// (`__nf_conncount_add`, net/netfilter/nf_conncount.c). Measured on Linux 6.18 with 30,000 new flows: 1.2 s without a cap and with
/// one of 1000, 2.0 s with 4000, 5.7 s with 10,000, 31 s with 60,000.
pub const ENTRIES_MAX: u32 = 4096;
/// The most caps: each packet is held against all of them.
pub const CAPS_MAX: usize = 64;

const PREFIX: &str = "cap_";

/// The set of a cap: the address in hexadecimal digits, then its length.
pub fn set_name(network: &IpNet) -> String {
    let length = network.prefix_len();
    match network.addr() {
        IpAddr::V4(address) => format!("{PREFIX}{:08x}_{length}", address.to_bits()),
        IpAddr::V6(address) => format!("{PREFIX}{:032x}_{length}", address.to_bits()),
    }
}

/// Whose cap a set is; `None` if it is no cap's.
pub fn source_of(set_name: &str) -> Option<IpNet> {
    let (digits, length) = set_name.strip_prefix(PREFIX)?.split_once('_')?;
    let address: IpAddr = match digits.len() {
        8 => Ipv4Addr::from_bits(u32::from_str_radix(digits, 16).ok()?).into(),
        32 => Ipv6Addr::from_bits(u128::from_str_radix(digits, 16).ok()?).into(),
        _ => return None,
    };
    let network = IpNet::new(address, length.parse().ok()?).ok()?;
    // One name for each source, and no other.
    (network == network.trunc() && self::set_name(&network) == set_name).then_some(network)
}

/// What the elements of its set are, in nft's words.
pub fn element_type(network: &IpNet) -> &'static str {
    match network {
        IpNet::V4(_) => "ipv4_addr",
        IpNet::V6(_) => "ipv6_addr",
    }
}

/// The flags of its set, in nft's words.
pub fn flags(network: &IpNet) -> &'static [&'static str] {
    if network.prefix_len() == network.max_prefix_len() {
        &["timeout"]
    } else {
        &["interval", "timeout"]
    }
}

/// The protocol whose source address is looked up in its set, in nft's words.
pub fn protocol(network: &IpNet) -> &'static str {
    match network {
        IpNet::V4(_) => "ip",
        IpNet::V6(_) => "ip6",
    }
}

/// The commands, one a line, that make table and chain where they are not there yet; they change nothing that is.
pub fn chain() -> String {
    format!(
        "add table {FAMILY} {TABLE}\n\
         add chain {FAMILY} {TABLE} {CHAIN} {{ type filter hook prerouting priority {PRIORITY}; policy accept; }}\n"
    )
}

/// The command that makes a cap's set where it is not there yet.
pub fn set(network: &IpNet) -> String {
    let (name, kind, flags) = (set_name(network), element_type(network), flags(network).join(","));
    format!("add set {FAMILY} {TABLE} {name} {{ type {kind}; flags {flags}; }}\n")
}

/// The command that adds a cap's rule, which goes on counting what it drops from these packets and bytes.
///
/// Only packets whose entry is not in the table yet (IPS_CONFIRMED) are held against it, so that no flow that has its entry is
/// cut off. A kernel that looks for ended entries once a tick at most (`last_gc` in `__nf_conncount_add`) would count a flow
/// again for a second packet.
pub fn rule(network: &IpNet, entries_max: u32, packets: u64, bytes: u64) -> String {
    let (protocol, name) = (protocol(network), set_name(network));
    format!(
        "add rule {FAMILY} {TABLE} {CHAIN} {protocol} saddr @{name} ct status & confirmed == 0 ct count over {entries_max} counter packets {packets} bytes {bytes} drop\n"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_set_is_named_after_its_source() {
        for (source, name) in [
            ("10.0.1.66/32", "cap_0a000142_32"),
            ("10.0.1.0/24", "cap_0a000100_24"),
            ("2001:db8::/64", "cap_20010db8000000000000000000000000_64"),
        ] {
            let source: IpNet = source.parse().unwrap();
            assert_eq!((set_name(&source).as_str(), source_of(name)), (name, Some(source)));
        }
        for other in [
            "block4",
            "cap_",
            "cap_0a000142",
            "cap_0a000142_24",
            "cap_0A000142_32",
            "cap_+a000142_32",
            "cap_0a000142_032",
            "cap_0a000142_33",
        ] {
            assert_eq!(source_of(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn every_source_has_a_name_of_its_own(address: IpAddr, length in 0u8..=128) {
            let length = if address.is_ipv4() { length % 33 } else { length };
            let source = IpNet::new(address, length).unwrap().trunc();
            // What the kernel takes as a name (NFT_NAME_MAXLEN) is longer by far.
            prop_assert!(set_name(&source).len() < 64);
            prop_assert_eq!(source_of(&set_name(&source)), Some(source));
        }

        #[test]
        fn any_name_gives_a_result(name in "(cap_)?[0-9a-f_]{0,40}") {
            let _ = source_of(&name);
        }
    }
}
