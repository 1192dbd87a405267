//! `ctwatch events`: one line for each thing that happened to a packet, as far as it was not suppressed.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    look::{self, Interrupts, Look, ModeReport, Pace, Patience},
    view::{Form, Scope},
    watch::REMEMBERED_SOURCES,
};
use crate::{
    cli::EventsArguments,
    exit::CommandError,
    model::{
        limits::{Limits, SortBy},
        snapshot::Snapshot,
    },
    output::{json, text},
};

/// Events are printed this often; each has its own time. What sources hold does not matter here.
const PACE: Pace = Pace { interval: Duration::from_millis(250), census_patience: Duration::ZERO };
/// Events of one interval at most; beyond that they are counted as dropped.
const EVENTS_MAX: usize = 16_384;

/// Runs until it is told to stop, the duration is over, or the output is closed; then prints what is left.
///
/// # Errors
///
/// If it cannot begin, or the table can no longer be read.
pub async fn run(arguments: &EventsArguments) -> Result<(), CommandError> {
    let limits = Limits {
        listed_sources: 0,
        sort_by: SortBy::Entries,
        events: EVENTS_MAX,
        remembered_sources: REMEMBERED_SOURCES,
        only: None,
        census_every: None,
    };
    let patience = if arguments.look.no_wait { Patience::End } else { Patience::Wait };
    let mut interrupts = Interrupts::new()?;
    let begun = Look::begin(&arguments.look, PACE, limits, patience, &mut interrupts).await?;
    let Some(mut look) = begun else { return Ok(()) };
    let deadline = arguments.duration.map(|duration| Instant::now() + duration);
    let mut report = ModeReport::default();
    let mut lost = 0;
    let mut stopping = false;
    loop {
        let snapshot = tokio::select! {
            biased;
            () = interrupts.received(), if !stopping => {
                stopping = true;
                look.stop();
                continue;
            }
            () = look::at(deadline), if !stopping => {
                stopping = true;
                look.stop();
                continue;
            }
            next = look.next() => match next? {
                Some(snapshot) => snapshot,
                None => return Ok(()),
            },
        };
        report.tell(&snapshot);
        tell_lost(&snapshot, &mut lost);
        let printed =
            lines(&snapshot, Form::of_json(arguments.json), Scope::of(&arguments.look.netns));
        if printed.is_empty() {
            continue;
        }
        let printing = look::print(printed);
        tokio::pin!(printing);
        tokio::select! {
            biased;
            printed = &mut printing => printed?,
            () = interrupts.received() => {
                let Ok(printed) = tokio::time::timeout(look::READER_PATIENCE, printing).await else { return Ok(()) };
                printed?;
                stopping = true;
                look.stop();
            }
        }
    }
}

/// Says on standard error what is in no line, whenever it has become more.
fn tell_lost(snapshot: &Snapshot, told: &mut u64) {
    let ring_full = snapshot.loss.ring_full.unwrap_or(0);
    let events_dropped = snapshot.loss.events_dropped;
    if ring_full + events_dropped > *told {
        *told = ring_full + events_dropped;
        look::say(&format!(
            "refusals that are in no line so far: {ring_full} found the ring buffer full (ring_full), and {events_dropped} were too many at once (events_dropped)"
        ));
    }
}

/// The lines of a snapshot's events.
pub(super) fn lines(snapshot: &Snapshot, form: Form, scope: Scope) -> String {
    let name = snapshot.netns_name.as_deref();
    snapshot
        .events
        .iter()
        .map(|event| match (form, scope) {
            (Form::Json, _) => json::event(event, name) + "\n",
            (Form::Text, Scope::AllNamespaces) => text::event_in(event, name),
            (Form::Text, Scope::OneNamespace) => text::event(event),
        })
        .collect()
}
