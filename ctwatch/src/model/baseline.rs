//! Entries from before the hooks were attached, source by source.
//!
//! The hooks count what comes and goes; how many entries a source holds is that and what it held before. The
//! first dump tells that exactly, where every beginning and end was traced meanwhile (see trace). A later one,
//! or one that could not be traced, is read between two readings of the rows: for a source of which nothing came or
//! went between the two the answer is exact, for any other it is off by at most what did, until a later dump
//! finds that source quiet.

use std::collections::{HashMap, HashSet};

use ctwatch_common::source::SourceKey;

use super::rows::RowReading;

/// How many entries each source held, by one dump of the table.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// Entries by source; keys of single addresses.
    pub held: HashMap<SourceKey, u64>,
    /// The rows just before the dump.
    pub before: RowReading,
    /// The rows just after the dump.
    pub after: RowReading,
}

/// What each source held before anything was counted.
#[derive(Clone, Debug, Default)]
pub struct Baseline {
    held_before: HashMap<SourceKey, i64>,
    unsettled: HashSet<SourceKey>,
    /// Since the first dump a source that is not in it held nothing before.
    is_known: bool,
    doubted: bool,
}

impl Baseline {
    /// What is known exactly, source by source.
    pub fn exactly(held_before: HashMap<SourceKey, i64>) -> Self {
        Self { held_before, is_known: true, ..Self::default() }
    }

    /// Takes in a dump of the namespace `netns`.
    pub fn reconcile(&mut self, netns: u32, census: &Census) {
        let mut held: HashMap<SourceKey, u64> = HashMap::new();
        for (source, entries) in &census.held {
            *held.entry(census.after.counted_under(source)).or_default() += entries;
        }
        let known = census.after.rows.keys().filter(|key| key.netns == netns).copied();
        let keys: HashSet<SourceKey> =
            known.chain(held.keys().copied()).chain(self.held_before.keys().copied()).collect();
        for key in keys {
            let before = census.before.counters(&key);
            let after = census.after.counters(&key);
            let churn = signed(after.churn().saturating_sub(before.churn()));
            let held_now = signed(held.get(&key).copied().unwrap_or(0));
            // In the middle of the dump, as good a guess as any while it changes.
            let estimate = held_now - (before.balance() + after.balance()) / 2;
            self.settle(key, estimate, churn);
        }
        self.is_known = true;
        self.doubted = false;
    }

    /// Takes in that what is known may be wrong by now: a dump that does not find a source quiet leaves it
    /// unsettled.
    pub fn doubt(&mut self) {
        self.doubted = true;
    }

    /// The sum over all sources.
    pub fn sum(&self) -> i64 {
        self.held_before.values().sum()
    }

    /// Entries of `key` from before the count; negative where some are gone that no dump ever saw.
    pub fn held_before(&self, key: &SourceKey) -> i64 {
        self.held_before.get(key).copied().unwrap_or(0)
    }

    /// The sources that held something before the count, whether or not they have a row now.
    pub fn sources(&self) -> impl Iterator<Item = &SourceKey> {
        self.held_before.keys()
    }

    /// Whether some sources changed during every dump so far.
    pub fn is_unsettled(&self) -> bool {
        !self.unsettled.is_empty()
    }

    /// Moves what a source without a row of its own held to the prefix that is charged with its ends.
    pub fn follow(&mut self, rows: &RowReading) {
        let moved: Vec<(SourceKey, SourceKey)> = self
            .held_before
            .keys()
            .map(|key| (*key, rows.counted_under(key)))
            .filter(|(key, under)| key != under)
            .collect();
        for (key, under) in moved {
            let held = self.held_before.remove(&key).unwrap_or(0);
            *self.held_before.entry(under).or_default() += held;
            if self.unsettled.remove(&key) {
                self.unsettled.insert(under);
            }
        }
    }

    /// Takes over what a row that is given up leaves: entries made in it and not yet gone.
    pub fn carry(&mut self, key: &SourceKey, balance: i64) {
        let held = self.held_before(key) + balance;
        if held == 0 {
            self.held_before.remove(key);
        } else {
            self.held_before.insert(*key, held);
        }
    }

