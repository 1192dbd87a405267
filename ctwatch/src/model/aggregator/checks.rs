//! What the numbers are held against: the kernel's own count, the per-CPU totals, and what was lost. It changes nothing.

use ctwatch_common::counter::Witness;

use super::Aggregator;
use crate::model::{
    audit::Sums, counters::Counters, loss::Loss, rows::RowReading, snapshot::WitnessTotals,
};

impl Aggregator {
    pub(super) fn drift(&self) -> Option<i64> {
        if !self.mode.counts_in_kernel() || !self.is_baseline_known {
            return None;
        }
        let before_start = self.baseline.sum();
        // Where ends were missed somebody seems to hold more than it does: that nobody holds less is no remedy.
        let missed = |reading: &RowReading| {
            reading.missed.as_ref().map_or(0, |missed| self.credit.unsettled_at(missed)).max(0)
        };
        let sum = |reading: &RowReading| {
            before_start
                + reading.total(self.netns).balance()
                + reading.unattributed.balance()
                + missed(reading)
        };
        let (a, b) = (sum(&self.before), sum(&self.after));
        let count = i64::try_from(self.table.entries).unwrap_or(i64::MAX);
        Some(if count < a.min(b) {
            a.min(b) - count
        } else if count > a.max(b) {
            a.max(b) - count
        } else {
            0
        })
    }

    pub(super) fn witness(&self) -> Option<WitnessTotals> {
        if !self.mode.counts_in_kernel() {
            return None;
        }
        let Sums { all_rows, all_cpus, .. } = self.sums_at(&self.after);
        let sum = |all: &Counters| {
            i128::from(all.attempts) + i128::from(all.refused) + i128::from(all.ended)
        };
        Some(WitnessTotals {
            new: all_cpus.new_entries(),
            refused: all_cpus.refused,
            ended: all_cpus.ended,
            difference: i64::try_from(sum(&all_rows) - sum(&all_cpus)).unwrap_or(i64::MAX),
        })
    }

    pub(super) fn sums(&self) -> Option<[Sums; 2]> {
        let readings = [&self.before, &self.after];
        self.mode.counts_in_kernel().then(|| readings.map(|reading| self.sums_at(reading)))
    }

    fn sums_at(&self, reading: &RowReading) -> Sums {
        let credited = self.credit.counters();
        let unsettled =
            reading.missed.as_ref().map_or(0, |missed| self.credit.unsettled_at(missed));
        let mut sources = reading.total(self.netns);
        let held =
            self.baseline.sum() + sources.balance() + reading.unattributed.balance() + unsettled;
        let mut all_rows = reading.grand_total();
        all_rows.add(&credited);
        all_rows.add(&self.released_rest);
        for (key, released) in &self.released {
            all_rows.add(released);
            if key.netns == self.netns {
                sources.add(released);
            }
        }
        let mut all_cpus = Counters {
            attempts: reading.witness(Witness::Attempts),
            refused: reading.witness(Witness::Refused),
            ended: reading.witness(Witness::Ended),
            ..Counters::default()
        };
        all_cpus.add(&credited);
        Sums {
            held: self.is_baseline_known.then_some(held),
            sources,
            nobody: *reading.unattributed,
            credited,
            all_rows,
            all_cpus,
        }
    }

    pub(super) fn loss_now(&self) -> Loss {
        let in_kernel = self.mode.counts_in_kernel();
        let map_full = || {
            let widened = self.after.rows.iter().filter(|(key, _)| !key.is_address());
            widened.map(|(_, counters)| counters.attempts).sum()
        };
        Loss {
            probe_missed: self.missed().map(|missed| missed.total()),
            ring_full: self.mode.sees_refusals().then(|| self.after.witness(Witness::EventsLost)),
            map_full: in_kernel.then(map_full),
            requester_unknown: in_kernel.then(|| self.after.witness(Witness::RequesterUnknown)),
            unreadable: in_kernel.then(|| self.after.witness(Witness::Unreadable)),
            ..self.loss
        }
    }
}
