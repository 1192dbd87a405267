//! `ctwatch agent`: the same look as everywhere, without a screen; what it sees is served over HTTP, and recorded if that is
//! wanted.

use std::{fs, path::Path, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::watch, time::Instant};

use super::{
    agent_recorder::{Recorder, Target},
    look::{self, Interrupts, Look, ModeReport, Pace, Patience},
    origin::Origin,
    record,
    recorder::{beginning, not_recorded},
    watch::REMEMBERED_SOURCES,
};
use crate::{
    agent::{
        http::{self, Served},
        latest::Latest,
    },
    cli::{self, AgentArguments},
    exit::CommandError,
    host::namespace::NamespaceChoice,
    model::{limits::Limits, ranking, snapshot::Snapshot},
    recording::{
        item::{Beginning, Place},
        player::Player,
        writer::{self, Existing, WriteError},
    },
};

/// How long the first update may wait for the first dump of the table.
const CENSUS_PATIENCE: Duration = Duration::from_secs(5);

/// Runs until it is told to stop.
///
/// # Errors
///
/// If the file or an argument is wrong, the address cannot be listened on, or it cannot look.
pub async fn run(arguments: &AgentArguments) -> Result<(), CommandError> {
    match &arguments.config {
        None => serve(arguments).await,
        Some(path) => serve(&with_file(path)?).await,
    }
}

fn with_file(path: &Path) -> Result<AgentArguments, CommandError> {
    let shown = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| CommandError::Usage(format!("cannot read {shown}: {error}")))?;
    let given = std::env::args_os().skip(2);
    cli::agent::flags(&text)
        .and_then(|flags| cli::agent::with_flags(flags, given))
        .map_err(|error| CommandError::Usage(format!("in {shown}: {}", error.trim_end())))
}

async fn serve(arguments: &AgentArguments) -> Result<(), CommandError> {
    let player = arguments.from.as_ref().map(|path| Player::open(path, arguments.speed));
    let player = player.transpose().map_err(|error| CommandError::Usage(error.to_string()))?;
    if let Some(path) = &arguments.record {
        may_be_recorded_to(path, arguments)?;
    }
    let listener = TcpListener::bind(arguments.listen).await.map_err(|error| {
        let what = format!("cannot listen on {} (choose another with --listen)", arguments.listen);
        CommandError::Failed(anyhow::Error::new(error).context(what))
    })?;
    let address = listener.local_addr().map_err(anyhow::Error::new)?;
    look::say(&format!("serving http://{address}/metrics"));
    let (sender, latest) = watch::channel(Arc::new(Latest::default()));
    let interval = player.as_ref().map_or(arguments.interval, Player::interval);
    let served = Served { latest, floor_entries: arguments.floor, interval };
    tokio::select! {
        biased;
        ended = collect(arguments, player, &sender) => ended,
        never = http::serve(listener, served) => match never {},
    }
}

/// Refuses to record over what is no recording. Whatever else speaks against it may be over later, see [`Recorder`].
fn may_be_recorded_to(path: &Path, arguments: &AgentArguments) -> Result<(), CommandError> {
    match writer::check(path, Existing::Precede, arguments.bounds.into()) {
        Err(error @ WriteError::NotARecording { .. }) => Err(not_recorded(error)),
        _ => Ok(()),
    }
}

async fn collect(
    arguments: &AgentArguments,
    player: Option<Player>,
    sender: &watch::Sender<Arc<Latest>>,
) -> Result<(), CommandError> {
    let mut interrupts = Interrupts::new()?;
    let mut origin = match player {
        Some(player) => Origin::Recording(Box::new(player)),
        None => match begin(arguments, &mut interrupts).await? {
            Some(look) => Origin::Kernel(Box::new(look)),
            None => return Ok(()),
        },
    };
    sender.send_replace(Arc::new(Latest::begun(Instant::now())));
    let mut recorder =
        arguments.record.as_ref().map(|path| recorder(path, arguments)).transpose()?;
    let ended = keep(arguments, &mut origin, &mut recorder, sender, &mut interrupts).await;
    if let Some(recorder) = recorder {
        recorder.finish().await;
    }
    ended
}

async fn begin(
    arguments: &AgentArguments,
    interrupts: &mut Interrupts,
) -> Result<Option<Look>, CommandError> {
    let limits = Limits {
        listed_sources: listed(arguments),
        sort_by: arguments.sort.into(),
        // Only a recording has them.
        events: if arguments.record.is_some() { record::EVENTS_MAX } else { 0 },
        remembered_sources: REMEMBERED_SOURCES,
        only: None,
        census_every: arguments.census,
    };
    let pace = Pace { interval: arguments.interval, census_patience: CENSUS_PATIENCE };
    let patience = if arguments.look.no_wait { Patience::End } else { Patience::Wait };
    Look::begin(&arguments.look, pace, limits, patience, interrupts).await
}

fn recorder(path: &Path, arguments: &AgentArguments) -> Result<Recorder, CommandError> {
    let beginning = Beginning {
        is_of_all_namespaces: arguments.look.netns == NamespaceChoice::All,
        interval_s: arguments.interval.as_secs_f64(),
        listed_sources: arguments.top.into(),
        ..beginning()
    };
    let target = Target { path: path.to_owned(), bounds: arguments.bounds.into(), beginning };
    Ok(Recorder::start(target).map_err(anyhow::Error::new)?)
}

/// Keeps the latest interval, and records it, until there is no more or it is told to stop.
async fn keep(
    arguments: &AgentArguments,
    origin: &mut Origin,
    recorder: &mut Option<Recorder>,
    sender: &watch::Sender<Arc<Latest>>,
    interrupts: &mut Interrupts,
) -> Result<(), CommandError> {
    let mut report = ModeReport::default();
    loop {
        let next = tokio::select! {
            biased;
            () = interrupts.received() => return Ok(()),
            next = origin.next_interval() => next?,
        };
        let Some(mut snapshots) = next else { return Ok(()) };
        let mut left = snapshots.len();
        for snapshot in &mut snapshots {
            left -= 1;
            let place = if left == 0 { Place::LastOfInterval } else { Place::FollowedByOthers };
            report.tell(snapshot);
            list_no_more(snapshot, listed(arguments));
            if let Some(recorder) = recorder {
                recorder.keep(snapshot, place);
            }
        }
        let recording = recorder.as_ref().map(Recorder::numbers);
        let latest = Latest::of_interval(snapshots, recording, Instant::now());
        sender.send_replace(Arc::new(latest));
    }
}

/// Sums up the sources that are beyond the number; a recording may have more.
fn list_no_more(snapshot: &mut Arc<Snapshot>, listed: usize) {
    if snapshot.sources.len() > listed {
        let Snapshot { sources, others, .. } = Arc::make_mut(snapshot);
        ranking::list_fewer(sources, others, listed);
    }
}

fn listed(arguments: &AgentArguments) -> usize {
    usize::try_from(arguments.top).unwrap_or(usize::MAX)
}