    fn settle(&mut self, key: SourceKey, estimate: i64, churn: i64) {
        let current = self.held_before(&key);
        if churn == 0 {
            self.unsettled.remove(&key);
        } else if self.is_known && (estimate - current).abs() <= churn {
            // What is known already is within what this dump can tell.
            if self.doubted {
                self.unsettled.insert(key);
            }
            return;
        } else {
            self.unsettled.insert(key);
        }
        if estimate == 0 {
            self.held_before.remove(&key);
        } else {
            self.held_before.insert(key, estimate);
        }
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{rows::tests::row, source};

    const NETNS: u32 = 9;

    fn client(last: u8) -> SourceKey {
        source::key(NETNS, format!("10.0.1.{last}").parse().unwrap(), 17)
    }

    fn reading(rows: &[(SourceKey, u64, u64)]) -> RowReading {
        let mut reading = RowReading::default();
        for (key, attempts, ended) in rows {
            reading.add(&row(*key, [*attempts, 0, *ended, 0, 0]));
        }
        reading
    }

    fn census(held: &[(SourceKey, u64)], before: RowReading, after: RowReading) -> Census {
        Census { held: held.iter().copied().collect(), before, after }
    }

    #[test]
    fn a_quiet_source_is_exact() {
        let rows = reading(&[(client(1), 30, 10)]);
        let mut baseline = Baseline::default();
        baseline.reconcile(NETNS, &census(&[(client(1), 120), (client(2), 7)], rows.clone(), rows));
        assert_eq!(baseline.held_before(&client(1)), 100);
        assert_eq!(baseline.held_before(&client(2)), 7);
        assert!(!baseline.is_unsettled());
    }

    #[test]
    fn a_busy_source_is_settled_by_a_later_quiet_dump() {
        let mut baseline = Baseline::default();
        let busy = census(
            &[(client(1), 50)],
            reading(&[(client(1), 40, 0)]),
            reading(&[(client(1), 80, 0)]),
        );
        baseline.reconcile(NETNS, &busy);
        assert_eq!(baseline.held_before(&client(1)), -10);
        assert!(baseline.is_unsettled());
        let quiet = reading(&[(client(1), 80, 30)]);
        baseline.reconcile(NETNS, &census(&[(client(1), 55)], quiet.clone(), quiet));
        assert_eq!(baseline.held_before(&client(1)), 5);
        assert!(!baseline.is_unsettled());
    }

    #[test]
    fn a_busy_dump_does_not_overwrite_what_is_known_better() {
        let quiet = reading(&[(client(1), 1, 0)]);
        let mut baseline = Baseline::default();
        baseline.reconcile(NETNS, &census(&[(client(1), 11)], quiet.clone(), quiet));
        let busy = census(
            &[(client(1), 30)],
            reading(&[(client(1), 1, 0)]),
            reading(&[(client(1), 41, 0)]),
        );
        baseline.reconcile(NETNS, &busy);
        assert_eq!(baseline.held_before(&client(1)), 10);
        assert!(!baseline.is_unsettled());
    }

    #[test]
    fn a_busy_dump_does_not_doubt_that_a_source_held_nothing_before() {
        let mut baseline = Baseline::exactly(HashMap::new());
        let rows = |attempts| reading(&[(client(1), attempts, 0)]);
        baseline.reconcile(NETNS, &census(&[(client(1), 75)], rows(50), rows(80)));
        assert_eq!(baseline.held_before(&client(1)), 0);
        assert!(!baseline.is_unsettled());
        // Unless it is doubted: then it is looked at again.
        baseline.doubt();
        baseline.reconcile(NETNS, &census(&[(client(1), 75)], rows(50), rows(80)));
        assert_eq!(baseline.held_before(&client(1)), 0);
        assert!(baseline.is_unsettled());
        baseline.reconcile(NETNS, &census(&[(client(1), 84)], rows(80), rows(80)));
        assert_eq!(baseline.held_before(&client(1)), 4);
        assert!(!baseline.is_unsettled());
    }

    #[test]
    fn what_a_source_held_moves_to_the_prefix_that_counts_its_ends() {
        let mut baseline = Baseline::default();
        let none = RowReading::default();
        baseline.reconcile(NETNS, &census(&[(client(1), 5), (client(2), 6)], none.clone(), none));
        let rows = reading(&[(client(1).prefix(), 1, 0), (client(2), 1, 0)]);
        baseline.follow(&rows);
        assert_eq!(baseline.held_before(&client(1)), 0);
        assert_eq!(baseline.held_before(&client(1).prefix()), 5);
        assert_eq!(baseline.held_before(&client(2)), 6);
    }

    #[test]
    fn entries_of_a_prefix_are_compared_with_its_row() {
        let rows = reading(&[(client(1).prefix(), 4, 1)]);
        let mut baseline = Baseline::default();
        baseline.reconcile(NETNS, &census(&[(client(1), 5), (client(2), 6)], rows.clone(), rows));
        assert_eq!(baseline.held_before(&client(1).prefix()), 8);
    }
}
