//! How many entries the traffic wants: flows a second times how long each holds its entry (Little's law).
//!
//! At a full table what is held says nothing of that, as it is clipped at the limit; so both factors are estimated from what the kernel
//! counted, and each says how far off it may be.

use crate::{advise::case::Case, model::snapshot::SourceNumbers};

/// Packets that a client of TCP sends to open one connection, if none is answered: the SYN and six more
/// (`tcp_syn_retries`, Documentation/networking/ip-sysctl.rst).
const SYNS_OF_A_FLOW: i32 = 7;
const TCP: u8 = 6;
/// With fewer ends the lifetime is off by more than a fifth (1/√25).
const ENDS_MIN: u64 = 25;

/// Flows that ask for an entry, per second. Each refused packet may be another flow, or the same one trying again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flows {
    /// If each that is refused tries no more: too many.
    pub most_per_s: f64,
    /// If each of TCP that is refused sends its SYN again until it is taken, or seven times, each packet with the same
    /// chance: the estimate. Other protocols are taken not to try again.
    pub estimated_per_s: f64,
}

/// How long an entry lives if it is not evicted, on average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lifetime {
    /// In seconds: of each protocol entries held times seconds, by those that ended in their own time. Eviction only cuts
    /// the observation short; the quotient is right in a steady state, and where an end does not depend on the age: too
    /// large where it does and much is evicted.
    pub mean_s: f64,
    /// Its relative standard error, by the number of ends.
    pub error: f64,
}

/// What is wanted, and what it comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    /// Flows a second.
    pub flows: Flows,
    /// How long each is held; `None` if too few ended while it was looked.
    pub lifetime: Option<Lifetime>,
    /// Entries that would be held if there were room: no fewer than were; `None` without a lifetime.
    pub entries: Option<u64>,
}

/// Estimates it, protocol by protocol, as their entries live for different times; `None` if the mode counts no new entries.
pub fn estimate(case: &Case) -> Option<Demand> {
    case.totals().new?;
    let mut most_per_s = 0.0;
    let mut estimated_per_s = 0.0;
    let (mut entries, mut ends) = (Some(0.0), 0);
    for part in parts(case) {
        let flows = part.flows(case)?;
        most_per_s += flows.most_per_s;
        estimated_per_s += flows.estimated_per_s;
        ends += part.ends;
        entries = entries.zip(part.wanted(&flows)).map(|(sum, wanted)| sum + wanted);
    }
    let flows = Flows { most_per_s, estimated_per_s };
    let is_known = ends >= ENDS_MIN && estimated_per_s > 0.0;
    let Some(entries) = entries.filter(|_| is_known) else {
        return Some(Demand { flows, lifetime: None, entries: None });
    };
    // While entries are still growing, fewer end than will.
    let entries = (entries as u64).max(case.entries_max);
    let lifetime =
        Lifetime { mean_s: entries as f64 / estimated_per_s, error: (ends as f64).sqrt().recip() };
    Some(Demand { flows, lifetime: Some(lifetime), entries: Some(entries) })
}

/// The traffic of one protocol.
#[derive(Debug, Default)]
struct Part {
    protocol: Option<u8>,
    held: u64,
    new: u64,
    refused: u64,
    /// Entries that ended in their own time.
    ends: u64,
    entry_seconds: f64,
}

/// That of each protocol, and of the sources that are not listed.
fn parts(case: &Case) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for row in case.last.sources.iter().chain([&case.last.others]) {
        let protocol = row.key.map(|key| key.protocol);
        match parts.iter_mut().find(|part| part.protocol == protocol) {
            Some(part) => part.include(row),
            None => {
                let mut part = Part { protocol, ..Part::default() };
                part.include(row);
                parts.push(part);
            }
        }
    }
    parts
}

impl Part {
    fn include(&mut self, row: &SourceNumbers) {
        let add = |sum: &mut u64, more: Option<u64>| *sum = sum.saturating_add(more.unwrap_or(0));
        add(&mut self.held, row.entries);
        add(&mut self.new, row.confirmed.or(row.new));
        add(&mut self.refused, row.refused);
        let cut_short = [row.evicted, row.evicted_by_gc, row.transient];
        let cut_short = cut_short.into_iter().flatten().fold(0, u64::saturating_add);
        add(&mut self.ends, row.ended.map(|ended| ended.saturating_sub(cut_short)));
        self.entry_seconds += row.entry_seconds.unwrap_or(0.0);
    }

    fn flows(&self, case: &Case) -> Option<Flows> {
        let packets = self.new.saturating_add(self.refused);
        let most_per_s = case.per_s(Some(packets))?;
        let refused_share = self.refused as f64 / packets.max(1) as f64;
        let tries_again = self.protocol == Some(TCP);
        let flows_of_a_packet = if tries_again { flows_by_packets(refused_share) } else { 1.0 };
        Some(Flows { most_per_s, estimated_per_s: most_per_s * flows_of_a_packet })
    }

