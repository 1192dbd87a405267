//! Which prefixes hold much of the table beyond what is already said of their parts.
//!
//! /32, /24 and /16 of IPv4, /128, /64 and /48 of IPv6, over all protocols. A prefix is listed if what it
//! holds without its listed parts is enough to be listed; so each entry counts for one listed prefix at most.

use ctwatch_common::source::{FAMILY_IPV4, FAMILY_IPV6, SourceKey};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{snapshot::SourceNumbers, source};

/// A prefix is listed from this share of all entries on, so that there are at most 20.
pub const SHARE_MIN: f64 = 0.05;
/// And from so many entries on: in an all but empty table nobody is heavy.
pub const ENTRIES_MIN: u64 = 64;

/// Prefix lengths, from the widest.
const LEVELS_IPV4: [u8; 3] = [16, 24, 32];
const LEVELS_IPV6: [u8; 3] = [48, 64, 128];

/// What one address, or one prefix without room for its addresses, holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Holding {
    family: u16,
    /// The address from the highest bit on, whatever the family.
    bits: u128,
    length: u8,
    entries: u64,
    new_per_s: f64,
}

/// A prefix that is listed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prefix {
    /// The prefix.
    pub network: IpNet,
    /// Entries that no listed prefix inside it has.
    pub entries: u64,
    /// All its entries.
    pub entries_total: u64,
    /// Addresses that hold `entries`; where there was no room for addresses one for all of a prefix.
    pub sources: u64,
    /// Entries made in the last interval by those.
    pub new_per_s: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    entries: u64,
    sources: u64,
    new_per_s: f64,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.entries = self.entries.saturating_add(other.entries);
        self.sources += other.sources;
        self.new_per_s += other.new_per_s;
    }
}

impl Holding {
    /// What a key holds; `None` for a key that stands for a whole namespace.
    pub fn of_key(key: &SourceKey, entries: u64, new_per_s: f64) -> Option<Self> {
        (key.family != 0).then_some(Self {
            family: key.family,
            bits: u128::from_be_bytes(key.address),
            length: key.prefix_length,
            entries,
            new_per_s,
        })
    }

    fn is_with(&self, other: &Self, length: u8) -> bool {
        self.length >= length
            && other.length >= length
            && masked(self.bits, length) == masked(other.bits, length)
    }
}

/// The prefixes that hold much among `rows`; `None` if what these hold is not known.
pub fn of_rows(rows: &[SourceNumbers]) -> Option<Vec<Prefix>> {
    let mut holdings = Vec::with_capacity(rows.len());
    let mut total = 0_u64;
    for row in rows {
        let Some(key) = &row.key else { continue };
        let entries = row.entries?;
        total = total.saturating_add(entries);
        let new_per_s = row.new_per_s.unwrap_or(0.0);
        if entries > 0 || new_per_s > 0.0 {
            holdings.extend(Holding::of_key(key, entries, new_per_s));
        }
    }
    Some(heavy(holdings, threshold(total, SHARE_MIN, ENTRIES_MIN)))
}

/// The share of `total`, at least `least`.
pub fn threshold(total: u64, share: f64, least: u64) -> u64 {
    // Counts of entries are far below what a float holds exactly.
    ((total as f64 * share).ceil() as u64).max(least)
}

/// The prefixes that hold at least `threshold` beyond their listed parts, the most first.
pub fn heavy(mut holdings: Vec<Holding>, threshold: u64) -> Vec<Prefix> {
    holdings.sort_unstable_by_key(|holding| (holding.family, holding.bits, holding.length));
    let mut found = Vec::new();
    for family in holdings.chunk_by(|a, b| a.family == b.family) {
        let levels = match family.first().map(|holding| holding.family) {
            Some(FAMILY_IPV4) => LEVELS_IPV4,
            Some(FAMILY_IPV6) => LEVELS_IPV6,
            _ => continue,
        };
        unexplained(family, &levels, threshold, &mut found);
    }
    found.sort_by(|a, b| b.entries.cmp(&a.entries).then_with(|| a.network.cmp(&b.network)));
    found
}

/// Lists the prefixes inside `holdings` that are heavy, and returns what is left without them.
fn unexplained(
    holdings: &[Holding],
    levels: &[u8],
    threshold: u64,
    found: &mut Vec<Prefix>,
) -> Sum {
    let Some((length, narrower)) = levels.split_first() else { return one_holder(holdings) };
    let mut left = Sum::default();
    for group in holdings.chunk_by(|a, b| a.is_with(b, *length)) {
        let Some(first) = group.first() else { continue };
        if first.length < *length {
            // A row for more than one prefix of this length: it belongs to none of them.
            left.add(one_holder(group));
            continue;
        }
        let own = unexplained(group, narrower, threshold, found);
        match network(first, *length).filter(|_| own.entries >= threshold) {
            Some(network) => found.push(Prefix {
                network,
                entries: own.entries,
                entries_total: one_holder(group).entries,
                sources: own.sources,
                new_per_s: own.new_per_s,
            }),
            None => left.add(own),
        }
    }
    left
}

/// The sum of what one address holds of several protocols.
fn one_holder(holdings: &[Holding]) -> Sum {
    let mut sum = Sum::default();
    for Holding { entries, new_per_s, .. } in holdings {
        sum.add(Sum { entries: *entries, sources: 0, new_per_s: *new_per_s });
    }
    Sum { sources: u64::from(sum.entries > 0), ..sum }
}

fn network(holding: &Holding, length: u8) -> Option<IpNet> {
    let bits = masked(holding.bits, length);
    let address = source::address(holding.family, &bits.to_be_bytes())?;
    IpNet::new(address, length).ok()
}

fn masked(bits: u128, length: u8) -> u128 {
    bits & u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
