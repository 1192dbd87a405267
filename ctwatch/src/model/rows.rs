//! What one reading of the kernel side's memory says.

use ctwatch_common::{counter::Witness, row::Row, source::SourceKey};

use super::{counters::Counters, source::BySource};

/// All rows that have counted something, and the per-CPU totals, read at about one time.
#[derive(Clone, Debug, Default)]
pub struct RowReading {
    /// The counters of each key.
    pub rows: BySource<Counters>,
    /// What belongs to no source and no namespace.
    pub unattributed: Counters,
    /// The per-CPU totals, summed over the CPUs.
    pub witness: [u64; Witness::COUNT],
}

impl RowReading {
    /// Adds a row as it lies in memory; rows that have counted nothing are left out.
    pub fn add(&mut self, row: &Row) {
        let counters = Counters::from_row(&row.counters);
        if !counters.is_zero() {
            // Two rows of one key can be met while one of them is being given up.
            self.rows.entry(row.key).or_default().add(&counters);
        }
    }

    /// One of the per-CPU totals.
    pub fn witness(&self, total: Witness) -> u64 {
        self.witness.get(total as usize).copied().unwrap_or(0)
    }

    /// The key under which the kernel side counts this source now: its own if it has a row, else its
    /// prefix's or its namespace's if that has one, else its own, which it will get.
    pub fn counted_under(&self, source: &SourceKey) -> SourceKey {
        [source.prefix(), source.namespace()]
            .into_iter()
            .find(|wider| !self.rows.contains_key(source) && self.rows.contains_key(wider))
            .unwrap_or(*source)
    }

    /// The counters of a key, zero where it has no row.
    pub fn counters(&self, key: &SourceKey) -> Counters {
        self.rows.get(key).copied().unwrap_or_default()
    }

    /// The sum over all rows of one namespace.
    pub fn total(&self, netns: u32) -> Counters {
        let mut total = Counters::default();
        for (_, counters) in self.rows.iter().filter(|(key, _)| key.netns == netns) {
            total.add(counters);
        }
        total
    }

    /// The sum over everything counted.
    pub fn grand_total(&self) -> Counters {
        let mut total = self.unattributed;
        for counters in self.rows.values() {
            total.add(counters);
        }
        total
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A row of attempts, refusals, ends, events sent and events lost.
    pub(crate) fn row(key: SourceKey, numbers: [u64; 5]) -> Row {
        let mut row = Row { key, ..Row::default() };
        row.counters[..5].copy_from_slice(&numbers);
        row
    }
}
