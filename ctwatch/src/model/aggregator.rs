//! The one owner of state: takes observations in, gives one snapshot for each interval.
//!
//! It keeps one network namespace and knows no clock, file or socket.

mod checks;
mod happened;
mod numbers;

use std::{collections::HashMap, sync::Arc};

use ctwatch_common::{counter::Witness, source::SourceKey};

use super::{
    baseline::{Baseline, Census},
    census::{
        last::LastWalk,
        schedule::{Schedule, Signs},
    },
    counters::Counters,
    event::{Event, EventKind, Kind},
    flood,
    lasting_drift::LastingDrift,
    limits::Limits,
    loss::{Hop, Loss},
    misses::{Credit, Missed, Share},
    mode::Mode,
    moment::Moment,
    observation::{Observation, TableReading},
    prefix,
    ranking::{Previous, rank, rates},
    residency::Residency,
    rows::RowReading,
    seen_by_netlink::SeenByNetlink,
    snapshot::{KernelStatistics, Snapshot, SourceNumbers, Table},
    suppressed::{End, Ending, Suppressed},
};

/// The state of one network namespace.
#[derive(Debug)]
pub struct Aggregator {
    netns: u32,
    limits: Limits,
    mode: Arc<Mode>,
    started: Moment,
    before: RowReading,
    after: RowReading,
    baseline: Baseline,
    is_baseline_known: bool,
    credit: Credit,
    drift: Option<i64>,
    lasting_drift: LastingDrift,
    released: HashMap<SourceKey, Counters>,
    released_rest: Counters,
    netlink: SeenByNetlink,
    residency: Residency,
    last_walk: Option<LastWalk>,
    schedule: Schedule,
    table: TableReading,
    kernel_at_start: Option<KernelStatistics>,
    /// What had been counted by then: the least and the most, the latter once rows were read after it.
    counted_before_kernel: (Counters, Option<Counters>),
    kernel: KernelStatistics,
    suppressed: Suppressed,
    events: Vec<Event>,
    loss: Loss,
    previous: Option<Previous>,
    churn: u64,
    churn_in_interval: u64,
}

impl Aggregator {
    /// Starts with nothing known of the namespace with this inode number.
    pub fn new(netns: u32, limits: Limits, mode: Arc<Mode>, started: Moment) -> Self {
        Self {
            netns,
            limits,
            mode,
            started,
            before: RowReading::default(),
            after: RowReading::default(),
            baseline: Baseline::default(),
            is_baseline_known: false,
            credit: Credit::default(),
            drift: None,
            lasting_drift: LastingDrift::default(),
            released: HashMap::new(),
            released_rest: Counters::default(),
            netlink: SeenByNetlink::new(limits.remembered_sources),
            residency: Residency::new(limits.remembered_sources),
            last_walk: None,
            schedule: Schedule::new(limits.census_every),
            table: TableReading::default(),
            kernel_at_start: None,
            counted_before_kernel: (Counters::default(), None),
            kernel: KernelStatistics::default(),
            suppressed: Suppressed::default(),
            events: Vec::new(),
            loss: Loss::default(),
            previous: None,
            churn: 0,
            churn_in_interval: 0,
        }
    }

    /// Takes in one observation.
    pub fn observe(&mut self, observation: Observation) {
        match observation {
            Observation::Rows { before, after } => {
                if self.kernel_at_start.is_some() && self.counted_before_kernel.1.is_none() {
                    self.counted_before_kernel.1 = Some(self.counted(&before));
                }
                self.before = *before;
                self.after = *after;
                self.baseline.follow(&self.after);
                self.follow_misses();
            }
            Observation::Table(reading) => self.table = reading,
            Observation::Kernel(now) => {
                if self.kernel_at_start.is_none() {
                    self.counted_before_kernel.0 = self.counted(&self.after);
                }
                let start = *self.kernel_at_start.get_or_insert(now);
                self.kernel = now.since(&start);
            }
            Observation::HeldBefore(held) => {
                self.baseline = Baseline::exactly(held);
                self.baseline.follow(&self.after);
                self.credit.settle_all();
                self.is_baseline_known = true;
            }
            Observation::Census(census) => self.take_census(&census),
            Observation::Held(held) => self.netlink.held(held),
            Observation::Walked(walk) => {
                self.schedule.walked(walk.at);
                let in_kernel = self.mode.counts_in_kernel();
                let row_of = |source: &SourceKey| match in_kernel {
                    true => self.after.counted_under(source),
                    false => *source,
                };
                self.last_walk = Some(LastWalk::new(*walk, row_of));
            }
            Observation::Began(source) => self.netlink.began(source),
            Observation::Ended(source) => self.netlink.ended(source),
            Observation::Event(event) => {
                if event.netns == self.netns {
                    self.keep_event(event);
                }
            }
            Observation::RowReleased(key, counters) => self.release(key, counters),
            Observation::Mode(mode) => self.mode = mode,
            Observation::Lost(hop, lost) => self.loss.count(hop, lost),
        }
    }

