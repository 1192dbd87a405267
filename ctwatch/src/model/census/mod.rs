//! What one walk of the table tells beyond who holds it: states, zones, destinations, ports of source NAT.
//!
//! It is fed entry by entry while the table is walked, and hashes each of them into tables of a bounded size: it
//! keeps no entry, and its memory does not grow with the table.

pub mod bounded;
pub mod destinations;
pub mod distinct;
pub mod entry;
pub mod last;
pub mod remaining;
pub mod schedule;
pub mod snat;
pub mod state;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use ctwatch_common::source::SourceKey;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{moment::Moment, source};
use bounded::Bounded;
use destinations::{DestinationNumbers, Destinations};
use entry::WalkedEntry;
use remaining::{RemainingCounts, RemainingTimes};
use snat::{PoolNumbers, SnatPools};
use state::{StateCounts, StateNumbers};

/// How many rows each list of a census has at most.
pub const LISTED_MAX: usize = 20;
/// Sources whose shares are kept one by one, in 5 MB; those of further sources are only in the totals.
const SOURCES_MAX: usize = 114_688;

/// Entries of one source, or of all, by how far they are connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// All of them.
    pub entries: u32,
    /// Entries that the kernel does not evict to make room (`IPS_ASSURED`).
    pub assured: u32,
    /// Entries that nobody has answered (no `IPS_SEEN_REPLY`).
    pub unreplied: u32,
}

impl Shares {
    fn add(&mut self, entry: &WalkedEntry) {
        self.entries = self.entries.saturating_add(1);
        self.assured = self.assured.saturating_add(entry.assured.into());
        self.unreplied = self.unreplied.saturating_add(entry.unreplied.into());
    }

    /// Adds others to these.
    pub fn include(&mut self, other: Self) {
        self.entries = self.entries.saturating_add(other.entries);
        self.assured = self.assured.saturating_add(other.assured);
        self.unreplied = self.unreplied.saturating_add(other.unreplied);
    }
}

/// Everything that a walk has met so far.
#[derive(Debug)]
pub struct Tally {
    destinations_of: Option<IpNet>,
    entries: u64,
    all: Shares,
    states: StateCounts,
    remaining: RemainingCounts,
    zones: HashMap<u16, u64>,
    destinations: Destinations,
    snat: SnatPools,
    sources: Bounded<SourceKey, Shares>,
}

/// The result of one walk, as it is shown. Every number is of the moment of the walk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Census {
    /// Entries that were met.
    pub entries: u64,
    /// Of those, see [`Shares::assured`].
    pub assured: u64,
    /// Of those, see [`Shares::unreplied`].
    pub unreplied: u64,
    /// Entries by protocol and state, the most first.
    pub states: Vec<StateNumbers>,
    /// Entries by zone, the most first.
    pub zones: Vec<ZoneNumbers>,
    /// The destinations of most entries.
    pub destinations: Vec<DestinationNumbers>,
    /// Entries whose destination found no room to be counted; none of those destinations has many entries.
    pub destinations_not_counted: u64,
    /// The pools of source NAT with most ports taken.
    pub snat_pools: Vec<PoolNumbers>,
    /// How long they have left.
    pub remaining: RemainingTimes,
}

/// Entries of one conntrack zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneNumbers {
    /// The zone, 0 unless rules set one.
    pub zone: u16,
    /// Its entries.
    pub entries: u64,
}

/// A walk that is over: the census, and what other numbers are made from.
#[derive(Debug)]
pub struct Walk {
    /// When it was over.
    pub at: Moment,
    /// What is shown of it.
    pub census: Arc<Census>,
    /// All destinations that were counted.
    pub destinations: Destinations,
    /// Assured and unreplied entries by source.
    pub sources: HashMap<SourceKey, Shares>,
    /// Entries of sources that found no room: of these it is not known.
    pub sources_not_counted: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Tally {
    /// Of a walk that begins; destinations are counted of these sources only, if that is said.
    pub fn new(destinations_of: Option<IpNet>) -> Self {
        Self {
            destinations_of,
            entries: 0,
            all: Shares::default(),
            states: StateCounts::default(),
            remaining: RemainingCounts::default(),
            zones: HashMap::new(),
            destinations: Destinations::default(),
            snat: SnatPools::default(),
            sources: Bounded::new(SOURCES_MAX),
        }
    }

    /// Takes in an entry.
    pub fn add(&mut self, entry: &WalkedEntry) {
        self.entries += 1;
        self.all.add(entry);
        self.states.add(entry.flow.source.protocol, entry.state);
        self.remaining.add(entry);
        *self.zones.entry(entry.zone).or_default() += 1;
        let wanted = self.destinations_of.is_none_or(|of| source::is_of(&entry.flow.source, &of));
        if wanted {
            self.destinations.add(entry);
        }
        self.snat.add(entry);
        if let Some(shares) = self.sources.of(entry.flow.source) {
            shares.add(entry);
        }
    }

    /// Ends the walk.
    pub fn end(self, at: Moment) -> Walk {
        let census = Census {
            entries: self.entries,
            assured: self.all.assured.into(),
            unreplied: self.all.unreplied.into(),
            states: self.states.numbers(),
            zones: zones(&self.zones),
            destinations: self.destinations.most(LISTED_MAX),
            destinations_not_counted: self.destinations.not_counted(),
            snat_pools: self.snat.most(LISTED_MAX),
            remaining: self.remaining.end(),
        };
        Walk {
            at,
            census: Arc::new(census),
            destinations: self.destinations,
            sources_not_counted: self.sources.not_counted(),
            sources: self.sources.into_counts(),
        }
    }
}

fn zones(zones: &HashMap<u16, u64>) -> Vec<ZoneNumbers> {
    // By zone first, so that equals are in a fixed order.
    let ordered: BTreeMap<u16, u64> =
        zones.iter().map(|(zone, entries)| (*zone, *entries)).collect();
    let mut zones: Vec<ZoneNumbers> =
        ordered.into_iter().map(|(zone, entries)| ZoneNumbers { zone, entries }).collect();
    zones.sort_by_key(|zone| std::cmp::Reverse(zone.entries));
    zones.truncate(LISTED_MAX);
    zones
}

#[cfg(test)]
pub(crate) mod tests;
