//! Floods from addresses that are probably not their senders': one destination, many sources of next to no entries
//! each, of which hardly one has shown to be there.
//!
//! Such sources are innocent, and a list of them is worse than none. A flood is named by its destination and, where
//! its sources lie close together, by their prefixes.

use std::collections::HashMap;

use ctwatch_common::source::SourceKey;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    census::destinations::{Destination, DestinationTally, Destinations},
    prefix::{self, Holding},
    snapshot::SourceNumbers,
    source,
};

/// Fewer sources may be people. The number is an estimate with a standard error of 6 %.
pub const SOURCES_MIN: u64 = 1000;
/// Entries of a source, on average, up to which it may have opened them without being there: a scanner or a client
/// has more.
pub const ENTRIES_OF_A_SOURCE_MAX: u64 = 2;
/// The share of entries whose sender has not shown to be there: without an answer, or with a SYN-ACK that went astray.
/// Of a service with real clients nearly all entries are beyond that.
pub const HALF_OPEN_MIN: f64 = 0.9;
/// A prefix is named if it has this share of the sources.
pub const PREFIX_SHARE_MIN: f64 = 0.1;
/// Floods that are told of at once.
const FLOODS_MAX: usize = 10;

/// A flood, by the last walk of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flood {
    /// Where it goes; without a port if it goes to many.
    pub destination: Destination,
    /// Entries that it has made and that are left; at least so many if it goes to more ports than a walk counts
    /// destinations.
    pub entries: u64,
    /// Different source addresses, an estimate.
    pub sources: u64,
    /// Entries that nobody has answered, by all of its entries.
    pub unreplied_share: f64,
    /// Entries that never became connections, by all of its entries.
    pub half_open_share: f64,
    /// Prefixes that many of its sources lie in; none if they come from everywhere.
    pub prefixes: Vec<PrefixShare>,
}

/// A prefix, and its part of the sources of a flood.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrefixShare {
    /// The prefix.
    pub network: IpNet,
    /// Its share of the sources, without that of listed prefixes inside it; by a sample of 256 of them.
    pub share: f64,
}

/// The floods among the destinations of a walk, the largest first. One that goes to many ports of an address is one
/// flood without a port.
pub fn recognise(destinations: &Destinations) -> Vec<Flood> {
    let mut floods = Vec::new();
    let mut over_ports: HashMap<Destination, DestinationTally> = HashMap::new();
    for (destination, tally) in destinations.iter().filter(|(_, tally)| is_like_a_flood(tally)) {
        match flood(*destination, tally) {
            Some(flood) => floods.push(flood),
            None => {
                let address = Destination { port: None, ..*destination };
                over_ports.entry(address).or_default().include(tally);
            }
        }
    }
    floods.extend(over_ports.iter().filter_map(|(address, tally)| flood(*address, tally)));
    floods.sort_unstable_by(|a, b| {
        b.entries.cmp(&a.entries).then_with(|| a.destination.cmp(&b.destination))
    });
    floods.truncate(FLOODS_MAX);
    floods
}

/// Whether a row shows nothing but what sources that were made up for a flood would: it is of the flood's protocol, and
/// next to nothing was held, made or refused in the interval, or held before. Of a row for many addresses that is so
/// if it `is_crowd`, that is if its sources held next to nothing each.
pub fn is_only_part_of(
    floods: &[Flood],
    row: &SourceNumbers,
    is_crowd: impl Fn(&SourceKey) -> bool,
    interval_s: f64,
    since_start_s: f64,
) -> bool {
    let Some(key) = &row.key else { return false };
    // The row of all sources that found no room names nobody, and a flood fills it.
    let is_everybody = key.family == 0;
    let of_this_protocol =
        |flood: &Flood| is_everybody || flood.destination.protocol == key.protocol;
    let few = ENTRIES_OF_A_SOURCE_MAX as f64;
    let in_interval = |per_s: Option<f64>| per_s.unwrap_or(0.0) * interval_s;
    let is_small = || {
        row.entries.unwrap_or(0) <= ENTRIES_OF_A_SOURCE_MAX
            && in_interval(row.new_per_s) <= few
            && in_interval(row.refused_per_s) <= few
            && row.entry_seconds.unwrap_or(0.0) <= few * since_start_s
    };
    floods.iter().any(of_this_protocol) && (is_everybody || is_small() || is_crowd(key))
}

fn flood(destination: Destination, tally: &DestinationTally) -> Option<Flood> {
    let sources = tally.sources.count();
    (is_like_a_flood(tally) && sources >= SOURCES_MIN).then(|| Flood {
        destination,
        entries: tally.entries,
        sources,
        unreplied_share: share(tally.unreplied, tally),
        half_open_share: share(tally.half_open, tally),
        prefixes: prefixes(destination, tally),
    })
}

/// Whether it is one but for the number of its sources.
fn is_like_a_flood(tally: &DestinationTally) -> bool {
    tally.entries <= tally.sources.count().saturating_mul(ENTRIES_OF_A_SOURCE_MAX)
        && share(tally.half_open, tally) >= HALF_OPEN_MIN
}

fn share(part: u64, tally: &DestinationTally) -> f64 {
    part as f64 / tally.entries as f64
}

fn prefixes(destination: Destination, tally: &DestinationTally) -> Vec<PrefixShare> {
    let any = source::key(0, destination.address, destination.protocol);
    let sample: Vec<Holding> = tally
        .sources
        .sample()
        .filter_map(|address| Holding::of_key(&SourceKey { address: *address, ..any }, 1, 0.0))
        .collect();
    let sampled = sample.len() as u64;
    prefix::heavy(sample, prefix::threshold(sampled, PREFIX_SHARE_MIN, 2))
        .into_iter()
        .map(|prefix| PrefixShare {
            network: prefix.network,
            share: prefix.entries as f64 / sampled as f64,
        })
        .collect()
}

#[cfg(test)]
mod tests;
