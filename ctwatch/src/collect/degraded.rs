//! The numbers where conntrack cannot be hooked: dumps of the table with long pauses, ctnetlink's events
//! while there are few, and packets dropped near the limit.
//!
//! What none of these can see stays unknown, and the mode says so.

use tokio::time::Instant;

use super::{
    census::{CensusTaker, Dumped, Finished},
    following::{EVENTS_PER_S_MAX, Following},
    roster::Roster,
    tracked::{FirstListing, Tracked, Ways},
};
use crate::{
    clock,
    conntrack::listing::{Listing, ListingError},
    host::namespace::NetworkNamespace,
    model::{
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
    reasons: Vec<String>,
    netlink_buffer_bytes: usize,
    attached_at_wall_ns: i128,
    is_first_census_begun: bool,
}

impl Degraded {
    /// `reasons` are why nothing better could be had, and in so many bytes ctnetlink's events wait.
    pub(super) fn new(
        drops: Option<DropsWatched>,
        reasons: Vec<String>,
        netlink_buffer_bytes: usize,
    ) -> Self {
        let attached_at_wall_ns = clock::now().wall_ns;
        let is_first_census_begun = false;
        Self { drops, reasons, netlink_buffer_bytes, attached_at_wall_ns, is_first_census_begun }
    }

    /// Opens what can be opened of a namespace; the mode says what is missing.
    pub(super) fn ways(&self, namespace: &NetworkNamespace) -> Ways {
        let mut degraded = self.reasons.clone();
        let mut early_drop = Rung::None;
        if self.drops.is_some() {
            early_drop = Rung::TracepointBtf;
            degraded.push(
                "refused packets are estimated: packets dropped near the limit, as far as the kernel's drop counter goes"
                    .to_owned(),
            );
        }
        let listing = match Listing::open_in(namespace) {
            Ok(listing) => {
                degraded.push(
                    "entries by source are as old as the last dump of the table, at most one in 21 times its duration"
                        .to_owned(),
                );
                Some(listing)
            }
            Err(error) => {
                degraded
                    .push(format!("entries by source are not known, because {}", sentence(&error)));
                None
            }
        };
        let mut alloc = Rung::None;
        let following = match Following::open_in(namespace, self.netlink_buffer_bytes) {
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
        let mode = Mode {
            alloc,
            early_drop,
            free: alloc,
            degraded,
            attached_at_wall_ns: Some(self.attached_at_wall_ns),
            ..Mode::default()
        };
        Ways { mode, listing, following }
    }

    /// A namespace that comes later waits for its dump until one may be taken.
    pub(super) fn prepare(&self, tracked: &mut Tracked) {
        if self.is_first_census_begun {
            tracked.first_listing = FirstListing::Done;
        }
    }

    /// Begins the first dump of a namespace that had none.
    pub(super) fn begin_first_census(&mut self, census: &mut CensusTaker, roster: &mut Roster) {
        if !census.is_idle() {
            return;
        }
        for tracked in roster.each().filter(|tracked| tracked.first_listing == FirstListing::Due) {
            tracked.first_listing = FirstListing::Done;
            if let Some(listing) = tracked.listing.take() {
                let (before, listed) = (RowReading::default(), Listed::default());
                return census.begin(tracked.netns, listing, before, listed);
            }
        }
        self.is_first_census_begun = true;
    }

    /// Waits until there is something to take; for ever if nothing can come. Safe to be dropped and called again.
    pub(super) async fn wait(&mut self) {
        let Some(drops) = &mut self.drops else { return std::future::pending().await };
        if drops.ring.readable().await.is_err() {
            // The ring is also drained at every tick, so only wake-ups are lost.
            std::future::pending::<()>().await;
        }
    }

    /// Hands on at most `records` events of the ring, and those of ctnetlink.
    pub(super) fn take_events(&mut self, records: usize, roster: &mut Roster) {
        let now = clock::now();
        if let Some(drops) = &mut self.drops {
            drops.ring.drain(records, |record| match decode(record, now) {
                Ok(Record::Event(event)) => roster.take_event(event),
                // Entries are not traced here.
                Ok(Record::Began(_) | Record::Ended(_)) => {}
                Err(_) => roster.lose(Hop::DecodeErrors, 1),
            });
        }
        roster.each().for_each(take_followed);
    }

    /// The rows that dropped packets were counted in.
    pub(super) fn read_rows(&self) -> RowReading {
        self.drops.as_ref().map(|drops| drops.rows.read()).unwrap_or_default()
    }

    /// Switches the look at drops on or off.
    pub(super) fn plan(&self, snapshots: &[Snapshot]) {
        if let Some(drops) = &self.drops {
            let near_limit = snapshots
                .iter()
                .any(|snapshot| is_near_limit(&snapshot.table, snapshot.interval_s));
            drops.control.watch_drops(if near_limit { Switch::On } else { Switch::Off });
        }
    }

    /// Hands a dump on; where it failed, the mode says so until another one succeeds.
    pub(super) fn take_dump(
        &mut self,
        finished: Finished,
        census: &mut CensusTaker,
        roster: &mut Roster,
    ) {
        let Finished { netns, listing, dumped } = finished;
        if let Some(tracked) = roster.of(netns) {
            tracked.listing = listing;
            tracked.last_listing = Instant::now();
            take_listed(tracked, dumped);
        }
        self.begin_first_census(census, roster);
    }
}

fn take_followed(tracked: &mut Tracked) {
    if let Some(following) = &mut tracked.following
        && let Err(why) = following.take(&mut tracked.aggregator)
    {
        tracked.following = None;
        tracked.mode.alloc = Rung::None;
        tracked.mode.free = Rung::None;
        tracked.mode.degraded.push(format!(
            "new and ended entries are no longer counted: ctnetlink's events were given up, because {why}"
        ));
        tracked.mode_changed();
    }
}

fn take_listed(tracked: &mut Tracked, dumped: Result<Dumped, ListingError>) {
    let missing = dumped.as_ref().err().map(|error| {
        format!("entries by source are old or not known, because {}", sentence(error))
    });
    if missing != tracked.without_listing {
        tracked.mode.degraded.retain(|sentence| Some(sentence) != tracked.without_listing.as_ref());
        tracked.mode.degraded.extend(missing.clone());
        tracked.without_listing = missing;
        tracked.mode_changed();
    }
    let Ok(mut dumped) = dumped else { return };
    dumped.observe_walk(&mut tracked.aggregator);
    tracked.lose(Hop::DecodeErrors, dumped.decode_errors);
    tracked.aggregator.observe(Observation::Held(dumped.listed.into_held()));
}

fn is_near_limit(table: &Table, interval_s: f64) -> bool {
    table.utilization.is_some_and(|utilization| utilization >= WATCH_FROM_UTILIZATION)
        || table.time_to_full_s.is_some_and(|time_to_full_s| time_to_full_s <= 2.0 * interval_s)
}
