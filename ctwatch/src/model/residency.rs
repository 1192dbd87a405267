//! Who rents the table: entries held times the seconds they are held, by source, added up since the start.
//!
//! What is held is read once an interval, and is taken to change evenly between two readings: entries that came and
//! went between two of them are not seen, and one that came or went is off by at most half an interval. While
//! it is not known what is held nothing is added up.

use std::collections::HashMap;

use ctwatch_common::source::SourceKey;

use super::snapshot::SourceNumbers;

/// What was held until the last reading.
#[derive(Debug)]
pub struct Residency {
    sources_max: usize,
    by_source: HashMap<SourceKey, Held>,
    nobody: Held,
    readings: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    entries: u64,
    entry_seconds: f64,
    /// The last reading that had a row for it.
    reading: u64,
}

impl Held {
    fn until_now(&mut self, entries: u64, interval_s: f64) -> f64 {
        self.entry_seconds += (self.entries as f64 + entries as f64) / 2.0 * interval_s;
        self.entries = entries;
        self.entry_seconds
    }
}

impl Residency {
    /// Remembers at most so many sources.
    pub fn new(sources_max: usize) -> Self {
        Self { sources_max, by_source: HashMap::new(), nobody: Held::default(), readings: 0 }
    }

    /// Takes in what the rows hold at the end of an interval, and writes into each what it has held since the start;
    /// nothing into those that find no room. Returns the entry-seconds of no row: of sources that have none any more,
    /// and of those that found no room; `None` if it is not known what is held.
    pub fn add_up(&mut self, rows: &mut [SourceNumbers], interval_s: f64) -> Option<f64> {
        if rows.iter().any(|row| row.entries.is_none()) {
            return None;
        }
        // Until the first reading it is not known what was held.
        let interval_s = if self.readings == 0 { 0.0 } else { interval_s };
        self.readings += 1;
        let (mut with_row, mut nobody_holds) = (0, 0);
        for row in rows {
            let entries = row.entries.unwrap_or(0);
            let room = self.by_source.len() < self.sources_max;
            let held = match &row.key {
                Some(key) if room => Some(self.by_source.entry(*key).or_default()),
                Some(key) => self.by_source.get_mut(key),
                None => None,
            };
            match held {
                Some(held) => {
                    held.reading = self.readings;
                    with_row += 1;
                    row.entry_seconds = Some(held.until_now(entries, interval_s));
                }
                None => nobody_holds += entries,
            }
        }
        let without_row = self.without_row(with_row, interval_s);
        Some(without_row + self.nobody.until_now(nobody_holds, interval_s))
    }

    /// Goes on with the sources that have no row any more; they may come back while there is room.
    fn without_row(&mut self, with_row: usize, interval_s: f64) -> f64 {
        if self.by_source.len() == with_row {
            return 0.0;
        }
        let mut without_row = 0.0;
        for held in self.by_source.values_mut().filter(|held| held.reading != self.readings) {
            without_row += held.until_now(0, interval_s);
        }
        if self.by_source.len() < self.sources_max {
            return without_row;
        }
        self.by_source.retain(|_, held| held.reading == self.readings);
        self.nobody.entry_seconds += without_row;
        0.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::source;

    fn row(client: u8, entries: Option<u64>) -> SourceNumbers {
        let key = Some(source::key(1, [10, 0, 1, client].into(), 17));
        SourceNumbers { key, entries, ..SourceNumbers::default() }
    }

    fn of(
        residency: &mut Residency,
        held: &[(u8, u64)],
        interval_s: f64,
    ) -> (Vec<Option<f64>>, f64) {
        let mut rows: Vec<_> =
            held.iter().map(|(client, held)| row(*client, Some(*held))).collect();
        let nobody = residency.add_up(&mut rows, interval_s).unwrap();
        (rows.iter().map(|row| row.entry_seconds).collect(), nobody)
    }

    #[test]
    fn it_is_the_area_under_what_is_held() {
        let mut residency = Residency::new(10);
        // Nothing is known of the time before.
        assert_eq!(of(&mut residency, &[(1, 100)], 7.0), (vec![Some(0.0)], 0.0));
        assert_eq!(
            of(&mut residency, &[(1, 100), (2, 0)], 1.0),
            (vec![Some(100.0), Some(0.0)], 0.0)
        );
        assert_eq!(
            of(&mut residency, &[(1, 0), (2, 10)], 2.0),
            (vec![Some(200.0), Some(10.0)], 0.0)
        );
    }

    #[test]
    fn a_source_without_a_row_keeps_what_it_had() {
        let mut residency = Residency::new(10);
        of(&mut residency, &[(1, 10)], 1.0);
        of(&mut residency, &[(1, 10)], 1.0);
        assert_eq!(of(&mut residency, &[], 1.0), (vec![], 15.0));
        assert_eq!(of(&mut residency, &[(1, 0)], 1.0), (vec![Some(15.0)], 0.0));
    }

    #[test]
    fn with_no_room_the_sum_still_holds_and_a_source_is_not_known() {
        let mut residency = Residency::new(1);
        of(&mut residency, &[(1, 10), (2, 20)], 1.0);
        assert_eq!(of(&mut residency, &[(1, 10), (2, 20)], 1.0), (vec![Some(10.0), None], 20.0));
        // The first has gone: after this reading there is room.
        assert_eq!(of(&mut residency, &[(2, 20)], 1.0), (vec![None], 10.0 + 5.0 + 40.0));
        assert_eq!(of(&mut residency, &[(2, 20)], 1.0), (vec![Some(10.0)], 55.0 + 10.0));
    }

    #[test]
    fn while_nobody_knows_what_is_held_nothing_is_added_up() {
        let mut residency = Residency::new(10);
        assert_eq!(residency.add_up(&mut [row(1, None)], 5.0), None);
        of(&mut residency, &[(1, 4)], 5.0);
        assert_eq!(of(&mut residency, &[(1, 4)], 1.0), (vec![Some(4.0)], 0.0));
    }

    proptest! {
        /// Whatever comes, goes and finds no room: all of it together is the area under the sum, and memory is bounded.
        #[test]
        fn nothing_is_lost_and_nothing_counts_twice(
            readings in prop::collection::vec(
                (prop::collection::btree_map(0_u8..8, 0_u64..100, 0..8), 0_u32..5), 1..20),
            sources_max in 0_usize..10,
        ) {
            let mut residency = Residency::new(sources_max);
            let (mut area, mut before) = (0.0, None);
            for (held, interval_s) in readings {
                let interval_s = f64::from(interval_s);
                let sum: u64 = held.values().sum();
                if let Some(before) = before {
                    area += (before as f64 + sum as f64) / 2.0 * interval_s;
                }
                before = Some(sum);
                let held: Vec<(u8, u64)> = held.into_iter().collect();
                let (rows, nobody) = of(&mut residency, &held, interval_s);
                let all: f64 = rows.into_iter().flatten().sum::<f64>() + nobody;
                prop_assert!((all - area).abs() < 1e-6, "{} and not {}", all, area);
                prop_assert!(residency.by_source.len() <= sources_max);
            }
        }
    }
}
