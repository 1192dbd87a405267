//! What was counted between two snapshots: as if counting had begun with the first of them.

use std::collections::HashMap;

use ctwatch_common::source::SourceKey;

use super::snapshot::{Snapshot, SourceNumbers};

impl SourceNumbers {
    /// What was counted since `start`; what is held, and what the last interval or walk told, stays.
    pub fn since(&self, start: &Self) -> Self {
        self.with_counters(start, |now, then| now.saturating_sub(then), |now, then| now - then)
    }

    /// What both counted at the least.
    fn least(&self, other: &Self) -> Self {
        self.with_counters(other, u64::min, f64::min)
    }

    /// These numbers, with each counter put together with the other's; what is not known of it counts as 0.
    fn with_counters(
        &self,
        other: &Self,
        count: impl Fn(u64, u64) -> u64,
        real: impl Fn(f64, f64) -> f64,
    ) -> Self {
        let count = |now: Option<u64>, then: Option<u64>| {
            now.map(|now| count(now, then.unwrap_or_default()))
        };
        let seconds = self
            .entry_seconds
            .map(|now| real(now, other.entry_seconds.unwrap_or_default()).max(0.0));
        Self {
            new: count(self.new, other.new),
            refused: count(self.refused, other.refused),
            ended: count(self.ended, other.ended),
            evicted: count(self.evicted, other.evicted),
            evictions_caused: count(self.evictions_caused, other.evictions_caused),
            transient: count(self.transient, other.transient),
            entry_seconds: seconds,
            confirmed: count(self.confirmed, other.confirmed),
            timed_out: count(self.timed_out, other.timed_out),
            evicted_by_gc: count(self.evicted_by_gc, other.evicted_by_gc),
            deleted: count(self.deleted, other.deleted),
            closed: count(self.closed, other.closed),
            insert_failed: count(self.insert_failed, other.insert_failed),
            chain_too_long: count(self.chain_too_long, other.chain_too_long),
            // Every field by name: a new one has to be one or the other.
            key: self.key,
            entries: self.entries,
            assured: self.assured,
            unreplied: self.unreplied,
            new_per_s: self.new_per_s,
            refused_per_s: self.refused_per_s,
        }
    }
}

impl Snapshot {
    /// What was counted since `start`, an earlier snapshot of the same count; `meanwhile` are those in between, the earliest
    /// first.
    ///
    /// A source that `start` does not list was among its others. How much of them it was is not known: as much as possible
    /// until it was listed first, so that nothing is said of it that may be from before.
    pub fn since<'a>(&self, start: &Self, meanwhile: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut before: HashMap<SourceKey, SourceNumbers> = HashMap::new();
        for row in &start.sources {
            before.extend(row.key.map(|key| (key, *row)));
        }
        let mut list = |snapshot: &Self| {
            for row in &snapshot.sources {
                if let Some(key) = row.key {
                    before.entry(key).or_insert_with(|| row.least(&start.others));
                }
            }
        };
        meanwhile.into_iter().for_each(&mut list);
        list(self);
        let none = SourceNumbers::default();
        let of = |row: &SourceNumbers| row.key.and_then(|key| before.get(&key)).unwrap_or(&none);
        let sources: Vec<SourceNumbers> =
            self.sources.iter().map(|row| row.since(of(row))).collect();
        let totals = self.totals.since(&start.totals);
        // Who is listed now may have been among the others then, and the other way round.
        let others = sources.iter().fold(totals, |rest, row| rest.since(row));
        Self {
            totals,
            sources,
            others: SourceNumbers { key: self.others.key, ..held_by(&self.others, &others) },
            kernel: self.kernel.since(&start.kernel),
            // These are of the whole count.
            witness: None,
            sums: None,
            ..self.clone()
        }
    }
}

/// What the first holds, with the counters of the second; what the first does not know stays unknown.
fn held_by(held: &SourceNumbers, counted: &SourceNumbers) -> SourceNumbers {
    held.with_counters(counted, |_, counted| counted, |_, counted| counted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::source, output::sample};

    /// A source, by its last byte, that has made so many entries and holds half of them.
    fn row(last: u8, new: u64) -> SourceNumbers {
        SourceNumbers {
            key: Some(source::key(1, [10, 0, 1, last].into(), 17)),
            entries: Some(new / 2),
            new: Some(new),
            entry_seconds: Some(new as f64),
            ..SourceNumbers::default()
        }
    }

    fn snapshot(sources: &[(u8, u64)], others: u64) -> Snapshot {
        let new = others + sources.iter().map(|(_, new)| new).sum::<u64>();
        Snapshot {
            totals: SourceNumbers { key: None, ..row(0, new) },
            sources: sources.iter().map(|(last, new)| row(*last, *new)).collect(),
            others: SourceNumbers { key: None, ..row(0, others) },
            ..sample::snapshot()
        }
    }

    fn new_of(snapshot: &Snapshot) -> (Vec<u64>, u64, u64) {
        let new = |numbers: &SourceNumbers| numbers.new.unwrap();
        let listed = snapshot.sources.iter().map(new).collect();
        (listed, new(&snapshot.others), new(&snapshot.totals))
    }

    #[test]
    fn counters_begin_at_the_start_and_what_is_held_stays() {
        let start = snapshot(&[(2, 100), (3, 50)], 10);
        let since = snapshot(&[(2, 170), (3, 50)], 14).since(&start, []);
        assert_eq!(new_of(&since), (vec![70, 0], 4, 74));
        assert_eq!(since.sources[0].entries, Some(85));
        assert_eq!((since.sources[0].entry_seconds, since.sources[0].refused), (Some(70.0), None));
        assert_eq!((since.others.entries, since.others.key), (Some(7), None));
    }

    #[test]
    fn whom_the_start_does_not_list_has_nothing_from_before_and_the_sum_holds() {
        // Nobody else was there: it is new.
        let start = snapshot(&[(2, 100)], 0);
        assert_eq!(new_of(&snapshot(&[(9, 40), (2, 100)], 0).since(&start, [])).0, [40, 0]);
        // It may have been all of the others, until it was listed first.
        let start = snapshot(&[(2, 100)], 30);
        let later = snapshot(&[(9, 40), (2, 100)], 5);
        assert_eq!(new_of(&later.since(&start, [])), (vec![10, 0], 5, 15));
        let meanwhile = snapshot(&[(9, 20), (2, 100)], 10);
        assert_eq!(new_of(&later.since(&start, [&meanwhile])), (vec![20, 0], 0, 15));
        // Whoever is listed no more takes what it counted to the others.
        let later = snapshot(&[(9, 40)], 135);
        assert_eq!(new_of(&later.since(&start, [])), (vec![10], 35, 45));
    }
}
