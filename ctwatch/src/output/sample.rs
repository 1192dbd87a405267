//! A snapshot and an event for the tests of what is printed.

use std::sync::Arc;

use crate::model::{
    event::{Event, EventKind},
    loss::Loss,
    mode::{Mode, Rung},
    snapshot::{KernelStatistics, Snapshot, SourceNumbers, Table},
    source,
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
        new_per_s: Some(410.4),
        refused_per_s: Some(3.0),
    };
    let culprit = numbers("10.0.1.2", 61_000);
    Snapshot {
        wall_ns: 1_795_442_400_000_000_000,
        netns: 1,
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
        kernel: KernelStatistics::default(),
        drift_entries: Some(0),
        witness: None,
        sums: None,
        loss: Loss { ring_full: Some(2), ..Loss::default() },
        mode: Arc::new(Mode {
            alloc: Rung::Kprobe,
            early_drop: Rung::Kprobe,
            free: Rung::Kprobe,
            degraded: Vec::new(),
            why_not_higher: Vec::new(),
        }),
        events: Vec::new(),
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
    }
}
