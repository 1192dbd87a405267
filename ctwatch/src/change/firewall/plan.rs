//! Decides what a call of `ctwatch block` or `unblock` does to the sets, and words it as one transaction: pure.

use std::{collections::BTreeMap, fmt::Write as _, net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::{
    cap_plan::uncap,
    caps::Capped,
    listing::{Blocked, Chain, Dropped, Listing},
};
use crate::blocklist::{
    cap_ruleset,
    note::Note,
    ruleset::{self, CHAIN, FAMILY, Set, TABLE, element},
};

/// Chains that ctwatch makes to keep sources out.
const CHAINS: &[&str] = &[CHAIN, cap_ruleset::CHAIN];

/// A source that is to be blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Who, without host bits.
    pub network: IpNet,
    /// Why; what was written beside it stays if nothing is said.
    pub why: Option<String>,
}

/// What holds for all sources of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Now, in seconds since 1970.
    pub now_s: u64,
    /// By whom.
    pub by: String,
    /// For how long, in whole seconds.
    pub duration: Duration,
}

/// What becomes of a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is blocked now.
    Blocked,
    /// It was blocked before, and has its time anew.
    Extended,
    /// It lies in a network that is blocked for at least as long.
    Covered(IpNet),
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockPlan {
    /// The transaction.
    pub script: String,
    /// Each source once, by its network: what becomes of it, and since when it is blocked, in seconds since 1970.
    pub outcomes: BTreeMap<IpNet, (Outcome, u64)>,
    /// Blocked networks whose place a wider one takes.
    pub absorbed: Vec<(IpNet, IpNet)>,
}

/// Why it cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// It would end a block of a part of it too early.
    #[error(
        "{} contains {}, which is blocked for longer ({}): block it for at least that long, or first 'ctwatch unblock {}'",
        element(.network), element(.within), left(*.left_s), element(.within)
    )]
    Shorter {
        /// What was to be blocked.
        network: IpNet,
        /// The network in it.
        within: IpNet,
        /// How much longer that is blocked.
        left_s: Option<u64>,
    },
    /// The kernel keeps no network within another one.
    #[error(
        "{} lies in {}, which is blocked for a shorter time ({}): block {} for longer instead, or first 'ctwatch unblock {}'",
        element(.network), element(.around), left(*.left_s), element(.around), element(.around)
    )]
    Longer {
        /// What was to be blocked.
        network: IpNet,
        /// The network around it.
        around: IpNet,
        /// How much longer that is blocked.
        left_s: Option<u64>,
    },
    /// A set is somebody else's.
    #[error(
        "the set {0} of the table inet ctwatch is not as ctwatch makes it: somebody else has made it; take it away with 'nft delete table inet ctwatch', or rename it"
    )]
    ForeignSet(&'static str),
    /// It was to be unblocked, and is not blocked.
    #[error("{} is not blocked, nor capped{}", element(.network), nearby(.near))]
    NotBlocked {
        /// What was to be unblocked.
        network: IpNet,
        /// What is blocked around it, or in it.
        near: Vec<IpNet>,
    },
}

fn left(left_s: Option<u64>) -> String {
    left_s.map_or_else(|| "for ever".to_owned(), |left_s| format!("{left_s} s more"))
}

fn nearby(near: &[IpNet]) -> String {
    /// More are not named.
    const NAMED_MAX: usize = 5;
    if near.is_empty() {
        return "; 'ctwatch blocks' lists who is".to_owned();
    }
    let mut named: Vec<String> = near.iter().take(NAMED_MAX).map(element).collect();
    if near.len() > NAMED_MAX {
        named.push(format!("{} more", near.len() - NAMED_MAX));
    }
    format!("; what is blocked around it or in it: {}", named.join(", "))
}

/// Plans to block. One source within another one of the call is covered by it.
///
/// # Errors
///
/// [`PlanError`], if not all of it can be done.
pub fn block(listing: &Listing, wishes: &[Wish], terms: &Terms) -> Result<BlockPlan, PlanError> {
    if let Some(name) = listing.foreign_sets.first() {
        return Err(PlanError::ForeignSet(name));
    }
    // Addresses are left out: nothing lies in one, and those in a network stay beside it, in a set of their own.
    let mut networks: BTreeMap<IpNet, Option<u64>> = listing
        .blocks
        .iter()
        .filter(|block| !is_address(&block.network))
        .map(|block| (block.network, block.left_s))
        .collect();
    let before: BTreeMap<IpNet, &Blocked> =
        listing.blocks.iter().map(|block| (block.network, block)).collect();
    let mut plan = BlockPlan { script: rules(listing), ..BlockPlan::default() };
    // Wide ones first, so that those within them find them.
    let mut wishes: Vec<&Wish> = wishes.iter().collect();
    wishes.sort_by_key(|wish| (wish.network.prefix_len(), wish.network));
    let duration_s = terms.duration.as_secs();
    for Wish { network, why } in wishes {
        if plan.outcomes.contains_key(network) {
            continue;
        }
        if let Some((around, left_s)) = around(&networks, network) {
            if left_s.is_none_or(|left_s| left_s >= duration_s) {
                let since_s = before.get(&around).and_then(|block| since_s(block));
                let outcome = (Outcome::Covered(around), since_s.unwrap_or(terms.now_s));
                plan.outcomes.insert(*network, outcome);
                continue;
            }
            if !is_address(network) {
                return Err(PlanError::Longer { network: *network, around, left_s });
            }
        }
        for (within, left_s) in networks_within(&networks, network) {
            if left_s.is_none_or(|left_s| left_s > duration_s) {
                return Err(PlanError::Shorter { network: *network, within, left_s });
            }
            plan.script += &remove(&within);
            plan.absorbed.push((within, *network));
            networks.remove(&within);
        }
        let known = before.get(network).copied();
        let old_note = known.and_then(|block| block.note.as_ref());
        let note = note(old_note, why.as_deref(), terms);
        if known.is_some() {
            // A kernel before 6.12 keeps the old timeout of an element that is added again, and any one its comment.
            plan.script += &remove(network);
        }
        plan.script += &add(network, &note, known.and_then(|block| block.dropped), duration_s);
        if !is_address(network) {
            networks.insert(*network, Some(duration_s));
        }
        let outcome = if known.is_some() { Outcome::Extended } else { Outcome::Blocked };
        plan.outcomes.insert(*network, (outcome, note.since_s));
    }
    Ok(plan)
}

