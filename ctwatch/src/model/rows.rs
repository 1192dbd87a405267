//! What one reading of the kernel side's memory says.

use std::collections::HashMap;

use ctwatch_common::{counter::Witness, row::Row, source::SourceKey};

use super::{counters::Counters, misses::Missed, source::BySource};

/// All rows that have counted something, and the per-CPU totals, read at about one time.
#[derive(Clone, Debug, Default)]
pub struct RowReading {
    /// The counters of each key.
    pub rows: BySource<Counters>,
    /// What belongs to no source and no namespace; boxed, as readings are handed around.
    pub unattributed: Box<Counters>,
    /// The sum over the rows of other namespaces, where these rows are those of one; boxed likewise.
    pub elsewhere: Box<Counters>,
    /// The per-CPU totals, summed over the CPUs.
    pub witness: [u64; Witness::COUNT],
    /// What the hooks missed, over all namespaces; `None` where the kernel does not tell.
    pub missed: Option<Box<Missed>>,
}

impl RowReading {
    /// Adds a row as it lies in memory; rows that have counted nothing are left out.
    pub fn add(&mut self, row: &Row) {
        self.add_counted(row.key, Counters::from_row(&row.counters));
    }

    /// Adds what a key has counted.
    pub fn add_counted(&mut self, key: SourceKey, counters: Counters) {
        if !counters.is_zero() {
            // Two rows of one key can be met while one of them is being given up.
            self.rows.entry(key).or_default().add(&counters);
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

    /// Divides a reading of all rows: a part for each of these namespaces, in their order, and the rows of all
    /// others. What is `elsewhere` is left to whoever knows what other namespaces have counted.
    pub fn divide(mut self, namespaces: &[u32]) -> (Vec<Self>, BySource<Counters>) {
        let empty = |netns: &u32| {
            let part = Self {
                unattributed: self.unattributed.clone(),
                witness: self.witness,
                missed: self.missed.clone(),
                ..Self::default()
            };
            (*netns, part)
        };
        let mut parts: HashMap<u32, Self> = namespaces.iter().map(empty).collect();
        let mut rest = BySource::default();
        if let [netns] = namespaces {
            // Nearly all rows stay where they are.
            rest = self.rows.extract_if(|key, _| key.netns != *netns).collect();
            let only = parts.entry(*netns).or_default();
            only.rows = self.rows;
        } else {
            for (key, counters) in self.rows {
                let rows = parts.get_mut(&key.netns).map_or(&mut rest, |part| &mut part.rows);
                rows.insert(key, counters);
            }
        }
        let parts = namespaces.iter().map(|netns| parts.remove(netns).unwrap_or_default());
        (parts.collect(), rest)
    }

    /// Whether nothing was counted in any other namespace than this one.
    pub fn is_alone(&self, netns: u32) -> bool {
        self.elsewhere.is_zero() && self.rows.keys().all(|key| key.netns == netns)
    }

    /// The sum over everything counted.
    pub fn grand_total(&self) -> Counters {
        let mut total = *self.unattributed;
        total.add(&self.elsewhere);
        for counters in self.rows.values() {
            total.add(counters);
        }
        total
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use ctwatch_common::counter::Counter;

    use super::*;
    use crate::model::source;

    /// A row of attempts, refusals, ends, events sent and events lost.
    pub(crate) fn row(key: SourceKey, numbers: [u64; 5]) -> Row {
        let mut row = Row { key, ..Row::default() };
        let counters = [
            Counter::Attempts,
            Counter::Refused,
            Counter::Ended,
            Counter::EventsSent,
            Counter::EventsLost,
        ];
        for (counter, number) in counters.into_iter().zip(numbers) {
            row.counters[counter as usize] = number;
        }
        row
    }

    #[test]
    fn a_reading_is_divided_without_loss() {
        let address = "10.0.1.2".parse().unwrap();
        let mut reading = RowReading { witness: [7; Witness::COUNT], ..RowReading::default() };
        for (netns, attempts) in [(1, 10), (2, 20), (3, 30)] {
            reading.add(&row(source::key(netns, address, 17), [attempts, 0, 0, 0, 0]));
        }
        for namespaces in [[1].as_slice(), &[3, 1], &[4, 2], &[]] {
            let (parts, rest) = reading.clone().divide(namespaces);
            assert_eq!(parts.len(), namespaces.len());
            for (netns, part) in namespaces.iter().zip(&parts) {
                let expected = if *netns < 4 { u64::from(*netns) * 10 } else { 0 };
                assert_eq!(part.grand_total().attempts, expected, "{namespaces:?}");
                assert_eq!(part.witness, reading.witness);
            }
            let divided: usize = parts.iter().map(|part| part.rows.len()).sum();
            assert_eq!(divided + rest.len(), 3, "{namespaces:?}");
        }
    }
}