    /// Closes the interval that ends at `now`.
    pub fn tick(&mut self, now: Moment, ending: Ending) -> Snapshot {
        self.believe_refusals();
        let sums = self.sums();
        let churn = sums.map_or(0, |[_, after]| after.sources.churn());
        self.churn_in_interval = churn.abs_diff(self.churn);
        self.churn = churn;
        let mut rows = if self.mode.counts_in_kernel() {
            self.counted_in_kernel()
        } else {
            self.seen_by_netlink()
        };
        let failures_unseen = rows.iter().find(|row| row.key.is_none());
        let failures_unseen = failures_unseen.and_then(|row| row.insert_failed).unwrap_or(0);
        let interval_s = now
            .since(self.previous.as_ref().map_or(self.started, |last| last.moment))
            .as_secs_f64();
        let nothing = self.nothing();
        let counts = rates(&mut rows, self.previous.as_ref(), interval_s);
        self.complete(&mut rows, nothing, interval_s);
        let small_sources = rows.iter().filter(|row| is_small(row)).count();
        let prefixes = nothing.entries.and_then(|_| prefix::of_rows(&rows));
        let floods = self.last_walk.as_ref().map(|walk| Arc::clone(walk.floods()));
        let since_start_s = now.since(self.started).as_secs_f64();
        let is_crowd =
            |key: &SourceKey| self.last_walk.as_ref().is_some_and(|walk| walk.is_crowd(key));
        let may_be_listed = |row: &SourceNumbers| {
            let floods = floods.as_deref().unwrap_or_default();
            self.is_asked_for(row)
                && !flood::is_only_part_of(floods, row, is_crowd, interval_s, since_start_s)
        };
        let (sources, others, totals) = rank(rows, nothing, &self.limits, may_be_listed);
        let table = self.table_now(interval_s);
        let flooded = floods.as_ref().is_some_and(|floods| !floods.is_empty());
        let (utilization, refused, kernel) = (table.utilization, totals.refused, self.kernel);
        self.schedule.look(now, Signs { utilization, refused, kernel, small_sources, flooded });
        let mut events = std::mem::take(&mut self.events);
        if self.previous.is_none() && ending == Ending::More {
            // The first interval begins here; what has happened is told with it.
            std::mem::swap(&mut events, &mut self.events);
        } else {
            let end = End { wall_ns: now.wall_ns, ending };
            self.tell_suppressed(failures_unseen, end, &mut events);
        }
        let drift_entries = sums.as_ref().and_then(|sums| self.drift_of(sums));
        self.drift = drift_entries;
        self.lasting_drift.line(drift_entries, self.missed().map(|missed| missed.total()));
        let snapshot = Snapshot {
            wall_ns: now.wall_ns,
            netns: self.netns,
            netns_name: None,
            interval_s,
            table,
            drift_entries,
            witness: sums.map(|[_, after]| checks::witness(&after)),
            sums,
            loss: self.loss_now(),
            kernel: self.kernel,
            mode: Arc::clone(&self.mode),
            events,
            sources,
            others,
            totals,
            prefixes,
            census: self.last_walk.as_ref().map(|walk| walk.now(now)),
            floods,
        };
        self.previous = Some(Previous { moment: now, entries: self.table.entries, counts });
        snapshot
    }

    /// Whether a dump of the table would make the numbers better: some source is not settled, the sum over the
    /// sources stays away from the kernel's count, or calls were missed since the last one.
    pub fn needs_census(&self) -> bool {
        self.baseline.is_unsettled() || self.lasting_drift.lasts()
    }

    /// Whether the sum over the sources is so far from the kernel's count that it cannot be what is under way.
    pub fn has_drifted_far(&self) -> bool {
        let far = (self.table.entries / 100).max(16);
        self.drift.is_some_and(|drift| drift.unsigned_abs() > far)
    }

    /// Whether a walk of the table is wanted for what it tells besides who holds it.
    pub fn wants_walk(&self) -> bool {
        self.schedule.is_due()
    }

