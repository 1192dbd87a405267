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
        namespace::{NamespaceChoice, NetworkNamespace},
        settings,
    },
    model::{
        event::Kinds,
        limits::{Limits, SortBy},
        snapshot::Snapshot,
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
        kinds: Kinds::NONE,
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
    let namespace = NetworkNamespace::open(target)
        .map_err(|error| CommandError::Failed(anyhow::Error::new(error)))?;
    let settings = settings::read_in(&namespace)
        .map_err(|error| CommandError::Failed(anyhow::Error::new(error)))?;
    let mut facts = facts::read_in(&namespace, &settings);
    facts.timeouts_of_rules = policies::count_in(&namespace).ok();
    let Seen { first, last, entries_max, seconds } = seen;
    // Entries that are translated show it whatever rules can be read.
    if last.census.as_ref().is_some_and(|now| !now.census.snat_pools.is_empty()) {
        facts.translates_sources = Some(true);
    }
    Ok(Some(Case { seconds, first, last, entries_max, settings, facts }))
}

struct Seen {
    first: Arc<Snapshot>,
    last: Arc<Snapshot>,
    entries_max: u64,
    seconds: f64,
}

async fn look_on(look: &mut TimedLook<'_>) -> Result<Option<Seen>, CommandError> {
    let mut seen: Option<Seen> = None;
    while let Some(last) = look.next().await? {
        // Where conntrack has been loaded again the counters have begun again.
        seen =
            seen.filter(|seen| seen.last.mode.attached_at_wall_ns == last.mode.attached_at_wall_ns);
        let seen = seen.get_or_insert_with(|| Seen {
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
