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
    /// In seconds: entries held times seconds, by those that ended in their own time. Eviction only cuts the observation
    /// short; the quotient is right as long as what ends does not depend on its age, and in a steady state.
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

/// Estimates it; `None` if the mode counts no new entries.
pub fn estimate(case: &Case) -> Option<Demand> {
    let flows = flows(case)?;
    let lifetime = lifetime(case);
    let entries = lifetime.map(|lifetime| {
        let wanted = (flows.estimated_per_s * lifetime.mean_s) as u64;
        // While entries are still growing, fewer end than will.
        wanted.max(case.entries_max)
    });
    Some(Demand { flows, lifetime, entries })
}

fn flows(case: &Case) -> Option<Flows> {
    let totals = case.totals();
    let new = totals.confirmed.or(totals.new)?;
    let refused = totals.refused.unwrap_or(0);
    let most_per_s = case.per_s(new.checked_add(refused))?;
    // Only what is listed is known by protocol; what is not is taken to be like it.
    let rows = || case.last.sources.iter();
    let of_tcp = asked(rows().filter(|row| row.key.is_some_and(|key| key.protocol == TCP)));
    let of_all = asked(rows());
    if of_all.packets() == 0 {
        return Some(Flows { most_per_s, estimated_per_s: most_per_s });
    }
    let tcp_share = of_tcp.packets() as f64 / of_all.packets() as f64;
    let refused_share = of_tcp.refused as f64 / of_tcp.packets().max(1) as f64;
    let flows_of_a_packet = flows_by_packets(refused_share);
    let estimated_per_s = most_per_s * (1.0 - tcp_share + tcp_share * flows_of_a_packet);
    Some(Flows { most_per_s, estimated_per_s })
}

/// Packets that asked for an entry.
#[derive(Clone, Copy, Default)]
struct Asked {
    new: u64,
    refused: u64,
}

impl Asked {
    fn packets(self) -> u64 {
        self.new.saturating_add(self.refused)
    }
}

fn asked<'a>(rows: impl Iterator<Item = &'a SourceNumbers>) -> Asked {
    rows.fold(Asked::default(), |sum, row| Asked {
        new: sum.new.saturating_add(row.confirmed.or(row.new).unwrap_or(0)),
        refused: sum.refused.saturating_add(row.refused.unwrap_or(0)),
    })
}

/// Flows by packets that open one, if this share of the packets is refused.
fn flows_by_packets(refused_share: f64) -> f64 {
    let packets: f64 = (0..SYNS_OF_A_FLOW).map(|try_| refused_share.powi(try_)).sum();
    1.0 / packets
}

fn lifetime(case: &Case) -> Option<Lifetime> {
    let totals = case.totals();
    let cut_short = [totals.evicted, totals.evicted_by_gc, totals.transient];
    let cut_short: u64 = cut_short.into_iter().flatten().fold(0, u64::saturating_add);
    let ends = totals.ended?.saturating_sub(cut_short);
    let mean_s = totals.entry_seconds? / ends as f64;
    (ends >= ENDS_MIN).then(|| Lifetime { mean_s, error: (ends as f64).sqrt().recip() })
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
            snapshot.totals.new = Some(4000);
            snapshot.totals.refused = Some(6000);
            snapshot.totals.ended = Some(4000);
            snapshot.totals.evicted = Some(3000);
            // A thousand entries, held for all of the ten seconds, of which a hundred a second end: ten seconds each.
            snapshot.totals.entry_seconds = Some(10_000.0);
            snapshot.sources = vec![row(17, 4000, 6000)];
        });
        let demand = estimate(&case).unwrap();
        assert_eq!(demand.flows, Flows { most_per_s: 1000.0, estimated_per_s: 1000.0 });
        assert!((demand.lifetime.unwrap().mean_s - 10.0).abs() < 1e-9);
        assert_eq!(demand.entries, Some(10_000));
    }

    #[test]
    fn a_refused_connection_that_tries_again_is_one_flow() {
        // Every second packet is refused: (1 + ½ + … + ½⁶) packets a flow.
        assert!((flows_by_packets(0.5).recip() - 1.984_375).abs() < 1e-9);
        assert!((flows_by_packets(1.0).recip() - 7.0).abs() < 1e-9);
        assert!((flows_by_packets(0.0) - 1.0).abs() < 1e-9);
        let case = samples::case(|snapshot| {
            snapshot.totals.new = Some(100);
            snapshot.totals.refused = Some(100);
            snapshot.sources = vec![row(6, 100, 100)];
        });
        let flows = estimate(&case).unwrap().flows;
        assert!((flows.most_per_s - 20.0).abs() < 1e-9);
        assert!((flows.estimated_per_s - 20.0 / 1.984_375).abs() < 1e-9);
    }

    #[test]
    fn without_enough_ends_nothing_is_said_of_the_lifetime() {
        let case = samples::case(|snapshot| {
            snapshot.totals.new = Some(1000);
            snapshot.totals.ended = Some(24);
            snapshot.totals.entry_seconds = Some(5000.0);
        });
        let demand = estimate(&case).unwrap();
        assert_eq!((demand.lifetime, demand.entries), (None, None));
        let unseen = samples::case(|snapshot| snapshot.totals.new = None);
        assert_eq!(estimate(&unseen), None);
    }

    proptest! {
        #[test]
        fn the_estimate_lies_between_a_seventh_and_the_most(
            rows in prop::collection::vec((prop::sample::select(vec![6_u8, 17]), 0_u64..1000, 0_u64..1000), 0..10),
        ) {
            let (new, refused) = rows.iter().fold((0, 0), |sum, row| (sum.0 + row.1, sum.1 + row.2));
            let case = samples::case(|snapshot| {
                snapshot.totals.new = Some(new);
                snapshot.totals.refused = Some(refused);
                snapshot.sources = rows.iter().map(|of| row(of.0, of.1, of.2)).collect();
            });
            let Flows { most_per_s, estimated_per_s } = estimate(&case).unwrap().flows;
            prop_assert!(estimated_per_s <= most_per_s + 1e-9);
            prop_assert!(estimated_per_s >= most_per_s / 7.0 - 1e-9);
        }
    }
}
