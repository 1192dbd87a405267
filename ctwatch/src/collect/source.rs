//! Where the numbers come from: hooks, or whatever is left where there can be none.

use std::time::Duration;

use crate::{
    host::namespace::NetworkNamespace,
    model::{aggregator::Aggregator, mode::Mode, rows::RowReading, snapshot::Snapshot},
    probe::attach::{AttachOptions, Attached, Ceiling, attach},
};

use super::{CollectError, degraded::Degraded, hooked::Hooked};

/// One of the two ways.
#[derive(Debug)]
pub(super) enum Source {
    /// Every count is made in the kernel.
    Hooked(Box<Hooked>),
    /// Dumps, ctnetlink events, dropped packets.
    Degraded(Box<Degraded>),
}

impl Source {
    /// Attaches what can be attached.
    ///
    /// # Errors
    ///
    /// If hooks were asked for, and cannot be had.
    pub(super) fn attach(
        namespace: NetworkNamespace,
        options: &AttachOptions,
    ) -> Result<(Self, Mode), CollectError> {
        let (drops, reasons) = match attach(options) {
            Attached::Conntrack(probes) => {
                let rung = probes.rung;
                let why_not_higher = probes.why_not_higher.clone();
                let (hooked, degraded) = Hooked::new(&namespace, *probes);
                let mode =
                    Mode { alloc: rung, early_drop: rung, free: rung, degraded, why_not_higher };
                return Ok((Self::Hooked(Box::new(hooked)), mode));
            }
            Attached::Drops(probes, reasons) => (Some(*probes), reasons),
            Attached::Nothing(reasons) => (None, reasons),
        };
        if matches!(options.ceiling, Ceiling::Fexit | Ceiling::Kprobe) {
            return Err(CollectError::NotHooked(reasons.join("; ")));
        }
        let (degraded, mode) =
            Degraded::new(namespace, drops, reasons, options.netlink_buffer_bytes);
        Ok((Self::Degraded(Box::new(degraded)), mode))
    }

    /// Begins the first dump of the table, and waits for it no longer than `patience`.
    pub(super) async fn first_census(&mut self, patience: Duration, aggregator: &mut Aggregator) {
        match self {
            Self::Hooked(hooked) => hooked.first_census(patience, aggregator).await,
            Self::Degraded(degraded) => degraded.first_census(patience, aggregator).await,
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
    pub(super) fn take_events(&mut self, records: usize, aggregator: &mut Aggregator) {
        match self {
            Self::Hooked(hooked) => hooked.take_events(records, aggregator),
            Self::Degraded(degraded) => degraded.take_events(records, aggregator),
        }
    }

    /// Reads the rows; empty where there are none.
    pub(super) fn read_rows(&self) -> RowReading {
        match self {
            Self::Hooked(hooked) => hooked.read_rows(),
            Self::Degraded(degraded) => degraded.read_rows(),
        }
    }

    /// Begins what the last snapshot calls for: a dump, giving rows to new sources, watching drops.
    pub(super) fn plan(&mut self, snapshot: &Snapshot, aggregator: &mut Aggregator) {
        match self {
            Self::Hooked(hooked) => hooked.plan(aggregator),
            Self::Degraded(degraded) => degraded.plan(snapshot),
        }
    }
}
