//! Where the entries go: for each destination how many, from how many sources, and how many nobody answered.

use std::{cmp::Reverse, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::{bounded::Bounded, distinct::DistinctAddresses, entry::WalkedEntry};
use crate::model::protocol;

/// Destinations that are counted; with the addresses of their sources they take at most 21 MB. One with 1 in 200
/// entries is missing with a probability of 10⁻⁹, see [`Bounded`].
const DESTINATIONS_MAX: usize = 4096;

/// Where packets go, before translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Destination {
    /// The address.
    pub address: IpAddr,
    /// The port; `None` for a protocol without.
    pub port: Option<u16>,
    /// IP protocol number.
    pub protocol: u8,
}

/// What was counted of one.
#[derive(Clone, Debug, Default)]
pub struct DestinationTally {
    /// Entries to it.
    pub entries: u64,
    /// Of those, entries that nobody has answered.
    pub unreplied: u64,
    /// Of those, see [`WalkedEntry::is_half_open`].
    pub half_open: u64,
    /// Whom they come from.
    pub sources: DistinctAddresses,
}

impl DestinationTally {
    /// Adds what was counted of another destination.
    pub fn include(&mut self, other: &Self) {
        self.entries += other.entries;
        self.unreplied += other.unreplied;
        self.half_open += other.half_open;
        self.sources.include(&other.sources);
    }
}

/// What is shown of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationNumbers {
    /// Which one.
    pub destination: Destination,
    /// Entries to it.
    pub entries: u64,
    /// Different source addresses, see [`DistinctAddresses::count`].
    pub sources: u64,
    /// Entries that nobody has answered.
    pub unreplied: u64,
    /// Those, and the ones of TCP that are not beyond the answer to their first packet.
    pub half_open: u64,
}

/// All that were counted.
#[derive(Clone, Debug)]
pub struct Destinations {
    counts: Bounded<Destination, DestinationTally>,
}

impl Default for Destinations {
    fn default() -> Self {
        Self { counts: Bounded::new(DESTINATIONS_MAX) }
    }
}

impl Destinations {
    /// Takes in an entry.
    pub fn add(&mut self, entry: &WalkedEntry) {
        let protocol = entry.flow.source.protocol;
        let destination = Destination {
            address: entry.flow.destination,
            port: protocol::has_ports(protocol).then_some(entry.flow.destination_port),
            protocol,
        };
        if let Some(tally) = self.counts.of(destination) {
            tally.entries += 1;
            tally.unreplied += u64::from(entry.unreplied);
            tally.half_open += u64::from(entry.is_half_open());
            tally.sources.add(&entry.flow.source);
        }
    }

    /// Each of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Destination, &DestinationTally)> {
        self.counts.iter()
    }

    /// The `listed_max` with most entries, the most first.
    pub fn most(&self, listed_max: usize) -> Vec<DestinationNumbers> {
        let mut ordered: Vec<_> = self.iter().collect();
        ordered
            .sort_unstable_by_key(|(destination, tally)| (Reverse(tally.entries), **destination));
        let numbers =
            |(destination, tally): (&Destination, &DestinationTally)| DestinationNumbers {
                destination: *destination,
                entries: tally.entries,
                sources: tally.sources.count(),
                unreplied: tally.unreplied,
                half_open: tally.half_open,
            };
        ordered.into_iter().take(listed_max).map(numbers).collect()
    }

    /// Entries whose destination found no room.
    pub fn not_counted(&self) -> u64 {
        self.counts.not_counted()
    }
}
