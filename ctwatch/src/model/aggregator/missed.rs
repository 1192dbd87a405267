//! Whatever is missed: totals are exact, nothing is counted twice, and a dump puts every source right.

use proptest::prelude::*;

use super::{
    tests::{NETNS, aggregator, at, client, observe, reading},
    *,
};
use crate::model::limits::SortBy;

const SOURCES: usize = 3;

/// What happens to one source.
#[derive(Clone, Copy, Debug)]
enum Step {
    Comes { source: usize, seen: Seen },
    Goes { source: usize, seen: Seen },
    Refused { source: usize, seen: Seen },
    Dump,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Counted,
    Missed,
}

/// The kernel: what is, and what the hooks counted of it.
#[derive(Default)]
struct Kernel {
    held: [u64; SOURCES],
    counted: [(u64, u64, u64); SOURCES],
    missed: Missed,
    new: u64,
    ended: u64,
    refused: u64,
}

impl Kernel {
    fn apply(&mut self, step: Step) {
        match step {
            Step::Comes { source, seen } => {
                self.new += 1;
                self.held[source] += 1;
                self.count(source, seen, |row| row.0 += 1, |missed| missed.attempts += 1);
            }
            Step::Goes { source, seen } if self.held[source] > 0 => {
                self.ended += 1;
                self.held[source] -= 1;
                self.count(source, seen, |row| row.2 += 1, |missed| missed.ended += 1);
            }
            // A packet whose beginning is missed is missed when it is refused as well.
            Step::Refused { source, seen } => {
                self.refused += 1;
                let count = |row: &mut (u64, u64, u64)| {
                    row.0 += 1;
                    row.1 += 1;
                };
                self.count(source, seen, count, |missed| {
                    missed.attempts += 1;
                    missed.refusals += 1;
                });
            }
            Step::Goes { .. } | Step::Dump => {}
        }
    }

    fn count(
        &mut self,
        source: usize,
        seen: Seen,
        counted: fn(&mut (u64, u64, u64)),
        missed: fn(&mut Missed),
    ) {
        match seen {
            Seen::Counted => counted(&mut self.counted[source]),
            Seen::Missed => missed(&mut self.missed),
        }
    }

    fn reading(&self) -> RowReading {
        let rows: Vec<_> = keys()
            .zip(self.counted)
            .map(|(key, (attempts, refused, ended))| (key, attempts, refused, ended))
            .collect();
        RowReading { missed: Some(Box::new(self.missed)), ..reading(&rows) }
    }

    fn tell(&self, aggregator: &mut Aggregator) {
        let statistics =
            |drop| KernelStatistics { drop: Some(drop), ..KernelStatistics::default() };
        aggregator.observe(Observation::Kernel(statistics(0)));
        aggregator.observe(Observation::Kernel(statistics(self.refused)));
        observe(aggregator, &self.reading(), self.held.iter().sum());
    }

    fn census(&self) -> Census {
        let held = keys().zip(self.held).filter(|(_, held)| *held > 0).collect();
        Census { held, before: self.reading(), after: self.reading() }
    }
}

fn keys() -> impl Iterator<Item = SourceKey> {
    (0..SOURCES).map(|last| client(u8::try_from(last).unwrap()))
}

fn step() -> impl Strategy<Value = Step> {
    let seen = || prop_oneof![4 => Just(Seen::Counted), 1 => Just(Seen::Missed)];
    let some = || (0..SOURCES, seen());
    prop_oneof![
        6 => some().prop_map(|(source, seen)| Step::Comes { source, seen }),
        4 => some().prop_map(|(source, seen)| Step::Goes { source, seen }),
        2 => some().prop_map(|(source, seen)| Step::Refused { source, seen }),
        1 => Just(Step::Dump),
    ]
}

fn sum(snapshot: &Snapshot, number: fn(&SourceNumbers) -> Option<u64>) -> u64 {
    snapshot.sources.iter().chain([&snapshot.others]).filter_map(number).sum()
}

