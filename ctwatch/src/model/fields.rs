//! The one table of what every number is called, in what unit, and what it means.
//!
//! JSON, the text table and the documentation read it, so they cannot disagree.

pub mod census;
pub mod own;

use super::{
    loss::Loss,
    snapshot::{KernelStatistics, SourceNumbers, Table, WitnessTotals},
};

/// A number to be written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A count.
    Count(u64),
    /// A difference.
    Difference(i64),
    /// A ratio, rate or time.
    Real(f64),
    /// What the mode cannot see: `null`, never 0.
    Unknown,
}

/// How a number behaves over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, from 0 at the start.
    Counter,
    /// It is what it is now.
    Gauge,
}

/// One field of a `T`.
#[derive(Debug)]
pub struct Field<T: 'static> {
    /// The key in JSON.
    pub name: &'static str,
    /// The unit, in the plural where it is a count.
    pub unit: &'static str,
    /// How it behaves over time.
    pub kind: Kind,
    /// What it means, in one sentence.
    pub help: &'static str,
    /// The number itself.
    pub value: fn(&T) -> Value,
}

/// The fields of the table as a whole.
pub const TABLE: &[Field<Table>] = &[
    Field {
        name: "entries",
        unit: "entries",
        kind: Kind::Gauge,
        help: "entries in the table now (nf_conntrack_count)",
        value: |t| Value::Count(t.entries),
    },
    Field {
        name: "limit",
        unit: "entries",
        kind: Kind::Gauge,
        help: "entries that fit (nf_conntrack_max); null if unlimited",
        value: |t| count(t.limit),
    },
    Field {
        name: "buckets",
        unit: "buckets",
        kind: Kind::Gauge,
        help: "hash buckets (nf_conntrack_buckets)",
        value: |t| count(t.buckets),
    },
    Field {
        name: "utilization",
        unit: "ratio",
        kind: Kind::Gauge,
        help: "entries by limit; null if unlimited",
        value: |t| real(t.utilization),
    },
    Field {
        name: "memory_bytes",
        unit: "bytes",
        kind: Kind::Gauge,
        help: "memory of entries and buckets, extensions not included",
        value: |t| count(t.memory_bytes),
    },
    Field {
        name: "growth_per_s",
        unit: "entries per second",
        kind: Kind::Gauge,
        help: "change of entries over the last interval",
        value: |t| real(t.growth_per_s),
    },
    Field {
        name: "time_to_full_s",
        unit: "seconds",
        kind: Kind::Gauge,
        help: "time until the table is full at this growth; null unless growing",
        value: |t| real(t.time_to_full_s),
    },
];

/// The fields of a source that are counts of what it held, made or lost; totals have those with `in_totals`.
pub const SOURCE: &[Field<SourceNumbers>] = &[
    Field {
        name: "entries",
        unit: "entries",
        kind: Kind::Gauge,
        help: "entries held now, those from before the start included",
        value: |s| count(s.entries),
    },
    Field {
        name: "new",
        unit: "entries",
        kind: Kind::Counter,
        help: "entries made since the start",
        value: |s| count(s.new),
    },
    Field {
        name: "refused",
        unit: "packets",
        kind: Kind::Counter,
        help: "packets refused an entry since the start because the table was full",
        value: |s| count(s.refused),
    },
    Field {
        name: "evicted",
        unit: "entries",
        kind: Kind::Counter,
        help: "entries thrown out since the start for somebody's packet, because the table was full",
        value: |s| count(s.evicted),
    },
    Field {
        name: "evictions_caused",
        unit: "entries",
        kind: Kind::Counter,
        help: "entries of anybody thrown out since the start for packets of this source",
        value: |s| count(s.evictions_caused),
    },
    Field {
        name: "insert_failed",
        unit: "packets",
        kind: Kind::Counter,
        help: "packets whose entry could not be inserted since the start; by source since mode.confirm_since",
        value: |s| count(s.insert_failed),
    },
    Field {
        name: "ended",
        unit: "entries",
        kind: Kind::Counter,
        help: "entries gone since the start, whatever the reason",
        value: |s| count(s.ended),
    },
    Field {
        name: "transient",
        unit: "entries",
        kind: Kind::Counter,
        help: "of those ended, entries that never were in the table: their packet was dropped on the way",
        value: |s| count(s.transient),
    },
    census::ENTRY_SECONDS,
    census::ASSURED,
    census::UNREPLIED,
    Field {
        name: "timed_out",
        unit: "entries",
        kind: Kind::Counter,
        help: "of those ended, entries whose time was over",
        value: |s| count(s.timed_out),
    },
    Field {
        name: "evicted_by_gc",
        unit: "entries",
        kind: Kind::Counter,
        help: "of those ended, entries that the kernel's garbage collector threw out before their time, because the table was nearly full",
        value: |s| count(s.evicted_by_gc),
    },
    Field {
        name: "deleted",
        unit: "entries",
        kind: Kind::Counter,
        help: "of those ended, entries deleted before their time: by a user, a flush, or as a device went down",
        value: |s| count(s.deleted),
    },
    Field {
        name: "closed",
        unit: "entries",
        kind: Kind::Counter,
        help: "of those ended, the rest: closed by a packet, such as a TCP reset, or in use by a queued packet until later",
        value: |s| count(s.closed),
    },
    Field {
        name: "confirmed",
        unit: "entries",
        kind: Kind::Counter,
        help: "new less transient: entries that got into the table, or whose first packet is on its way there",
        value: |s| count(s.confirmed),
    },
    Field {
        name: "chain_too_long",
        unit: "packets",
        kind: Kind::Counter,
        help: "of insert_failed, those for which a chain of the hash was too long; null where this kernel has no such limit",
        value: |s| count(s.chain_too_long),
    },
    Field {
        name: "new_per_s",
        unit: "entries per second",
        kind: Kind::Gauge,
        help: "entries made in the last interval",
        value: |s| real(s.new_per_s),
    },
    Field {
        name: "refused_per_s",
        unit: "packets per second",
        kind: Kind::Gauge,
        help: "packets refused in the last interval",
        value: |s| real(s.refused_per_s),
    },
];

