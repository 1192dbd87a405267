//! A table of cases, each with its cause, and of those that are nearly one.

use std::sync::Arc;

use super::*;
use crate::{
    advise::{
        samples,
        settings::{BUCKETS, LIMIT, PREFIX},
    },
    model::{
        census::{
            Census,
            destinations::Destination,
            remaining::{Kind, RemainingOfKind},
            snat::{Holder, Pool, PoolNumbers},
        },
        flood::Flood,
        snapshot::{CensusNow, Snapshot, SourceNumbers},
        source,
    },
};

const FULL: u64 = 65_536;

/// One line of the table: what it is, and the case.
type Line = (&'static str, Case, Cause);

fn full(change: impl FnOnce(&mut Snapshot)) -> Case {
    samples::case(|last| {
        last.table.entries = FULL;
        last.totals.new = Some(20_000);
        last.sources = crowd(200, 300);
        last.census = Some(samples::census(FULL, 3000));
        last.floods = Some(Arc::new([]));
        change(last);
    })
}

fn row(address: [u8; 4], entries: u64, new: u64, refused: u64) -> SourceNumbers {
    SourceNumbers {
        key: Some(source::key(1, address.into(), 17)),
        entries: Some(entries),
        new: Some(new),
        refused: Some(refused),
        ..SourceNumbers::default()
    }
}

/// So many sources of so many entries each.
fn crowd(sources: u8, entries: u64) -> Vec<SourceNumbers> {
    (0..sources).map(|last| row([10, 0, 2, last], entries, 100, 0)).collect()
}

/// A change of the last walk.
fn walked(last: &mut Snapshot, change: impl FnOnce(&mut Census)) {
    let mut census = (*last.census.as_ref().unwrap().census).clone();
    change(&mut census);
    last.census = Some(CensusNow { age_s: 0.5, census: Arc::new(census) });
}

fn flood(entries: u64) -> Flood {
    Flood {
        destination: destination(),
        entries,
        sources: entries,
        unreplied_share: 1.0,
        half_open_share: 1.0,
        prefixes: Vec::new(),
    }
}

fn destination() -> Destination {
    Destination { address: "198.51.100.1".parse().unwrap(), port: Some(443), protocol: 6 }
}

fn pool(ports_used: u64) -> PoolNumbers {
    PoolNumbers {
        pool: Pool {
            address: "192.0.2.2".parse().unwrap(),
            destination: destination(),
            ports: 64_512,
        },
        ports_used,
        utilization: ports_used as f64 / 64_512.0,
        holders: vec![Holder { source: "10.0.1.2".parse().unwrap(), ports_used: 40_000 }],
    }
}

/// Entries of a kind, by seconds left.
fn of_kind(kind: Kind, by_second: &[(u32, u32)]) -> RemainingOfKind {
    RemainingOfKind { kind, entries_by_second: by_second.to_vec(), not_told: 0, not_counted: 0 }
}

fn of_kinds(kinds: Vec<RemainingOfKind>) -> impl FnOnce(&mut Snapshot) {
    |last| walked(last, |census| census.remaining.kinds = kinds)
}

fn set(mut case: Case, key: &str, value: i64) -> Case {
    case.settings.values.insert(key.to_owned(), value);
    case
}

fn established(idle_s: u32) -> Vec<RemainingOfKind> {
    vec![of_kind(Kind::Tcp { state: 3, is_unreplied: false }, &[(432_000 - idle_s, 50_000)])]
}

fn close_wait(entries: u32) -> Vec<RemainingOfKind> {
    vec![of_kind(Kind::Tcp { state: 5, is_unreplied: false }, &[(3599, entries)])]
}

fn check(lines: Vec<Line>) {
    for (what, case, cause) in lines {
        let finding = classify(&case, &Bounds::default());
        assert_eq!(finding.cause, cause, "{what}: {}", finding.explanation);
        assert!(finding.explanation.len() > 20 && !finding.evidence.is_empty(), "{what}");
        let mut names: Vec<&str> = finding.evidence.iter().map(|datum| datum.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), finding.evidence.len(), "{what}: {names:?}");
    }
}