    /// Whether nothing came or went in the last interval.
    pub fn is_quiet(&self) -> bool {
        self.churn_in_interval == 0
    }

    /// The rows as they were last read, those of all namespaces.
    pub fn rows(&self) -> &RowReading {
        &self.after
    }

    /// The sources that held something before the start.
    pub fn sources_before(&self) -> impl Iterator<Item = &SourceKey> {
        self.baseline.sources()
    }

    /// Whether the kernel has counted entries that could not be inserted since the start.
    pub fn has_insert_failures(&self) -> bool {
        [self.kernel.insert_failed, self.kernel.chaintoolong]
            .iter()
            .flatten()
            .any(|count| *count > 0)
    }

    /// Entries that a key holds, by a reading of the rows.
    pub fn held(&self, key: &SourceKey, counters: &Counters) -> i64 {
        self.baseline.held_before(key) + counters.balance()
    }

    /// What the hooks missed since the start; `None` where nobody tells.
    fn missed(&self) -> Option<Missed> {
        self.after.missed.as_deref().copied().filter(|_| self.mode.counts_in_kernel())
    }

    fn follow_misses(&mut self) {
        if let Some(missed) = self.missed() {
            let share = if self.after.is_alone(self.netns) { Share::Alone } else { Share::Shared };
            self.credit.follow(&missed, share);
        }
    }

    /// The kernel's own count of refused packets is what it dropped, less what it dropped as it could not insert
    /// it (`__nf_conntrack_confirm`, net/netfilter/nf_conntrack_core.c).
    fn believe_refusals(&mut self) {
        let KernelStatistics { drop, insert_failed, chaintoolong, .. } = self.kernel;
        let clashes = insert_failed.unwrap_or(0).saturating_sub(chaintoolong.unwrap_or(0));
        let kernel = drop.unwrap_or(0).saturating_sub(clashes);
        let counted = self.after.witness(Witness::Refused);
        let before_kernel = self.counted_before_kernel.0.refused;
        self.credit.believe_refusals(kernel, counted.saturating_sub(before_kernel));
    }

    fn take_census(&mut self, census: &Census) {
        if self.lasting_drift.lasts() {
            self.baseline.doubt();
        }
        let before = self.baseline.sum();
        self.baseline.reconcile(self.netns, census);
        if std::mem::replace(&mut self.is_baseline_known, true) {
            self.credit.settle(self.baseline.sum() - before);
        } else {
            self.credit.settle_all();
        }
        self.lasting_drift.dumped();
    }

    fn keep_event(&mut self, event: Event) {
        let event = Event { kind: self.honest(event.kind), ..event };
        if !self.limits.kinds.has(event.kind.kind()) {
            // Nobody wants it.
        } else if self.events.len() < self.limits.events {
            self.events.push(event);
        } else {
            self.loss.count(Hop::EventsDropped, 1);
        }
    }

    fn release(&mut self, key: SourceKey, counters: Counters) {
        let room = self.released.len() < self.limits.remembered_sources;
        match self.released.get_mut(&key) {
            Some(kept) => kept.add(&counters),
            None if room => drop(self.released.insert(key, counters)),
            None => self.released_rest.add(&counters),
        }
        self.before.rows.remove(&key);
        self.after.rows.remove(&key);
        self.baseline.carry(&key, counters.balance());
        self.suppressed.release(&key, &counters);
    }

    fn table_now(&self, interval_s: f64) -> Table {
        let TableReading { entries, limit, buckets, memory_bytes } = self.table;
        let growth_per_s = self
            .previous
            .as_ref()
            .filter(|_| interval_s > 0.0)
            .map(|last| (entries as f64 - last.entries as f64) / interval_s);
        let time_to_full_s = match (limit, growth_per_s) {
            (Some(limit), Some(growth)) if growth > 0.0 => {
                Some(limit.saturating_sub(entries) as f64 / growth)
            }
            _ => None,
        };
        let utilization =
            limit.filter(|limit| *limit > 0).map(|limit| entries as f64 / limit as f64);
        Table { entries, limit, buckets, utilization, memory_bytes, growth_per_s, time_to_full_s }
    }
}

/// Whether a row is of one address that holds next to nothing, as those of a flood do.
fn is_small(row: &SourceNumbers) -> bool {
    row.key.is_some_and(|key| key.is_address())
        && row.entries.is_some_and(|held| (1..=flood::ENTRIES_OF_A_SOURCE_MAX).contains(&held))
}

#[cfg(test)]
mod missed;
#[cfg(test)]
mod moving;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_ends;
