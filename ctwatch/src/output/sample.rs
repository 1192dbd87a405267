//! A snapshot and an event for the tests of what is printed.

use std::sync::Arc;

use crate::model::{
    census::{
        Census, ZoneNumbers,
        destinations::{Destination, DestinationNumbers},
        snat::{Holder, Pool, PoolNumbers},
        state::StateNumbers,
    },
    event::{Event, EventKind, Kind, Kinds},
    flood::{Flood, PrefixShare},
    loss::Loss,
    mode::{Mode, Rung},
    prefix::Prefix,
    snapshot::{CensusNow, KernelStatistics, Snapshot, SourceNumbers, Table},
    source,
    told::Told,
};

/// A gateway in trouble.
pub(crate) fn snapshot() -> Snapshot {
    let numbers = |source: &str, held| SourceNumbers {
        key: Some(source::key(1, source.parse().unwrap(), 17)),
        entries: Some(held),
        new: Some(held),
        refused: Some(7),
        ended: Some(0),
        evicted: Some(0),
        evictions_caused: Some(0),
        transient: Some(0),
        entry_seconds: Some(2.5),
        assured: Some(0),
        unreplied: Some(held),
        confirmed: Some(held),
        timed_out: Some(0),
        evicted_by_gc: Some(0),
        deleted: Some(0),
        closed: Some(0),
        insert_failed: Some(0),
        chain_too_long: Some(0),
        new_per_s: Some(410.4),
        refused_per_s: Some(3.0),
    };
    let destination =
        Destination { address: "198.51.100.1".parse().unwrap(), port: Some(443), protocol: 6 };
    let prefix = Prefix {
        network: "10.0.1.0/24".parse().unwrap(),
        entries: 21_000,
        entries_total: 82_000,
        sources: 210,
        new_per_s: 4.0,
    };
    let share = PrefixShare { network: "10.7.0.0/16".parse().unwrap(), share: 0.12 };
    let flood = Flood {
        destination,
        entries: 100_000,
        sources: 98_765,
        unreplied_share: 0.5,
        half_open_share: 0.99,
        prefixes: vec![share],
    };
    let culprit = numbers("10.0.1.2", 61_000);
    Snapshot {
        wall_ns: 1_795_442_400_000_000_000,
        netns: 1,
        netns_name: Some("gateway".into()),
        interval_s: 1.0,
        table: Table {
            entries: 62_000,
            limit: Some(65_536),
            utilization: Some(0.946),
            growth_per_s: Some(410.0),
            time_to_full_s: Some(8.6),
            ..Table::default()
        },
        totals: culprit,
        sources: vec![culprit],
        others: SourceNumbers { key: None, ..numbers("10.0.1.3", 1000) },
        prefixes: Some(vec![prefix]),
        census: Some(CensusNow { age_s: 3.25, census: Arc::new(census(destination)) }),
        floods: Some(Arc::new([flood])),
        kernel: KernelStatistics::default(),
        drift_entries: Some(0),
        witness: None,
        sums: None,
        loss: Loss { ring_full: Some(2), ..Loss::default() },
        mode: Arc::new(Mode {
            alloc: Rung::Kprobe,
            early_drop: Rung::Kprobe,
            free: Rung::Kprobe,
            attached_at_wall_ns: Some(1_795_442_300_000_000_000),
            ..Mode::default()
        }),
        events: Vec::new(),
    }
}

/// One of everything.
fn census(destination: Destination) -> Census {
    let address = "192.0.2.2".parse().unwrap();
    let udp = Destination { protocol: 17, ..destination };
    Census {
        entries: 62_000,
        states: vec![StateNumbers {
            protocol: "tcp".into(),
            state: "ESTABLISHED".into(),
            entries: 1000,
        }],
        zones: vec![ZoneNumbers { zone: 0, entries: 62_000 }],
        destinations: vec![DestinationNumbers {
            destination,
            entries: 100_000,
            sources: 98_765,
            unreplied: 50_000,
            half_open: 99_000,
        }],
        snat_pools: vec![PoolNumbers {
            pool: Pool { address, destination: udp, ports: 64_512 },
            ports_used: 61_000,
            utilization: 61_000.0 / 64_512.0,
            holders: vec![Holder { source: "10.0.1.2".parse().unwrap(), ports_used: 60_000 }],
        }],
        ..Census::default()
    }
}

/// A refusal, and seven more.
pub(crate) fn event() -> Event {
    Event {
        wall_ns: 1_795_442_400_000_000_000,
        netns: 1,
        kind: EventKind::RefusedTableFull,
        source: source::key(1, "10.0.1.2".parse().unwrap(), 17),
        protocol: 17,
        source_port: Some(4000),
        destination: Some("192.0.2.1".parse().unwrap()),
        destination_port: Some(53),
        suppressed: 7,
        by: None,
        block: None,
    }
}

/// What was told of such events.
pub(crate) fn told() -> Told {
    let mut told = Told::new(1, Kinds::of(&Kind::ALL));
    told.follow(&snapshot());
    told.count(&event());
    told
}
