//! Decides what a call of `ctwatch cap` does to the rules, and words it as one transaction: pure.

use ipnet::IpNet;

use super::{
    caps::{Capped, Caps},
    listing::{Chain, Dropped},
    plan::{Terms, Wish, note},
};
use crate::blocklist::{
    cap_ruleset::{self, CAPS_MAX, CHAIN, set_name},
    ruleset::{FAMILY, TABLE, element},
};

/// What becomes of a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapOutcome {
    /// It is capped now.
    Capped,
    /// It was capped already: it has its time anew, and what was counted counts on.
    Extended,
    /// It was capped to another number: entries are counted anew.
    Changed,
}

/// Why it cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CapError {
    /// There are enough.
    #[error(
        "{CAPS_MAX} sources are capped, and each packet is held against every cap: lift one with 'ctwatch unblock', cap a network as a whole, or block ('ctwatch block'), which has room for many"
    )]
    TooMany,
    /// A set is somebody else's.
    #[error(
        "the set {0} of the table inet ctwatch is not as ctwatch makes it: somebody else has made it; take it away with 'nft delete table inet ctwatch', or rename it"
    )]
    ForeignSet(String),
}

/// Plans to cap a source.
///
/// # Errors
///
/// [`CapError`].
pub fn cap(
    caps: &Caps,
    wish: &Wish,
    entries_max: u32,
    terms: &Terms,
) -> Result<(String, CapOutcome), CapError> {
    let network = &wish.network;
    let name = set_name(network);
    if caps.foreign_sets.contains(&name) {
        return Err(CapError::ForeignSet(name));
    }
    let known = caps.held.iter().find(|cap| cap.network == *network);
    if known.is_none() && caps.held.len() >= CAPS_MAX {
        return Err(CapError::TooMany);
    }
    let is_made_anew = matches!(caps.chain, Chain::OtherRules | Chain::OtherHook);
    let mut script = if is_made_anew { made_anew(caps, network) } else { cap_ruleset::chain() };
    if !is_made_anew {
        script.extend(caps.remnant_rules.iter().map(|handle| delete_rule(*handle)));
    }
    script.extend(caps.remnants.iter().filter(|each| **each != name).map(|each| delete_set(each)));

    script += &cap_ruleset::set(network);
    if known.is_some() || caps.without_rule.contains(network) {
        // A kernel before 6.12 keeps the old timeout of an element that is added again, and any one its comment.
        script += &format!("delete element {FAMILY} {TABLE} {name} {{ {} }}\n", element(network));
    }
    let note = note(known.and_then(|cap| cap.note.as_ref()), wish.why.as_deref(), terms);
    script += &format!(
        "add element {FAMILY} {TABLE} {name} {{ {} timeout {}s comment \"{}\" }}\n",
        element(network),
        terms.duration.as_secs(),
        note.to_text()
    );
    let outcome = match known {
        None => CapOutcome::Capped,
        Some(cap) if cap.entries_max == entries_max && !is_made_anew => CapOutcome::Extended,
        Some(_) => CapOutcome::Changed,
    };
    if outcome != CapOutcome::Extended {
        if let Some(cap) = known.filter(|_| !is_made_anew) {
            script += &delete_rule(cap.handle);
        }
        let Dropped { packets, bytes } = known.map(|cap| cap.dropped).unwrap_or_default();
        script += &cap_ruleset::rule(network, entries_max, packets, bytes);
    }
    Ok((script, outcome))
}

/// The chain that somebody has changed, made anew with the rules of all other caps.
fn made_anew(caps: &Caps, except: &IpNet) -> String {
    let mut script = flush_chain();
    if caps.chain == Chain::OtherHook {
        script += &delete_chain();
    }
    script += &cap_ruleset::chain();
    for cap in caps.held.iter().filter(|cap| cap.network != *except) {
        let Dropped { packets, bytes } = cap.dropped;
        script += &cap_ruleset::rule(&cap.network, cap.entries_max, packets, bytes);
    }
    script
}

/// Plans to lift caps, and to sweep away what is left of others; the chain goes with the last one.
pub fn uncap(caps: &Caps, lifted: &[&Capped]) -> String {
    let mut script = String::new();
    if lifted.len() == caps.held.len() && caps.chain != Chain::Missing {
        script = flush_chain() + &delete_chain();
    } else {
        let handles = lifted.iter().map(|cap| cap.handle).chain(caps.remnant_rules.iter().copied());
        script.extend(handles.map(delete_rule));
    }
    let names = lifted.iter().map(|cap| set_name(&cap.network));
    script.extend(names.chain(caps.remnants.iter().cloned()).map(|name| delete_set(&name)));
    script
}

fn flush_chain() -> String {
    format!("flush chain {FAMILY} {TABLE} {CHAIN}\n")
}

fn delete_chain() -> String {
    format!("delete chain {FAMILY} {TABLE} {CHAIN}\n")
}

fn delete_rule(handle: u64) -> String {
    format!("delete rule {FAMILY} {TABLE} {CHAIN} handle {handle}\n")
}

fn delete_set(name: &str) -> String {
    format!("delete set {FAMILY} {TABLE} {name}\n")
}

#[cfg(test)]
#[path = "cap_plan_tests.rs"]
mod tests;