/// The kernel's own statistics.
pub const KERNEL: &[Field<KernelStatistics>] = &[
    Field {
        name: "found",
        unit: "tuples",
        kind: Kind::Counter,
        help: "tuples that NAT wanted and found taken",
        value: |k| count(k.found),
    },
    Field {
        name: "invalid",
        unit: "packets",
        kind: Kind::Counter,
        help: "packets that belong to no entry and can make none",
        value: |k| count(k.invalid),
    },
    Field {
        name: "insert",
        unit: "entries",
        kind: Kind::Counter,
        help: "entries inserted by ctnetlink or BPF, not by packets",
        value: |k| count(k.insert),
    },
    Field {
        name: "insert_failed",
        unit: "entries",
        kind: Kind::Counter,
        help: "entries that could not be inserted when they were confirmed",
        value: |k| count(k.insert_failed),
    },
    Field {
        name: "drop",
        unit: "packets",
        kind: Kind::Counter,
        help: "packets conntrack dropped: table full, no memory, unresolved clash, protocol",
        value: |k| count(k.drop),
    },
    Field {
        name: "early_drop",
        unit: "entries",
        kind: Kind::Counter,
        help: "entries thrown out for a packet while the table was full",
        value: |k| count(k.early_drop),
    },
    Field {
        name: "icmp_error",
        unit: "packets",
        kind: Kind::Counter,
        help: "ICMP errors that could not be handled",
        value: |k| count(k.icmp_error),
    },
    Field {
        name: "expect_new",
        unit: "connections",
        kind: Kind::Counter,
        help: "expected connections that came",
        value: |k| count(k.expect_new),
    },
    Field {
        name: "expect_create",
        unit: "expectations",
        kind: Kind::Counter,
        help: "expectations made by helpers",
        value: |k| count(k.expect_create),
    },
    Field {
        name: "expect_delete",
        unit: "expectations",
        kind: Kind::Counter,
        help: "expectations removed",
        value: |k| count(k.expect_delete),
    },
    Field {
        name: "search_restart",
        unit: "look-ups",
        kind: Kind::Counter,
        help: "look-ups begun again because the chain had changed",
        value: |k| count(k.search_restart),
    },
    Field {
        name: "clash_resolve",
        unit: "clashes",
        kind: Kind::Counter,
        help: "clashes between two packets of one flow that were resolved",
        value: |k| count(k.clash_resolve),
    },
    Field {
        name: "chaintoolong",
        unit: "entries",
        kind: Kind::Counter,
        help: "entries not inserted because the hash chain was too long",
        value: |k| count(k.chaintoolong),
    },
];

