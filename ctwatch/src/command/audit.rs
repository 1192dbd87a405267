//! `ctwatch audit`: looks for a while, then holds the numbers against the kernel's and against each other.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    look::{self, Interrupts, ModeReport, Pace, Patience},
    watch::REMEMBERED_SOURCES,
};
use crate::{
    cli::AuditArguments,
    exit::CommandError,
    model::{
        audit::{Case, all_hold, audit},
        limits::{Limits, SortBy},
        snapshot::Snapshot,
    },
    output,
    session::Session,
};

/// Nothing is shown before the end, but events are taken this often.
const INTERVAL: Duration = Duration::from_secs(1);
/// Without what was held before an audit is not whole.
const CENSUS_PATIENCE: Duration = Duration::from_secs(60);
/// Events of one interval at most; with more they cannot be checked.
const EVENTS_MAX: usize = 65_536;
/// Any number would do: the others are summed up.
const LISTED_SOURCES: usize = 20;

/// Looks until the time is over or it is told to stop, and prints what it found.
///
/// # Errors
///
/// If it cannot look, or one of the identities does not hold.
pub async fn run(arguments: &AuditArguments) -> Result<(), CommandError> {
    let limits = Limits {
        listed_sources: LISTED_SOURCES,
        sort_by: SortBy::Entries,
        events: EVENTS_MAX,
        remembered_sources: REMEMBERED_SOURCES,
    };
    let pace = Pace { interval: INTERVAL, census_patience: CENSUS_PATIENCE };
    let patience = if arguments.look.no_wait { Patience::End } else { Patience::Wait };
    let mut interrupts = Interrupts::new()?;
    let opened = look::open(&arguments.look, pace, limits, patience, &mut interrupts).await?;
    let Some(mut session) = opened else { return Ok(()) };
    look::say(&format!("looking for {:?}; Ctrl-C ends it earlier", arguments.duration));
    let seen = look_on(&mut session, arguments.duration, &mut interrupts).await?;
    let mut lines = String::new();
    let mut all_found = Vec::new();
    for Seen { last, refusals_told } in seen.values() {
        let found = audit(&Case { last, refusals_told: *refusals_told });
        lines.push_str(&if arguments.json {
            output::audit::json(last, &found) + "\n"
        } else {
            output::audit::text(last, &found)
        });
        all_found.extend(found);
    }
    look::print(lines).await?;
    match all_hold(&all_found) {
        Some(true) => Ok(()),
        Some(false) => {
            let wrong = all_found.iter().filter(|identity| identity.holds() == Some(false));
            let wrong: Vec<&str> = wrong.map(|identity| identity.id).collect();
            Err(CommandError::Findings(format!("does not hold: {}", wrong.join(", "))))
        }
        None => {
            let why = all_found.iter().find_map(|identity| identity.sides.as_ref().err());
            let why = why.map_or("nothing was seen", String::as_str);
            Err(CommandError::CannotRun(format!("nothing could be checked, as {why}")))
        }
    }
}

/// What was seen of one namespace.
struct Seen {
    last: Arc<Snapshot>,
    refusals_told: u64,
}

/// The last snapshot of each namespace, and how many refusals all events told of.
async fn look_on(
    session: &mut Session,
    duration: Duration,
    interrupts: &mut Interrupts,
) -> Result<BTreeMap<u32, Seen>, CommandError> {
    let deadline = Instant::now() + duration;
    let mut report = ModeReport::default();
    let mut stopping = false;
    let mut seen: BTreeMap<u32, Seen> = BTreeMap::new();
    loop {
        tokio::select! {
            biased;
            () = interrupts.received(), if !stopping => {
                stopping = true;
                session.stop();
            }
            () = tokio::time::sleep_until(deadline), if !stopping => {
                stopping = true;
                session.stop();
            }
            next = session.next() => {
                let Some(last) = next.map_err(look::session_error)? else { return Ok(seen) };
                report.tell(&last);
                let before = seen.get(&last.netns).map_or(0, |seen| seen.refusals_told);
                let told = last.events.iter().map(|event| event.suppressed.saturating_add(1));
                let refusals_told = told.fold(before, u64::saturating_add);
                seen.insert(last.netns, Seen { last, refusals_told });
            }
        }
    }
}
