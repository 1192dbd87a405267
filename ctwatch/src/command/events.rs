//! `ctwatch events`: one line for each thing that happened to a packet, an entry or a source, as far as it was not suppressed.

use std::{collections::HashSet, path::Path, time::Duration};

use tokio::time::Instant;

use super::{
    event_lines::{EventLines, Lines},
    look::{self, Interrupts, Look, ModeReport, Pace, Patience},
    origin::Origin,
    replay,
    view::{Form, Scope},
    watch::REMEMBERED_SOURCES,
};
use crate::{
    cli::EventsArguments,
    exit::CommandError,
    model::{
        event::{Kind, Kinds},
        event_filter::Filter,
        limits::{Limits, SortBy},
        snapshot::Snapshot,
    },
    recording::player::Speed,
};

/// Events are printed this often; each has its own time. What sources hold does not matter here.
const PACE: Pace = Pace { interval: Duration::from_millis(250), census_patience: Duration::ZERO };
/// Events of one interval at most; beyond that they are counted as dropped.
const EVENTS_MAX: usize = 16_384;

/// Runs until it is told to stop, the duration is over, or the output is closed; then prints what is left.
///
/// # Errors
///
/// If it cannot begin, none of what is asked for can be seen, or the table can no longer be read.
pub async fn run(arguments: &EventsArguments) -> Result<(), CommandError> {
    let filter = arguments.filter();
    let form = Form::of_json(arguments.json);
    if let Some(file) = &arguments.from {
        return from_recording(file, arguments).await;
    }
    let limits = Limits {
        listed_sources: 0,
        sort_by: SortBy::Entries,
        kinds: filter.kinds,
        events: EVENTS_MAX,
        remembered_sources: REMEMBERED_SOURCES,
        only: None,
        census_every: None,
    };
    let patience = if arguments.look.no_wait { Patience::End } else { Patience::Wait };
    let mut interrupts = Interrupts::new()?;
    let begun = Look::begin(&arguments.look, PACE, limits, patience, &mut interrupts).await?;
    let Some(look) = begun else { return Ok(()) };
    let deadline = arguments.duration.map(|duration| Instant::now() + duration);
    let lines = EventLines::new(filter, form, Scope::of(&arguments.look.netns));
    let mut origin = Origin::Kernel(Box::new(look));
    show(&mut origin, lines, filter.kinds, deadline, &mut interrupts).await
}

async fn from_recording(file: &Path, arguments: &EventsArguments) -> Result<(), CommandError> {
    let wanted = arguments.filter();
    let player = replay::open(file, Speed::Max)?;
    let scope = replay::scope_of(&player);
    let kinds = replay::recorded_kinds(&player);
    let missing = wanted.kinds.each().filter(|kind| !kinds.has(*kind));
    let missing: Vec<&str> = missing.map(Kind::name).collect();
    if !missing.is_empty() {
        look::say(&format!("not recorded: {} (see 'ctwatch record --kind')", missing.join(", ")));
    }
    let kinds = wanted.kinds.and(kinds);
    let filter = Filter { kinds, ..wanted };
    let lines = EventLines::new(filter, Form::of_json(arguments.json), scope);
    let mut origin = Origin::Recording(Box::new(player));
    let mut interrupts = Interrupts::new()?;
    let shown = show(&mut origin, lines, filter.kinds, None, &mut interrupts).await;
    replay::say_defects(&origin);
    shown
}

/// Shows events until it is told to stop, the deadline has passed, there are no more, or the output is closed.
///
/// # Errors
///
/// If it cannot go on, or can see nothing of what is asked for.
pub async fn show(
    origin: &mut Origin,
    mut lines: EventLines,
    kinds: Kinds,
    deadline: Option<Instant>,
    interrupts: &mut Interrupts,
) -> Result<(), CommandError> {
    let mut report = ModeReport::default();
    let mut unseen = Unseen::default();
    let mut stopping = false;
    loop {
        let snapshot = tokio::select! {
            biased;
            () = interrupts.received(), if !stopping => {
                stopping = true;
                origin.stop();
                continue;
            }
            () = look::at(deadline), if !stopping => {
                stopping = true;
                origin.stop();
                continue;
            }
            next = origin.next() => next?,
        };
        let Some(snapshot) = snapshot else {
            return write(lines.end(), interrupts).await.map(drop);
        };
        if matches!(origin, Origin::Kernel(_)) {
            unseen.tell(&snapshot, kinds)?;
        }
        report.tell(&snapshot);
        if write(lines.take(&snapshot), interrupts).await? == Written::Interrupted {
            stopping = true;
            origin.stop();
        }
    }
}

/// How writing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Wholly,
    /// A signal came; the reader had some time left to take what was written.
    Interrupted,
}

async fn write(lines: Lines, interrupts: &mut Interrupts) -> Result<Written, CommandError> {
    let mut written = Written::Wholly;
    if !lines.printed.is_empty() {
        let printing = look::print(lines.printed);
        tokio::pin!(printing);
        tokio::select! {
            biased;
            printed = &mut printing => printed?,
            () = interrupts.received() => {
                written = Written::Interrupted;
                match tokio::time::timeout(look::READER_PATIENCE, printing).await {
                    Ok(printed) => printed?,
                    // Nobody reads.
                    Err(_) => return Err(CommandError::OutputClosed),
                }
            }
        }
    }
    lines.said.iter().for_each(|said| look::say(said));
    Ok(written)
}

/// What has been said of kinds that cannot be seen.
#[derive(Debug, Default)]
struct Unseen {
    said: HashSet<&'static str>,
    has_begun: bool,
}

impl Unseen {
    /// Says what is new.
    ///
    /// # Errors
    ///
    /// If none of the kinds can be seen from the beginning.
    fn tell(&mut self, snapshot: &Snapshot, kinds: Kinds) -> Result<(), CommandError> {
        let why = |kind| snapshot.mode.why_unseen(kind);
        let sentences: Vec<&'static str> = kinds.each().filter_map(why).collect();
        if !std::mem::replace(&mut self.has_begun, true) && sentences.len() == kinds.each().count()
        {
            let why = snapshot.mode.degraded.join("; ");
            return Err(CommandError::CannotRun(format!("{} ({why})", sentences.join("; "))));
        }
        for sentence in sentences {
            if self.said.insert(sentence) {
                look::say(sentence);
            }
        }
        Ok(())
    }
}