    /// Entries that it would hold: no fewer than it does. Where nothing is asked for, just those; `None` if nothing ends, so
    /// that nobody knows how long what is asked for would stay.
    fn wanted(&self, flows: &Flows) -> Option<f64> {
        let held = self.held as f64;
        if flows.most_per_s <= 0.0 {
            return Some(held);
        }
        (self.ends > 0)
            .then(|| (flows.estimated_per_s * self.entry_seconds / self.ends as f64).max(held))
    }
}

/// Flows by packets that open one, if this share of the packets is refused.
fn flows_by_packets(refused_share: f64) -> f64 {
    let packets: f64 = (0..SYNS_OF_A_FLOW).map(|try_| refused_share.powi(try_)).sum();
    1.0 / packets
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{advise::samples, model::source};

    fn row(protocol: u8, new: u64, refused: u64) -> SourceNumbers {
        SourceNumbers {
            key: Some(source::key(1, [10, 0, 1, 2].into(), protocol)),
            new: Some(new),
            refused: Some(refused),
            ..SourceNumbers::default()
        }
    }

    #[test]
    fn demand_is_flows_times_lifetime_beyond_the_limit() {
        let case = samples::case(|snapshot| {
            snapshot.sources = vec![
                // Of a thousand entries a hundred a second end in their own time: ten seconds each.
                SourceNumbers {
                    entries: Some(1000),
                    ended: Some(4000),
                    evicted: Some(3000),
                    entry_seconds: Some(10_000.0),
                    ..row(17, 4000, 6000)
                },
                // Five hundred are held and none is asked for: they stay.
                SourceNumbers { entries: Some(500), entry_seconds: Some(5000.0), ..row(6, 0, 0) },
            ];
        });
        let demand = estimate(&case).unwrap();
        assert_eq!(demand.flows, Flows { most_per_s: 1000.0, estimated_per_s: 1000.0 });
        assert_eq!(demand.entries, Some(10_500));
        assert!((demand.lifetime.unwrap().mean_s - 10.5).abs() < 1e-9);
        assert!((demand.lifetime.unwrap().error - 0.0316).abs() < 1e-3);
    }

    #[test]
    fn a_refused_connection_that_tries_again_is_one_flow() {
        // Every second packet is refused: (1 + ½ + … + ½⁶) packets a flow.
        assert!((flows_by_packets(0.5).recip() - 1.984_375).abs() < 1e-9);
        assert!((flows_by_packets(1.0).recip() - 7.0).abs() < 1e-9);
        assert!((flows_by_packets(0.0) - 1.0).abs() < 1e-9);
        let case = samples::case(|snapshot| snapshot.sources = vec![row(6, 100, 100)]);
        let flows = estimate(&case).unwrap().flows;
        assert!((flows.most_per_s - 20.0).abs() < 1e-9);
        assert!((flows.estimated_per_s - 20.0 / 1.984_375).abs() < 1e-9);
    }

    #[test]
    fn without_enough_ends_nothing_is_said_of_the_lifetime() {
        let with = |ended| {
            let of = SourceNumbers {
                ended: Some(ended),
                entry_seconds: Some(5000.0),
                ..row(17, 1000, 0)
            };
            samples::case(|snapshot| snapshot.sources = vec![of])
        };
        let demand = estimate(&with(24)).unwrap();
        assert_eq!((demand.lifetime, demand.entries), (None, None));
        assert!(estimate(&with(25)).unwrap().entries.is_some());
        let unseen = samples::case(|snapshot| snapshot.totals.new = None);
        assert_eq!(estimate(&unseen), None);
    }

    proptest! {
        #[test]
        fn the_estimate_lies_between_a_seventh_and_the_most(
            rows in prop::collection::vec((prop::sample::select(vec![6_u8, 17]), 0_u64..1000, 0_u64..1000), 0..10),
        ) {
            let case = samples::case(|snapshot| {
                snapshot.sources = rows.iter().map(|of| row(of.0, of.1, of.2)).collect();
            });
            let asked: u64 = rows.iter().map(|row| row.1 + row.2).sum();
            let Flows { most_per_s, estimated_per_s } = estimate(&case).unwrap().flows;
            prop_assert!((most_per_s - asked as f64 / 10.0).abs() < 1e-6);
            prop_assert!(estimated_per_s <= most_per_s + 1e-9);
            prop_assert!(estimated_per_s >= most_per_s / 7.0 - 1e-9);
        }

        #[test]
        fn no_fewer_are_wanted_than_are_held(
            held in 0_u64..100_000,
            ended in 0_u64..10_000,
            asked in 0_u64..10_000,
        ) {
            let case = samples::case(|snapshot| {
                snapshot.table.entries = held;
                snapshot.sources = vec![SourceNumbers {
                    entries: Some(held),
                    ended: Some(ended),
                    entry_seconds: Some(held as f64 * 10.0),
                    ..row(17, asked, 0)
                }];
            });
            let entries = estimate(&case).unwrap().entries;
            prop_assert!(entries.is_none_or(|entries| entries >= held), "{:?}", entries);
        }
    }
}
