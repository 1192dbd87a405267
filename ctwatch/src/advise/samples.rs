//! Cases for the tests of what is advised: an idle gateway of 65 536 entries, or a table that some sources have filled,
//! seen for ten seconds.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use super::{
    case::Case,
    cause::{Cause, Finding},
    facts::{Facts, Memory},
    settings::{BUCKETS, EXPECTATIONS, LIMIT, PREFIX, Settings, TCP_LOOSE},
    timeouts::TIMEOUTS,
};
use crate::{
    model::{
        census::Census,
        snapshot::{CensusNow, KernelStatistics, Snapshot, SourceNumbers, Table},
        source,
    },
    output,
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

/// A source of UDP, with all that the totals of the snapshot say.
pub(crate) fn one_source(snapshot: &Snapshot) -> Vec<SourceNumbers> {
    let key = Some(crate::model::source::key(1, [10, 0, 1, 2].into(), 17));
    vec![SourceNumbers { key, entries: Some(snapshot.table.entries), ..snapshot.totals }]
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

/// A look of ten seconds at a full table of these sources: address, protocol, entries, refused.
pub(crate) fn of_sources(sources: &[(&str, u8, u64, u64)]) -> Case {
    let row = |(source, protocol, entries, refused): &(&str, u8, u64, u64)| SourceNumbers {
        key: Some(source::key(1, source.parse().unwrap(), *protocol)),
        ..numbers(*entries, *refused)
    };
    let sum = |amount: fn(&(&str, u8, u64, u64)) -> u64| sources.iter().map(amount).sum::<u64>();
    let (entries, refused) = (sum(|source| source.2), sum(|source| source.3));
    let mut last = Snapshot {
        totals: numbers(entries, refused),
        sources: sources.iter().map(row).collect(),
        others: numbers(0, 0),
        prefixes: Some(Vec::new()),
        floods: Some(Arc::new([])),
        ..output::sample::snapshot()
    };
    last.table.entries = entries;
    last.table.limit = Some(entries);
    last.table.utilization = Some(1.0);
    last.census =
        Some(CensusNow { age_s: 0.5, census: Arc::new(Census { entries, ..Census::default() }) });
    let mut settings = Settings::default();
    for (key, value) in [
        (LIMIT, i64::try_from(entries).unwrap()),
        (TCP_LOOSE, 1),
        ("net.netfilter.nf_conntrack_udp_timeout", 30),
        ("net.netfilter.nf_conntrack_icmp_timeout", 30),
        ("net.netfilter.nf_conntrack_tcp_timeout_close_wait", 60),
    ] {
        settings.values.insert(key.to_owned(), value);
    }
    let last = Arc::new(last);
    let mut facts = Facts::default();
    facts.memory.entry_bytes = Some(256);
    facts.addresses.own = Some(vec![ip("10.0.0.1"), ip("192.0.2.2")]);
    facts.addresses.routers = Some(vec![ip("192.0.2.1")]);
    Case { seconds: 10.0, first: Arc::clone(&last), entries_max: entries, last, settings, facts }
}

/// So many sources of so many entries each.
pub(crate) fn crowd(sources: u8, entries: u64) -> Vec<(&'static str, u8, u64, u64)> {
    (0..sources)
        .map(|last| {
            let address: &'static str = format!("10.0.2.{last}").leak();
            (address, 6, entries, 0)
        })
        .collect()
}

/// The case with another last snapshot.
pub(crate) fn with_last(mut case: Case, change: impl FnOnce(&mut Snapshot)) -> Case {
    change(Arc::make_mut(&mut case.last));
    case
}

/// The case with another last walk.
pub(crate) fn with_census(case: Case, census: Census) -> Case {
    let census = Arc::new(census);
    with_last(case, |last| last.census = Some(CensusNow { age_s: 0.5, census }))
}

pub(crate) fn finding(cause: Cause) -> Finding {
    Finding { cause, explanation: String::new(), evidence: Vec::new() }
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn numbers(entries: u64, refused: u64) -> SourceNumbers {
    SourceNumbers {
        entries: Some(entries),
        new: Some(entries),
        refused: Some(refused),
        evicted: Some(0),
        ..SourceNumbers::default()
    }
}