/// Plans to unblock these, and to lift their caps.
///
/// # Errors
///
/// [`PlanError::NotBlocked`] if one is neither blocked nor capped.
pub fn unblock(listing: &Listing, networks: &[IpNet]) -> Result<String, PlanError> {
    let blocked: BTreeMap<IpNet, Option<u64>> =
        listing.blocks.iter().map(|block| (block.network, block.left_s)).collect();
    let mut networks = networks.to_vec();
    networks.sort_unstable();
    networks.dedup();
    let capped = |network: &IpNet| listing.caps.held.iter().find(|cap| cap.network == *network);
    let lifted: Vec<&Capped> = networks.iter().filter_map(capped).collect();
    let mut script = uncap(&listing.caps, &lifted);
    for network in networks {
        if capped(&network).is_some() && !blocked.contains_key(&network) {
            continue;
        }
        if !blocked.contains_key(&network) {
            let mut near: Vec<IpNet> =
                around(&blocked, &network).into_iter().map(|each| each.0).collect();
            near.extend(blocked.keys().filter(|each| network.contains(*each)));
            return Err(PlanError::NotBlocked { network, near });
        }
        script += &remove(&network);
    }
    Ok(script)
}

/// Plans to take back all that keeps sources out, and the table if nothing else is in it; nothing to do is an empty script.
pub fn unblock_all(listing: &Listing) -> String {
    let ours = |kind: &str, name: &str| match kind {
        "chain" => CHAINS.contains(&name),
        "set" => {
            Set::ALL.iter().any(|set| set.name() == name) || cap_ruleset::source_of(name).is_some()
        }
        _ => false,
    };
    if listing.has_table && listing.objects.iter().all(|(kind, name)| ours(kind, name)) {
        return format!("delete table {FAMILY} {TABLE}\n");
    }
    let mut script = String::new();
    // A set can go when no rule looks into it any more.
    for kind in ["chain", "set"] {
        for (_, name) in listing.objects.iter().filter(|(of, name)| of == kind && ours(of, name)) {
            if kind == "chain" {
                let _ = writeln!(script, "flush chain {FAMILY} {TABLE} {name}");
            }
            let _ = writeln!(script, "delete {kind} {FAMILY} {TABLE} {name}");
        }
    }
    script
}

/// Since when something is blocked, as written beside it.
pub fn since_s(block: &Blocked) -> Option<u64> {
    block.note.as_ref().map(|note| note.since_s)
}

fn rules(listing: &Listing) -> String {
    let mut script = ruleset::sets();
    if listing.chain == Chain::OtherHook {
        let _ = writeln!(script, "flush chain {FAMILY} {TABLE} {CHAIN}");
        let _ = writeln!(script, "delete chain {FAMILY} {TABLE} {CHAIN}");
    }
    script + &ruleset::chain()
}

/// What is written beside a block or a cap, given what was written before.
pub(super) fn note(known: Option<&Note>, why: Option<&str>, terms: &Terms) -> Note {
    Note {
        since_s: known.map_or(terms.now_s, |note| note.since_s),
        by: terms.by.clone(),
        why: why.or(known.map(|note| note.why.as_str())).unwrap_or_default().to_owned(),
    }
}

fn remove(network: &IpNet) -> String {
    let set = Set::of(network);
    let (set, element) = (set.name(), set.element(network));
    format!("delete element {FAMILY} {TABLE} {set} {{ {element} }}\n")
}

fn add(network: &IpNet, note: &Note, dropped: Option<Dropped>, duration_s: u64) -> String {
    let set = Set::of(network);
    let (set, element) = (set.name(), set.element(network));
    let Dropped { packets, bytes } = dropped.unwrap_or_default();
    format!(
        "add element {FAMILY} {TABLE} {set} {{ {element} counter packets {packets} bytes {bytes} timeout {duration_s}s comment \"{}\" }}\n",
        note.to_text()
    )
}

fn is_address(network: &IpNet) -> bool {
    network.prefix_len() == network.max_prefix_len()
}

/// The blocked network around another one that is blocked longest.
fn around(blocked: &BTreeMap<IpNet, Option<u64>>, network: &IpNet) -> Option<(IpNet, Option<u64>)> {
    let mut wider = *network;
    while let Some(supernet) = wider.supernet() {
        wider = supernet;
        if let Some(left_s) = blocked.get(&wider) {
            return Some((wider, *left_s));
        }
    }
    None
}

/// The networks in another one.
fn networks_within(
    networks: &BTreeMap<IpNet, Option<u64>>,
    network: &IpNet,
) -> Vec<(IpNet, Option<u64>)> {
    let address = |address: IpAddr| IpNet::from(address);
    // Networks are in the order of their addresses, and with the same one the wider comes first.
    let first = IpNet::new(network.network(), network.prefix_len()).unwrap_or(*network);
    let last = address(network.broadcast());
    let range = networks.range(first..=last);
    let inner = range.filter(|(each, _)| *each != network && network.contains(*each));
    inner.map(|(each, left_s)| (*each, *left_s)).collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
