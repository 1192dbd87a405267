//! Any snapshot, for the tests.

use std::sync::Arc;

use proptest::prelude::*;

use crate::{
    model::{
        audit::Sums,
        census::remaining::{Kind, RemainingOfKind, RemainingTimes},
        counters::Counters,
        event::{Block, By, Event, EventKind},
        loss::Loss,
        mode::{Confirm, Mode, Rung},
        prefix::Prefix,
        snapshot::{CensusNow, KernelStatistics, Snapshot, SourceNumbers, Table, WitnessTotals},
        source,
    },
    output::sample,
};

/// Any number, those included that are none.
fn real() -> impl Strategy<Value = f64> {
    any::<u64>().prop_map(f64::from_bits)
}

fn numbers() -> impl Strategy<Value = SourceNumbers> {
    let key = (any::<u32>(), any::<std::net::IpAddr>(), any::<u8>())
        .prop_map(|(netns, address, protocol)| source::key(netns, address, protocol));
    let reals = prop::array::uniform3(prop::option::of(real()));
    (prop::option::of(key), any::<[Option<u64>; 16]>(), reals).prop_map(|(key, counts, reals)| {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = counts;
        let [entry_seconds, new_per_s, refused_per_s] = reals;
        SourceNumbers {
            key,
            entries: a,
            new: b,
            refused: c,
            ended: d,
            evicted: e,
            evictions_caused: f,
            transient: g,
            assured: h,
            unreplied: i,
            confirmed: j,
            timed_out: k,
            evicted_by_gc: l,
            deleted: m,
            closed: n,
            insert_failed: o,
            chain_too_long: p,
            entry_seconds,
            new_per_s,
            refused_per_s,
        }
    })
}

fn mode() -> impl Strategy<Value = Mode> {
    let rung = || prop::sample::select(vec![Rung::Fexit, Rung::Kprobe, Rung::Netlink, Rung::None]);
    let confirm = prop_oneof![
        Just(Confirm::Impossible),
        Just(Confirm::NotNeeded),
        (rung(), any::<i128>()).prop_map(|(rung, wall_ns)| Confirm::Since { rung, wall_ns }),
    ];
    let sentences = prop::collection::vec(any::<String>(), 0..3);
    let rest = (sentences, any::<Option<i128>>(), any::<Option<String>>());
    (rung(), rung(), confirm, rest).prop_map(|(alloc, gc, confirm, rest)| Mode {
        alloc,
        gc,
        confirm,
        degraded: rest.0,
        attached_at_wall_ns: rest.1,
        pins_module: rest.2,
        ..Mode::default()
    })
}

fn counters() -> impl Strategy<Value = Counters> {
    any::<[u64; 4]>().prop_map(|[attempts, ended, refused, events_lost]| Counters {
        attempts,
        ended,
        refused,
        events_lost,
        ..Counters::default()
    })
}

fn sums() -> impl Strategy<Value = Option<[Sums; 2]>> {
    let sums = (any::<Option<i64>>(), counters(), counters()).prop_map(|(held, sources, rows)| {
        Sums { held, sources, all_rows: rows, ..Sums::default() }
    });
    prop::option::of(prop::array::uniform2(sums))
}

fn census() -> impl Strategy<Value = Option<CensusNow>> {
    let remaining = prop::collection::vec(any::<(u32, u32)>(), 0..5);
    let census = (real(), any::<u64>(), remaining).prop_map(|(age_s, entries, seconds)| {
        let mut now = sample::snapshot().census.unwrap();
        let census = Arc::make_mut(&mut now.census);
        census.entries = entries;
        let kind = Kind::Tcp { state: 3, is_unreplied: entries % 2 == 0 };
        census.remaining = RemainingTimes {
            kinds: vec![RemainingOfKind {
                kind,
                entries_by_second: seconds,
                not_told: entries,
                not_counted: 0,
            }],
            without_kind: entries,
        };
        CensusNow { age_s, ..now }
    });
    prop::option::of(census)
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let kind = prop::sample::select(EventKind::ALL.to_vec());
    let by = prop_oneof![
        (any::<std::net::IpAddr>(), any::<u8>())
            .prop_map(|(source, protocol)| By::Requester { source, protocol }),
        (any::<String>(), any::<u32>()).prop_map(|(name, id)| By::Process { name, id }),
    ];
    let block = (any::<[Option<String>; 2]>(), any::<Option<i128>>(), any::<Option<u32>>())
        .prop_map(|([by, why], until_wall_ns, entries_max)| Block {
            by,
            why,
            until_wall_ns,
            entries_max,
            dropped_packets: entries_max.map(u64::from),
        });
    let rest = (kind, prop::option::of(by), prop::option::of(block));
    let event = (any::<i128>(), any::<std::net::IpAddr>(), any::<[Option<u16>; 2]>(), rest)
        .prop_map(|(wall_ns, address, [source_port, destination_port], rest)| Event {
            wall_ns,
            kind: rest.0,
            source: source::key(1, address, 6),
            source_port,
            destination: destination_port.map(|_| address),
            destination_port,
            suppressed: source_port.map_or(u64::MAX, u64::from),
            by: rest.1,
            block: rest.2,
            ..sample::event()
        });
    prop::collection::vec(event, 0..4)
}

/// Any snapshot.
pub(super) fn snapshot() -> impl Strategy<Value = Snapshot> {
    let table = (any::<[Option<u64>; 3]>(), prop::array::uniform3(prop::option::of(real())))
        .prop_map(|([limit, buckets, memory_bytes], [utilization, growth, time])| Table {
            entries: limit.unwrap_or(7),
            limit,
            buckets,
            utilization,
            memory_bytes,
            growth_per_s: growth,
            time_to_full_s: time,
        });
    let prefix = (any::<[u8; 4]>(), 0_u8..=32, real()).prop_map(|(address, length, new_per_s)| {
        let network = ipnet::Ipv4Net::new(address.into(), length).unwrap().into();
        Prefix { network, entries: 1, entries_total: u64::MAX, sources: 3, new_per_s }
    });
    let prefixes = prop::option::of(prop::collection::vec(prefix, 0..3));
    let when = (any::<i128>(), any::<u32>(), any::<Option<String>>(), real());
    let rows = (table, numbers(), prop::collection::vec(numbers(), 0..5), numbers(), prefixes);
    let counts = (any::<[Option<u64>; 3]>(), any::<Option<i64>>(), any::<Option<[u64; 3]>>());
    let seen = (census(), any::<bool>(), sums(), mode(), events());
    (when, rows, counts, seen).prop_map(|(when, rows, counts, seen)| {
        let [found, invalid, chaintoolong] = counts.0;
        let (census, has_floods, sums, mode, events) = seen;
        Snapshot {
            wall_ns: when.0,
            netns: when.1,
            netns_name: when.2.map(Arc::from),
            interval_s: when.3,
            table: rows.0,
            totals: rows.1,
            sources: rows.2,
            others: rows.3,
            prefixes: rows.4,
            census,
            floods: sample::snapshot().floods.filter(|_| has_floods),
            kernel: KernelStatistics { found, invalid, chaintoolong, ..Default::default() },
            drift_entries: counts.1,
            witness: counts.2.map(|[new, refused, ended]| WitnessTotals {
                new,
                refused,
                ended,
                difference: i64::MIN,
            }),
            sums,
            loss: Loss { ring_full: found, decode_errors: 1 << 63, ..Loss::default() },
            mode: Arc::new(mode),
            events,
        }
    })
}
