//! Where the numbers come from: hooks, or whatever is left where there can be none.

use crate::{
    host::namespace::NetworkNamespace,
    model::{rows::RowReading, snapshot::Snapshot},
    probe::attach::{AttachOptions, Attached, Ceiling, attach},
};

use super::{
    CollectError,
    census::{CensusTaker, Finished},
    degraded::Degraded,
    hooked::Hooked,
    roster::Roster,
    tracked::{FirstListing, Tracked, Ways},
};

/// One of the two ways.
#[derive(Debug)]
pub(super) enum Source {
    /// Every count is made in the kernel.
    Hooked(Box<Hooked>),
    /// Dumps, ctnetlink events, dropped packets.
    Degraded(Box<Degraded>),
}

impl Source {
    /// Attaches what can be attached. A walk of the table counts destinations of these sources only, if that is said.
    ///
    /// # Errors
    ///
    /// If hooks were asked for, and cannot be had.
    pub(super) fn attach(options: &AttachOptions) -> Result<Self, CollectError> {
        let (drops, reasons) = match attach(options) {
            Attached::Conntrack(probes) => {
                return Ok(Self::Hooked(Box::new(Hooked::new(*probes))));
            }
            Attached::Drops(probes, reasons) => (Some(*probes), reasons),
            Attached::Nothing(reasons) => (None, reasons),
        };
        if matches!(options.ceiling, Ceiling::Fexit | Ceiling::Kprobe) {
            return Err(CollectError::NotHooked(reasons.join("; ")));
        }
        let netlink_buffer_bytes = options.netlink_buffer_bytes;
        Ok(Self::Degraded(Box::new(Degraded::new(drops, reasons, netlink_buffer_bytes))))
    }

    /// Whether nothing is hooked.
    pub(super) fn is_degraded(&self) -> bool {
        matches!(self, Self::Degraded(_))
    }

    /// Opens what there is to look into a namespace.
    pub(super) fn ways(&self, namespace: &NetworkNamespace) -> Ways {
        match self {
            Self::Hooked(hooked) => hooked.ways(namespace),
            Self::Degraded(degraded) => degraded.ways(namespace),
        }
    }

    /// Prepares a namespace for the count that is running.
    pub(super) fn prepare(&self, tracked: &mut Tracked) {
        match self {
            Self::Hooked(hooked) => hooked.prepare(tracked),
            Self::Degraded(degraded) => degraded.prepare(tracked),
        }
    }

    /// Begins the first dumps of the tables, if no dump is running.
    pub(super) fn begin_first_census(&mut self, census: &mut CensusTaker, roster: &mut Roster) {
        match self {
            Self::Hooked(hooked) => hooked.begin_first_census(census, roster),
            Self::Degraded(degraded) => degraded.begin_first_census(census, roster),
        }
    }

    /// Whether the first dumps of all tables are done.
    pub(super) fn is_first_census_done(&self, census: &CensusTaker, roster: &Roster) -> bool {
        match self {
            Self::Hooked(hooked) => hooked.is_first_census_done(),
            Self::Degraded(_) => {
                census.is_idle()
                    && !roster.any(|tracked| tracked.first_listing == FirstListing::Due)
            }
        }
    }

    /// Waits until there is something to take; for ever if nothing can come. Safe to be dropped and called
    /// again.
    pub(super) async fn wait(&mut self) {
        match self {
            Self::Hooked(hooked) => hooked.wait().await,
            Self::Degraded(degraded) => degraded.wait().await,
        }
    }

    /// Hands on at most `records` events, and what was waited for.
    pub(super) fn take_events(&mut self, records: usize, roster: &mut Roster) {
        match self {
            Self::Hooked(hooked) => hooked.take_events(records, roster),
            Self::Degraded(degraded) => degraded.take_events(records, roster),
        }
    }

    /// Hands on what a dump says.
    pub(super) fn take_dump(
        &mut self,
        finished: Finished,
        census: &mut CensusTaker,
        roster: &mut Roster,
    ) {
        match self {
            Self::Hooked(hooked) => hooked.take_dump(finished, census, roster),
            Self::Degraded(degraded) => degraded.take_dump(finished, census, roster),
        }
    }

    /// Reads the rows of all namespaces; empty where there are none.
    pub(super) fn read_rows(&self) -> RowReading {
        match self {
            Self::Hooked(hooked) => hooked.read_rows(),
            Self::Degraded(degraded) => degraded.read_rows(),
        }
    }

    /// Whether the numbers of a namespace call for a dump.
    pub(super) fn wants_dump(&self, tracked: &Tracked) -> bool {
        match self {
            Self::Hooked(hooked) => hooked.wants_dump(tracked),
            // There is nothing else to tell what sources hold.
            Self::Degraded(_) => true,
        }
    }

    /// Begins what the last snapshots call for: giving rows to new sources, watching drops.
    ///
    /// # Errors
    ///
    /// If what hooks count cannot be believed.
    pub(super) fn plan(
        &mut self,
        snapshots: &[Snapshot],
        roster: &mut Roster,
    ) -> Result<(), CollectError> {
        match self {
            Self::Hooked(hooked) => hooked.plan(roster).map_err(CollectError::Misread),
            Self::Degraded(degraded) => {
                degraded.plan(snapshots);
                Ok(())
            }
        }
    }
}
