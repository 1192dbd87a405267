//! `ctwatch agent`: the same look as everywhere, without a screen; what it sees is served over HTTP.

use std::{fs, path::Path, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::watch, time::Instant};

use super::{
    look::{self, Interrupts, Look, ModeReport, Pace, Patience},
    watch::REMEMBERED_SOURCES,
};
use crate::{
    agent::{
        http::{self, Served},
        latest::Latest,
    },
    cli::{self, AgentArguments},
    exit::CommandError,
    model::{event::Kinds, limits::Limits},
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
    let listener = TcpListener::bind(arguments.listen).await.map_err(|error| {
        let what = format!("cannot listen on {} (choose another with --listen)", arguments.listen);
        CommandError::Failed(anyhow::Error::new(error).context(what))
    })?;
    let address = listener.local_addr().map_err(anyhow::Error::new)?;
    look::say(&format!("serving http://{address}/metrics"));
    let (sender, latest) = watch::channel(Arc::new(Latest::default()));
    let served = Served { latest, floor_entries: arguments.floor, interval: arguments.interval };
    tokio::select! {
        biased;
        ended = collect(arguments, &sender) => ended,
        never = http::serve(listener, served) => match never {},
    }
}

async fn collect(
    arguments: &AgentArguments,
    sender: &watch::Sender<Arc<Latest>>,
) -> Result<(), CommandError> {
    let limits = Limits {
        listed_sources: usize::try_from(arguments.top).unwrap_or(usize::MAX),
        sort_by: arguments.sort.into(),
        kinds: Kinds::NONE,
        events: 0,
        remembered_sources: REMEMBERED_SOURCES,
        only: None,
        census_every: None,
    };
    let pace = Pace { interval: arguments.interval, census_patience: CENSUS_PATIENCE };
    let patience = if arguments.look.no_wait { Patience::End } else { Patience::Wait };
    let mut interrupts = Interrupts::new()?;
    let begun = Look::begin(&arguments.look, pace, limits, patience, &mut interrupts).await?;
    let Some(mut look) = begun else { return Ok(()) };
    let (mut report, mut of_interval) = (ModeReport::default(), Vec::new());
    loop {
        let next = tokio::select! {
            biased;
            () = interrupts.received() => return Ok(()),
            next = look.next() => next?,
        };
        let Some(snapshot) = next else { return Ok(()) };
        report.tell(&snapshot);
        of_interval.push(snapshot);
        if look.is_interval_complete() {
            let latest = Latest::of_interval(std::mem::take(&mut of_interval), Instant::now());
            sender.send_replace(Arc::new(latest));
        }
    }
}
