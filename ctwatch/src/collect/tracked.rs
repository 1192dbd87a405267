//! What is kept of one network namespace: its numbers, the files of its table, and the ways to list and follow it.
//!
//! It knows nothing of other namespaces, nor how entries are counted in the kernel.

use std::sync::Arc;

use tokio::time::Instant;

use super::{following::Following, source::Source, table::TableFiles};
use crate::{
    conntrack::listing::Listing,
    host::{
        namespace::{NamespaceTarget, NetworkNamespace},
        namespace_list::FoundNamespace,
        sysctl::ConntrackFilesError,
    },
    model::{
        aggregator::Aggregator,
        blocked::Blocks,
        counters::Counters,
        limits::Limits,
        loss::Hop,
        mode::Mode,
        moment::Moment,
        observation::{Observation, TableReading},
        rows::RowReading,
        snapshot::{KernelStatistics, Snapshot},
        suppressed::Ending,
    },
};

/// One network namespace that is looked at.
#[derive(Debug)]
pub(super) struct Tracked {
    /// Its number.
    pub(super) netns: u32,
    /// What it is called, if that is known.
    pub(super) name: Option<Arc<str>>,
    /// What leads to it.
    pub(super) target: NamespaceTarget,
    /// Its numbers.
    pub(super) aggregator: Aggregator,
    /// How it is seen.
    pub(super) mode: Mode,
    /// Who was blocked or capped when that was listed last.
    pub(super) blocks: Blocks,
    /// The way to list its table; `None` if there is none, and while it is being listed.
    pub(super) listing: Option<Listing>,
    /// How far the first listings are, which tell what was there before the start.
    pub(super) first_listing: FirstListing,
    /// When the last listing ended.
    pub(super) last_listing: Instant,
    /// What is missing since a listing failed: a sentence of the mode.
    pub(super) without_listing: Option<String>,
    /// The events of its table, where no hook counts.
    pub(super) following: Option<Following>,
    /// What its rows had counted that were given up.
    pub(super) released: Counters,
    table: TableFiles,
}

/// How far the first listings of a table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FirstListing {
    /// None has begun.
    Due,
    /// The first has begun, at this time; it frees the entries that have expired.
    Running(Instant),
    /// The second has begun, which lists what is left.
    Again,
    /// There will be none, or they are done.
    Done,
}

/// The ways to look into a namespace, open.
#[derive(Debug)]
pub(super) struct Ways {
    /// How things are seen by them.
    pub(super) mode: Mode,
    /// How to list the table.
    pub(super) listing: Option<Listing>,
    /// The events of the table.
    pub(super) following: Option<Following>,
}

/// Where the kernel's own counters of a namespace begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KernelStart {
    /// Where they are now.
    Now,
    /// At zero: nothing had been tracked when the count began.
    Zero,
}

impl Tracked {
    /// Opens all that is needed of a namespace.
    ///
    /// # Errors
    ///
    /// If conntrack is not there, or its files cannot be opened.
    pub(super) fn open(
        found: FoundNamespace,
        namespace: &NetworkNamespace,
        source: &Source,
        limits: Limits,
        started: Moment,
    ) -> Result<Self, ConntrackFilesError> {
        let table = TableFiles::open(namespace)?;
        let Ways { mode, listing, following } = source.ways(namespace);
        let FoundNamespace { inode: netns, target, name } = found;
        let mut tracked = Self {
            netns,
            name: (!name.is_empty()).then(|| name.into()),
            target,
            aggregator: Aggregator::new(netns, limits, Arc::new(mode.clone()), started),
            mode,
            blocks: Blocks::default(),
            listing,
            first_listing: FirstListing::Due,
            last_listing: Instant::now(),
            without_listing: None,
            following,
            released: Counters::default(),
            table,
        };
        source.prepare(&mut tracked);
        Ok(tracked)
    }

    /// Begins to count the kernel's own numbers. `rows` reads what the hooks had counted by then, before and after it.
    ///
    /// # Errors
    ///
    /// As [`Self::read_table`].
    pub(super) fn begin_kernel(
        &mut self,
        start: KernelStart,
        rows: impl Fn() -> RowReading,
    ) -> Result<(), ConntrackFilesError> {
        let observe_rows = || {
            let rows = match start {
                KernelStart::Now => rows(),
                KernelStart::Zero => RowReading::default(),
            };
            Observation::Rows { before: Box::new(rows.clone()), after: Box::new(rows) }
        };
        self.aggregator.observe(observe_rows());
        let kernel = match start {
            KernelStart::Now => self.table.read()?.1,
            KernelStart::Zero => KernelStatistics::default(),
        };
        self.aggregator.observe(Observation::Kernel(kernel));
        self.aggregator.observe(observe_rows());
        Ok(())
    }

    /// Closes the interval that ends now.
    pub(super) fn tick(&mut self, now: Moment, ending: Ending) -> Snapshot {
        Snapshot { netns_name: self.name.clone(), ..self.aggregator.tick(now, ending) }
    }

    /// Reads the kernel's own numbers.
    ///
    /// # Errors
    ///
    /// If conntrack is gone, or the kernel writes something unknown.
    pub(super) fn read_table(
        &mut self,
    ) -> Result<(TableReading, KernelStatistics), ConntrackFilesError> {
        self.table.read()
    }

    /// Counts what was lost, if anything was.
    pub(super) fn lose(&mut self, hop: Hop, lost: u64) {
        if lost > 0 {
            self.aggregator.observe(Observation::Lost(hop, lost));
        }
    }

    /// Says that something cannot be seen after all.
    pub(super) fn miss(&mut self, sentence: String) {
        self.mode.degraded.push(sentence);
        self.mode_changed();
    }

    /// Says anew how things are seen.
    pub(super) fn mode_changed(&mut self) {
        self.aggregator.observe(Observation::Mode(Arc::new(self.mode.clone())));
    }
}
