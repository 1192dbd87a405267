//! `ctwatch blocklist`: looks for a while, or into a recording, chooses who is to be kept out, and writes that down for a firewall.

use std::{path::Path, time::Duration};

use super::{
    look::{self, Interrupts, Look, Pace, Patience},
    protected, recorded_window,
    replaced_file::replace,
    timed_look::TimedLook,
    watch::REMEMBERED_SOURCES,
};
use crate::{
    blocklist::{
        Blocklist,
        formats::Format,
        ruleset::element,
        select::select,
        window::{INTERVALS_MAX, Window},
    },
    cli::{BlocklistArguments, LookArguments},
    clock,
    exit::CommandError,
    host::namespace::{NamespaceChoice, NamespaceError, NetworkNamespace},
    model::{
        event::Kinds,
        limits::{Limits, SortBy},
    },
};

const INTERVAL: Duration = Duration::from_secs(1);
/// What entries are from before the look is known after the first walk of the table.
const CENSUS_PATIENCE: Duration = Duration::from_secs(60);
/// More than have ever stood out at once.
const LISTED_SOURCES: usize = 10_000;

/// Looks, or reads a recording, chooses, and writes.
///
/// # Errors
///
/// If it cannot look or read, cannot see whom to spare, or cannot write. The file that is to be written is left as it is then.
pub async fn run(arguments: &BlocklistArguments) -> Result<(), CommandError> {
    let Some(format) = arguments.format() else {
        return Err(CommandError::Usage("there is no such format".to_owned()));
    };
    if let Some(directory) = &arguments.files {
        return files(format, directory);
    }
    let NamespaceChoice::One(target) = &arguments.look.netns else {
        return Err(CommandError::Usage(
            "a list is of one namespace: name it with --netns; 'ctwatch watch --netns all' shows which are busy"
                .to_owned(),
        ));
    };
    let policy = arguments.policy.policy();
    let interval = interval(arguments.duration);
    let intervals = policy.intervals_min;
    if interval.saturating_mul(u32::try_from(intervals).unwrap_or(u32::MAX)) > arguments.duration {
        return Err(CommandError::Usage(format!(
            "in {:?} there are no {intervals} intervals of {interval:?}, which --intervals asks for: look for longer with --for",
            arguments.duration
        )));
    }
    let (window, here) = match &arguments.from {
        Some(path) => recorded_window::read(path, target, arguments.duration, interval)?,
        None => {
            // What is wrong with the arguments is said before the look, and who is connected is asked after it.
            let namespace = NetworkNamespace::open(target).map_err(look::namespace_error)?;
            protected::read_in(&namespace, &arguments.protected)?;
            (window(&arguments.look, arguments.duration, interval).await?, target.clone())
        }
    };
    let seen = window.intervals().len();
    // A list of nobody, as there was no time for anybody, must not take the place of a better one.
    if seen < intervals {
        let (what, hint) = match &arguments.from {
            Some(_) => (
                format!("the last {:?} of the recording have {seen}", arguments.duration),
                "; take more of it with --for, or ask for fewer with --intervals",
            ),
            None => (format!("the look ended after {seen}"), ""),
        };
        return Err(CommandError::Failed(anyhow::anyhow!(
            "{what} of the {intervals} intervals that a source has to stand out in: there is no list{hint}"
        )));
    }
    let namespace = NetworkNamespace::open(&here).map_err(|error| match error {
        NamespaceError::NotPermitted { .. } => look::namespace_error(error),
        error => CommandError::Failed(anyhow::Error::new(error)),
    })?;
    let protected = protected::read_in(&namespace, &arguments.protected)?;
    let mut list = select(&window, &policy, &protected);
    // A list from a recording is as new as any other.
    list.wall_ns = clock::now().wall_ns;
    tell(&list);
    let text = (format.render)(&list);
    match &arguments.output {
        None => look::print(text).await,
        Some(path) => replace(path, &text).map_err(|error| {
            let what = format!("cannot write {}; it is what it was", path.display());
            CommandError::Failed(anyhow::Error::new(error).context(what))
        }),
    }
}

/// A second, in a long look a sixtieth of it, so that all of it fits into the window.
fn interval(duration: Duration) -> Duration {
    let sixtieth = duration / u32::try_from(INTERVALS_MAX).unwrap_or(u32::MAX);
    sixtieth.max(INTERVAL).min(duration)
}

/// Looks on for `duration`, or until a signal ends it.
async fn window(
    arguments: &LookArguments,
    duration: Duration,
    interval: Duration,
) -> Result<Window, CommandError> {
    let patience = if arguments.no_wait { Patience::End } else { Patience::Wait };
    let limits = Limits {
        listed_sources: LISTED_SOURCES,
        sort_by: SortBy::Entries,
        kinds: Kinds::NONE,
        events: 0,
        remembered_sources: REMEMBERED_SOURCES,
        only: None,
        // Floods from addresses that were made up are seen by a walk alone.
        census_every: Some(INTERVAL),
    };
    let pace = Pace { interval, census_patience: CENSUS_PATIENCE };
    let mut interrupts = Interrupts::new()?;
    let begun = Look::begin(arguments, pace, limits, patience, &mut interrupts).await?;
    let mut window = Window::default();
    let Some(look) = begun else { return Ok(window) };
    let mut look = TimedLook::new(look, duration, &mut interrupts);
    while let Some(snapshot) = look.next().await? {
        window.add(&snapshot);
    }
    Ok(window)
}

/// Says who is spared, and what else there is to know.
fn tell(list: &Blocklist) {
    for spared in &list.spared {
        look::say(&format!("spared {}: {}", element(&spared.network), spared.why));
    }
    for note in &list.notes {
        look::say(note);
    }
}

/// Writes what a format's program needs once.
fn files(format: &Format, directory: &Path) -> Result<(), CommandError> {
    if format.files.is_empty() {
        return Err(CommandError::Usage(format!("the format {} needs no files", format.name)));
    }
    for file in format.files {
        let name = Path::new(file.path).file_name().unwrap_or_default();
        let path = directory.join(name);
        replace(&path, file.text).map_err(|error| {
            let what = format!("cannot write {}", path.display());
            CommandError::Failed(anyhow::Error::new(error).context(what))
        })?;
        look::say(&format!("{} belongs to {}", path.display(), file.path));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_look_has_no_more_intervals_than_are_kept() {
        let of = |seconds| interval(Duration::from_secs(seconds));
        assert_eq!(of(10), INTERVAL);
        assert_eq!(of(600), Duration::from_secs(10));
        assert_eq!(interval(Duration::from_millis(300)), Duration::from_millis(300));
    }
}
