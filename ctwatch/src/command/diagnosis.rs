//! What every command that advises does first: look for a while, or into a recording, and gather all that is known into a case.

use std::{path::Path, time::Duration};

use super::{
    look::{Interrupts, Look, Pace, Patience},
    machine_state, recorded_case,
    recorder::{self, Recorder, not_recorded},
    timed_look::TimedLook,
    watch::REMEMBERED_SOURCES,
};
use crate::{
    advise::{case::Case, facts::Modules},
    cli::{LookArguments, RecordingArguments},
    exit::CommandError,
    host::{
        module_users,
        namespace::{NamespaceChoice, NamespaceTarget, NetworkNamespace},
    },
    model::{
        limits::{Limits, SortBy},
        recent::Lately,
    },
    recording::{
        item::Beginning,
        writer::{self, Bounds, Existing},
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
    look_at(arguments, duration, patience(arguments), None).await
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
    look_at(arguments, duration, patience, None).await
}

/// As [`case`]; or of the last `duration` of a recording, or keeping what is seen in one.
///
/// # Errors
///
/// As [`case`]; or if the recording cannot be read or written.
pub async fn recorded_or_live_case(
    arguments: &LookArguments,
    duration: Duration,
    recording: &RecordingArguments,
    patience: Patience,
) -> Result<Option<Case>, CommandError> {
    match &recording.from {
        Some(path) => {
            let NamespaceChoice::One(target) = &arguments.netns else { return Err(one_only()) };
            recorded_case::read(path, target, duration).map(Some)
        }
        None => look_at(arguments, duration, patience, recording.record.as_deref()).await,
    }
}

/// That of the flag `--no-wait`.
pub fn patience(arguments: &LookArguments) -> Patience {
    if arguments.no_wait { Patience::End } else { Patience::Wait }
}

fn one_only() -> CommandError {
    CommandError::Usage(
        "advice is on one namespace: name it with --netns; 'ctwatch watch --netns all' shows which are busy"
            .to_owned(),
    )
}

async fn look_at(
    arguments: &LookArguments,
    duration: Duration,
    patience: Patience,
    record_to: Option<&Path>,
) -> Result<Option<Case>, CommandError> {
    let NamespaceChoice::One(target) = &arguments.netns else { return Err(one_only()) };
    if let Some(path) = record_to {
        writer::check(path, Existing::Keep, Bounds::default()).map_err(not_recorded)?;
    }
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
    let modules_before = module_users::read();
    let begun = Look::begin(arguments, pace, limits, patience, &mut interrupts).await?;
    let Some(look) = begun else { return Ok(None) };
    let mut recorder = match record_to {
        Some(path) => {
            let beginning = Beginning {
                interval_s: pace.interval.as_secs_f64(),
                listed_sources: LISTED_SOURCES as u64,
                ..recorder::beginning()
            };
            Some(Recorder::create(path, Existing::Keep, Bounds::default(), beginning)?)
        }
        None => None,
    };
    let mut look = TimedLook::new(look, duration, &mut interrupts);
    let Some(seen) = look_on(&mut look, recorder.as_mut()).await? else { return Ok(None) };
    let namespace = NetworkNamespace::open(target)
        .map_err(|error| CommandError::Failed(anyhow::Error::new(error)))?;
    let state = machine_state::read_in(&namespace, &modules_before)?;
    if let Some(mut recorder) = recorder {
        recorder.add_machine_states([state.clone()]).await?;
        recorder.finish().await?;
    }
    Ok(Some(Case::of(seen, state)))
}

/// Adds to what was seen of a namespace how the kernel is set and what the machine is; `modules_before` as in
/// [`machine_state::read_in`].
///
/// # Errors
///
/// If the namespace is gone or its settings cannot be read.
pub fn of_look(
    target: &NamespaceTarget,
    seen: Lately,
    modules_before: &Modules,
) -> Result<Case, CommandError> {
    let namespace = NetworkNamespace::open(target)
        .map_err(|error| CommandError::Failed(anyhow::Error::new(error)))?;
    Ok(Case::of(seen, machine_state::read_in(&namespace, modules_before)?))
}

async fn look_on(
    look: &mut TimedLook<'_>,
    mut recorder: Option<&mut Recorder>,
) -> Result<Option<Lately>, CommandError> {
    let mut seen: Option<Lately> = None;
    while let Some(last) = look.next().await? {
        if let Some(recorder) = &mut recorder {
            recorder.add(&last, look.place()).await?;
        }
        match seen.as_mut().filter(|seen| seen.is_continued_by(&last)) {
            Some(seen) => seen.go_on(&last),
            None => seen = Some(Lately::begin(&last)),
        }
    }
    Ok(seen)
}
