//! The numbers where the hooks are attached: rows, events of the ring, and a dump now and then.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    census::{CensusTaker, Dumped},
    reclaim::Reclaimer,
};
use crate::{
    clock,
    conntrack::dump::DumpSocket,
    host::namespace::NetworkNamespace,
    model::{
        aggregator::Aggregator, baseline::Census, decode::decode, loss::Hop,
        observation::Observation, rows::RowReading,
    },
    probe::{attach::Hooked as Probes, error::sentence},
};

/// If the first dump took no longer than this the second one follows at once, before anything is shown.
const SECOND_CENSUS_AT_ONCE: Duration = Duration::from_millis(250);
/// Sources that are never quiet are looked at again so often.
const UNSETTLED_RETRY: Duration = Duration::from_secs(30);

/// The hooks, and what belongs to them.
#[derive(Debug)]
pub(super) struct Hooked {
    probes: Probes,
    census: Option<CensusTaker>,
    finished: Option<Dumped>,
    last_census: Instant,
    reclaimer: Reclaimer,
}

impl Hooked {
    /// The hooks' memory and events, and a socket for dumps; says what is missing without one.
    pub(super) fn new(namespace: &NetworkNamespace, probes: Probes) -> (Self, Vec<String>) {
        let mut degraded = Vec::new();
        let census = match DumpSocket::open_in(namespace) {
            Ok(socket) => Some(CensusTaker::new(namespace.inode(), socket)),
            Err(error) => {
                degraded.push(format!(
                    "entries from before the start are not known by source, because {}",
                    sentence(&error)
                ));
                None
            }
        };
        let hooked = Self {
            probes,
            census,
            finished: None,
            last_census: Instant::now(),
            reclaimer: Reclaimer::new(),
        };
        (hooked, degraded)
    }

    /// Takes the first dumps: one frees the entries that have expired and are not listed, the next one counts
    /// what is left.
    pub(super) async fn first_census(&mut self, aggregator: &mut Aggregator) {
        self.take_census(aggregator).await;
        if self.last_census.elapsed() <= SECOND_CENSUS_AT_ONCE {
            self.take_census(aggregator).await;
        }
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
            dumped = census_finished => *finished = dumped.ok(),
            () = reclaimer.grace_period_over() => {}
        }
    }

    /// See [`super::source::Source::take_events`].
    pub(super) fn take_events(&mut self, records: usize, aggregator: &mut Aggregator) {
        let now = clock::now();
        self.probes.ring.drain(records, |record| match decode(record, now) {
            Ok(event) => aggregator.observe(Observation::Event(event)),
            Err(_) => aggregator.observe(Observation::Lost(Hop::DecodeErrors, 1)),
        });
        if let Some(dumped) = self.finished.take() {
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
            census.begin(self.probes.rows.read());
        }
        self.reclaimer.plan(&self.probes.rows, aggregator);
    }

    async fn take_census(&mut self, aggregator: &mut Aggregator) {
        self.last_census = Instant::now();
        let Some(census) = &mut self.census else { return };
        census.begin(self.probes.rows.read());
        if let Ok(dumped) = census.finished().await {
            observe_census(dumped, self.probes.rows.read(), aggregator);
        }
    }
}

fn observe_census(dumped: Dumped, after: RowReading, aggregator: &mut Aggregator) {
    let Dumped { held, before, decode_errors } = dumped;
    if decode_errors > 0 {
        aggregator.observe(Observation::Lost(Hop::DecodeErrors, decode_errors));
    }
    aggregator.observe(Observation::Census(Box::new(Census { held, before, after })));
}
