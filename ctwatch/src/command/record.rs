//! `ctwatch record`: keeps what is seen in a file, so that it can be seen again.

use std::{sync::Arc, time::Instant};

use super::{
    look::{self, Interrupts, Look, ModeReport, Pace, Patience},
    watch::{REMEMBERED_SOURCES, WATCH_PATIENCE},
};
use crate::{
    cli::{RecordArguments, kinds},
    clock,
    exit::CommandError,
    host::namespace::NamespaceChoice,
    model::{limits::Limits, snapshot::Snapshot},
    output::json,
    recording::{
        item::{Beginning, Place},
        writer::{self, Bounds, Existing, WriteError, Writer},
    },
};

/// Events of one interval at most; beyond that they are counted as dropped. They take 20 bytes each.
const EVENTS_MAX: usize = 1000;

/// Records until it is told to stop or the duration is over; then writes what is left.
///
/// # Errors
///
/// If it cannot begin, the table can no longer be read, or the file cannot be written.
pub async fn run(arguments: &RecordArguments) -> Result<(), CommandError> {
    let existing = if arguments.overwrite { Existing::Replace } else { Existing::Keep };
    writer::check(&arguments.file, existing).map_err(not_recorded)?;
    let limits = Limits {
        listed_sources: arguments.top,
        sort_by: arguments.sort.into(),
        kinds: kinds(&arguments.kind),
        events: EVENTS_MAX,
        remembered_sources: REMEMBERED_SOURCES,
        only: arguments.source,
        census_every: arguments.census,
    };
    let pace = Pace { interval: arguments.interval, census_patience: WATCH_PATIENCE };
    let patience = if arguments.look.no_wait { Patience::End } else { Patience::Wait };
    let mut interrupts = Interrupts::new()?;
    let begun = Look::begin(&arguments.look, pace, limits, patience, &mut interrupts).await?;
    let Some(look) = begun else { return Ok(()) };
    let bounds = Bounds { part_bytes: arguments.max_bytes, parts: arguments.files };
    let writer = Writer::create(&arguments.file, existing, bounds, beginning(arguments))
        .map_err(not_recorded)?;
    look::say(&format!(
        "recording to {}, at most {} files of {} bytes; Ctrl-C ends it",
        arguments.file.display(),
        arguments.files,
        arguments.max_bytes
    ));
    record(look, writer, arguments, &mut interrupts).await
}

async fn record(
    mut look: Look,
    mut writer: Writer,
    arguments: &RecordArguments,
    interrupts: &mut Interrupts,
) -> Result<(), CommandError> {
    let deadline = arguments.duration.map(|duration| tokio::time::Instant::now() + duration);
    let mut report = ModeReport::default();
    let mut is_stopping = false;
    loop {
        let due = writer.due().map(tokio::time::Instant::from_std);
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
                writer = writing(writer, Writer::flush).await?;
                continue;
            }
        };
        let snapshot = match next {
            Ok(Some(snapshot)) => snapshot,
            Ok(None) => break,
            Err(error) => {
                // What was seen until then is worth having; why it is over is worth more.
                let _ = finish(writer).await;
                return Err(error);
            }
        };
        report.tell(&snapshot);
        let place = if look.is_interval_complete() {
            Place::LastOfInterval
        } else {
            Place::FollowedByOthers
        };
        let kept = Arc::clone(&snapshot);
        writer = writing(writer, move |writer| writer.add(&kept, place, Instant::now())).await?;
        if arguments.json {
            print(&snapshot, interrupts, &mut look, &mut is_stopping).await?;
        }
    }
    finish(writer).await
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

async fn finish(writer: Writer) -> Result<(), CommandError> {
    let finished = tokio::task::spawn_blocking(move || writer.finish()).await;
    let recorded = finished.map_err(ended_unexpectedly)?.map_err(not_recorded)?;
    look::say(&format!(
        "recorded {} snapshots and {} events in {} bytes",
        recorded.snapshots, recorded.events, recorded.bytes
    ));
    Ok(())
}

/// Compresses and writes on a thread of its own: a disk that is slow blocks that one only.
async fn writing(
    mut writer: Writer,
    write: impl FnOnce(&mut Writer) -> Result<(), WriteError> + Send + 'static,
) -> Result<Writer, CommandError> {
    let work = move || write(&mut writer).map(|()| writer);
    tokio::task::spawn_blocking(work).await.map_err(ended_unexpectedly)?.map_err(not_recorded)
}

fn ended_unexpectedly(_: tokio::task::JoinError) -> CommandError {
    CommandError::Failed(anyhow::anyhow!("the recorder ended unexpectedly; please report this"))
}

fn not_recorded(error: WriteError) -> CommandError {
    match error {
        WriteError::Exists { .. } | WriteError::NotARecording { .. } => {
            CommandError::Usage(error.to_string())
        }
        WriteError::Create { ref source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            CommandError::Usage(error.to_string())
        }
        error => CommandError::Failed(anyhow::anyhow!(error.to_string())),
    }
}

fn beginning(arguments: &RecordArguments) -> Beginning {
    let system = rustix::system::uname();
    Beginning {
        program: concat!("ctwatch ", env!("CARGO_PKG_VERSION")).to_owned(),
        host: system.nodename().to_string_lossy().into_owned(),
        kernel: system.release().to_string_lossy().into_owned(),
        begun_wall_ns: clock::now().wall_ns,
        part: 0,
        is_of_all_namespaces: arguments.look.netns == NamespaceChoice::All,
        interval_s: arguments.interval.as_secs_f64(),
        listed_sources: arguments.top as u64,
        only: arguments.source,
        event_kinds: kinds(&arguments.kind).each().map(|kind| kind.name().to_owned()).collect(),
    }
}
