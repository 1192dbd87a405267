//! The one owner of state: takes observations in, gives one snapshot for each interval.
//!
//! It keeps one network namespace and knows no clock, file or socket.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ctwatch_common::{counter::Witness, row::Row, source::SourceKey};

use super::{
    baseline::Baseline,
    census::{
        last::LastWalk,
        schedule::{Schedule, Signs},
    },
    counters::Counters,
    event::Event,
    flood,
    limits::Limits,
    loss::{Hop, Loss},
    mode::{Mode, Rung},
    moment::Moment,
    observation::{Observation, TableReading},
    prefix,
    ranking::{Previous, rank, rates},
    residency::Residency,
    rows::RowReading,
    seen_by_netlink::SeenByNetlink,
    snapshot::{KernelStatistics, Snapshot, SourceNumbers, Table, WitnessTotals},
    source,
    suppressed::{Ending, Suppressed},
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
    released: HashMap<SourceKey, Counters>,
    released_rest: Counters,
    netlink: SeenByNetlink,
    residency: Residency,
    last_walk: Option<LastWalk>,
    schedule: Schedule,
    table: TableReading,
    kernel_at_start: Option<KernelStatistics>,
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
            released: HashMap::new(),
            released_rest: Counters::default(),
            netlink: SeenByNetlink::new(limits.remembered_sources),
            residency: Residency::new(limits.remembered_sources),
            last_walk: None,
            schedule: Schedule::new(limits.census_every),
            table: TableReading::default(),
            kernel_at_start: None,
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
                self.before = before;
                self.after = after;
                self.baseline.follow(&self.after);
            }
            Observation::Table(reading) => self.table = reading,
            Observation::Kernel(now) => {
                let start = *self.kernel_at_start.get_or_insert(now);
                self.kernel = now.since(&start);
            }
            Observation::HeldBefore(held) => {
                self.baseline = Baseline::exactly(held);
                self.baseline.follow(&self.after);
                self.is_baseline_known = true;
            }
            Observation::Census(census) => {
                self.baseline.reconcile(self.netns, &census);
                self.is_baseline_known = true;
            }
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
            Observation::RowReleased(row) => self.release(&row),
            Observation::Mode(mode) => self.mode = mode,
            Observation::Missing(sentence) => Arc::make_mut(&mut self.mode).degraded.push(sentence),
            Observation::Lost(hop, lost) => self.loss.count(hop, lost),
        }
    }

    /// Closes the interval that ends at `now`.
    pub fn tick(&mut self, now: Moment, ending: Ending) -> Snapshot {
        let churn = self.after.total(self.netns).churn();
        self.churn_in_interval = churn.abs_diff(self.churn);
        self.churn = churn;
        let mut rows = if self.mode.counts_in_kernel() {
            self.counted_in_kernel()
        } else {
            self.seen_by_netlink()
        };
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
        self.suppressed.tell(
            self.netns,
            &self.before,
            &self.after,
            now.wall_ns,
            ending,
            &mut events,
        );
        let snapshot = Snapshot {
            wall_ns: now.wall_ns,
            netns: self.netns,
            interval_s,
            table,
            drift_entries: self.drift(),
            witness: self.witness(),
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

    /// Whether a dump of the table would make the numbers better: some source is not settled, or the sum
    /// over the sources has drifted from the kernel's count.
    pub fn needs_census(&self) -> bool {
        self.baseline.is_unsettled() || self.drift().is_some_and(|drift| drift != 0)
    }

    /// Whether the sum over the sources is so far from the kernel's count that it cannot be what is under way.
    pub fn has_drifted_far(&self) -> bool {
        let far = (self.table.entries / 100).max(16);
        self.drift().is_some_and(|drift| drift.unsigned_abs() > far)
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

    /// Entries that a key holds, by a reading of the rows.
    pub fn held(&self, key: &SourceKey, counters: &Counters) -> i64 {
        self.baseline.held_before(key) + counters.balance()
    }

    fn keep_event(&mut self, event: Event) {
        if self.limits.events == 0 {
            // Nobody wants any.
        } else if self.events.len() < self.limits.events {
            self.events.push(event);
        } else {
            self.loss.count(Hop::EventsDropped, 1);
        }
    }

    fn release(&mut self, row: &Row) {
        let counters = Counters::from_row(&row.counters);
        let room = self.released.len() < self.limits.remembered_sources;
        match self.released.get_mut(&row.key) {
            Some(kept) => kept.add(&counters),
            None if room => drop(self.released.insert(row.key, counters)),
            None => self.released_rest.add(&counters),
        }
        self.before.rows.remove(&row.key);
        self.after.rows.remove(&row.key);
        self.baseline.carry(&row.key, counters.balance());
        self.suppressed.release(&row.key, counters.suppressed());
    }

    fn counted_in_kernel(&self) -> Vec<SourceNumbers> {
        let mut keys: HashSet<&SourceKey> =
            self.after.rows.keys().filter(|key| key.netns == self.netns).collect();
        keys.extend(self.baseline.sources());
        keys.extend(self.released.keys());
        let mut rows: Vec<SourceNumbers> = keys
            .into_iter()
            .map(|key| {
                let now = self.after.counters(key);
                let mut ever = self.released.get(key).copied().unwrap_or_default();
                ever.add(&now);
                numbers(Some(*key), self.known(self.held(key, &now)), &ever)
            })
            .collect();
        let mut nobody = self.released_rest;
        nobody.add(&self.after.unattributed);
        if !nobody.is_zero() {
            let held = self.known(self.after.unattributed.balance());
            rows.push(numbers(None, held, &nobody));
        }
        rows
    }

    /// Writes into the rows what is not counted in them: what was held over time, and what the last walk told. What
    /// belongs to none of them is nobody's.
    fn complete(&mut self, rows: &mut Vec<SourceNumbers>, nothing: SourceNumbers, interval_s: f64) {
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

    fn is_asked_for(&self, row: &SourceNumbers) -> bool {
        let of = |network| row.key.as_ref().is_some_and(|key| source::is_of(key, network));
        self.limits.only.as_ref().is_none_or(of)
    }

    /// The entries held, unless those from before the start are not known yet.
    fn known(&self, held: i64) -> Option<u64> {
        self.is_baseline_known.then(|| u64::try_from(held).unwrap_or(0))
    }

    /// The sum of no sources: zero for what the mode sees, unknown for what it does not.
    fn nothing(&self) -> SourceNumbers {
        let in_kernel = self.mode.counts_in_kernel();
        let counted = in_kernel || self.mode.alloc == Rung::Netlink;
        let refusals = self.mode.sees_refusals();
        let entries =
            if in_kernel { self.known(0) } else { self.netlink.has_census().then_some(0) };
        SourceNumbers {
            key: None,
            entries,
            new: counted.then_some(0),
            refused: refusals.then_some(0),
            ended: counted.then_some(0),
            evicted: in_kernel.then_some(0),
            evictions_caused: in_kernel.then_some(0),
            transient: in_kernel.then_some(0),
            assured: self.last_walk.is_some().then_some(0),
            unreplied: self.last_walk.is_some().then_some(0),
            entry_seconds: entries.map(|_| 0.0),
            new_per_s: counted.then_some(0.0),
            refused_per_s: refusals.then_some(0.0),
        }
    }

    fn seen_by_netlink(&mut self) -> Vec<SourceNumbers> {
        self.netlink.numbers(self.netns, &self.after, self.kernel.drop, &self.mode)
    }

    fn drift(&self) -> Option<i64> {
        if !self.mode.counts_in_kernel() || !self.is_baseline_known {
            return None;
        }
        let before_start: i64 =
            self.baseline.sources().map(|key| self.baseline.held_before(key)).sum();
        let sum = |reading: &RowReading| {
            before_start + reading.total(self.netns).balance() + reading.unattributed.balance()
        };
        let (a, b) = (sum(&self.before), sum(&self.after));
        let count = i64::try_from(self.table.entries).unwrap_or(i64::MAX);
        Some(if count < a.min(b) {
            a.min(b) - count
        } else if count > a.max(b) {
            a.max(b) - count
        } else {
            0
        })
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

    fn witness(&self) -> Option<WitnessTotals> {
        if !self.mode.counts_in_kernel() {
            return None;
        }
        let attempts = self.after.witness(Witness::Attempts);
        let refused = self.after.witness(Witness::Refused);
        let ended = self.after.witness(Witness::Ended);
        let mut rows = self.after.grand_total();
        rows.add(&self.released_rest);
        for released in self.released.values() {
            rows.add(released);
        }
        let counted = i128::from(rows.attempts) + i128::from(rows.refused) + i128::from(rows.ended);
        let witnessed = i128::from(attempts) + i128::from(refused) + i128::from(ended);
        Some(WitnessTotals {
            new: attempts.saturating_sub(refused),
            refused,
            ended,
            difference: i64::try_from(counted - witnessed).unwrap_or(i64::MAX),
        })
    }

    fn loss_now(&self) -> Loss {
        let in_kernel = self.mode.counts_in_kernel();
        let map_full = || {
            let widened = self.after.rows.iter().filter(|(key, _)| !key.is_address());
            widened.map(|(_, counters)| counters.attempts).sum()
        };
        Loss {
            ring_full: self.mode.sees_refusals().then(|| self.after.witness(Witness::EventsLost)),
            map_full: in_kernel.then(map_full),
            requester_unknown: in_kernel.then(|| self.after.witness(Witness::RequesterUnknown)),
            unreadable: in_kernel.then(|| self.after.witness(Witness::Unreadable)),
            ..self.loss
        }
    }
}

/// Whether a row is of one address that holds next to nothing, as those of a flood do.
fn is_small(row: &SourceNumbers) -> bool {
    row.key.is_some_and(|key| key.is_address())
        && row.entries.is_some_and(|held| (1..=flood::ENTRIES_OF_A_SOURCE_MAX).contains(&held))
}

/// The numbers of one row of output.
fn numbers(key: Option<SourceKey>, entries: Option<u64>, counters: &Counters) -> SourceNumbers {
    SourceNumbers {
        key,
        entries,
        new: Some(counters.new_entries()),
        refused: Some(counters.refused),
        ended: Some(counters.ended),
        evicted: Some(counters.evicted),
        evictions_caused: Some(counters.evictions_caused),
        transient: Some(counters.transient),
        ..SourceNumbers::default()
    }
}

#[cfg(test)]
mod tests;