/// What was lost.
pub const LOSS: &[Field<Loss>] = &[
    Field {
        name: "ring_full",
        unit: "events",
        kind: Kind::Counter,
        help: "refusals whose event found the ring buffer full",
        value: |l| count(l.ring_full),
    },
    Field {
        name: "evicted_ring_full",
        unit: "events",
        kind: Kind::Counter,
        help: "evictions whose event found the ring buffer full; null where they are not asked for",
        value: |l| count(l.evicted_ring_full),
    },
    Field {
        name: "insert_failed_ring_full",
        unit: "events",
        kind: Kind::Counter,
        help: "insert failures whose event found the ring buffer full; null where they are not asked for",
        value: |l| count(l.insert_failed_ring_full),
    },
    Field {
        name: "ended_ring_full",
        unit: "events",
        kind: Kind::Counter,
        help: "ends whose event found the ring buffer full; null where they are not asked for",
        value: |l| count(l.ended_ring_full),
    },
    Field {
        name: "map_full",
        unit: "packets",
        kind: Kind::Counter,
        help: "attempts counted under a prefix because there was no row for the source",
        value: |l| count(l.map_full),
    },
    Field {
        name: "probe_missed",
        unit: "calls",
        kind: Kind::Counter,
        help: "calls that hooks missed, in all namespaces; null where the kernel does not tell",
        value: |l| count(l.probe_missed),
    },
    Field {
        name: "requester_unknown",
        unit: "packets",
        kind: Kind::Counter,
        help: "refusals whose packet could not be told",
        value: |l| count(l.requester_unknown),
    },
    Field {
        name: "unreadable",
        unit: "calls",
        kind: Kind::Counter,
        help: "calls whose arguments could not be read",
        value: |l| count(l.unreadable),
    },
    Field {
        name: "decode_errors",
        unit: "records",
        kind: Kind::Counter,
        help: "records or messages that could not be decoded",
        value: |l| Value::Count(l.decode_errors),
    },
    Field {
        name: "events_dropped",
        unit: "events",
        kind: Kind::Counter,
        help: "events left out because one interval had too many",
        value: |l| Value::Count(l.events_dropped),
    },
    Field {
        name: "skipped_ticks",
        unit: "intervals",
        kind: Kind::Counter,
        help: "intervals without a line because the reader was too slow",
        value: |l| Value::Count(l.skipped_ticks),
    },
    Field {
        name: "netlink_overruns",
        unit: "overruns",
        kind: Kind::Counter,
        help: "times that ctnetlink could not deliver (ENOBUFS)",
        value: |l| Value::Count(l.netlink_overruns),
    },
];

/// The per-CPU totals.
pub const WITNESS: &[Field<WitnessTotals>] = &[
    Field {
        name: "new",
        unit: "entries",
        kind: Kind::Counter,
        help: "entries made in all namespaces, counted without the rows; missed ones that are credited included",
        value: |w| Value::Count(w.new),
    },
    Field {
        name: "refused",
        unit: "packets",
        kind: Kind::Counter,
        help: "packets refused in all namespaces, in the same way",
        value: |w| Value::Count(w.refused),
    },
    Field {
        name: "ended",
        unit: "entries",
        kind: Kind::Counter,
        help: "entries gone in all namespaces, in the same way",
        value: |w| Value::Count(w.ended),
    },
    Field {
        name: "difference",
        unit: "counts",
        kind: Kind::Gauge,
        help: "what the rows of all namespaces have more than the per-CPU totals; 0 when nothing is under way",
        value: |w| Value::Difference(w.difference),
    },
];

impl KernelStatistics {
    /// Whether anything was ever counted.
    pub fn any(&self) -> bool {
        KERNEL.iter().any(|field| matches!((field.value)(self), Value::Count(count) if count > 0))
    }
}

/// The sum of a source's counts, whatever they count: where this is the same the parts most likely are.
pub fn sum_of_counts(numbers: &SourceNumbers) -> i64 {
    let counts = SOURCE.iter().map(|field| match (field.value)(numbers) {
        Value::Count(count) => i64::try_from(count).unwrap_or(i64::MAX),
        _ => 0,
    });
    counts.fold(0, i64::saturating_add)
}

fn count(value: Option<u64>) -> Value {
    value.map_or(Value::Unknown, Value::Count)
}

fn real(value: Option<f64>) -> Value {
    value.map_or(Value::Unknown, Value::Real)
}
