//! `ctwatch watch`: a table or a JSON object once an interval.

use std::{
    io::{self, IsTerminal as _},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    look::{self, Interrupts, Look, ModeReport, Pace, Patience},
    origin::Origin,
    view::{Form, Scope, View},
};
use crate::{
    cli::WatchArguments,
    exit::CommandError,
    model::{event::Kinds, limits::Limits, ranking, snapshot::Snapshot},
    output::{json, text},
};

/// Sources remembered beyond those that have a row in the kernel.
pub const REMEMBERED_SOURCES: usize = 262_144;

/// How long the first of many updates may wait for the first dump of the table.
pub const WATCH_PATIENCE: Duration = Duration::from_millis(500);
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
        kinds: Kinds::NONE,
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
    let Some(look) = begun else { return Ok(()) };
    let deadline = arguments.duration.map(|duration| Instant::now() + duration);
    let view = View {
        form: Form::of_json(arguments.json),
        scope: Scope::of(&arguments.look.netns),
        is_once: arguments.once,
        listed_sources: None,
    };
    show(&mut Origin::Kernel(Box::new(look)), view, deadline, &mut interrupts).await
}

/// Shows what comes until it is told to stop, the deadline has passed, there is no more, or the output is closed.
///
/// # Errors
///
/// If it cannot go on.
pub async fn show(
    origin: &mut Origin,
    view: View,
    deadline: Option<Instant>,
    interrupts: &mut Interrupts,
) -> Result<(), CommandError> {
    let mut report = ModeReport::default();
    let mut place = Place::First;
    loop {
        let snapshot = tokio::select! {
            biased;
            () = interrupts.received() => return Ok(()),
            () = look::at(deadline) => return Ok(()),
            next = origin.next() => match next? {
                Some(snapshot) => snapshot,
                None => return Ok(()),
            },
        };
        report.tell(&snapshot);
        tokio::select! {
            biased;
            () = interrupts.received() => return Ok(()),
            () = look::at(deadline) => return Ok(()),
            printed = look::print(rendered(&snapshot, place, view)) => printed?,
        }
        place = if origin.is_interval_complete() { Place::First } else { Place::Further };
        if view.is_once && place == Place::First {
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

fn rendered(snapshot: &Arc<Snapshot>, place: Place, view: View) -> String {
    let mut snapshot = Arc::clone(snapshot);
    if let Some(listed) = view.listed_sources.filter(|listed| *listed < snapshot.sources.len()) {
        let Snapshot { sources, others, .. } = Arc::make_mut(&mut snapshot);
        ranking::list_fewer(sources, others, listed);
    }
    if view.form == Form::Json {
        return json::snapshot(&snapshot) + "\n";
    }
    // A stream ends each block with an empty line; a whole has one between two blocks.
    let (before, after) = match place {
        _ if !view.is_once && !io::stdout().is_terminal() => ("", "\n"),
        Place::First if view.is_once => ("", ""),
        Place::First => (CLEAR, ""),
        Place::Further => ("\n", ""),
    };
    let heading = match view.scope {
        Scope::AllNamespaces => text::heading(&snapshot),
        Scope::OneNamespace => String::new(),
    };
    format!("{before}{heading}{}{after}", text::snapshot(&snapshot))
}
