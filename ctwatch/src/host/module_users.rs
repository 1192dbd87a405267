//! Which modules need conntrack, and in which order they could be removed; it removes none.

use std::{collections::BTreeMap, fs};

use super::modules::{self, Presence};
use crate::advise::facts::{ModuleUse, Modules};

const CONNTRACK: &str = "nf_conntrack";

/// Reads `/proc/modules`, which a kernel without modules does not have.
pub fn read() -> Modules {
    let presence = modules::conntrack();
    let text = fs::read_to_string("/proc/modules").unwrap_or_default();
    Modules {
        is_loaded: presence != Presence::Absent,
        is_built_in: presence == Presence::BuiltIn,
        removal_order: removal_order(&text),
    }
}

/// What needs conntrack, directly or not, each before those that it needs, conntrack last; empty if it is no module.
fn removal_order(modules: &str) -> Vec<ModuleUse> {
    let all: Vec<ModuleUse> = modules.lines().filter_map(module).collect();
    let by_name: BTreeMap<&str, &ModuleUse> =
        all.iter().map(|module| (module.name.as_str(), module)).collect();
    let (mut begun, mut order) = (Vec::new(), Vec::new());
    if let Some(conntrack) = by_name.get(CONNTRACK) {
        visit(conntrack, &by_name, &mut begun, &mut order);
    }
    order
}

/// First the users of a module, then the module itself. What has been begun is not begun again, so that a text in which
/// modules need each other ends as well; the kernel has no such modules.
fn visit<'a>(
    module: &'a ModuleUse,
    all: &BTreeMap<&str, &'a ModuleUse>,
    begun: &mut Vec<&'a str>,
    order: &mut Vec<ModuleUse>,
) {
    if begun.contains(&module.name.as_str()) {
        return;
    }
    begun.push(&module.name);
    for user in &module.used_by {
        if let Some(user) = all.get(user.as_str()) {
            visit(user, all, begun, order);
        }
    }
    order.push(module.clone());
}

/// A line `NAME SIZE REFERENCES USERS STATE ADDRESS`; users are separated and ended by a comma, `-` if none
/// (`m_show`, kernel/module/procfs.c). `[permanent]` among them is a module without an exit.
fn module(line: &str) -> Option<ModuleUse> {
    let mut words = line.split_whitespace();
    let name = words.next()?.to_owned();
    let references: u64 = words.nth(1)?.parse().ok()?;
    let users = words.next()?.split(',').filter(|user| !user.is_empty() && *user != "-");
    let used_by: Vec<String> = users.map(str::to_owned).collect();
    let held = references.saturating_sub(used_by.len() as u64);
    Some(ModuleUse { name, used_by, held })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Debian 12, a gateway with nft rules.
    const MODULES: &str = "\
nft_masq 16384 2 - Live 0x0000000000000000
nft_ct 24576 1 - Live 0x0000000000000000
nft_chain_nat 16384 1 - Live 0x0000000000000000
nf_nat 61440 2 nft_masq,nft_chain_nat, Live 0x0000000000000000
nf_conntrack_netlink 57344 0 - Live 0x0000000000000000
nf_conntrack 188416 4 nft_masq,nft_ct,nf_nat,nf_conntrack_netlink, Live 0x0000000000000000
nf_defrag_ipv6 24576 1 nf_conntrack, Live 0x0000000000000000
nf_tables 290816 9 nft_masq,nft_ct,nft_chain_nat, Live 0x0000000000000000
nfnetlink 20480 3 nf_conntrack_netlink,nf_tables, Live 0x0000000000000000
ext4 983040 1 - Live 0x0000000000000000
";

    #[test]
    fn each_module_comes_before_those_that_it_needs() {
        let order = removal_order(MODULES);
        let names: Vec<&str> = order.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "nft_masq",
                "nft_ct",
                "nft_chain_nat",
                "nf_nat",
                "nf_conntrack_netlink",
                "nf_conntrack"
            ]
        );
        let held: Vec<u64> = order.iter().map(|module| module.held).collect();
        assert_eq!(held, [2, 1, 1, 0, 0, 0]);
    }

    #[test]
    fn built_in_there_is_nothing_to_remove() {
        assert_eq!(removal_order(""), []);
        assert_eq!(removal_order("ext4 983040 1 - Live 0x0\nnonsense\n"), []);
    }

    #[test]
    fn a_circle_ends() {
        let order = removal_order("nf_conntrack 1 1 a, Live\na 1 1 nf_conntrack, Live\n");
        assert_eq!(order.len(), 2);
    }

    proptest! {
        #[test]
        fn any_text_gives_an_order(text in "(nf_conntrack|[ab]) [0-9] [0-9] [ab,]{0,4} Live\n{0,3}.*") {
            let _ = removal_order(&text);
        }
    }
}
