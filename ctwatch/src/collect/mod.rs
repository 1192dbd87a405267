//! The collector: one thread with one runtime that owns everything it reads, and sends snapshots one way.
//!
//! It changes nothing on the system. Whoever reads its snapshots cannot slow it down: with no room for one,
//! the interval is skipped and counted, and the counters lose nothing.

mod blocks;
mod census;
mod degraded;
mod following;
mod hooked;
mod membership;
mod reclaim;
mod roster;
mod scan;
mod source;
mod table;
mod tracked;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{self, Instant, MissedTickBehavior, interval_at},
};

use crate::{
    clock,
    host::{
        modules::{self, Presence},
        sysctl::ConntrackFilesError,
    },
    model::{
        event::Kind, limits::Limits, loss::Hop, moment::Moment, observation::Observation,
        snapshot::Snapshot, suppressed::Ending, trace::Listed,
    },
    probe::attach::AttachOptions,
};
use blocks::{BlockWatch, Looked};
use census::{CensusTaker, Finished};
use membership::Membership;
pub use membership::{Choice, NAMESPACES_MAX};
use roster::{Newcomers, Roster};
use scan::Seen;
use source::Source;

/// What is collected, and how.
#[derive(Debug)]
pub struct CollectOptions {
    /// Whose tables.
    pub namespaces: Choice,
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
    /// The only namespace is gone.
    #[error(
        "the network namespace {0} has been deleted: no name and no process leads to it any more"
    )]
    NamespaceGone(String),
    /// Hooks on conntrack were asked for and cannot be had, for this reason.
    #[error("{0}")]
    NotHooked(String),
    /// Hooks read what cannot be, so their counts are not to be believed, for this reason.
    #[error("{0}")]
    Misread(String),
}

/// Records taken from the ring before other work gets its turn.
const RECORDS_AT_ONCE: usize = 4096;

/// Snapshots of one interval, one for each namespace.
pub type Interval = Vec<Arc<Snapshot>>;

/// Everything that one collector owns.
pub struct Collector {
    roster: Roster,
    membership: Membership,
    source: Source,
    census: CensusTaker,
    /// Only where it is asked for.
    blocks: Option<BlockWatch>,
    last_tick: Moment,
}

/// What a collector waits for besides the time.
enum Woken {
    /// Events, or the end of a grace period.
    Events,
    /// A dump of a table has ended.
    Dump(Box<Finished>),
    /// Namespaces have been looked for.
    Scan(Vec<Seen>),
    /// Blocks have been listed.
    Blocks(Vec<Looked>),
}

impl Collector {
    /// Attaches what can be attached and takes the first dump of the table. To be called inside a runtime.
    ///
    /// # Errors
    ///
    /// If conntrack is not there, not even its counters can be read, or hooks were asked for and cannot be had.
    pub async fn start(options: CollectOptions) -> Result<Self, CollectError> {
        let CollectOptions { namespaces, census_patience, limits, attach, .. } = options;
        if modules::conntrack() == Presence::Absent {
            // Where there is nothing to look at, nothing is attached.
            return Err(ConntrackFilesError::NotLoaded.into());
        }
        let source = Source::attach(&attach)?;
        let newcomers = match namespaces {
            Choice::One(_) => Newcomers::Ignored,
            Choice::All => Newcomers::Expected,
        };
        let mut roster = Roster::new(newcomers, limits.events);
        let membership = Membership::begin(namespaces, limits, &mut roster, &source)?;
        let census = CensusTaker::new(limits.only);
        let blocks = limits.kinds.has(Kind::Blocked).then(BlockWatch::new);
        let last_tick = clock::now();
        let mut collector = Self { roster, membership, source, census, blocks, last_tick };
        // What has not come by then is taken when it is there.
        if let Ok(taken) = time::timeout(census_patience, collector.first_census()).await {
            taken?;
        }
        collector.read_tables()?;
        // What was read now is where growth and rates begin.
        collector.tick(Ending::More);
        Ok(collector)
    }

