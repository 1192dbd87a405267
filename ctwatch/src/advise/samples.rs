//! A case for the tests of what is advised: an idle gateway of 65 536 entries, seen for ten seconds.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    case::Case,
    facts::{Facts, Memory},
    settings::{BUCKETS, EXPECTATIONS, LIMIT, PREFIX, Settings},
    timeouts::TIMEOUTS,
};
use crate::model::{
    census::Census,
    snapshot::{CensusNow, KernelStatistics, Snapshot, SourceNumbers, Table},
};

/// An idle gateway, with this changed in its last snapshot.
pub(crate) fn case(change: impl FnOnce(&mut Snapshot)) -> Case {
    let first = idle();
    let mut last = idle();
    change(&mut last);
    let entries_max = last.table.entries;
    Case {
        seconds: 10.0,
        first: Arc::new(first),
        last: Arc::new(last),
        entries_max,
        settings: settings(),
        facts: Facts {
            memory: Memory {
                total_bytes: Some(16 << 30),
                available_bytes: Some(8 << 30),
                entry_bytes: Some(256),
                extension_bytes: Some(128),
                ..Memory::default()
            },
            ..Facts::default()
        },
    }
}

/// The walk of a table with so many entries, of which so many are not assured.
pub(crate) fn census(entries: u64, evictable: u64) -> CensusNow {
    let census = Census { entries, assured: entries - evictable, ..Census::default() };
    CensusNow { age_s: 0.5, census: Arc::new(census) }
}

/// A kernel as it comes, with 65 536 entries and as many buckets.
pub(crate) fn settings() -> Settings {
    let mut values: BTreeMap<String, i64> = TIMEOUTS
        .iter()
        .map(|timeout| (format!("{PREFIX}{}", timeout.name), timeout.default_s.into()))
        .collect();
    values.extend(
        [(LIMIT, 65_536), (BUCKETS, 65_536), (EXPECTATIONS, 1024)]
            .map(|(key, value)| (key.to_owned(), value)),
    );
    Settings { values }
}

fn idle() -> Snapshot {
    let zero = Some(0);
    let mut snapshot = crate::output::sample::snapshot();
    snapshot.table =
        Table { entries: 1000, limit: Some(65_536), buckets: Some(65_536), ..Table::default() };
    snapshot.totals = SourceNumbers {
        entries: Some(1000),
        new: zero,
        refused: zero,
        ended: zero,
        evicted: zero,
        evictions_caused: zero,
        transient: zero,
        confirmed: None,
        insert_failed: zero,
        chain_too_long: zero,
        entry_seconds: Some(10_000.0),
        ..SourceNumbers::default()
    };
    snapshot.sources.clear();
    snapshot.others = SourceNumbers::default();
    snapshot.prefixes = Some(Vec::new());
    snapshot.census = None;
    snapshot.floods = None;
    snapshot.kernel = KernelStatistics {
        found: zero,
        insert_failed: zero,
        drop: zero,
        early_drop: zero,
        chaintoolong: zero,
        ..KernelStatistics::default()
    };
    snapshot
}
