//! The commands of nft that advice gives: one a line, each in the language of the shell, all in a table of their own, so
//! that nobody's rules are touched and one command takes them away. They can be given again without harm.

use std::net::IpAddr;

/// Where packets are kept from being tracked: before conntrack (include/uapi/linux/netfilter_ipv4.h, `NF_IP_PRI_RAW`, -300;
/// `NF_IP_PRI_CONNTRACK`, -200).
pub(super) const RAW: i32 = -300;
/// Behind conntrack and before translation of the destination.
pub(super) const AFTER_CONNTRACK: i32 = -150;

/// The table that all rules of advice are in.
pub(super) fn table() -> String {
    "nft add table inet ctwatch".to_owned()
}

/// A set.
pub(super) fn set(name: &str, definition: &str) -> String {
    format!("nft 'add set inet ctwatch {name} {{ {definition} }}'")
}

/// A chain without rules.
pub(super) fn chain(name: &str, hook: &str, priority: i32) -> [String; 2] {
    [
        format!(
            "nft 'add chain inet ctwatch {name} {{ type filter hook {hook} priority {priority}; }}'"
        ),
        format!("nft 'flush chain inet ctwatch {name}'"),
    ]
}

/// A rule at the end of a chain.
pub(super) fn rule(chain: &str, rule: &str) -> String {
    format!("nft 'add rule inet ctwatch {chain} {rule}'")
}

/// How to take the rules of chains away again, for whoever reads the commands: a comment of the shell.
pub(super) fn undo(chains: &[&str]) -> String {
    let flushed: Vec<String> =
        chains.iter().map(|chain| format!("flush chain inet ctwatch {chain}")).collect();
    format!("# to undo it: nft '{}'", flushed.join("; "))
}

/// A name for a chain: that of an advice, as far as nft allows it.
pub(super) fn name(id: &str) -> String {
    id.replace([':', '/'], "_")
}

/// What nft calls the family of an address in a rule.
pub(super) fn family(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "ip",
        IpAddr::V6(_) => "ip6",
    }
}
