//! The numbers where the hooks are attached: rows, events of the ring, and a dump now and then.

use std::time::Duration;

use ctwatch_common::counter::Witness;
use tokio::time::Instant;

use super::{
    RECORDS_AT_ONCE,
    census::{CensusTaker, Dumped},
    reclaim::Reclaimer,
};
use crate::{
    clock,
    conntrack::listing::{Listing, ListingError},
    host::namespace::NetworkNamespace,
    model::{
        aggregator::Aggregator,
        baseline::Census,
        decode::{Record, decode},
        loss::Hop,
        observation::Observation,
        rows::RowReading,
        trace::{Listed, Trace},
    },
    probe::{attach::Hooked as Probes, control::Switch, error::sentence},
};

/// If the first dump took no longer than this the second one follows at once, before anything is shown.
const SECOND_CENSUS_AT_ONCE: Duration = Duration::from_millis(250);
/// What is missing without a dump.
const WITHOUT_CENSUS: &str = "entries from before the start are not known by source";
/// Flows that are traced at most; with more the first dump is as good as any later one.
const TRACED_FLOWS_MAX: usize = 1 << 20;
/// Sources that are never quiet are looked at again so often.
const UNSETTLED_RETRY: Duration = Duration::from_secs(30);

/// The hooks, and what belongs to them.
#[derive(Debug)]
pub(super) struct Hooked {
    netns: u32,
    probes: Probes,
    census: Option<CensusTaker>,
    finished: Option<Result<Dumped, ListingError>>,
    trace: Trace,
    last_census: Instant,
    reclaimer: Reclaimer,
}

impl Hooked {
    /// The hooks' memory and events, and a socket for dumps; says what is missing without one.
    pub(super) fn new(namespace: &NetworkNamespace, probes: Probes) -> (Self, Vec<String>) {
        let mut degraded = Vec::new();
        let census = match Listing::open_in(namespace) {
            Ok(listing) => Some(CensusTaker::new(namespace.inode(), listing)),
            Err(error) => {
                degraded.push(format!("{WITHOUT_CENSUS}, because {}", sentence(&error)));
                None
            }
        };
        let hooked = Self {
            netns: namespace.inode(),
            probes,
            census,
            finished: None,
            trace: Trace::new(TRACED_FLOWS_MAX),
            last_census: Instant::now(),
            reclaimer: Reclaimer::new(),
        };
        (hooked, degraded)
    }

    /// Takes the first dumps, while every entry that comes or goes is traced: one frees the entries that have
    /// expired and are not listed, the next one lists what is left. Says why there was none.
    pub(super) async fn first_census(&mut self, aggregator: &mut Aggregator) -> Option<String> {
        let dumped = self.traced_dumps(aggregator).await;
        self.probes.control.trace(Switch::Off);
        self.drain(usize::MAX, aggregator);
        let after = self.probes.rows.read();
        let trace = std::mem::replace(&mut self.trace, Trace::new(0));
        let dumped = match dumped? {
            Ok(dumped) => dumped,
            Err(error) => return Some(format!("{WITHOUT_CENSUS}, because {}", sentence(&error))),
        };
        let exact = trace.held_before(self.netns, &dumped.listed);
        match exact.filter(|_| after.witness(Witness::TracesLost) == 0) {
            Some(held) => aggregator.observe(Observation::HeldBefore(held)),
            None => observe_census(dumped, after, aggregator),
        }
        None
    }

    /// See [`super::source::Source::wait`].
    pub(super) async fn wait(&mut self) {
        let Self { probes, census, finished, reclaimer, .. } = self;
        let census_finished = async {
            match census {
                Some(census) => census.finished().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            readable = probes.ring.readable() => {
                if readable.is_err() {
                    // The ring is also drained at every tick, so only wake-ups are lost.
                    std::future::pending::<()>().await;
                }
            }
            dumped = census_finished => *finished = Some(dumped),
            () = reclaimer.grace_period_over() => {}
        }
    }

    /// See [`super::source::Source::take_events`].
    pub(super) fn take_events(&mut self, records: usize, aggregator: &mut Aggregator) {
        self.drain(records, aggregator);
        if let Some(Ok(dumped)) = self.finished.take() {
            let after = self.probes.rows.read();
            observe_census(dumped, after, aggregator);
            self.last_census = Instant::now();
        }
        self.reclaimer.release(&self.probes.rows, aggregator);
    }

    /// The rows as they are now.
    pub(super) fn read_rows(&self) -> RowReading {
        self.probes.rows.read()
    }

    /// Begins a dump if the numbers need one, and makes room for new sources.
    pub(super) fn plan(&mut self, aggregator: &mut Aggregator) {
        let due = aggregator.needs_census() && aggregator.is_quiet()
            || aggregator.has_drifted_far()
            || aggregator.needs_census() && self.last_census.elapsed() >= UNSETTLED_RETRY;
        if let Some(census) = self.census.as_mut().filter(|census| due && census.is_allowed()) {
            census.begin(self.probes.rows.read(), Listed::default());
        }
        self.reclaimer.plan(&self.probes.rows, aggregator);
    }

    fn drain(&mut self, records: usize, aggregator: &mut Aggregator) {
        let now = clock::now();
        let Self { probes, trace, .. } = self;
        probes.ring.drain(records, |record| match decode(record, now) {
            Ok(Record::Event(event)) => aggregator.observe(Observation::Event(event)),
            Ok(Record::Began(flow)) => trace.began(flow),
            Ok(Record::Ended(flow)) => trace.ended(flow),
            Err(_) => aggregator.observe(Observation::Lost(Hop::DecodeErrors, 1)),
        });
    }

    /// Takes one or two dumps, and meanwhile what is traced; `None` if there is no socket for any.
    async fn traced_dumps(
        &mut self,
        aggregator: &mut Aggregator,
    ) -> Option<Result<Dumped, ListingError>> {
        self.last_census = Instant::now();
        match self.traced_dump(Listed::default(), aggregator).await? {
            Ok(first) if self.last_census.elapsed() <= SECOND_CENSUS_AT_ONCE => {
                self.traced_dump(first.listed, aggregator).await
            }
            other => Some(other),
        }
    }

    async fn traced_dump(
        &mut self,
        listed: Listed,
        aggregator: &mut Aggregator,
    ) -> Option<Result<Dumped, ListingError>> {
        self.census.as_mut()?.begin(self.probes.rows.read(), listed);
        while self.finished.is_none() {
            self.wait().await;
            self.drain(RECORDS_AT_ONCE, aggregator);
        }
        self.finished.take()
    }
}

fn observe_census(dumped: Dumped, after: RowReading, aggregator: &mut Aggregator) {
    let Dumped { listed, before, decode_errors } = dumped;
    if decode_errors > 0 {
        aggregator.observe(Observation::Lost(Hop::DecodeErrors, decode_errors));
    }
    aggregator.observe(Observation::Census(Box::new(Census {
        held: listed.into_held(),
        before,
        after,
    })));
}
