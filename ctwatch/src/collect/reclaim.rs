//! Gives the rows of sources that hold nothing and do nothing to sources that come.
//!
//! Only when rows become scarce or their namespace is gone, and only after the source has been idle between two looks. What the row had
//! counted is handed to its namespace, so no total changes.

use std::{collections::HashMap, io};

use ctwatch_common::{row::Tier, source::SourceKey};
use tokio::task::JoinHandle;

use super::roster::Roster;
use crate::{
    model::counters::Counters,
    probe::rows::{RowMemory, wait_for_grace_period},
};

/// Intervals between two looks for idle rows: enough that everything of an idle row has been told.
const INTERVALS_BETWEEN_LOOKS: u32 = 3;
/// Rows given up in one go; bounds the time the collector spends on it.
const ROWS_AT_ONCE: usize = 8192;

/// Finds idle rows and gives them up, a batch at a time.
#[derive(Debug)]
pub(super) struct Reclaimer {
    intervals_to_look: u32,
    seen: HashMap<SourceKey, Counters>,
    unlinked: Vec<(u32, Tier)>,
    grace_period: Option<JoinHandle<io::Result<()>>>,
    over: bool,
}

impl Reclaimer {
    /// Has seen nothing yet.
    pub(super) fn new() -> Self {
        Self {
            intervals_to_look: 0,
            seen: HashMap::new(),
            unlinked: Vec::new(),
            grace_period: None,
            over: false,
        }
    }

    /// Looks for idle rows where rows are scarce, unlinks them, and begins the grace period.
    pub(super) fn plan(&mut self, memory: &RowMemory, roster: &Roster) {
        if self.grace_period.is_some() || self.over {
            return;
        }
        if self.intervals_to_look > 0 {
            self.intervals_to_look -= 1;
            return;
        }
        self.intervals_to_look = INTERVALS_BETWEEN_LOOKS;
        let mut seen = HashMap::new();
        for tier in [Tier::Source, Tier::Prefix, Tier::Namespace] {
            let are_scarce = is_worth_a_look(tier, memory, roster);
            if !are_scarce && !roster.has_departed() {
                continue;
            }
            for index in memory.indexes(tier) {
                let (key, counters) = memory.counted(index);
                let is_candidate = are_scarce || roster.is_departed(key.netns);
                if key == SourceKey::default() || !is_candidate {
                    continue;
                }
                let idle = self.seen.get(&key) == Some(&counters);
                if idle
                    && self.unlinked.len() < ROWS_AT_ONCE
                    && roster.can_do_without(&key, &counters)
                    && memory.unlink(index).unwrap_or(false)
                {
                    self.unlinked.push((index, tier));
                }
                seen.insert(key, counters);
            }
        }
        self.seen = seen;
        if !self.unlinked.is_empty() {
            self.grace_period = Some(tokio::task::spawn_blocking(wait_for_grace_period));
        }
    }

    /// Waits until no hook can be counting in an unlinked row; for ever if there is none. Safe to be dropped
    /// and called again.
    pub(super) async fn grace_period_over(&mut self) {
        let Some(grace_period) = &mut self.grace_period else {
            return std::future::pending().await;
        };
        let waited = grace_period.await;
        self.grace_period = None;
        match waited {
            Ok(Ok(())) => self.over = true,
            // Without a grace period no row can safely be given to anybody else; they stay as they are.
            _ => self.unlinked.clear(),
        }
    }

    /// Offers the unlinked rows again, once the grace period is over.
    pub(super) fn release(&mut self, memory: &mut RowMemory, roster: &mut Roster) {
        if !std::mem::take(&mut self.over) {
            return;
        }
        for (index, tier) in self.unlinked.drain(..) {
            let (key, counters) = memory.counted(index);
            // If the queue does not take it the row is lost for use, not the counts.
            let _ = memory.release(index, tier);
            roster.release(&key, counters);
        }
    }
}

/// Sources give their rows up only where these are scarce. Prefixes and namespaces do so as soon as they can:
/// while one stands, its new sources get no row of their own.
fn is_worth_a_look(tier: Tier, memory: &RowMemory, roster: &Roster) -> bool {
    let taken = roster.taken(tier);
    match tier {
        Tier::Source => taken * 4 >= memory.indexes(tier).len() * 3,
        Tier::Prefix | Tier::Namespace => taken > 0,
    }
}
