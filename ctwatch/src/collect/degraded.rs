//! The numbers where conntrack cannot be hooked: dumps of the table with long pauses, ctnetlink's events
//! while there are few, and packets dropped near the limit.
//!
//! What none of these can see stays unknown, and the mode says so.

use std::{sync::Arc, time::Duration};

use super::{
    census::{CensusTaker, Dumped},
    following::{EVENTS_PER_S_MAX, Following},
};
use crate::{
    clock,
    conntrack::listing::{Listing, ListingError},
    host::namespace::NetworkNamespace,
    model::{
        aggregator::Aggregator,
        decode::{Record, decode},
        loss::Hop,
        mode::{Mode, Rung},
        observation::Observation,
        rows::RowReading,
        snapshot::{Snapshot, Table},
        trace::Listed,
    },
    probe::{attach::DropsWatched, control::Switch, error::sentence},
};

/// Drops are looked at from this share of the limit on, or when the table would reach it within two intervals.
const WATCH_FROM_UTILIZATION: f64 = 0.8;

/// What is left where no hook is.
#[derive(Debug)]
pub(super) struct Degraded {
    drops: Option<DropsWatched>,
    census: Option<CensusTaker>,
    finished: Option<Result<Dumped, ListingError>>,
    following: Option<Following>,
    without_dump: Option<String>,
    mode: Mode,
}

impl Degraded {
    /// Opens what can be opened; `reasons` are why nothing better could be, and in so many bytes ctnetlink's events wait.
    pub(super) fn new(
        namespace: NetworkNamespace,
        drops: Option<DropsWatched>,
        reasons: Vec<String>,
        netlink_buffer_bytes: usize,
    ) -> (Self, Mode) {
        let mut degraded = reasons;
        let mut early_drop = Rung::None;
        if drops.is_some() {
            early_drop = Rung::TracepointBtf;
            degraded.push(
                "refused packets are estimated: packets dropped near the limit, as far as the kernel's drop counter goes"
                    .to_owned(),
            );
        }
        let census = match Listing::open_in(&namespace) {
            Ok(listing) => {
                degraded.push(
                    "entries by source are as old as the last dump of the table, at most one in 21 times its duration"
                        .to_owned(),
                );
                Some(CensusTaker::new(namespace.inode(), listing))
            }
            Err(error) => {
                degraded
                    .push(format!("entries by source are not known, because {}", sentence(&error)));
                None
            }
        };
        let mut alloc = Rung::None;
        let following = match Following::open_in(&namespace, netlink_buffer_bytes) {
            Ok(following) => {
                alloc = Rung::Netlink;
                degraded.push(format!(
                    "new and ended entries are counted from ctnetlink's events: only confirmed entries, only those made \
                     since the start, and only below {EVENTS_PER_S_MAX} events/s"
                ));
                Some(following)
            }
            Err(error) => {
                degraded.push(format!(
                    "new and ended entries are not counted, because {}",
                    sentence(&error)
                ));
                None
            }
        };
        let mode = Mode { alloc, early_drop, free: alloc, degraded, why_not_higher: Vec::new() };
        let source = Self {
            drops,
            census,
            finished: None,
            following,
            without_dump: None,
            mode: mode.clone(),
        };
        (source, mode)
    }

    /// Begins the first dump, and waits for it no longer than `patience`; later it is taken when it is there.
    pub(super) async fn first_census(&mut self, patience: Duration, aggregator: &mut Aggregator) {
        let Some(census) = &mut self.census else { return };
        census.begin(RowReading::default(), Listed::default());
        if let Ok(finished) = tokio::time::timeout(patience, census.finished()).await {
            self.take_dump(finished, aggregator);
        }
    }

    /// See [`super::source::Source::wait`].
    pub(super) async fn wait(&mut self) {
        let Self { drops, census, finished, following, .. } = self;
        let ring_readable = async {
            let Some(drops) = drops else { return std::future::pending().await };
            if drops.ring.readable().await.is_err() {
                // The ring is also drained at every tick, so only wake-ups are lost.
                std::future::pending::<()>().await;
            }
        };
        let census_finished = async {
            match census {
                Some(census) => census.finished().await,
                None => std::future::pending().await,
            }
        };
        let events_due = async {
            match following {
                Some(following) => following.due().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = ring_readable => {}
            dumped = census_finished => *finished = Some(dumped),
            () = events_due => {}
        }
    }

    /// See [`super::source::Source::take_events`].
    pub(super) fn take_events(&mut self, records: usize, aggregator: &mut Aggregator) {
        let now = clock::now();
        if let Some(drops) = &mut self.drops {
            drops.ring.drain(records, |record| match decode(record, now) {
                Ok(Record::Event(event)) => aggregator.observe(Observation::Event(event)),
                // Entries are not traced here.
                Ok(Record::Began(_) | Record::Ended(_)) => {}
                Err(_) => aggregator.observe(Observation::Lost(Hop::DecodeErrors, 1)),
            });
        }
        if let Some(finished) = self.finished.take() {
            self.take_dump(finished, aggregator);
        }
        if let Some(following) = &mut self.following
            && let Err(why) = following.take(aggregator)
        {
            self.following = None;
            self.mode.alloc = Rung::None;
            self.mode.free = Rung::None;
            self.mode.degraded.push(format!(
                "new and ended entries are no longer counted: ctnetlink's events were given up, because {why}"
            ));
            aggregator.observe(Observation::Mode(Arc::new(self.mode.clone())));
        }
    }

    /// The rows that dropped packets were counted in.
    pub(super) fn read_rows(&self) -> RowReading {
        self.drops.as_ref().map(|drops| drops.rows.read()).unwrap_or_default()
    }

    /// Begins the next dump if it may, and switches the look at drops on or off.
    pub(super) fn plan(&mut self, snapshot: &Snapshot) {
        if let Some(census) = self.census.as_mut().filter(|census| census.is_allowed()) {
            census.begin(RowReading::default(), Listed::default());
        }
        if let Some(drops) = &self.drops {
            let near_limit = is_near_limit(&snapshot.table, snapshot.interval_s);
            drops.control.watch_drops(if near_limit { Switch::On } else { Switch::Off });
        }
    }

    /// Hands a dump on; where it failed, the mode says so until another one succeeds.
    fn take_dump(&mut self, finished: Result<Dumped, ListingError>, aggregator: &mut Aggregator) {
        let missing = finished.as_ref().err().map(|error| {
            format!("entries by source are old or not known, because {}", sentence(error))
        });
        if missing != self.without_dump {
            self.mode.degraded.retain(|sentence| Some(sentence) != self.without_dump.as_ref());
            self.mode.degraded.extend(missing.clone());
            self.without_dump = missing;
            aggregator.observe(Observation::Mode(Arc::new(self.mode.clone())));
        }
        let Ok(dumped) = finished else { return };
        if dumped.decode_errors > 0 {
            aggregator.observe(Observation::Lost(Hop::DecodeErrors, dumped.decode_errors));
        }
        aggregator.observe(Observation::Held(dumped.listed.into_held()));
    }
}

fn is_near_limit(table: &Table, interval_s: f64) -> bool {
    table.utilization.is_some_and(|utilization| utilization >= WATCH_FROM_UTILIZATION)
        || table.time_to_full_s.is_some_and(|time_to_full_s| time_to_full_s <= 2.0 * interval_s)
}
