//! What an aggregator makes of the reasons for ends and of insertions that failed, and what it leaves unknown.

use ctwatch_common::{counter::Counter, row::Row};

use super::*;
use crate::model::{
    event::Kinds,
    limits::SortBy,
    mode::{Confirm, Rung},
    source,
};

const NETNS: u32 = 42;

/// A tick after one source had 10 entries end, and 3 insertions fail of the 7 that the kernel tells of.
fn tick(mode: Mode) -> Snapshot {
    let limits = Limits {
        listed_sources: 10,
        sort_by: SortBy::Entries,
        kinds: Kinds::NONE,
        events: 0,
        remembered_sources: 10,
        only: None,
        census_every: None,
    };
    let at = |seconds: u64| Moment { monotonic_ns: seconds * 1_000_000_000, wall_ns: 0 };
    let mut aggregator = Aggregator::new(NETNS, limits, Arc::new(mode), at(0));
    let mut row =
        Row { key: source::key(NETNS, "10.0.1.2".parse().unwrap(), 17), ..Row::default() };
    for (counter, count) in [
        (Counter::Attempts, 20),
        (Counter::Ended, 10),
        (Counter::Transient, 1),
        (Counter::TimedOut, 2),
        (Counter::EvictedByGc, 3),
        (Counter::InsertFailed, 3),
    ] {
        row.counters[counter as usize] = count;
    }
    let mut reading = RowReading::default();
    reading.add(&row);
    for insert_failed in [50, 57] {
        let kernel =
            KernelStatistics { insert_failed: Some(insert_failed), ..KernelStatistics::default() };
        aggregator.observe(Observation::Kernel(kernel));
    }
    aggregator
        .observe(Observation::Rows { before: Box::new(reading.clone()), after: Box::new(reading) });
    aggregator.tick(at(1), Ending::More)
}

fn mode() -> Mode {
    Mode {
        alloc: Rung::Fexit,
        early_drop: Rung::Fexit,
        free: Rung::Fexit,
        gc: Rung::Kprobe,
        deletion: Rung::Kprobe,
        confirm: Confirm::NotNeeded,
        ..Mode::default()
    }
}

#[test]
fn every_end_has_a_reason() {
    let totals = tick(mode()).totals;
    assert_eq!((totals.ended, totals.confirmed), (Some(10), Some(19)));
    assert_eq!((totals.transient, totals.timed_out), (Some(1), Some(2)));
    assert_eq!((totals.evicted, totals.evicted_by_gc), (Some(0), Some(3)));
    assert_eq!((totals.deleted, totals.closed), (Some(0), Some(4)));
}

#[test]
fn without_a_hook_its_reason_and_the_rest_are_unknown() {
    let totals = tick(Mode { deletion: Rung::None, ..mode() }).totals;
    assert_eq!((totals.deleted, totals.closed), (None, None));
    assert_eq!((totals.timed_out, totals.evicted_by_gc), (Some(2), Some(3)));
    let totals = tick(Mode { gc: Rung::None, ..mode() }).totals;
    assert_eq!((totals.evicted_by_gc, totals.closed, totals.deleted), (None, None, Some(0)));
}

#[test]
fn failures_that_no_row_has_are_nobodys() {
    let snapshot = tick(mode());
    let of = |numbers: &SourceNumbers| (numbers.insert_failed, numbers.chain_too_long);
    assert_eq!(of(&snapshot.sources[0]), (Some(3), None));
    assert_eq!(of(&snapshot.others), (Some(4), None));
    assert_eq!(of(&snapshot.totals), (Some(7), None));
    let unseen = tick(Mode { confirm: Confirm::Impossible, ..mode() });
    assert_eq!(of(&unseen.totals), (None, None));
}
