//! `ctwatch audit`: looks for a while, then holds the numbers against the kernel's and against each other.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{
    look::{self, Interrupts, Look, Pace, Patience},
    timed_look::TimedLook,
    watch::REMEMBERED_SOURCES,
};
use crate::{
    cli::AuditArguments,
    exit::CommandError,
    host::namespace::NamespaceChoice,
    model::{
        audit::{Case, all_hold, audit},
        event::{Event, Kinds},
        limits::{Limits, SortBy},
        snapshot::Snapshot,
    },
    output,
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
        kinds: Kinds::REFUSED,
        events: EVENTS_MAX,
        remembered_sources: REMEMBERED_SOURCES,
        only: None,
        census_every: None,
    };
    let pace = Pace { interval: INTERVAL, census_patience: CENSUS_PATIENCE };
    let patience = if arguments.look.no_wait { Patience::End } else { Patience::Wait };
    let mut interrupts = Interrupts::new()?;
    let begun = Look::begin(&arguments.look, pace, limits, patience, &mut interrupts).await?;
    let Some(look) = begun else { return Ok(()) };
    let mut look = TimedLook::new(look, arguments.duration, &mut interrupts);
    let seen = look_on(&mut look).await?;
    let (mut printed, mut identities) = (String::new(), Vec::new());
    for Seen { last, refusals_told } in &seen {
        let found = audit(&Case { last, refusals_told: *refusals_told });
        if arguments.json {
            printed.push_str(&(output::audit::json(last, &found) + "\n"));
        } else {
            if arguments.look.netns == NamespaceChoice::All {
                printed.push_str(&output::text::heading(last));
            }
            printed.push_str(&output::audit::text(last, &found));
        }
        identities.extend(found);
    }
    look::print(printed).await?;
    match all_hold(&identities) {
        Some(true) => Ok(()),
        Some(false) => {
            let wrong = identities.iter().filter(|identity| identity.holds() == Some(false));
            let wrong: Vec<&str> = wrong.map(|identity| identity.id).collect();
            Err(CommandError::Findings(format!("does not hold: {}", wrong.join(", "))))
        }
        None => {
            let why = identities.iter().find_map(|identity| identity.sides.as_ref().err());
            let why = why.map_or("nothing was seen", String::as_str);
            Err(CommandError::CannotRun(format!("nothing could be checked, as {why}")))
        }
    }
}

/// What was seen of one namespace.
struct Seen {
    last: Arc<Snapshot>,
    /// How many refusals all events told of.
    refusals_told: u64,
}

/// What was seen of each namespace that is still there.
async fn look_on(look: &mut TimedLook<'_>) -> Result<Vec<Seen>, CommandError> {
    let mut told: HashMap<u32, u64> = HashMap::new();
    let (mut interval, mut seen) = (Vec::new(), Vec::new());
    while let Some(last) = look.next().await? {
        let fresh = last.events.iter().map(Event::times);
        let told = told.entry(last.netns).or_default();
        *told = fresh.fold(*told, u64::saturating_add);
        interval.push(Seen { refusals_told: *told, last });
        if look.is_interval_complete() {
            seen = std::mem::take(&mut interval);
        }
    }
    if seen.is_empty() {
        return Err(CommandError::Failed(anyhow::anyhow!("nothing was seen")));
    }
    Ok(seen)
}
