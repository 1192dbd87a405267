//! The numbers where the hooks are attached: rows, events of the ring, and a dump now and then. The hooks count for
//! all namespaces, whichever are looked at.

use std::{collections::HashMap, time::Duration};

use ctwatch_common::counter::Witness;
use tokio::time::Instant;

use super::{
    census::{CensusTaker, Dumped, Finished},
    reclaim::Reclaimer,
    roster::Roster,
    tracked::{FirstListing, Tracked, Ways},
};
use crate::{
    clock,
    conntrack::listing::{Listing, ListingError},
    host::{
        modules::{self, Presence},
        namespace::NetworkNamespace,
    },
    model::{
        baseline::Census,
        decode::{Record, decode},
        loss::Hop,
        mode::{Confirm, Mode, Rung},
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
/// What there is to know where the module cannot be unloaded meanwhile.
const PINS_MODULE: &str = "nf_conntrack is traced, so it cannot be unloaded before ctwatch ends (rmmod says that it is in use): \
     stop ctwatch, or start it with --attach kprobe";
/// Sources that are never quiet are looked at again so often.
const UNSETTLED_RETRY: Duration = Duration::from_secs(30);

/// The hooks, and what belongs to them.
#[derive(Debug)]
pub(super) struct Hooked {
    probes: Probes,
    /// Whether insertions are looked at.
    confirm: Confirm,
    attached_at_wall_ns: i128,
    /// Until the first dumps are done.
    trace: Option<Trace>,
    reclaimer: Reclaimer,
}

impl Hooked {
    /// The hooks' memory and events.
    pub(super) fn new(probes: Probes) -> Self {
        let trace = Some(Trace::new(TRACED_FLOWS_MAX));
        let attached_at_wall_ns = clock::now().wall_ns;
        let (confirm, reclaimer) = (Confirm::NotNeeded, Reclaimer::new());
        Self { probes, confirm, attached_at_wall_ns, trace, reclaimer }
    }

    /// A socket for dumps of a namespace; the mode says what is missing without one.
    pub(super) fn ways(&self, namespace: &NetworkNamespace) -> Ways {
        let rung = self.probes.rung;
        let mut degraded = self.probes.missing.clone();
        let listing = match Listing::open_in(namespace) {
            Ok(listing) => Some(listing),
            Err(error) => {
                degraded.push(format!("{WITHOUT_CENSUS}, because {}", sentence(&error)));
                None
            }
        };
        let mode = Mode {
            alloc: rung,
            early_drop: rung,
            free: rung,
            gc: self.probes.rare.gc,
            deletion: self.probes.rare.deletion,
            confirm: self.confirm,
            degraded,
            why_not_higher: self.probes.why_not_higher.clone(),
            attached_at_wall_ns: Some(self.attached_at_wall_ns),
            pins_module: (rung == Rung::Fexit && modules::conntrack() == Presence::Module)
                .then(|| PINS_MODULE.to_owned()),
        };
        Ways { mode, listing, following: None }
    }

    /// What begins to track connections once the first dumps are done has nothing from before the start. If it has
    /// after all, it shows as drift and is dumped.
    pub(super) fn prepare(&self, tracked: &mut Tracked) {
        if self.trace.is_none() {
            tracked.first_listing = FirstListing::Done;
            tracked.aggregator.observe(Observation::HeldBefore(HashMap::new()));
        }
    }

    /// Begins the first dumps, one namespace after another, while every entry that comes or goes is traced: one
    /// frees the entries that have expired and are not listed, the next one lists what is left.
    pub(super) fn begin_first_census(&mut self, census: &mut CensusTaker, roster: &mut Roster) {
        while self.trace.is_some() && census.is_idle() {
            let due = roster.each().find(|tracked| tracked.first_listing == FirstListing::Due);
            let Some(tracked) = due else { return self.end_trace(roster) };
            let netns = tracked.netns;
            tracked.last_listing = Instant::now();
            let Some(listing) = tracked.listing.take() else {
                tracked.first_listing = FirstListing::Done;
                tracked.aggregator.observe(Observation::HeldBefore(HashMap::new()));
                continue;
            };
            tracked.first_listing = FirstListing::Running(Instant::now());
            let before = roster.part(netns, self.probes.read());
            census.begin(netns, listing, before, Listed::default());
        }
    }

    /// Whether the first dumps are done.
    pub(super) fn is_first_census_done(&self) -> bool {
        self.trace.is_none()
    }

    /// Waits until there is something to take; for ever if nothing can come. Safe to be dropped and called again.
    pub(super) async fn wait(&mut self) {
        let Self { probes, reclaimer, .. } = self;
        tokio::select! {
            readable = probes.ring.readable() => {
                if readable.is_err() {
                    // The ring is also drained at every tick, so only wake-ups are lost.
                    std::future::pending::<()>().await;
                }
            }
            () = reclaimer.grace_period_over() => {}
        }
    }

    /// Hands on at most `records` events, and rows that were given up.
    pub(super) fn take_events(&mut self, records: usize, roster: &mut Roster) {
        self.drain(records, roster);
        self.reclaimer.release(&mut self.probes.rows, roster);
    }

    /// The rows as they are now, those of all namespaces.
    pub(super) fn read_rows(&self) -> RowReading {
        self.probes.read()
    }

    /// Attaches what is needed by now, and makes room for new sources.
    ///
    /// # Errors
    ///
    /// Why what the hooks count cannot be believed.
    pub(super) fn plan(&mut self, roster: &mut Roster) -> Result<(), String> {
        if let Some(why) = roster.each().find_map(|one| self.probes.misread(one.aggregator.rows()))
        {
            return Err(why);
        }
        self.follow_rare(roster);
        if self.trace.is_none() {
            self.reclaimer.plan(&self.probes.rows, roster);
        }
        Ok(())
    }

    /// Whether the numbers of a namespace call for a dump.
    pub(super) fn wants_dump(&self, tracked: &Tracked) -> bool {
        let aggregator = &tracked.aggregator;
        self.trace.is_none()
            && (aggregator.needs_census() && aggregator.is_quiet()
                || aggregator.has_drifted_far()
                || aggregator.wants_walk()
                || aggregator.needs_census() && tracked.last_listing.elapsed() >= UNSETTLED_RETRY)
    }

    /// Hands on what a dump says.
    pub(super) fn take_dump(
        &mut self,
        finished: Finished,
        census: &mut CensusTaker,
        roster: &mut Roster,
    ) {
        let Finished { netns, listing, mut dumped } = finished;
        let rows = roster.part(netns, self.probes.read());
        let Some(tracked) = roster.of(netns) else { return };
        if let Ok(dumped) = &mut dumped {
            dumped.observe_walk(&mut tracked.aggregator);
        }
        match (tracked.first_listing, dumped, listing) {
            (FirstListing::Running(began), Ok(first), Some(listing))
                if began.elapsed() <= SECOND_CENSUS_AT_ONCE =>
            {
                tracked.first_listing = FirstListing::Again;
                return census.begin(netns, listing, rows, first.listed);
            }
            (FirstListing::Running(_) | FirstListing::Again, dumped, listing) => {
                tracked.listing = listing;
                tracked.first_listing = FirstListing::Done;
                self.settle_what_was_before(netns, dumped, roster);
            }
            (_, Ok(dumped), listing) => {
                tracked.listing = listing;
                observe_census(dumped, rows, tracked);
            }
            // What is known stays as it is; another dump follows.
            (_, Err(_), listing) => tracked.listing = listing,
        }
        if let Some(tracked) = roster.of(netns) {
            tracked.last_listing = Instant::now();
        }
        self.begin_first_census(census, roster);
    }

    /// Attaches the hooks that are needed only now: on ctnetlink once it is loaded, and on insertions once one has failed.
    fn follow_rare(&mut self, roster: &mut Roster) {
        let Probes { rare, rows, .. } = &mut self.probes;
        let deletion_before = rare.deletion;
        let mut missing = Vec::from_iter(rare.follow_ctnetlink(rows.object_mut()));
        let confirm_before = self.confirm;
        let has_failures = roster.any(|tracked| tracked.aggregator.has_insert_failures());
        if self.confirm == Confirm::NotNeeded && has_failures {
            self.confirm = match arm_confirm(rows.object_mut()) {
                Ok(rung) => Confirm::Since { rung, wall_ns: clock::now().wall_ns },
                Err(why) => {
                    missing.push(why);
                    Confirm::Impossible
                }
            };
        }
        let is_as_before = (deletion_before, confirm_before) == (rare.deletion, self.confirm);
        if is_as_before && missing.is_empty() {
            return;
        }
        self.probes.missing.extend(missing.iter().cloned());
        for tracked in roster.each() {
            tracked.mode.deletion = self.probes.rare.deletion;
            tracked.mode.confirm = self.confirm;
            tracked.mode.degraded.extend(missing.iter().cloned());
            tracked.mode_changed();
        }
    }

    fn drain(&mut self, records: usize, roster: &mut Roster) {
        let now = clock::now();
        let Self { probes, trace, .. } = self;
        probes.ring.drain(records, |record| match decode(record, now) {
            Ok(Record::Event(event)) => roster.take_event(event),
            Ok(Record::Began(flow)) => trace.iter_mut().for_each(|trace| trace.began(flow)),
            Ok(Record::Ended(flow)) => trace.iter_mut().for_each(|trace| trace.ended(flow)),
            Err(_) => roster.lose(Hop::DecodeErrors, 1),
        });
    }

    /// Says what the trace and the first dumps of a namespace make of it.
    fn settle_what_was_before(
        &mut self,
        netns: u32,
        dumped: Result<Dumped, ListingError>,
        roster: &mut Roster,
    ) {
        if !roster.any(|tracked| tracked.first_listing != FirstListing::Done) {
            self.probes.control.trace(Switch::Off);
        }
        // What the dump has seen was traced before it ended, so it is in the ring by now.
        self.drain(usize::MAX, roster);
        let after = roster.part(netns, self.probes.read());
        let (Some(tracked), Some(trace)) = (roster.of(netns), &self.trace) else { return };
        let dumped = match dumped {
            Ok(dumped) => dumped,
            Err(error) => {
                let why = format!("{WITHOUT_CENSUS}, because {}", sentence(&error));
                tracked.miss(why);
                tracked.aggregator.observe(Observation::HeldBefore(HashMap::new()));
                return;
            }
        };
        let exact = trace.held_before(netns, &dumped.listed);
        let is_whole = after.witness(Witness::TracesLost) == 0 && !dumped.may_skip;
        match exact.filter(|_| is_whole) {
            Some(held) => tracked.aggregator.observe(Observation::HeldBefore(held)),
            None => observe_census(dumped, after, tracked),
        }
    }

    fn end_trace(&mut self, roster: &mut Roster) {
        self.probes.control.trace(Switch::Off);
        self.drain(usize::MAX, roster);
        self.trace = None;
    }
}

fn observe_census(dumped: Dumped, after: RowReading, tracked: &mut Tracked) {
    let Dumped { listed, before, decode_errors, .. } = dumped;
    tracked.lose(Hop::DecodeErrors, decode_errors);
    let census = Census { held: listed.into_held(), before, after };
    tracked.aggregator.observe(Observation::Census(Box::new(census)));
}
