//! Whether the table is full, or will be soon: what most of advice hangs on.

use super::{case::Case, sizing::demand};

/// From this share of the limit on, a gateway is near its wall: the kernel itself begins to throw out entries
/// at 95 % (`gc_worker`, net/netfilter/nf_conntrack_core.c), and a burst of a few seconds needs some room.
pub const NEAR: f64 = 0.8;
/// From here on it counts as full: where whoever evicts makes room for more than itself, it stays a little below its limit.
const FULL: f64 = 0.95;
/// Sooner than that somebody has to act.
const SOON_S: f64 = 600.0;

/// How near the table is to its limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pressure {
    /// The most entries of the look by the limit.
    pub utilization: f64,
    /// Packets that were refused, as far as the mode sees them.
    pub refused: u64,
    /// Entries that were thrown out to make room.
    pub evicted: u64,
    /// Time until it is full at the growth of the look; `None` unless it grows.
    pub time_to_full_s: Option<f64>,
    /// Whether it will be full although it is not near yet.
    is_filling: bool,
}

impl Pressure {
    /// How it is in this case; `None` if there is no limit.
    pub fn of(case: &Case) -> Option<Self> {
        let limit = case.settings.limit().or(case.last.table.limit)?;
        let totals = case.totals();
        let sum =
            |counts: [Option<u64>; 2]| counts.into_iter().flatten().fold(0, u64::saturating_add);
        let growth = case.growth_per_s();
        let room = limit.saturating_sub(case.entries());
        let time_to_full_s = (growth > 0.0).then(|| room as f64 / growth);
        // A table that has just begun to grow is not filling, if what it is going to hold fits.
        let wanted = demand::estimate(case).and_then(|demand| demand.entries);
        let is_filling = match wanted {
            Some(wanted) => wanted as f64 >= NEAR * limit as f64,
            None => time_to_full_s.is_some_and(|seconds| seconds <= SOON_S),
        };
        Some(Self {
            utilization: case.entries_max.max(case.entries()) as f64 / limit as f64,
            refused: totals.refused.unwrap_or(0),
            evicted: sum([totals.evicted.or(case.kernel().early_drop), totals.evicted_by_gc]),
            time_to_full_s,
            is_filling,
        })
    }

    /// Whether packets are refused, entries evicted, or the limit is reached.
    pub fn is_full(&self) -> bool {
        self.refused > 0 || self.evicted > 0 || self.utilization >= FULL
    }

    /// Whether it is full, nearly full, or will be within minutes.
    pub fn is_high(&self) -> bool {
        self.is_full() || self.utilization >= NEAR || self.is_filling
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advise::samples;

    fn of(entries: u64, refused: u64) -> Pressure {
        let case = samples::case(|snapshot| {
            snapshot.table.entries = entries;
            snapshot.totals.refused = Some(refused);
        });
        Pressure::of(&case).unwrap()
    }

    #[test]
    fn a_table_is_full_by_its_entries_or_by_what_it_refuses() {
        assert!(of(65_536, 0).is_full() && of(30_000, 1).is_full());
        assert!(!of(60_000, 0).is_full() && of(60_000, 0).is_high());
        assert!(!of(1000, 0).is_high());
    }

    #[test]
    fn a_table_that_grows_is_filling_unless_what_it_will_hold_fits() {
        // A thousand entries at first, and 9 s later so many more that the rest lasts for less than ten minutes.
        assert!(of(2000, 0).is_high());
        assert_eq!(of(1000, 0).time_to_full_s, None);
        let case = samples::case(|snapshot| {
            snapshot.table.entries = 2000;
            snapshot.totals.new = Some(2000);
            snapshot.totals.ended = Some(1000);
            snapshot.totals.entry_seconds = Some(15_000.0);
            snapshot.sources = samples::one_source(snapshot);
        });
        assert!(!Pressure::of(&case).unwrap().is_high());
    }
}
