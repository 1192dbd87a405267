//! What the collector tells the aggregator. One way: nothing comes back but snapshots.

use std::sync::Arc;

use std::collections::HashMap;

use ctwatch_common::source::SourceKey;

use super::{
    baseline::Census, census::Walk, counters::Counters, event::Event, loss::Hop, mode::Mode,
    rows::RowReading, snapshot::KernelStatistics,
};

/// One thing observed.
#[derive(Debug)]
pub enum Observation {
    /// The rows, read before and after the table's count was.
    Rows {
        /// The reading before.
        before: Box<RowReading>,
        /// The reading after.
        after: Box<RowReading>,
    },
    /// The table's size, read between the two readings of the rows.
    Table(TableReading),
    /// The kernel's counters since boot.
    Kernel(KernelStatistics),
    /// Entries from before the start by source, exactly; empty if they cannot be known.
    HeldBefore(HashMap<SourceKey, i64>),
    /// A dump of the table, with the rows around it.
    Census(Box<Census>),
    /// A dump of the table where there are no rows: entries by source.
    Held(HashMap<SourceKey, u64>),
    /// What else a walk of the table told.
    Walked(Box<Walk>),
    /// An entry was made (ctnetlink).
    Began(SourceKey),
    /// An entry is gone (ctnetlink).
    Ended(SourceKey),
    /// Something happened to one packet.
    Event(Event),
    /// A source's row was given up; its counts so far are to be kept.
    RowReleased(SourceKey, Counters),
    /// The way in which things are seen has changed.
    Mode(Arc<Mode>),
    /// Something was lost.
    Lost(Hop, u64),
}

/// The table's size at one time.
#[derive(Clone, Copy, Debug, Default)]
pub struct TableReading {
    /// Entries now.
    pub entries: u64,
    /// Entries that fit; `None` if unlimited.
    pub limit: Option<u64>,
    /// Hash buckets.
    pub buckets: Option<u64>,
    /// Memory of entries and buckets.
    pub memory_bytes: Option<u64>,
}
