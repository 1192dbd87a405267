//! The numbers where the hooks are attached: rows, events of the ring, and a dump now and then.

use std::{collections::HashMap, sync::Arc, time::Duration};

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
        mode::Confirm,
        observation::Observation,
        rows::RowReading,
        trace::{Listed, Trace},
    },
    probe::{attach::Hooked as Probes, control::Switch, error::sentence, rare::arm_confirm},
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
    /// Until the first census is done.
    trace: Option<Trace>,
    listed_twice: bool,
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
            trace: Some(Trace::new(TRACED_FLOWS_MAX)),
            listed_twice: false,
            last_census: Instant::now(),
            reclaimer: Reclaimer::new(),
        };
        (hooked, degraded)
    }

    /// Begins the first dumps, while every entry that comes or goes is traced: one frees the entries that have
    /// expired and are not listed, the next one lists what is left. Waits for them no longer than `patience`;
    /// later they are taken when they are there.
    pub(super) async fn first_census(&mut self, patience: Duration, aggregator: &mut Aggregator) {
        self.last_census = Instant::now();
        match &mut self.census {
            Some(census) => census.begin(self.probes.rows.read(), Listed::default()),
            None => self.end_trace(None, aggregator),
        }
        let all_taken = async {
            while self.trace.is_some() {
                self.wait().await;
                self.take_events(RECORDS_AT_ONCE, aggregator);
            }
        };
        // What has not come by then is no error.
        let _ = tokio::time::timeout(patience, all_taken).await;
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
        if let Some(finished) = self.finished.take() {
            self.take_dump(finished, aggregator);
        }
        self.reclaimer.release(&mut self.probes.rows, aggregator);
    }

    /// The rows as they are now.
    pub(super) fn read_rows(&self) -> RowReading {
        self.probes.rows.read()
    }

    /// Begins a dump if the numbers need one, and makes room for new sources.
    pub(super) fn plan(&mut self, aggregator: &mut Aggregator) {
        self.follow_rare(aggregator);
        if self.trace.is_some() {
            return;
        }
        let due = aggregator.needs_census() && aggregator.is_quiet()
            || aggregator.has_drifted_far()
            || aggregator.needs_census() && self.last_census.elapsed() >= UNSETTLED_RETRY;
        if let Some(census) = self.census.as_mut().filter(|census| due && census.is_allowed()) {
            census.begin(self.probes.rows.read(), Listed::default());
        }
        self.reclaimer.plan(&self.probes.rows, aggregator);
    }

    /// Attaches the hooks that are needed only now: on ctnetlink once it is loaded, and on insertions once one has failed.
    fn follow_rare(&mut self, aggregator: &mut Aggregator) {
        let Probes { rare, rows, .. } = &mut self.probes;
        let mut mode = aggregator.mode().clone();
        mode.degraded.extend(rare.follow_ctnetlink(rows.object_mut()));
        mode.deletion = rare.deletion;
        if mode.confirm == Confirm::NotNeeded && aggregator.has_insert_failures() {
            match arm_confirm(rows.object_mut()) {
                Ok(rung) => mode.confirm = Confirm::Since { rung, wall_ns: clock::now().wall_ns },
                Err(why) => {
                    mode.confirm = Confirm::Impossible;
                    mode.degraded.push(why);
                }
            }
        }
        if mode != *aggregator.mode() {
            aggregator.observe(Observation::Mode(Arc::new(mode)));
        }
    }

    fn drain(&mut self, records: usize, aggregator: &mut Aggregator) {
        let now = clock::now();
        let Self { probes, trace, .. } = self;
        probes.ring.drain(records, |record| match decode(record, now) {
            Ok(Record::Event(event)) => aggregator.observe(Observation::Event(event)),
            Ok(Record::Began(flow)) => trace.iter_mut().for_each(|trace| trace.began(flow)),
            Ok(Record::Ended(flow)) => trace.iter_mut().for_each(|trace| trace.ended(flow)),
            Err(_) => aggregator.observe(Observation::Lost(Hop::DecodeErrors, 1)),
        });
    }

    fn take_dump(&mut self, finished: Result<Dumped, ListingError>, aggregator: &mut Aggregator) {
        let again = self.trace.is_some()
            && !std::mem::replace(&mut self.listed_twice, true)
            && self.last_census.elapsed() <= SECOND_CENSUS_AT_ONCE;
        match (finished, &mut self.census) {
            (Ok(first), Some(census)) if again => {
                census.begin(self.probes.rows.read(), first.listed)
            }
            (finished, _) if self.trace.is_some() => self.end_trace(Some(finished), aggregator),
            (Ok(dumped), _) => {
                self.last_census = Instant::now();
                observe_census(dumped, self.probes.rows.read(), aggregator);
            }
            // What is known stays as it is; another dump follows.
            (Err(_), _) => self.last_census = Instant::now(),
        }
    }

    /// Ends the trace, and says what it and the dump made of it; `None` if there could be no dump.
    fn end_trace(
        &mut self,
        finished: Option<Result<Dumped, ListingError>>,
        aggregator: &mut Aggregator,
    ) {
        self.probes.control.trace(Switch::Off);
        self.drain(usize::MAX, aggregator);
        let Some(trace) = self.trace.take() else { return };
        let dumped = match finished {
            Some(Ok(dumped)) => dumped,
            Some(Err(error)) => {
                let why = format!("{WITHOUT_CENSUS}, because {}", sentence(&error));
                aggregator.observe(Observation::Missing(why));
                aggregator.observe(Observation::HeldBefore(HashMap::new()));
                return;
            }
            None => return aggregator.observe(Observation::HeldBefore(HashMap::new())),
        };
        let after = self.probes.rows.read();
        let exact = trace.held_before(self.netns, &dumped.listed);
        let is_whole = after.witness(Witness::TracesLost) == 0 && !dumped.may_skip;
        match exact.filter(|_| is_whole) {
            Some(held) => aggregator.observe(Observation::HeldBefore(held)),
            None => observe_census(dumped, after, aggregator),
        }
    }
}

fn observe_census(dumped: Dumped, after: RowReading, aggregator: &mut Aggregator) {
    let Dumped { listed, before, decode_errors, .. } = dumped;
    if decode_errors > 0 {
        aggregator.observe(Observation::Lost(Hop::DecodeErrors, decode_errors));
    }
    aggregator.observe(Observation::Census(Box::new(Census {
        held: listed.into_held(),
        before,
        after,
    })));
}