#[test]
fn who_fills_the_table() {
    let with_abuser = |entries, new, refused| {
        full(|last| {
            last.sources.push(row([10, 0, 9, 9], entries, new, refused));
            last.totals.new = Some(20_000 + new);
            last.totals.refused = Some(refused);
        })
    };
    let mut few = full(|last| {
        last.sources.extend([1, 2, 3].map(|host| row([10, 9, 0, host], 15_000, 0, 0)));
    });
    few.entries_max = FULL;
    check(vec![
        ("one holds most", with_abuser(40_000, 0, 0), Cause::SingleSource),
        ("three hold most", few, Cause::SingleSource),
        ("one asks for most, and is evicted", with_abuser(300, 90_000, 9000), Cause::SingleSource),
        ("one holds much, but not half", with_abuser(20_000, 0, 0), Cause::Growth),
        (
            "one holds most of a table with room",
            samples::case(|last| {
                last.table.entries = 1000;
                last.sources = vec![row([10, 0, 9, 9], 990, 0, 0), row([10, 0, 9, 8], 1, 0, 0)];
            }),
            Cause::None,
        ),
        (
            "a flood",
            full(|last| last.floods = Some(Arc::new([flood(30_000), flood(10_000)]))),
            Cause::SpoofedFlood,
        ),
        (
            "a flood beside somebody who stands out",
            full(|last| {
                last.floods = Some(Arc::new([flood(20_000)]));
                last.sources.push(row([10, 0, 9, 9], 40_000, 0, 0));
            }),
            Cause::SpoofedFlood,
        ),
        ("a small flood", full(|last| last.floods = Some(Arc::new([flood(5000)]))), Cause::Growth),
        (
            "a flood in a table with room",
            samples::case(|last| {
                last.table.entries = 9000;
                last.totals.ended = Some(100_000);
                last.totals.entry_seconds = Some(90_000.0);
                last.totals.new = Some(100_000);
                last.census = Some(samples::census(9000, 9000));
                last.floods = Some(Arc::new([flood(8500)]));
            }),
            Cause::SpoofedFlood,
        ),
        ("everybody", full(|_| {}), Cause::Growth),
        (
            "everybody, soon",
            samples::case(|last| {
                last.table.entries = 30_000;
                last.totals.new = Some(29_000);
                last.sources = crowd(200, 150);
            }),
            Cause::Growth,
        ),
        (
            "nearly full and quiet",
            {
                let mut case = full(|last| last.table.entries = 54_000);
                case.first = Arc::clone(&case.last);
                case
            },
            Cause::Growth,
        ),
        ("nobody", samples::case(|_| {}), Cause::None),
        ("no limit", set(full(|last| last.table.limit = None), LIMIT, 0), Cause::None),
    ]);
}

#[test]
fn why_entries_stay() {
    let close_wait_s = format!("{PREFIX}tcp_timeout_close_wait");
    let udp_s = format!("{PREFIX}udp_timeout");
    let udp = || vec![of_kind(Kind::Udp { is_assured: false }, &[(20, 50_000)])];
    check(vec![
        (
            "CLOSE_WAIT of an hour",
            set(full(of_kinds(close_wait(50_000))), &close_wait_s, 3600),
            Cause::LingeringState,
        ),
        (
            "few in CLOSE_WAIT of an hour",
            set(full(of_kinds(close_wait(20_000))), &close_wait_s, 3600),
            Cause::Growth,
        ),
        ("CLOSE_WAIT as it comes", full(of_kinds(close_wait(50_000))), Cause::Growth),
        ("UDP of ten minutes", set(full(of_kinds(udp())), &udp_s, 600), Cause::LingeringState),
        ("UDP as it comes", full(of_kinds(udp())), Cause::Growth),
        (
            "established and idle for a day",
            full(of_kinds(established(86_400))),
            Cause::LingeringState,
        ),
        ("established and in use", full(of_kinds(established(60))), Cause::Growth),
        (
            "lingering in a table with room",
            set(
                samples::case(|last| {
                    last.census = Some(samples::census(1000, 0));
                    of_kinds(close_wait(1000))(last);
                }),
                &close_wait_s,
                3600,
            ),
            Cause::None,
        ),
    ]);
}

