//! The collector: one thread with one runtime that owns everything it reads, and sends snapshots one way.
//!
//! It changes nothing on the system. Whoever reads its snapshots cannot slow it down: with no room for one,
//! the interval is skipped and counted, and the counters lose nothing.

mod census;
mod degraded;
mod following;
mod hooked;
mod reclaim;
mod source;
mod table;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval_at},
};

use crate::{
    clock,
    host::{namespace::NetworkNamespace, sysctl::ConntrackFilesError},
    model::{
        aggregator::Aggregator, limits::Limits, loss::Hop, observation::Observation,
        snapshot::Snapshot, suppressed::Ending,
    },
    probe::attach::AttachOptions,
};
use source::Source;
use table::TableFiles;

/// What is collected, and how.
#[derive(Debug)]
pub struct CollectOptions {
    /// Whose table.
    pub namespace: NetworkNamespace,
    /// Time between two snapshots.
    pub interval: Duration,
    /// How long the first snapshot may wait for the first dump; until that is done the entries that sources
    /// hold are not known.
    pub census_patience: Duration,
    /// What bounds a snapshot.
    pub limits: Limits,
    /// How far to go up the ladder.
    pub attach: AttachOptions,
}

/// Why nothing is collected, or no more.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The kernel's own numbers cannot be read.
    #[error(transparent)]
    Table(#[from] ConntrackFilesError),
    /// Hooks on conntrack were asked for and cannot be had, for this reason.
    #[error("{0}")]
    NotHooked(String),
}

/// Records taken from the ring before other work gets its turn.
const RECORDS_AT_ONCE: usize = 4096;

/// Everything that one collector owns.
pub struct Collector {
    aggregator: Aggregator,
    table: TableFiles,
    source: Source,
    interval: Duration,
}

impl Collector {
    /// Attaches what can be attached and takes the first dump of the table. To be called inside a runtime.
    ///
    /// # Errors
    ///
    /// If conntrack is not there, not even its counters can be read, or hooks were asked for and cannot be had.
    pub async fn start(options: CollectOptions) -> Result<Self, CollectError> {
        let CollectOptions { namespace, interval, census_patience, limits, attach } = options;
        let netns = namespace.inode();
        let table = TableFiles::open(&namespace)?;
        let (source, mode) = Source::attach(namespace, &attach)?;
        let aggregator = Aggregator::new(netns, limits, Arc::new(mode), clock::now());
        let mut collector = Self { aggregator, table, source, interval };
        collector.read_rows();
        let (_, kernel) = collector.table.read()?;
        collector.aggregator.observe(Observation::Kernel(kernel));
        collector.read_rows();
        collector.source.first_census(census_patience, &mut collector.aggregator).await;
        collector.read_table()?;
        // What was read now is where growth and rates begin.
        collector.aggregator.tick(clock::now(), Ending::More);
        Ok(collector)
    }

    /// Collects until `stop` says so or nobody takes the snapshots any more; then sends one last snapshot.
    ///
    /// # Errors
    ///
    /// If the table can no longer be read.
    pub async fn run(
        mut self,
        snapshots: mpsc::Sender<Arc<Snapshot>>,
        mut stop: oneshot::Receiver<()>,
    ) -> Result<(), CollectError> {
        let mut ticks = interval_at(Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                biased;
                _ = &mut stop => {
                    let last = self.snapshot(Ending::Last)?;
                    // Nobody may be there to take it any more.
                    let _ = snapshots.send(last).await;
                    return Ok(());
                }
                _ = ticks.tick() => match snapshots.try_reserve() {
                    Ok(place) => place.send(self.snapshot(Ending::More)?),
                    Err(mpsc::error::TrySendError::Full(())) => {
                        self.aggregator.observe(Observation::Lost(Hop::SkippedTicks, 1));
                    }
                    Err(mpsc::error::TrySendError::Closed(())) => return Ok(()),
                },
                () = self.source.wait() => self.source.take_events(RECORDS_AT_ONCE, &mut self.aggregator),
            }
        }
    }

    fn snapshot(&mut self, ending: Ending) -> Result<Arc<Snapshot>, ConntrackFilesError> {
        self.source.take_events(RECORDS_AT_ONCE, &mut self.aggregator);
        self.read_table()?;
        let snapshot = self.aggregator.tick(clock::now(), ending);
        self.source.plan(&snapshot, &mut self.aggregator);
        Ok(Arc::new(snapshot))
    }

    /// Reads the rows alone, where the kernel's counts are first read before or after it.
    fn read_rows(&mut self) {
        let rows = self.source.read_rows();
        self.aggregator.observe(Observation::Rows { before: rows.clone(), after: rows });
    }

    /// Reads the kernel's counts between two readings of the rows, so that what changes meanwhile is seen.
    fn read_table(&mut self) -> Result<(), ConntrackFilesError> {
        let before = self.source.read_rows();
        let (table, kernel) = self.table.read()?;
        let after = self.source.read_rows();
        self.aggregator.observe(Observation::Rows { before, after });
        self.aggregator.observe(Observation::Table(table));
        self.aggregator.observe(Observation::Kernel(kernel));
        Ok(())
    }
}
