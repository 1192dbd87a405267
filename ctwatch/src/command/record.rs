//! `ctwatch record`: keeps what is seen in a file, so that it can be seen again.

use super::{
    look::{self, Interrupts, Look, ModeReport, Pace, Patience},
    machine_watch::MachineWatch,
    recorder::{self, Recorder, not_recorded},
    watch::{REMEMBERED_SOURCES, WATCH_PATIENCE},
};
use crate::{
    cli::RecordArguments,
    exit::CommandError,
    host::namespace::NamespaceChoice,
    model::{limits::Limits, snapshot::Snapshot},
    output::json,
    recording::{
        item::Beginning,
        writer::{self, Bounds, Existing},
    },
};

/// Events of one interval at most; beyond that they are counted as dropped. They take 20 bytes each.
pub(super) const EVENTS_MAX: usize = 1000;

/// Records until it is told to stop or the duration is over; then writes what is left.
///
/// # Errors
///
/// If it cannot begin, the table can no longer be read, or the file cannot be written.
pub async fn run(arguments: &RecordArguments) -> Result<(), CommandError> {
    let existing = if arguments.overwrite { Existing::Replace } else { Existing::Keep };
    let bounds = Bounds::from(arguments.bounds);
    writer::check(&arguments.file, existing, bounds).map_err(not_recorded)?;
    let limits = Limits {
        listed_sources: arguments.top,
        sort_by: arguments.sort.into(),
        events: EVENTS_MAX,
        remembered_sources: REMEMBERED_SOURCES,
        only: arguments.source,
        census_every: arguments.census,
    };
    let pace = Pace { interval: arguments.interval, census_patience: WATCH_PATIENCE };
    let patience = if arguments.look.no_wait { Patience::End } else { Patience::Wait };
    let mut interrupts = Interrupts::new()?;
    let machine = MachineWatch::new(arguments.look.netns.clone());
    let begun = Look::begin(&arguments.look, pace, limits, patience, &mut interrupts).await?;
    let Some(look) = begun else { return Ok(()) };
    let beginning = Beginning {
        is_of_all_namespaces: arguments.look.netns == NamespaceChoice::All,
        interval_s: arguments.interval.as_secs_f64(),
        listed_sources: arguments.top as u64,
        only: arguments.source,
        ..recorder::beginning()
    };
    let recorder = Recorder::create(&arguments.file, existing, bounds, beginning)?;
    look::say(&format!(
        "recording to {}, at most {} files of {} bytes; Ctrl-C ends it",
        arguments.file.display(),
        bounds.parts,
        bounds.part_bytes
    ));
    record(look, recorder, machine, arguments, &mut interrupts).await
}

async fn record(
    mut look: Look,
    mut recorder: Recorder,
    mut machine: MachineWatch,
    arguments: &RecordArguments,
    interrupts: &mut Interrupts,
) -> Result<(), CommandError> {
    let deadline = arguments.duration.map(|duration| tokio::time::Instant::now() + duration);
    let mut report = ModeReport::default();
    let mut is_stopping = false;
    loop {
        let due = recorder.due().map(tokio::time::Instant::from_std);
        let next = tokio::select! {
            biased;
            () = interrupts.received(), if !is_stopping => {
                is_stopping = true;
                look.stop();
                continue;
            }
            () = look::at(deadline), if !is_stopping => {
                is_stopping = true;
                look.stop();
                continue;
            }
            next = look.next() => next,
            // Also where no snapshot comes, as conntrack is not there any more.
            () = look::at(due) => {
                recorder.flush().await?;
                continue;
            }
            states = machine.next(), if !is_stopping => {
                recorder.add_machine_states(states).await?;
                continue;
            }
        };
        let snapshot = match next {
            Ok(Some(snapshot)) => snapshot,
            Ok(None) => break,
            Err(error) => {
                // What was seen until then is worth having; why it is over is worth more.
                let _ = recorder.finish().await;
                return Err(error);
            }
        };
        report.tell(&snapshot);
        recorder.add(&snapshot, look.place()).await?;
        if arguments.json {
            print(&snapshot, interrupts, &mut look, &mut is_stopping).await?;
        }
    }
    recorder.add_machine_states(machine.last().await).await?;
    recorder.finish().await
}

/// Prints a snapshot; a reader that does not read cannot keep it from ending.
async fn print(
    snapshot: &Snapshot,
    interrupts: &mut Interrupts,
    look: &mut Look,
    is_stopping: &mut bool,
) -> Result<(), CommandError> {
    let printing = look::print(json::snapshot(snapshot) + "\n");
    tokio::pin!(printing);
    tokio::select! {
        biased;
        printed = &mut printing => printed,
        () = interrupts.received() => {
            *is_stopping = true;
            look.stop();
            tokio::time::timeout(look::READER_PATIENCE, printing).await.unwrap_or(Ok(()))
        }
    }
}