#[test]
fn why_packets_are_lost() {
    let failing = |too_long, failed, refused| {
        samples::case(|last| {
            last.table.entries = 30_000;
            last.totals.new = Some(10_000);
            last.totals.refused = Some(refused);
            last.kernel.chaintoolong = Some(too_long);
            last.kernel.insert_failed = Some(failed);
            last.kernel.drop = Some(refused + failed - too_long);
            last.kernel.found = Some(5000);
            last.totals.ended = Some(10_000);
            last.totals.entry_seconds = Some(300_000.0);
            // Of so many sources that none is listed.
            last.others = SourceNumbers { entries: Some(30_000), ..last.totals };
        })
    };
    let no_found = {
        let mut case = failing(0, 500, 0);
        Arc::make_mut(&mut case.last).kernel.found = Some(3);
        case
    };
    let with_pool = |used| {
        let mut case = failing(0, 0, 0);
        let last = Arc::make_mut(&mut case.last);
        last.census = Some(samples::census(30_000, 0));
        walked(last, |census| census.snat_pools = vec![pool(used)]);
        case
    };
    let with_expectations = |held, refused| {
        let mut case = failing(0, 0, refused);
        case.facts.expectations = Some(held);
        case
    };
    let out_of_memory = |drops, available: u64| {
        let mut case = failing(0, 0, 0);
        Arc::make_mut(&mut case.last).kernel.drop = Some(drops);
        case.facts.memory.available_bytes = Some(available);
        case
    };
    let with_buckets = |buckets, evictable| {
        let case = full(|last| {
            last.census = Some(samples::census(FULL, evictable));
            last.totals.refused = Some(30_000);
        });
        set(case, BUCKETS, buckets)
    };
    check(vec![
        ("long chains", failing(900, 900, 0), Cause::BucketsTooSmall),
        ("long chains, but the table refuses more", failing(10, 10, 900), Cause::Growth),
        ("no port left in a range", failing(0, 500, 0), Cause::SnatPorts),
        ("a race now and then", failing(0, 9, 0), Cause::None),
        ("clashes that NAT did not look for", no_found, Cause::None),
        ("nearly no port left", with_pool(62_000), Cause::SnatPorts),
        ("some ports left", with_pool(58_000), Cause::None),
        ("no expectation left", with_expectations(1020, 0), Cause::Expectations),
        ("some expectations left", with_expectations(900, 0), Cause::None),
        ("no expectation left, and the table is full", with_expectations(1024, 50), Cause::Growth),
        ("no memory", out_of_memory(400, 100 << 20), Cause::Memory),
        ("drops, and memory enough", out_of_memory(400, 8 << 30), Cause::None),
        ("low memory, and nothing is dropped", out_of_memory(2, 100 << 20), Cause::None),
        ("eight buckets an entry", with_buckets(524_288, 13_000), Cause::BucketsTooLarge),
        ("nothing to evict in eight buckets an entry", with_buckets(524_288, 700), Cause::Growth),
        ("a bucket an entry", with_buckets(65_536, 13_000), Cause::Growth),
        ("slow look-ups", set(failing(0, 0, 0), BUCKETS, 4096), Cause::BucketsTooSmall),
        ("look-ups of four links", set(failing(0, 0, 0), BUCKETS, 16_384), Cause::None),
    ]);
}

#[test]
fn who_needs_it() {
    let mut case = samples::case(|_| {});
    case.facts.translates_sources = Some(false);
    let unknown = case.clone();
    case.facts.are_users_known = true;
    let mut translating = case.clone();
    translating.facts.translates_sources = Some(true);
    check(vec![
        ("nobody", case, Cause::ConntrackNotNeeded),
        ("nobody knows", unknown, Cause::None),
        ("a NAT", translating, Cause::None),
    ]);
}