    /// Collects until `stop` says so or nobody takes the snapshots any more; then sends the last ones. `paces` says how
    /// much time is to be between two snapshots.
    ///
    /// # Errors
    ///
    /// If a table can no longer be read.
    pub async fn run(
        mut self,
        intervals: mpsc::Sender<Interval>,
        mut stop: oneshot::Receiver<()>,
        mut paces: watch::Receiver<Duration>,
    ) -> Result<(), CollectError> {
        let mut ticks = ticks_of(*paces.borrow_and_update());
        loop {
            tokio::select! {
                biased;
                _ = &mut stop => {
                    let last = self.snapshots(Ending::Last)?;
                    // Nobody may be there to take them any more.
                    let _ = intervals.send(last).await;
                    return Ok(());
                }
                _ = ticks.tick() => match intervals.try_reserve() {
                    Ok(place) => place.send(self.snapshots(Ending::More)?),
                    Err(mpsc::error::TrySendError::Full(())) => {
                        self.roster.lose(Hop::SkippedTicks, 1);
                    }
                    Err(mpsc::error::TrySendError::Closed(())) => return Ok(()),
                },
                // Whoever is gone sets no pace any more.
                Ok(()) = paces.changed() => ticks = ticks_of(*paces.borrow_and_update()),
                woken = self.wait() => self.take(woken)?,
            }
        }
    }

    async fn first_census(&mut self) -> Result<(), CollectError> {
        self.source.begin_first_census(&mut self.census, &mut self.roster);
        while !self.source.is_first_census_done(&self.census, &self.roster) {
            let woken = self.wait().await;
            self.take(woken)?;
        }
        Ok(())
    }

    /// Waits until there is something to take. Safe to be dropped and called again.
    async fn wait(&mut self) -> Woken {
        let events_due = self.roster.events_due();
        let events_due = async {
            match events_due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let blocks = async {
            match &mut self.blocks {
                Some(blocks) => blocks.finished().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.source.wait() => Woken::Events,
            () = events_due => Woken::Events,
            finished = self.census.finished() => Woken::Dump(Box::new(finished)),
            seen = self.membership.changed() => Woken::Scan(seen),
            looked = blocks => Woken::Blocks(looked),
        }
    }

    fn take(&mut self, woken: Woken) -> Result<(), CollectError> {
        self.source.take_events(RECORDS_AT_ONCE, &mut self.roster);
        let Self { roster, membership, source, census, .. } = self;
        match woken {
            Woken::Events => Ok(()),
            Woken::Blocks(looked) => {
                blocks::take(looked, roster);
                Ok(())
            }
            Woken::Dump(finished) => {
                source.take_dump(*finished, census, roster);
                Ok(())
            }
            Woken::Scan(seen) => membership.take(seen, self.last_tick, roster, source, census),
        }
    }

    fn snapshots(&mut self, ending: Ending) -> Result<Interval, CollectError> {
        self.take(Woken::Events)?;
        self.read_tables()?;
        let snapshots = self.tick(ending);
        self.begin_dump();
        if let Some(blocks) = &mut self.blocks {
            blocks.look(&mut self.roster);
        }
        self.source.plan(&snapshots, &mut self.roster)?;
        self.membership.look(&self.roster, &self.source)?;
        Ok(snapshots.into_iter().map(Arc::new).collect())
    }

    fn tick(&mut self, ending: Ending) -> Vec<Snapshot> {
        let now = clock::now();
        self.last_tick = now;
        self.roster.each().map(|tracked| tracked.tick(now, ending)).collect()
    }

    /// Reads the kernel's counts between two readings of the rows, so that what changes meanwhile is seen.
    fn read_tables(&mut self) -> Result<(), CollectError> {
        let before = self.source.read_rows();
        for tracked in self.roster.each() {
            let (table, kernel) = tracked.read_table()?;
            tracked.aggregator.observe(Observation::Table(table));
            tracked.aggregator.observe(Observation::Kernel(kernel));
        }
        self.roster.take_rows(before, self.source.read_rows());
        Ok(())
    }

    /// Begins a dump of one of the tables that call for one, if there may be one now; they take turns.
    fn begin_dump(&mut self) {
        if !self.census.is_allowed() {
            return;
        }
        let source = &self.source;
        let next = self
            .roster
            .each()
            .filter(|tracked| tracked.listing.is_some() && source.wants_dump(tracked))
            .min_by_key(|tracked| tracked.last_listing);
        let Some((netns, listing)) =
            next.and_then(|tracked| Some((tracked.netns, tracked.listing.take()?)))
        else {
            return;
        };
        let before = self.roster.part(netns, self.source.read_rows());
        self.census.begin(netns, listing, before, Listed::default());
    }
}

fn ticks_of(interval: Duration) -> time::Interval {
    let mut ticks = interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}
