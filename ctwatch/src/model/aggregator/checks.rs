//! What the numbers are held against: the kernel's own count, the per-CPU totals, and what was lost. It changes nothing.

use ctwatch_common::{counter::Witness, event::Optional};

use super::Aggregator;
use crate::model::{
    audit::Sums, counters::Counters, loss::Loss, rows::RowReading, snapshot::WitnessTotals,
};

impl Aggregator {
    /// The distance of the kernel's count from what the sources can have held when it was read.
    pub(super) fn drift_of(&self, [before, after]: &[Sums; 2]) -> Option<i64> {
        // Where ends were missed sources seem to hold more than they do: that nobody holds less is no remedy.
        let nobody_less = self.credit.unsettled().min(0);
        let (least, most) = (before.held? - nobody_less, after.held? - nobody_less);
        let count = i64::try_from(self.table.entries).unwrap_or(i64::MAX);
        Some(least.max(count).min(most) - count)
    }

    pub(super) fn sums(&self) -> Option<[Sums; 2]> {
        if !self.mode.counts_in_kernel() {
            return None;
        }
        let [mut before, mut after] =
            [&self.before, &self.after].map(|reading| self.sums_at(reading));
        if self.is_baseline_known {
            // Rows are read one after the other. What came or went between the two readings of a row may be in the
            // first sum or not, and nothing else may.
            let at = |sums: &Sums, reading: &RowReading| {
                let missed = reading.missed.as_deref().copied().unwrap_or_default();
                let [rows, nobody] = [sums.sources, sums.nobody];
                let came = rows.attempts + nobody.attempts + missed.attempts;
                let went = rows.refused + rows.ended + nobody.refused + nobody.ended + missed.ended;
                (signed(came), signed(went))
            };
            let (came_before, went_before) = at(&before, &self.before);
            let (came_after, went_after) = at(&after, &self.after);
            let unsettled = self.before.missed.as_deref();
            // What is left of rows that were given up is in the baseline.
            let held = self.baseline.sum() + before.sources.balance() - self.released_balance()
                + before.nobody.balance()
                + unsettled.map_or(0, |missed| self.credit.unsettled_at(missed));
            before.held = Some(held - (went_after - went_before));
            after.held = Some(held + (came_after - came_before));
        }
        let (least, most) = self.counted_before_kernel;
        before.before_kernel = least;
        after.before_kernel = most.unwrap_or(least);
        Some([before, after])
    }

    /// What one reading has of this namespace, and of nobody's.
    pub(super) fn counted(&self, reading: &RowReading) -> Counters {
        let mut counted = reading.total(self.netns);
        counted.add(&reading.unattributed);
        counted
    }

    /// Released rows of this namespace: entries made in them and not gone before they were released.
    fn released_balance(&self) -> i64 {
        let here = self.released.iter().filter(|(key, _)| key.netns == self.netns);
        here.map(|(_, counters)| counters.balance()).sum()
    }

    fn sums_at(&self, reading: &RowReading) -> Sums {
        let credited = self.credit.counters();
        let mut all_rows = reading.grand_total();
        all_rows.add(&credited);
        all_rows.add(&self.released_rest);
        let mut sources = reading.total(self.netns);
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
            sources,
            nobody: *reading.unattributed,
            credited,
            all_rows,
            all_cpus,
            ..Sums::default()
        }
    }

    /// Events of the kinds that are sent on demand that found the ring full, in this namespace and of nobody.
    fn outbox_lost(&self) -> [u64; Optional::COUNT] {
        if self.limits.kinds.optional_bits() == 0 {
            return [0; Optional::COUNT];
        }
        let mut all = self.counted(&self.after);
        self.released.values().for_each(|released| all.add(released));
        all.add(&self.released_rest);
        all.outbox.lost
    }

    pub(super) fn loss_now(&self) -> Loss {
        let in_kernel = self.mode.counts_in_kernel();
        let map_full = || {
            let widened = self.after.rows.iter().filter(|(key, _)| !key.is_address());
            widened.map(|(_, counters)| counters.attempts).sum()
        };
        let outbox = self.outbox_lost();
        let lost = |optional: Optional| {
            let is_wanted = self.limits.kinds.optional_bits() & optional.bit() != 0;
            outbox.get(optional as usize).copied().filter(|_| in_kernel && is_wanted)
        };
        Loss {
            evicted_ring_full: lost(Optional::Evicted),
            insert_failed_ring_full: lost(Optional::InsertFailed),
            ended_ring_full: lost(Optional::Ended),
            probe_missed: self.missed().map(|missed| missed.total()),
            ring_full: self.mode.sees_refusals().then(|| self.after.witness(Witness::EventsLost)),
            map_full: in_kernel.then(map_full),
            requester_unknown: in_kernel.then(|| self.after.witness(Witness::RequesterUnknown)),
            unreadable: in_kernel.then(|| self.after.witness(Witness::Unreadable)),
            ..self.loss
        }
    }
}

/// The per-CPU totals, and how far the rows are from them.
pub(super) fn witness(Sums { all_rows, all_cpus, .. }: &Sums) -> WitnessTotals {
    let sum =
        |all: &Counters| i128::from(all.attempts) + i128::from(all.refused) + i128::from(all.ended);
    WitnessTotals {
        new: all_cpus.new_entries(),
        refused: all_cpus.refused,
        ended: all_cpus.ended,
        difference: i64::try_from(sum(all_rows) - sum(all_cpus)).unwrap_or(i64::MAX),
    }
}

pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
