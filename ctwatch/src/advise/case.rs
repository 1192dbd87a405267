//! All that is known when advice is asked for: what was seen for a while, how the kernel is set, what the machine is.

use std::sync::Arc;

use super::{
    facts::Facts,
    machine_state::MachineState,
    settings::Settings,
    sizing::chains::{self, Insertions},
};
use crate::model::{
    recent::Lately,
    snapshot::{KernelStatistics, Snapshot, SourceNumbers},
};

/// All that is known. The counters of a snapshot begin at 0 when the look begins, so those of the last one are those of
/// the whole look.
#[derive(Clone, Debug)]
pub struct Case {
    /// How long was looked, in seconds.
    pub seconds: f64,
    /// The snapshot of the first interval.
    pub first: Arc<Snapshot>,
    /// The snapshot of the last interval.
    pub last: Arc<Snapshot>,
    /// The most entries that were held at the end of an interval.
    pub entries_max: u64,
    /// How the kernel is set.
    pub settings: Settings,
    /// What the machine is.
    pub facts: Facts,
}

impl Case {
    /// Of what was seen, and what the machine was in the end.
    pub fn of(seen: Lately, state: MachineState) -> Self {
        let Lately { first, last, entries_max, seconds } = seen;
        let MachineState { settings, mut facts, .. } = state;
        // Entries that are translated show it whatever rules can be read.
        if last.census.as_ref().is_some_and(|now| !now.census.snat_pools.is_empty()) {
            facts.translates_sources = Some(true);
        }
        Self { seconds, first, last, entries_max, settings, facts }
    }

    /// Entries held now.
    pub fn entries(&self) -> u64 {
        self.last.table.entries
    }

    /// Entries over all namespaces, which share the hash table.
    pub fn entries_of_machine(&self) -> u64 {
        let others = self.facts.namespaces.iter().filter(|other| other.netns != self.last.netns);
        others.map(|other| other.entries).fold(self.entries(), u64::saturating_add)
    }

    /// The sum over everything that was counted.
    pub fn totals(&self) -> &SourceNumbers {
        &self.last.totals
    }

    /// The kernel's counters over the look.
    pub fn kernel(&self) -> &KernelStatistics {
        &self.last.kernel
    }

    /// A counter by the length of the look; `None` if the mode cannot see it.
    pub fn per_s(&self, count: Option<u64>) -> Option<f64> {
        (self.seconds > 0.0).then_some(count? as f64 / self.seconds)
    }

    /// Change of the entries held, per second of the look; positive if they grow.
    pub fn growth_per_s(&self) -> f64 {
        let seconds = self.seconds - self.first.interval_s;
        if seconds <= 0.0 {
            return self.last.table.growth_per_s.unwrap_or(0.0);
        }
        (self.entries() as f64 - self.first.table.entries as f64) / seconds
    }

    /// Entries that the kernel evicts to make room (not assured), by the last walk of the table; `None` before one.
    pub fn evictable(&self) -> Option<u64> {
        let census = &self.last.census.as_ref()?.census;
        Some(census.entries.saturating_sub(census.assured))
    }

    /// Insertions over the look, and the load of the hash table meanwhile.
    pub fn insertions(&self) -> Insertions {
        let totals = self.totals();
        let buckets = self.settings.buckets().or(self.last.table.buckets).unwrap_or(0);
        let load_of = |entries| chains::load(entries, buckets);
        // Halfway between its beginning and its end.
        let grown = self.entries().saturating_sub(self.first.table.entries) / 2;
        Insertions {
            load: load_of(self.entries_of_machine().saturating_sub(grown)),
            tried: totals.confirmed.or(totals.new).unwrap_or(0)
                + self.kernel().insert_failed.unwrap_or(0),
            too_long: self.kernel().chaintoolong,
        }
    }
}
