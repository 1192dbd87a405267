//! The numbers of each source, from whatever is counted or seen of it; what cannot be seen is unknown.

use std::collections::HashSet;

use ctwatch_common::source::SourceKey;

use super::Aggregator;
use crate::model::{
    counters::Counters,
    mode::{Confirm, Rung},
    snapshot::SourceNumbers,
    source::{self, QuickHash},
};

impl Aggregator {
    pub(super) fn counted_in_kernel(&self) -> Vec<SourceNumbers> {
        let mut keys: HashSet<&SourceKey, QuickHash> =
            self.after.rows.keys().filter(|key| key.netns == self.netns).collect();
        keys.extend(self.baseline.sources());
        keys.extend(self.released.keys());
        let mut rows: Vec<SourceNumbers> = keys
            .into_iter()
            .map(|key| {
                let now = self.after.counters(key);
                let mut ever = self.released.get(key).copied().unwrap_or_default();
                ever.add(&now);
                self.numbers(Some(*key), self.known(self.held(key, &now)), &ever)
            })
            .collect();
        let mut nobody = self.released_rest;
        nobody.add(&self.after.unattributed);
        nobody.add(&self.credit.counters());
        self.add_unseen_failures(&rows, &mut nobody);
        if !nobody.is_zero() {
            let held = self.after.unattributed.balance() + self.credit.unsettled();
            rows.push(self.numbers(None, self.known(held), &nobody));
        }
        rows
    }

    /// Writes into the rows what is not counted in them: what was held over time, and what the last walk told. What
    /// belongs to none of them is nobody's.
    pub(super) fn complete(
        &mut self,
        rows: &mut Vec<SourceNumbers>,
        nothing: SourceNumbers,
        interval_s: f64,
    ) {
        let mut nobody = nothing;
        if nothing.entries.is_some() {
            nobody.entry_seconds = self.residency.add_up(rows, interval_s);
        }
        if let Some(walk) = &self.last_walk {
            let (assured, unreplied) = walk.share_out(rows);
            (nobody.assured, nobody.unreplied) = (Some(assured), Some(unreplied));
        }
        if nobody != nothing {
            match rows.iter_mut().find(|row| row.key.is_none()) {
                Some(row) => row.include(&nobody),
                None => rows.push(nobody),
            }
        }
    }

    pub(super) fn is_asked_for(&self, row: &SourceNumbers) -> bool {
        let of = |network| row.key.as_ref().is_some_and(|key| source::is_of(key, network));
        self.limits.only.as_ref().is_none_or(of)
    }

    /// Insert failures that the kernel has counted and no row has: those before they were looked at are nobody's.
    fn add_unseen_failures(&self, rows: &[SourceNumbers], nobody: &mut Counters) {
        let unseen = |kernel: Option<u64>, of: fn(&SourceNumbers) -> Option<u64>, nobody: u64| {
            let seen: u64 = rows.iter().filter_map(of).sum();
            nobody.max(kernel.unwrap_or(0).saturating_sub(seen))
        };
        nobody.insert_failed =
            unseen(self.kernel.insert_failed, |row| row.insert_failed, nobody.insert_failed);
        nobody.chain_too_long =
            unseen(self.kernel.chaintoolong, |row| row.chain_too_long, nobody.chain_too_long);
    }

    /// The numbers of one row of output, of a mode that counts in the kernel.
    fn numbers(
        &self,
        key: Option<SourceKey>,
        entries: Option<u64>,
        counters: &Counters,
    ) -> SourceNumbers {
        let sees_gc = self.mode.gc != Rung::None;
        let sees_deletions = self.mode.deletion != Rung::None;
        let sees_failures =
            self.mode.confirm != Confirm::Impossible && self.kernel.insert_failed.is_some();
        let has_chain_limit = sees_failures && self.kernel.chaintoolong.is_some();
        SourceNumbers {
            key,
            entries,
            new: Some(counters.new_entries()),
            refused: Some(counters.refused),
            ended: Some(counters.ended),
            evicted: Some(counters.evicted),
            evictions_caused: Some(counters.evictions_caused),
            transient: Some(counters.transient),
            confirmed: Some(counters.confirmed()),
            timed_out: Some(counters.timed_out),
            evicted_by_gc: sees_gc.then_some(counters.evicted_by_gc),
            deleted: sees_deletions.then_some(counters.deleted),
            closed: (sees_gc && sees_deletions).then(|| counters.closed()),
            insert_failed: sees_failures.then_some(counters.insert_failed),
            chain_too_long: has_chain_limit.then_some(counters.chain_too_long),
            ..SourceNumbers::default()
        }
    }

    /// The entries held, unless those from before the start are not known yet.
    fn known(&self, held: i64) -> Option<u64> {
        self.is_baseline_known.then(|| u64::try_from(held).unwrap_or(0))
    }

    /// The sum of no sources: zero for what the mode sees, unknown for what it does not.
    pub(super) fn nothing(&self) -> SourceNumbers {
        let seen = if self.mode.counts_in_kernel() {
            let counted = self.numbers(None, self.known(0), &Counters::default());
            SourceNumbers { new_per_s: Some(0.0), ..counted }
        } else {
            let counted = self.mode.alloc == Rung::Netlink;
            SourceNumbers {
                entries: self.netlink.has_census().then_some(0),
                new: counted.then_some(0),
                ended: counted.then_some(0),
                new_per_s: counted.then_some(0.0),
                ..SourceNumbers::default()
            }
        };
        let walked = self.last_walk.is_some().then_some(0);
        let refusals = self.mode.sees_refusals();
        SourceNumbers {
            refused: refusals.then_some(0),
            refused_per_s: refusals.then_some(0.0),
            assured: walked,
            unreplied: walked,
            entry_seconds: seen.entries.map(|_| 0.0),
            ..seen
        }
    }

    pub(super) fn seen_by_netlink(&mut self) -> Vec<SourceNumbers> {
        self.netlink.numbers(self.netns, &self.after, self.kernel.drop, &self.mode)
    }
}
