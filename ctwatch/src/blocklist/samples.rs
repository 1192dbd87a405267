//! Windows for the tests of who is listed: a table with room for 1000, seen once a second.

use std::sync::Arc;

use super::window::Window;
use crate::{
    model::{
        snapshot::{Snapshot, SourceNumbers, Table},
        source,
    },
    output::sample,
};

/// What a source holds, and asks for in a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// Who.
    pub(crate) source: &'static str,
    /// Entries held.
    pub(crate) entries: u64,
    /// Entries made.
    pub(crate) new: u64,
    /// Packets refused.
    pub(crate) refused: u64,
}

/// One interval of these sources, one of which may be a prefix, and so many entries in the table.
pub(crate) fn snapshot(sources: &[Seen], entries: u64) -> Snapshot {
    let row = |seen: &Seen| {
        let (address, is_prefix) = match seen.source.strip_suffix("/24") {
            Some(prefix) => (prefix, true),
            None => (seen.source, false),
        };
        let key = source::key(1, address.parse().unwrap(), 17);
        SourceNumbers {
            key: Some(if is_prefix { key.prefix() } else { key }),
            entries: Some(seen.entries),
            new_per_s: Some(seen.new as f64),
            refused_per_s: Some(seen.refused as f64),
            ..SourceNumbers::default()
        }
    };
    let sources: Vec<SourceNumbers> = sources.iter().map(row).collect();
    let mut totals = SourceNumbers {
        new_per_s: Some(0.0),
        refused_per_s: Some(0.0),
        ..SourceNumbers::default()
    };
    sources.iter().for_each(|row| totals.include(row));
    Snapshot {
        interval_s: 1.0,
        table: Table { entries, limit: Some(1000), ..Table::default() },
        totals,
        sources,
        floods: Some(Arc::new([])),
        ..sample::snapshot()
    }
}

/// A full table in each interval.
pub(crate) fn window(intervals: &[&[Seen]]) -> Window {
    Window::of(intervals.iter().map(|sources| snapshot(sources, 1000)))
}

/// One interval of a mode that sees neither who asks nor who is refused.
pub(crate) fn unseen(mut snapshot: Snapshot) -> Window {
    for row in snapshot.sources.iter_mut().chain([&mut snapshot.totals]) {
        (row.new_per_s, row.refused_per_s, row.evicted) = (None, None, None);
    }
    Window::of([snapshot])
}
