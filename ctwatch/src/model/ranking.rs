//! Which sources are listed, in what order, and the sum over those that are not.

use std::{cmp::Ordering, collections::HashMap};

use ctwatch_common::source::SourceKey;

use super::{
    limits::{Limits, SortBy},
    moment::Moment,
    snapshot::SourceNumbers,
    source::QuickHash,
};

/// What the next interval has to know of this one.
#[derive(Debug)]
pub struct Previous {
    /// When this interval ended.
    pub moment: Moment,
    /// Entries in the table then.
    pub entries: u64,
    /// Entries made and packets refused until then, by source; `None` for what belongs to nobody.
    pub counts: HashMap<Option<SourceKey>, (u64, u64), QuickHash>,
}

/// Writes the rates of the interval into the rows, and returns the counts that they come from, see
/// [`Previous::counts`].
pub fn rates(
    rows: &mut [SourceNumbers],
    previous: Option<&Previous>,
    interval_s: f64,
) -> HashMap<Option<SourceKey>, (u64, u64), QuickHash> {
    let mut counts = HashMap::with_capacity_and_hasher(rows.len(), QuickHash::default());
    for row in rows {
        let now = (row.new.unwrap_or(0), row.refused.unwrap_or(0));
        let before = previous.and_then(|last| last.counts.get(&row.key)).copied().unwrap_or((0, 0));
        let per_s = |now: u64, before: u64| now.saturating_sub(before) as f64 / interval_s;
        if interval_s > 0.0 {
            row.new_per_s = row.new.map(|_| per_s(now.0, before.0));
            row.refused_per_s = row.refused.map(|_| per_s(now.1, before.1));
        }
        counts.insert(row.key, now);
    }
    counts
}

/// Orders the rows and splits them into those that are listed, of those that may be, and the sum of the others; the
/// third value is the sum of all, added up independently of the split. `nothing` is the sum of no rows.
pub fn rank(
    mut rows: Vec<SourceNumbers>,
    nothing: SourceNumbers,
    limits: &Limits,
    may_be_listed: impl Fn(&SourceNumbers) -> bool,
) -> (Vec<SourceNumbers>, SourceNumbers, SourceNumbers) {
    let mut totals = nothing;
    rows.iter().for_each(|row| totals.include(row));
    let mut others = nothing;
    rows.extract_if(.., |row| row.key.is_none() || !may_be_listed(row))
        .for_each(|row| others.include(&row));
    // Only those that are listed need an order.
    let listed = limits.listed_sources.min(rows.len());
    if listed < rows.len() {
        rows.select_nth_unstable_by(listed, |a, b| compare(a, b, limits.sort_by));
    }
    rows.drain(listed..).for_each(|row| others.include(&row));
    rows.sort_unstable_by(|a, b| compare(a, b, limits.sort_by));
    (rows, others, totals)
}

/// Lists the first `listed` sources only; the sum of the others takes in the rest.
pub fn list_fewer(sources: &mut Vec<SourceNumbers>, others: &mut SourceNumbers, listed: usize) {
    sources.drain(listed.min(sources.len())..).for_each(|row| others.include(&row));
}

fn compare(a: &SourceNumbers, b: &SourceNumbers, sort_by: SortBy) -> Ordering {
    let by_entries = b.entries.cmp(&a.entries);
    let by_rate = descending(a.new_per_s, b.new_per_s);
    let first = match sort_by {
        SortBy::EvictionsCaused => {
            b.evictions_caused.cmp(&a.evictions_caused).then(by_entries).then(by_rate)
        }
        SortBy::EntrySeconds => {
            descending(a.entry_seconds, b.entry_seconds).then(by_entries).then(by_rate)
        }
        SortBy::Entries => by_entries.then(by_rate),
        SortBy::New => by_rate.then(b.new.cmp(&a.new)).then(by_entries),
        SortBy::Refused => descending(a.refused_per_s, b.refused_per_s)
            .then(b.refused.cmp(&a.refused))
            .then(by_entries)
            .then(by_rate),
    };
    // The rest is only to make the order the same every time.
    first.then_with(|| b.new.cmp(&a.new)).then_with(|| a.key.cmp(&b.key))
}

fn descending(a: Option<f64>, b: Option<f64>) -> Ordering {
    b.unwrap_or(0.0).total_cmp(&a.unwrap_or(0.0))
}

impl SourceNumbers {
    /// Adds another row to this sum. What is not known of one is not part of the sum.
    pub fn include(&mut self, other: &Self) {
        add(&mut self.entries, other.entries);
        add(&mut self.new, other.new);
        add(&mut self.refused, other.refused);
        add(&mut self.ended, other.ended);
        add(&mut self.evicted, other.evicted);
        add(&mut self.evictions_caused, other.evictions_caused);
        add(&mut self.transient, other.transient);
        add(&mut self.assured, other.assured);
        add(&mut self.unreplied, other.unreplied);
        add_rate(&mut self.entry_seconds, other.entry_seconds);
        add(&mut self.confirmed, other.confirmed);
        add(&mut self.timed_out, other.timed_out);
        add(&mut self.evicted_by_gc, other.evicted_by_gc);
        add(&mut self.deleted, other.deleted);
        add(&mut self.closed, other.closed);
        add(&mut self.insert_failed, other.insert_failed);
        add(&mut self.chain_too_long, other.chain_too_long);
        add_rate(&mut self.new_per_s, other.new_per_s);
        add_rate(&mut self.refused_per_s, other.refused_per_s);
    }
}

fn add(sum: &mut Option<u64>, more: Option<u64>) {
    if let Some(more) = more {
        *sum = Some(sum.unwrap_or(0).saturating_add(more));
    }
}

fn add_rate(sum: &mut Option<f64>, more: Option<f64>) {
    if let Some(more) = more {
        *sum = Some(sum.unwrap_or(0.0) + more);
    }
}
