//! The numbers where conntrack cannot be hooked: dumps of the table with long pauses, ctnetlink's events
//! while there are few, and packets dropped near the limit.
//!
//! What none of these can see stays unknown, and the mode says so.

use std::sync::Arc;

use super::census::{CensusTaker, Dumped};
use crate::{
    clock,
    conntrack::{
        follow::{Event, EventSocket},
        listing::Listing,
    },
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

/// Above this rate ctnetlink's events cost more than they tell: 120 % of a connection's path.
const FOLLOW_EVENTS_PER_S_MAX: f64 = 5_000.0;
/// Drops are looked at from this share of the limit on, or when the table would reach it within two intervals.
const WATCH_FROM_UTILIZATION: f64 = 0.8;

/// What is left where no hook is.
#[derive(Debug)]
pub(super) struct Degraded {
    netns: u32,
    drops: Option<DropsWatched>,
    census: Option<CensusTaker>,
    finished: Option<Dumped>,
    events: Option<EventSocket>,
    events_in_interval: u64,
    overruns_in_interval: u64,
    mode: Mode,
}

impl Degraded {
    /// Opens what can be opened; `reasons` are why nothing better could be.
    pub(super) fn new(
        namespace: NetworkNamespace,
        drops: Option<DropsWatched>,
        reasons: Vec<String>,
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
            Ok(socket) => {
                degraded.push(
                    "entries by source are as old as the last dump of the table, at most one in 21 times its duration"
                        .to_owned(),
                );
                Some(CensusTaker::new(namespace.inode(), socket))
            }
            Err(error) => {
                degraded
                    .push(format!("entries by source are not known, because {}", sentence(&error)));
                None
            }
        };
        let mut alloc = Rung::None;
        let events = match EventSocket::open_in(&namespace) {
            Ok(socket) => {
                alloc = Rung::Netlink;
                degraded.push(format!(
                    "new and ended entries are counted from ctnetlink's events: only confirmed entries, only those made \
                     since the start, and only below {FOLLOW_EVENTS_PER_S_MAX} events/s"
                ));
                Some(socket)
            }
            Err(error) => {
                degraded.push(format!(
                    "new and ended entries are not counted, because {}",
                    sentence(&error)
                ));
                None
            }
        };
        let mode = Mode { alloc, early_drop, free: alloc, degraded };
        let netns = namespace.inode();
        let source = Self {
            netns,
            drops,
            census,
            finished: None,
            events,
            events_in_interval: 0,
            overruns_in_interval: 0,
            mode: mode.clone(),
        };
        (source, mode)
    }

    /// Takes the first dump, and waits for it.
    pub(super) async fn first_census(&mut self, aggregator: &mut Aggregator) -> Option<String> {
        let census = self.census.as_mut()?;
        census.begin(RowReading::default(), Listed::default());
        let finished = census.finished().await;
        let missing = finished.as_ref().err().map(|error| {
            format!("entries by source were not known at the start, because {}", sentence(error))
        });
        self.finished = finished.ok();
        self.take_dump(aggregator);
        missing
    }

    /// See [`super::source::Source::wait`].
    pub(super) async fn wait(&mut self) {
        let Self { drops, census, finished, .. } = self;
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
        tokio::select! {
            () = ring_readable => {}
            dumped = census_finished => *finished = dumped.ok(),
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
        self.take_dump(aggregator);
        self.follow(aggregator);
    }

    /// The rows that dropped packets were counted in.
    pub(super) fn read_rows(&self) -> RowReading {
        self.drops.as_ref().map(|drops| drops.rows.read()).unwrap_or_default()
    }

    /// Begins the next dump if it may, switches the look at drops on or off, and gives up following events
    /// when there are too many.
    pub(super) fn plan(&mut self, snapshot: &Snapshot, aggregator: &mut Aggregator) {
        if let Some(census) = self.census.as_mut().filter(|census| census.is_allowed()) {
            census.begin(RowReading::default(), Listed::default());
        }
        if let Some(drops) = &self.drops {
            let near_limit = is_near_limit(&snapshot.table, snapshot.interval_s);
            drops.control.watch_drops(if near_limit { Switch::On } else { Switch::Off });
        }
        let events_per_s =
            std::mem::take(&mut self.events_in_interval) as f64 / snapshot.interval_s.max(0.001);
        let overruns = std::mem::take(&mut self.overruns_in_interval);
        if self.events.is_some() && (overruns > 0 || events_per_s > FOLLOW_EVENTS_PER_S_MAX) {
            let why = if overruns > 0 {
                "the kernel could not deliver them all".to_owned()
            } else {
                format!("there were {events_per_s:.0} of them a second")
            };
            self.give_up_following(&why, aggregator);
        }
    }

    fn take_dump(&mut self, aggregator: &mut Aggregator) {
        if let Some(dumped) = self.finished.take() {
            if dumped.decode_errors > 0 {
                aggregator.observe(Observation::Lost(Hop::DecodeErrors, dumped.decode_errors));
            }
            aggregator.observe(Observation::Held(dumped.listed.into_held()));
        }
    }

    fn follow(&mut self, aggregator: &mut Aggregator) {
        let Some(events) = &mut self.events else { return };
        let netns = self.netns;
        loop {
            let received = events.receive(|event| {
                aggregator.observe(match event {
                    Event::New(entry) => Observation::Began(entry.original.source_key(netns)),
                    Event::Ended(entry) => Observation::Ended(entry.original.source_key(netns)),
                });
            });
            let received = match received {
                Ok(received) => received,
                Err(error) => {
                    let why = sentence(&error);
                    self.give_up_following(&why, aggregator);
                    return;
                }
            };
            self.events_in_interval += received.events;
            self.overruns_in_interval += received.overruns;
            for (hop, lost) in [
                (Hop::NetlinkOverruns, received.overruns),
                (Hop::DecodeErrors, received.decode_errors),
            ] {
                if lost > 0 {
                    aggregator.observe(Observation::Lost(hop, lost));
                }
            }
            if received.drained {
                return;
            }
        }
    }

    fn give_up_following(&mut self, why: &str, aggregator: &mut Aggregator) {
        self.events = None;
        self.mode.alloc = Rung::None;
        self.mode.free = Rung::None;
        self.mode
            .degraded
            .push(format!("ctnetlink's events are no longer followed, because {why}"));
        aggregator.observe(Observation::Mode(Arc::new(self.mode.clone())));
    }
}

fn is_near_limit(table: &Table, interval_s: f64) -> bool {
    table.utilization.is_some_and(|utilization| utilization >= WATCH_FROM_UTILIZATION)
        || table.time_to_full_s.is_some_and(|time_to_full_s| time_to_full_s <= 2.0 * interval_s)
}
