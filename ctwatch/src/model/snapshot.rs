//! All numbers of one interval, computed once. A plain value: every output reads the same.

use std::sync::Arc;

use ctwatch_common::source::SourceKey;
use serde::{Deserialize, Serialize};

use super::{
    audit::Sums, census::Census, event::Event, flood::Flood, loss::Loss, mode::Mode, prefix::Prefix,
};

/// What is known at the end of one interval of one network namespace.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When, in nanoseconds since 1970.
    pub wall_ns: i128,
    /// The network namespace, by inode number.
    pub netns: u32,
    /// What the network namespace is called; `None` if that is not known.
    pub netns_name: Option<Arc<str>>,
    /// Length of the interval, in seconds.
    pub interval_s: f64,
    /// The table as a whole.
    pub table: Table,
    /// The sum over everything counted in this namespace.
    pub totals: SourceNumbers,
    /// The listed sources, in the order asked for.
    pub sources: Vec<SourceNumbers>,
    /// The sum over the sources that are not listed.
    pub others: SourceNumbers,
    /// The prefixes that hold much beyond what is said of their parts; `None` if it is not known what is held.
    pub prefixes: Option<Vec<Prefix>>,
    /// What the last walk of the table told; `None` before the first.
    pub census: Option<CensusNow>,
    /// Floods from addresses that are probably made up, by the last walk; `None` before the first.
    pub floods: Option<Arc<[Flood]>>,
    /// The kernel's own counters, since the start.
    pub kernel: KernelStatistics,
    /// How far the sum over the sources is from `nf_conntrack_count`, beyond what changed while reading.
    pub drift_entries: Option<i64>,
    /// The per-CPU totals over all namespaces: new, refused, ended.
    pub witness: Option<WitnessTotals>,
    /// Sums of the rows before and after the kernel's own counts were read; `None` where there are no rows.
    pub sums: Option<[Sums; 2]>,
    /// What was lost on the way.
    pub loss: Loss,
    /// How the numbers come about.
    pub mode: Arc<Mode>,
    /// What happened in this interval, as far as it fits.
    pub events: Vec<Event>,
}

/// A census, and how old it is.
#[derive(Clone, Debug, PartialEq)]
pub struct CensusNow {
    /// Seconds since the walk was over.
    pub age_s: f64,
    /// What it told.
    pub census: Arc<Census>,
}

/// The table as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Table {
    /// Entries now (`nf_conntrack_count`).
    pub entries: u64,
    /// Entries that fit (`nf_conntrack_max`); `None` if unlimited.
    pub limit: Option<u64>,
    /// Hash buckets.
    pub buckets: Option<u64>,
    /// Entries by limit; `None` if unlimited.
    pub utilization: Option<f64>,
    /// Memory of entries and buckets, without extensions.
    pub memory_bytes: Option<u64>,
    /// Change of `entries` over the interval.
    pub growth_per_s: Option<f64>,
    /// Time until the table is full at this growth; `None` unless it grows.
    pub time_to_full_s: Option<f64>,
}

/// The numbers of one source, or a sum of sources. `None` is what the mode cannot see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceNumbers {
    /// Whose; `None` for a sum.
    #[serde(with = "super::key_bytes::optional")]
    pub key: Option<SourceKey>,
    /// Entries held now, those from before the start included.
    pub entries: Option<u64>,
    /// Entries made since the start.
    pub new: Option<u64>,
    /// Packets refused since the start because the table was full.
    pub refused: Option<u64>,
    /// Entries gone since the start.
    pub ended: Option<u64>,
    /// Entries thrown out for somebody's packet since the start.
    pub evicted: Option<u64>,
    /// Entries of anybody thrown out for a packet of this source since the start.
    pub evictions_caused: Option<u64>,
    /// Entries that ended without ever having been confirmed since the start.
    pub transient: Option<u64>,
    /// Entries held times the seconds they were held, since the start.
    pub entry_seconds: Option<f64>,
    /// Entries that the kernel does not evict to make room, at the last walk of the table.
    pub assured: Option<u64>,
    /// Entries that nobody had answered, at the last walk of the table.
    pub unreplied: Option<u64>,
    /// Entries that got into the table, or are on their way there, since the start.
    pub confirmed: Option<u64>,
    /// Entries that ended when their time was over, since the start.
    pub timed_out: Option<u64>,
    /// Entries that the garbage collector threw out near the limit since the start.
    pub evicted_by_gc: Option<u64>,
    /// Entries deleted before their time since the start.
    pub deleted: Option<u64>,
    /// Entries that ended for none of the other reasons since the start.
    pub closed: Option<u64>,
    /// Packets whose entry could not be inserted since the start.
    pub insert_failed: Option<u64>,
    /// Of these, those for which a hash chain was too long.
    pub chain_too_long: Option<u64>,
    /// Entries made in the interval, by its length.
    pub new_per_s: Option<f64>,
    /// Packets refused in the interval, by its length.
    pub refused_per_s: Option<f64>,
}

/// The kernel's statistics (`/proc/net/stat/nf_conntrack`), summed over the CPUs, since the start.
/// `None` where this kernel has no such counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KernelStatistics {
    /// Tuples that NAT wanted and found taken.
    pub found: Option<u64>,
    /// Packets that belong to no entry and can make none.
    pub invalid: Option<u64>,
    /// Entries inserted by ctnetlink or BPF; not by packets.
    pub insert: Option<u64>,
    /// Entries that could not be inserted when they were confirmed.
    pub insert_failed: Option<u64>,
    /// Packets dropped by conntrack: table full, no memory, unresolved clash, protocol.
    pub drop: Option<u64>,
    /// Entries thrown out for a packet while the table was full.
    pub early_drop: Option<u64>,
    /// ICMP errors that could not be handled.
    pub icmp_error: Option<u64>,
    /// Expected connections that came.
    pub expect_new: Option<u64>,
    /// Expectations made by helpers.
    pub expect_create: Option<u64>,
    /// Expectations removed.
    pub expect_delete: Option<u64>,
    /// Look-ups begun again because the chain had changed.
    pub search_restart: Option<u64>,
    /// Clashes between two packets of one flow that were resolved.
    pub clash_resolve: Option<u64>,
    /// Entries not inserted because the hash chain was too long.
    pub chaintoolong: Option<u64>,
}

impl KernelStatistics {
    /// What was counted since `start`.
    pub fn since(&self, start: &Self) -> Self {
        let less = |now: Option<u64>, then: Option<u64>| {
            now.map(|now| now.saturating_sub(then.unwrap_or(0)))
        };
        Self {
            found: less(self.found, start.found),
            invalid: less(self.invalid, start.invalid),
            insert: less(self.insert, start.insert),
            insert_failed: less(self.insert_failed, start.insert_failed),
            drop: less(self.drop, start.drop),
            early_drop: less(self.early_drop, start.early_drop),
            icmp_error: less(self.icmp_error, start.icmp_error),
            expect_new: less(self.expect_new, start.expect_new),
            expect_create: less(self.expect_create, start.expect_create),
            expect_delete: less(self.expect_delete, start.expect_delete),
            search_restart: less(self.search_restart, start.search_restart),
            clash_resolve: less(self.clash_resolve, start.clash_resolve),
            chaintoolong: less(self.chaintoolong, start.chaintoolong),
        }
    }
}

/// The per-CPU totals over all namespaces, which no row takes part in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WitnessTotals {
    /// Entries made.
    pub new: u64,
    /// Packets refused.
    pub refused: u64,
    /// Entries gone.
    pub ended: u64,
    /// By how much the sum over all rows differs, in events counted; 0 unless counts are under way.
    pub difference: i64,
}