proptest! {
    #[test]
    fn totals_are_exact_whatever_is_missed(steps in prop::collection::vec(step(), 1..60)) {
        let mut aggregator = aggregator(SOURCES, SortBy::Entries);
        let mut kernel = Kernel::default();
        let mut at_dump = Missed::default();
        for step in steps {
            kernel.apply(step);
            kernel.tell(&mut aggregator);
            let snapshot = aggregator.tick(at(1), Ending::More);
            let totals = snapshot.totals;
            prop_assert_eq!(totals.new, Some(kernel.new));
            prop_assert_eq!(totals.ended, Some(kernel.ended));
            prop_assert_eq!(totals.refused, Some(kernel.refused));
            let witness = snapshot.witness.unwrap();
            prop_assert_eq!((witness.new, witness.ended), (kernel.new, kernel.ended));
            prop_assert_eq!((witness.refused, witness.difference), (kernel.refused, 0));
            prop_assert_eq!(sum(&snapshot, |row| row.entries), totals.entries.unwrap());
            prop_assert_eq!(snapshot.loss.probe_missed, Some(kernel.missed.total()));
            prop_assert_eq!(aggregator.needs_census(), kernel.missed != at_dump);
            // Only ends that nobody saw make sources hold too much, and no more than these.
            let drift = snapshot.drift_entries.unwrap();
            prop_assert!((0..=signed(kernel.missed.ended - at_dump.ended)).contains(&drift));
            if matches!(step, Step::Dump) {
                aggregator.observe(Observation::Census(Box::new(kernel.census())));
                at_dump = kernel.missed;
                kernel.tell(&mut aggregator);
                let settled = aggregator.tick(at(2), Ending::More);
                prop_assert_eq!(settled.drift_entries, Some(0));
                prop_assert_eq!(settled.totals.entries, Some(kernel.held.iter().sum()));
                prop_assert_eq!(settled.others.entries, Some(0));
                prop_assert!(!aggregator.needs_census());
                for (key, held) in keys().zip(kernel.held) {
                    let shown = settled.sources.iter().find(|row| row.key == Some(key));
                    prop_assert_eq!(shown.and_then(|row| row.entries).unwrap_or(0), held);
                }
                // Nothing is asked for again while nothing more is missed.
                kernel.tell(&mut aggregator);
                aggregator.tick(at(3), Ending::More);
                prop_assert!(!aggregator.needs_census());
            }
        }
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap()
}

/// Where the kernel does not tell what was missed, drift that lasts calls for a dump, and that puts it right.
#[test]
fn misses_that_nobody_counts_are_found_by_their_drift() {
    let mut aggregator = aggregator(10, SortBy::Entries);
    let rows = reading(&[(client(1), 10, 0, 0)]);
    for (line, needs) in [(1, false), (2, true)] {
        observe(&mut aggregator, &rows, 12);
        let snapshot = aggregator.tick(at(line), Ending::More);
        assert_eq!((snapshot.drift_entries, snapshot.loss.probe_missed), (Some(-2), None));
        assert_eq!(aggregator.needs_census(), needs);
    }
    let held = HashMap::from([(client(1), 12)]);
    let census = Census { held, before: rows.clone(), after: rows.clone() };
    aggregator.observe(Observation::Census(Box::new(census)));
    observe(&mut aggregator, &rows, 12);
    let settled = aggregator.tick(at(3), Ending::More);
    assert_eq!((settled.drift_entries, settled.sources[0].entries), (Some(0), Some(12)));
    assert!(!aggregator.needs_census());
}

/// A source that was busy during the dump after misses is looked at again.
#[test]
fn a_source_that_is_not_quiet_stays_unsettled_after_misses() {
    let mut aggregator = aggregator(10, SortBy::Entries);
    let rows = |attempts, missed| RowReading {
        missed: Some(Box::new(Missed { attempts: missed, ..Missed::default() })),
        ..reading(&[(client(1), attempts, 0, 0)])
    };
    observe(&mut aggregator, &rows(10, 1), 11);
    aggregator.tick(at(1), Ending::More);
    let held = HashMap::from([(client(1), 13)]);
    let census = Census { held, before: rows(11, 1), after: rows(14, 1) };
    aggregator.observe(Observation::Census(Box::new(census)));
    assert!(aggregator.needs_census());
    let held = HashMap::from([(client(1), 15)]);
    let census = Census { held, before: rows(14, 1), after: rows(14, 1) };
    aggregator.observe(Observation::Census(Box::new(census)));
    assert!(!aggregator.needs_census());
    observe(&mut aggregator, &rows(14, 1), 15);
    let settled = aggregator.tick(at(2), Ending::More);
    assert_eq!((settled.sources[0].entries, settled.others.entries), (Some(15), Some(0)));
    assert_eq!((settled.totals.new, settled.drift_entries), (Some(15), Some(0)));
    assert_eq!(settled.netns, NETNS);
}
