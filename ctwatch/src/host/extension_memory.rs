//! What the extensions of an entry take: accounting, events, time stamps and source NAT each add to it; reads only.
//!
//! The kernel allocates them as one block beside the entry, and at least [`BLOCK_BYTES`] at once (`nf_ct_ext_add`,
//! net/netfilter/nf_conntrack_extend.c: `NF_CT_EXT_PREALLOC`). All but rare combinations fit into that. The block lies in a
//! slab that everybody uses, so how many entries have one cannot be measured exactly: it follows from settings, listeners and
//! rules for new entries, and what the slab holds is the most that there can be now.

use std::fs;

use super::namespace::NetworkNamespace;
use crate::advise::{
    facts::Memory,
    settings::{PREFIX, Settings},
};

/// The least that a block of extensions takes.
pub const BLOCK_BYTES: u64 = 128;
/// The protocol number of netfilter's netlink (include/uapi/linux/netlink.h).
const NETLINK_NETFILTER: &str = "12";
/// The multicast groups of new, updated and ended entries (`NFNLGRP_CONNTRACK_NEW` and following).
const CONNTRACK_GROUPS: u32 = 0b111;

/// Adds to the memory what is known of extensions.
pub fn add_to(
    memory: &mut Memory,
    namespace: &NetworkNamespace,
    settings: &Settings,
    translates_sources: Option<bool>,
) {
    let sockets = namespace.run(|| fs::read_to_string("/proc/thread-self/net/netlink"));
    let has_listeners = sockets.ok().and_then(Result::ok).map(|sockets| has_listeners(&sockets));
    memory.extension_bytes = None;
    let reasons = reasons(settings, has_listeners == Some(true), translates_sources);
    memory.extension_reasons = reasons.into_iter().map(Into::into).collect();
    if !memory.extension_reasons.is_empty() {
        memory.extension_bytes = Some(BLOCK_BYTES);
    } else if has_listeners.is_some() && translates_sources.is_some() {
        memory.extension_bytes = Some(0);
    }
    let slabs = fs::read_to_string("/proc/slabinfo").unwrap_or_default();
    memory.entry_objects = objects(&slabs, |name| name == "nf_conntrack");
    memory.extension_objects_max = objects(&slabs, is_of_block_size);
}

/// What makes new entries have extensions.
fn reasons(
    settings: &Settings,
    has_listeners: bool,
    translates_sources: Option<bool>,
) -> Vec<&'static str> {
    let setting = |name: &str| settings.get(&format!("{PREFIX}{name}"));
    let mut reasons = Vec::new();
    if setting("acct") == Some(1) {
        reasons.push("nf_conntrack_acct = 1 counts packets and bytes");
    }
    if setting("timestamp") == Some(1) {
        reasons.push("nf_conntrack_timestamp = 1 keeps when a connection began");
    }
    match setting("events") {
        Some(1) => {
            reasons.push("nf_conntrack_events = 1 prepares events, whether anybody listens or not")
        }
        // Since 5.19 (`nf_ct_ecache_ext_add`, net/netfilter/nf_conntrack_ecache.c).
        Some(2) if has_listeners => {
            reasons.push(
                "a program listens to events, and nf_conntrack_events = 2 prepares them then",
            );
        }
        _ => {}
    }
    if translates_sources == Some(true) {
        reasons.push("masquerading notes the interface");
    }
    reasons
}

/// Whether a socket is a member of conntrack's groups, by `/proc/net/netlink`: address, protocol, port, groups in hexadecimal.
fn has_listeners(sockets: &str) -> bool {
    sockets.lines().skip(1).any(|line| {
        let mut words = line.split_whitespace().skip(1);
        let is_netfilter = words.next() == Some(NETLINK_NETFILTER);
        let groups = words.nth(1).and_then(|groups| u32::from_str_radix(groups, 16).ok());
        is_netfilter && groups.is_some_and(|groups| groups & CONNTRACK_GROUPS != 0)
    })
}

/// `kmalloc-128`; some kernels have several of them, as in `kmalloc-rnd-07-128`. The block is not charged to a control group and not
/// reclaimable, so it is in none of `kmalloc-cg` and `kmalloc-rcl`.
fn is_of_block_size(slab: &str) -> bool {
    let Some(size) = slab.strip_prefix("kmalloc-") else { return false };
    let size = match size.strip_prefix("rnd-") {
        Some(numbered) => numbered.split_once('-').map_or("", |(_, size)| size),
        None => size,
    };
    size == "128"
}

/// The sum of `<active_objs>` over slabs (slabinfo(5)); `None` if there is none.
fn objects(slabinfo: &str, is_wanted: impl Fn(&str) -> bool) -> Option<u64> {
    let counts = slabinfo.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.next().filter(|name| is_wanted(name))?;
        words.next()?.parse::<u64>().ok()
    });
    counts.reduce(u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_named() {
        let settings = |values: &[(&str, i64)]| Settings {
            values: values
                .iter()
                .map(|(name, value)| (format!("{PREFIX}{name}"), *value))
                .collect(),
        };
        assert!(reasons(&settings(&[("acct", 0), ("events", 2)]), false, Some(false)).is_empty());
        assert_eq!(reasons(&settings(&[("events", 2)]), true, None).len(), 1);
        assert_eq!(reasons(&settings(&[("events", 0)]), true, None).len(), 0);
        let all = settings(&[("acct", 1), ("timestamp", 1), ("events", 1)]);
        assert_eq!(reasons(&all, false, Some(true)).len(), 4);
    }

    #[test]
    fn listeners_are_members_of_conntrack_s_groups() {
        let socket = |protocol: &str, groups: &str| {
            format!(
                "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n\
                 0000000072a89882 {protocol:<3} 812        {groups} 0        0        0     2        0        4\n"
            )
        };
        assert!(has_listeners(&socket("12", "00000007")));
        assert!(has_listeners(&socket("12", "00000004")));
        assert!(!has_listeners(&socket("12", "00000038")));
        assert!(!has_listeners(&socket("0", "00000007")));
        assert!(!has_listeners("nonsense\n12\n"));
    }

    #[test]
    fn blocks_are_counted_in_all_slabs_of_their_size() {
        let slabs = "\
kmalloc-rnd-07-128     10     32    128   32    1 : tunables    0    0    0
kmalloc-128           100    128    128   32    1 : tunables    0    0    0
kmalloc-cg-128       1000   1024    128   32    1 : tunables    0    0    0
kmalloc-1280000         7      7    128   32    1 : tunables    0    0    0
nf_conntrack           64    128    256   16    1 : tunables    0    0    0
";
        assert_eq!(objects(slabs, is_of_block_size), Some(110));
        assert_eq!(objects(slabs, |name| name == "nf_conntrack"), Some(64));
        assert_eq!(objects("", is_of_block_size), None);
    }
}
