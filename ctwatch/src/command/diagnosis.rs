//! What every command that advises does first: look for a while, and gather all that is known into a case.

use std::{sync::Arc, time::Duration};

use super::{
    look::{Interrupts, Look, Pace, Patience},
    timed_look::TimedLook,
    watch::REMEMBERED_SOURCES,
};
use crate::{
    advise::case::Case,
    cli::LookArguments,
    conntrack::policies,
    exit::CommandError,
    host::{
        facts,
        namespace::{NamespaceChoice, NamespaceTarget, NetworkNamespace},
        settings,
    },
    model::{
        limits::{Limits, SortBy},
        recent::Lately,
    },
};

const INTERVAL: Duration = Duration::from_secs(1);
/// Without a walk of the table hardly anything can be said.
const CENSUS_PATIENCE: Duration = Duration::from_secs(60);
/// Enough to tell what a normal source holds.
const LISTED_SOURCES: usize = 10_000;

/// Looks for `duration` at the one namespace that is asked for; `None` if a signal ended it before anything was seen.
///
/// # Errors
///
/// If it cannot look, or all namespaces are asked for.
pub async fn case(
    arguments: &LookArguments,
    duration: Duration,
) -> Result<Option<Case>, CommandError> {
    let patience = if arguments.no_wait { Patience::End } else { Patience::Wait };
    case_with_patience(arguments, duration, patience).await
}

/// As [`case`], with this patience where nothing is tracked.
///
/// # Errors
///
/// As [`case`].
pub async fn case_with_patience(
    arguments: &LookArguments,
    duration: Duration,
    patience: Patience,
) -> Result<Option<Case>, CommandError> {
    let NamespaceChoice::One(target) = &arguments.netns else {
        return Err(CommandError::Usage(
            "advice is on one namespace: name it with --netns; 'ctwatch watch --netns all' shows which are busy"
                .to_owned(),
        ));
    };
    let limits = Limits {
        listed_sources: LISTED_SOURCES,
        sort_by: SortBy::Entries,
        events: 0,
        remembered_sources: REMEMBERED_SOURCES,
        only: None,
        // The last walk is to be of the end of the look, if the table is small enough for that.
        census_every: Some(INTERVAL),
    };
    let pace = Pace { interval: INTERVAL.min(duration), census_patience: CENSUS_PATIENCE };
    let mut interrupts = Interrupts::new()?;
    let begun = Look::begin(arguments, pace, limits, patience, &mut interrupts).await?;
    let Some(look) = begun else { return Ok(None) };
    let mut look = TimedLook::new(look, duration, &mut interrupts);
    let Some(seen) = look_on(&mut look).await? else { return Ok(None) };
    of_look(target, seen).map(Some)
}

/// Adds to what was seen of a namespace how the kernel is set and what the machine is.
///
/// # Errors
///
/// If the namespace is gone or its settings cannot be read.
pub fn of_look(target: &NamespaceTarget, seen: Lately) -> Result<Case, CommandError> {
    let namespace = NetworkNamespace::open(target)
        .map_err(|error| CommandError::Failed(anyhow::Error::new(error)))?;
    let settings = settings::read_in(&namespace)
        .map_err(|error| CommandError::Failed(anyhow::Error::new(error)))?;
    let mut facts = facts::read_in(&namespace, &settings);
    facts.timeouts_of_rules = policies::count_in(&namespace).ok();
    let Lately { first, last, entries_max, seconds } = seen;
    // Entries that are translated show it whatever rules can be read.
    if last.census.as_ref().is_some_and(|now| !now.census.snat_pools.is_empty()) {
        facts.translates_sources = Some(true);
    }
    Ok(Case { seconds, first, last, entries_max, settings, facts })
}

async fn look_on(look: &mut TimedLook<'_>) -> Result<Option<Lately>, CommandError> {
    let mut seen: Option<Lately> = None;
    while let Some(last) = look.next().await? {
        // Where conntrack has been loaded again the counters have begun again.
        seen =
            seen.filter(|seen| seen.last.mode.attached_at_wall_ns == last.mode.attached_at_wall_ns);
        let seen = seen.get_or_insert_with(|| Lately {
            first: Arc::clone(&last),
            last: Arc::clone(&last),
            entries_max: 0,
            seconds: 0.0,
        });
        seen.seconds += last.interval_s;
        seen.entries_max = seen.entries_max.max(last.table.entries);
        seen.last = last;
    }
    Ok(seen)
}
