//! `ctwatch audit`: looks for a while, then holds the numbers against the kernel's and against each other.

use std::{sync::Arc, time::Duration};

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
        only: None,
        census_every: None,
    };
    let pace = Pace { interval: INTERVAL, census_patience: CENSUS_PATIENCE };
    let patience = if arguments.look.no_wait { Patience::End } else { Patience::Wait };
    let mut interrupts = Interrupts::new()?;
    let opened = look::open(&arguments.look, pace, limits, patience, &mut interrupts).await?;
    let Some(mut session) = opened else { return Ok(()) };
    look::say(&format!("looking for {:?}; Ctrl-C ends it earlier", arguments.duration));
    let (last, refusals_told) = look_on(&mut session, arguments.duration, &mut interrupts).await?;
    let identities = audit(&Case { last: &last, refusals_told });
    look::print(if arguments.json {
        output::audit::json(&last, &identities) + "\n"
    } else {
        output::audit::text(&last, &identities)
    })
    .await?;
    match all_hold(&identities) {
        Some(true) => Ok(()),
        Some(false) => {
            let wrong = identities.iter().filter(|identity| identity.holds() == Some(false));
            let wrong: Vec<&str> = wrong.map(|identity| identity.id).collect();
            Err(CommandError::Findings(format!("does not hold: {}", wrong.join(", "))))
        }
        None => Err(CommandError::CannotRun(format!(
            "nothing could be checked: {}",
            last.mode.degraded.join("; ")
        ))),
    }
}

/// The last snapshot, and how many refusals all events told of.
async fn look_on(
    session: &mut Session,
    duration: Duration,
    interrupts: &mut Interrupts,
) -> Result<(Arc<Snapshot>, u64), CommandError> {
    let deadline = Instant::now() + duration;
    let mut report = ModeReport::default();
    let mut stopping = false;
    let mut last = None;
    let mut refusals_told: u64 = 0;
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
            next = session.next() => match (next.map_err(look::session_error)?, last.take()) {
                (Some(snapshot), _) => {
                    report.tell(&snapshot);
                    let told = snapshot.events.iter().map(|event| event.suppressed.saturating_add(1));
                    refusals_told = told.fold(refusals_told, u64::saturating_add);
                    last = Some(snapshot);
                }
                (None, Some(last)) => return Ok((last, refusals_told)),
                (None, None) => {
                    return Err(CommandError::Failed(anyhow::anyhow!("nothing was seen")));
                }
            },
        }
    }
}
