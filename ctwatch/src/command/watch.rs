//! `ctwatch watch`: a table or a JSON object once an interval.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use tokio::time::Instant;

use super::look::{self, Interrupts, Look, ModeReport, Pace, Patience};
use crate::{
    cli::WatchArguments,
    exit::CommandError,
    host::namespace::NamespaceChoice,
    model::{limits::Limits, snapshot::Snapshot},
    output::{json, text},
};

/// Sources remembered beyond those that have a row in the kernel.
pub const REMEMBERED_SOURCES: usize = 262_144;

/// How long the first of many updates may wait for the first dump of the table.
const WATCH_PATIENCE: Duration = Duration::from_millis(500);
/// How long a single update may: longer than any dump takes.
const ONCE_PATIENCE: Duration = Duration::from_secs(60);

/// Cursor to the top left, and clear from there.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Runs until it is told to stop, the duration is over, or the output is closed.
///
/// # Errors
///
/// If it cannot begin, or the table can no longer be read.
pub async fn run(arguments: &WatchArguments) -> Result<(), CommandError> {
    let limits = Limits {
        listed_sources: arguments.top,
        sort_by: arguments.sort.into(),
        events: 0,
        remembered_sources: REMEMBERED_SOURCES,
        only: arguments.source,
        census_every: arguments.census,
    };
    // Whoever wants one answer wants a whole one; whoever watches wants to see who it is.
    let census_patience = if arguments.once { ONCE_PATIENCE } else { WATCH_PATIENCE };
    let pace = Pace { interval: arguments.interval, census_patience };
    let patience =
        if arguments.once || arguments.look.no_wait { Patience::End } else { Patience::Wait };
    let mut interrupts = Interrupts::new()?;
    let begun = Look::begin(&arguments.look, pace, limits, patience, &mut interrupts).await?;
    let Some(mut look) = begun else { return Ok(()) };
    let deadline = arguments.duration.map(|duration| Instant::now() + duration);
    let mut report = ModeReport::default();
    let mut place = Place::First;
    loop {
        let snapshot = tokio::select! {
            biased;
            () = interrupts.received() => return Ok(()),
            () = look::at(deadline) => return Ok(()),
            next = look.next() => match next? {
                Some(snapshot) => snapshot,
                None => return Ok(()),
            },
        };
        report.tell(&snapshot);
        tokio::select! {
            biased;
            () = interrupts.received() => return Ok(()),
            () = look::at(deadline) => return Ok(()),
            printed = look::print(rendered(&snapshot, place, arguments)) => printed?,
        }
        place = if look.is_interval_complete() { Place::First } else { Place::Further };
        if arguments.once && place == Place::First {
            return Ok(());
        }
    }
}

/// The place of a snapshot in its interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    First,
    Further,
}

fn rendered(snapshot: &Snapshot, place: Place, arguments: &WatchArguments) -> String {
    if arguments.json {
        return json::snapshot(snapshot) + "\n";
    }
    // A stream ends each block with an empty line; a whole has one between two blocks.
    let (before, after) = match place {
        _ if !arguments.once && !io::stdout().is_terminal() => ("", "\n"),
        Place::First if arguments.once => ("", ""),
        Place::First => (CLEAR, ""),
        Place::Further => ("\n", ""),
    };
    let is_all = arguments.look.netns == NamespaceChoice::All;
    let heading = if is_all { text::heading(snapshot) } else { String::new() };
    format!("{before}{heading}{}{after}", text::snapshot(snapshot))
}
