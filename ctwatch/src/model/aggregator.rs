//! The one owner of state: takes observations in, gives one snapshot for each interval.
//!
//! It keeps one network namespace and knows no clock, file or socket.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ctwatch_common::{counter::Witness, row::Row, source::SourceKey};

use super::{
    audit::Sums,
    baseline::{Baseline, Census},
    counters::Counters,
    event::Event,
    lasting_drift::LastingDrift,
    limits::Limits,
    loss::{Hop, Loss},
    misses::{Credit, Missed, Share},
    mode::{Mode, Rung},
    moment::Moment,
    observation::{Observation, TableReading},
    ranking::{Previous, rank},
    rows::RowReading,
    seen_by_netlink::SeenByNetlink,
    snapshot::{KernelStatistics, Snapshot, SourceNumbers, Table, WitnessTotals},
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
    credit: Credit,
    drift: Option<i64>,
    lasting_drift: LastingDrift,
    released: HashMap<SourceKey, Counters>,
    released_rest: Counters,
    netlink: SeenByNetlink,
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
                self.before = before;
                self.after = after;
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
        self.believe_refusals();
        let sums = self.sums();
        let churn = sums.map_or(0, |[_, after]| after.sources.churn());
        self.churn_in_interval = churn.abs_diff(self.churn);
        self.churn = churn;
        let rows = if self.mode.counts_in_kernel() {
            self.counted_in_kernel()
        } else {
            self.seen_by_netlink()
        };
        let interval_s = now
            .since(self.previous.as_ref().map_or(self.started, |last| last.moment))
            .as_secs_f64();
        let (sources, others, totals) =
            rank(rows, self.nothing(), &self.limits, self.previous.as_ref(), interval_s);
        let mut events = std::mem::take(&mut self.events);
        if self.previous.is_none() && ending == Ending::More {
            // The first interval begins here; what has happened is told with it.
            std::mem::swap(&mut events, &mut self.events);
        } else {
            self.suppressed.tell(
                self.netns,
                &self.before,
                &self.after,
                now.wall_ns,
                ending,
                &mut events,
            );
        }
        let drift_entries = sums.as_ref().and_then(|sums| self.drift_of(sums));
        self.drift = drift_entries;
        self.lasting_drift.line(drift_entries, self.missed().map(|missed| missed.total()));
        let snapshot = Snapshot {
            wall_ns: now.wall_ns,
            netns: self.netns,
            interval_s,
            table: self.table_now(interval_s),
            drift_entries,
            witness: sums.map(|[_, after]| witness(&after)),
            sums,
            loss: self.loss_now(),
            kernel: self.kernel,
            mode: Arc::clone(&self.mode),
            events,
            sources: sources.numbers,
            others,
            totals,
        };
        self.previous =
            Some(Previous { moment: now, entries: self.table.entries, counts: sources.counts });
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
        nobody.add(&self.credit.counters());
        if !nobody.is_zero() {
            let held = self.after.unattributed.balance() + self.credit.unsettled();
            rows.push(numbers(None, self.known(held), &nobody));
        }
        rows
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
        SourceNumbers {
            key: None,
            entries: if in_kernel { self.known(0) } else { self.netlink.has_census().then_some(0) },
            new: counted.then_some(0),
            refused: refusals.then_some(0),
            ended: counted.then_some(0),
            evicted: in_kernel.then_some(0),
            evictions_caused: in_kernel.then_some(0),
            transient: in_kernel.then_some(0),
            new_per_s: counted.then_some(0.0),
            refused_per_s: refusals.then_some(0.0),
        }
    }

    fn seen_by_netlink(&mut self) -> Vec<SourceNumbers> {
        self.netlink.numbers(self.netns, &self.after, self.kernel.drop, &self.mode)
    }

    /// The distance of the kernel's count from what the sources can have held when it was read.
    fn drift_of(&self, [before, after]: &[Sums; 2]) -> Option<i64> {
        // Where ends were missed sources seem to hold more than they do: that nobody holds less is no remedy.
        let nobody_less = self.credit.unsettled().min(0);
        let (least, most) = (before.held? - nobody_less, after.held? - nobody_less);
        let count = i64::try_from(self.table.entries).unwrap_or(i64::MAX);
        Some(least.max(count).min(most) - count)
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

    fn sums(&self) -> Option<[Sums; 2]> {
        if !self.mode.counts_in_kernel() {
            return None;
        }
        let [mut before, mut after] =
            [&self.before, &self.after].map(|reading| self.sums_at(reading));
        if self.is_baseline_known {
            // Rows are read one after the other. What came or went between the two readings of a row may be in the
            // first sum or not, and nothing else may.
            let at = |sums: &Sums, reading: &RowReading| {
                let missed = reading.missed.as_deref().copied().unwrap_or_default();
                let [rows, nobody] = [sums.sources, sums.nobody];
                let came = rows.attempts + nobody.attempts + missed.attempts;
                let went = rows.refused + rows.ended + nobody.refused + nobody.ended + missed.ended;
                (signed(came), signed(went))
            };
            let (came_before, went_before) = at(&before, &self.before);
            let (came_after, went_after) = at(&after, &self.after);
            let unsettled = self.before.missed.as_deref();
            // What is left of rows that were given up is in the baseline.
            let held = self.baseline.sum() + before.sources.balance() - self.released_balance()
                + before.nobody.balance()
                + unsettled.map_or(0, |missed| self.credit.unsettled_at(missed));
            before.held = Some(held - (went_after - went_before));
            after.held = Some(held + (came_after - came_before));
        }
        let (least, most) = self.counted_before_kernel;
        before.before_kernel = least;
        after.before_kernel = most.unwrap_or(least);
        Some([before, after])
    }

    /// What one reading has of this namespace, and of nobody's.
    fn counted(&self, reading: &RowReading) -> Counters {
        let mut counted = reading.total(self.netns);
        counted.add(&reading.unattributed);
        counted
    }

    /// Released rows of this namespace: entries made in them and not gone before they were released.
    fn released_balance(&self) -> i64 {
        let here = self.released.iter().filter(|(key, _)| key.netns == self.netns);
        here.map(|(_, counters)| counters.balance()).sum()
    }

    fn sums_at(&self, reading: &RowReading) -> Sums {
        let credited = self.credit.counters();
        let mut all_rows = reading.grand_total();
        all_rows.add(&credited);
        all_rows.add(&self.released_rest);
        let mut sources = reading.total(self.netns);
        for (key, released) in &self.released {
            all_rows.add(released);
            if key.netns == self.netns {
                sources.add(released);
            }
        }
        let mut all_cpus = Counters {
            attempts: reading.witness(Witness::Attempts),
            refused: reading.witness(Witness::Refused),
            ended: reading.witness(Witness::Ended),
            ..Counters::default()
        };
        all_cpus.add(&credited);
        Sums {
            sources,
            nobody: reading.unattributed,
            credited,
            all_rows,
            all_cpus,
            ..Sums::default()
        }
    }

    fn loss_now(&self) -> Loss {
        let in_kernel = self.mode.counts_in_kernel();
        let map_full = || {
            let widened = self.after.rows.iter().filter(|(key, _)| !key.is_address());
            widened.map(|(_, counters)| counters.attempts).sum()
        };
        Loss {
            probe_missed: self.missed().map(|missed| missed.total()),
            ring_full: self.mode.sees_refusals().then(|| self.after.witness(Witness::EventsLost)),
            map_full: in_kernel.then(map_full),
            requester_unknown: in_kernel.then(|| self.after.witness(Witness::RequesterUnknown)),
            unreadable: in_kernel.then(|| self.after.witness(Witness::Unreadable)),
            ..self.loss
        }
    }
}

/// The per-CPU totals, and how far the rows are from them.
fn witness(Sums { all_rows, all_cpus, .. }: &Sums) -> WitnessTotals {
    let sum =
        |all: &Counters| i128::from(all.attempts) + i128::from(all.refused) + i128::from(all.ended);
    WitnessTotals {
        new: all_cpus.new_entries(),
        refused: all_cpus.refused,
        ended: all_cpus.ended,
        difference: i64::try_from(sum(all_rows) - sum(all_cpus)).unwrap_or(i64::MAX),
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
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
mod missed;
#[cfg(test)]
mod moving;
#[cfg(test)]
mod tests;
