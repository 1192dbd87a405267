//! What every command that looks at the table does first: may it, is there anything, and begin.

use std::{
    collections::HashSet,
    io::{self, Write as _},
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};

use crate::{
    cli::LookArguments,
    collect::{CollectError, CollectOptions},
    exit::CommandError,
    host::{
        namespace::{NamespaceError, NetworkNamespace},
        namespace_list::tracking_namespaces,
        sysctl::{ConntrackFiles, ConntrackFilesError},
    },
    model::{limits::Limits, snapshot::Snapshot},
    privilege,
    probe::{attach::AttachOptions, object::Sizes},
    session::{Session, SessionError},
};

/// Time between two looks whether conntrack is there by now.
const WAIT_INTERVAL: Duration = Duration::from_millis(500);

/// How often, and how patiently at the start.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Time between two snapshots.
    pub interval: Duration,
    /// How long the first one may wait for the first dump.
    pub census_patience: Duration,
}

/// Whether to wait where nothing is tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Wait until something is.
    Wait,
    /// End with status 77.
    End,
}

/// The signals that end a command.
#[derive(Debug)]
pub struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// Takes over SIGINT and SIGTERM. To be called inside a runtime.
    ///
    /// # Errors
    ///
    /// If the system does not allow it.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for one of them. Safe to be dropped and called again.
    pub async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// A moment that may never come.
pub async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Writes to standard output, on a thread of its own: a reader that does not read blocks that thread only. If
/// this is dropped meanwhile what was to be written may be lost.
///
/// # Errors
///
/// If the output is closed or cannot be written.
pub async fn print(text: String) -> Result<(), CommandError> {
    let write = move || {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    };
    let written = tokio::task::spawn_blocking(write).await;
    // The thread does not panic; if it did there would be no output any more.
    Ok(written.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))?)
}

/// Begins to look; `None` if a signal came first.
///
/// # Errors
///
/// If it may not, cannot, or would have to wait and `patience` says not to.
pub async fn open(
    arguments: &LookArguments,
    pace: Pace,
    limits: Limits,
    patience: Patience,
    interrupts: &mut Interrupts,
) -> Result<Option<Session>, CommandError> {
    let namespace = NetworkNamespace::open(&arguments.netns).map_err(namespace_error)?;
    if let Some(sentence) = privilege::missing() {
        return Err(CommandError::CannotRun(sentence));
    }
    tokio::select! {
        biased;
        () = interrupts.received() => return Ok(None),
        tracked = wait_for_conntrack(&namespace, patience) => tracked?,
    }
    let attach = AttachOptions {
        ceiling: arguments.attach.into(),
        sizes: Sizes {
            ring_bytes: arguments.ring_bytes,
            ..Sizes::for_sources(arguments.max_sources)
        },
        netlink_buffer_bytes: arguments.netlink_buffer_bytes,
        object: arguments.bpf_object.clone(),
    };
    let Pace { interval, census_patience } = pace;
    let options = CollectOptions { namespace, interval, census_patience, limits, attach };
    let opening = Session::open(options);
    let session = tokio::select! {
        biased;
        () = interrupts.received() => return Ok(None),
        session = opening => session.map_err(session_error)?,
    };
    Ok(Some(session))
}

/// Says on standard error what cannot be seen, each thing once.
#[derive(Debug, Default)]
pub struct ModeReport {
    told: HashSet<String>,
}

impl ModeReport {
    /// Says what is new.
    pub fn tell(&mut self, snapshot: &Snapshot) {
        let degraded = &snapshot.mode.degraded;
        let fresh: Vec<&str> = degraded
            .iter()
            .filter(|missing| !self.told.contains(*missing))
            .map(String::as_str)
            .collect();
        if !fresh.is_empty() {
            say(&format!("degraded: {}", fresh.join("; ")));
            self.told.extend(degraded.iter().cloned());
        }
    }
}

/// A line on standard error; if that is closed there is nobody to tell.
pub fn say(sentence: &str) {
    let _ = writeln!(io::stderr().lock(), "ctwatch: {sentence}");
}

/// What a session's end means for the command.
pub fn session_error(error: SessionError) -> CommandError {
    match error {
        SessionError::Collect(CollectError::Table(ConntrackFilesError::NotLoaded)) => {
            CommandError::Failed(anyhow::anyhow!(
                "connection tracking has been unloaded from the kernel; start ctwatch again when it is back"
            ))
        }
        SessionError::Collect(CollectError::Table(ConntrackFilesError::Namespace(error))) => {
            namespace_error(error)
        }
        SessionError::Collect(CollectError::NotHooked(why)) => CommandError::CannotRun(why),
        error => CommandError::Failed(error.into()),
    }
}

fn namespace_error(error: NamespaceError) -> CommandError {
    match error {
        NamespaceError::BadName { .. }
        | NamespaceError::NoSuchName { .. }
        | NamespaceError::NotANamespace { .. } => CommandError::Usage(error.to_string()),
        NamespaceError::Open { .. } => {
            CommandError::Usage(format!("{:#}", anyhow::Error::new(error)))
        }
        NamespaceError::NotPermitted { .. } => CommandError::CannotRun(error.to_string()),
        NamespaceError::Enter { .. } => CommandError::Failed(error.into()),
    }
}

/// Waits until conntrack is there. Where it is there and has nothing to show yet, it says so and goes on,
/// so that the first connection is already counted.
async fn wait_for_conntrack(
    namespace: &NetworkNamespace,
    patience: Patience,
) -> Result<(), CommandError> {
    let mut said = false;
    loop {
        let nothing = match ConntrackFiles::open_in(namespace) {
            Ok(mut files) => {
                let tracked = files.count().is_ok_and(|count| count > 0)
                    || files.statistics().is_ok_and(|statistics| statistics.any());
                if tracked {
                    return Ok(());
                }
                "connection tracking is in the kernel, but nothing is tracked in this network namespace"
            }
            Err(ConntrackFilesError::NotLoaded) => {
                "connection tracking (nf_conntrack) is not loaded"
            }
            Err(error) => return Err(CommandError::Failed(error.into())),
        };
        if patience == Patience::End {
            return Err(CommandError::CannotRun(hint(nothing)));
        }
        if !std::mem::replace(&mut said, true) {
            say(&format!("{}; waiting", hint(nothing)));
        }
        if ConntrackFiles::open_in(namespace).is_ok() {
            return Ok(());
        }
        tokio::time::sleep(WAIT_INTERVAL).await;
    }
}

/// A sentence that says what to do where nothing is tracked.
fn hint(nothing: &str) -> String {
    let tracking: Vec<String> = tracking_namespaces().into_iter().map(|found| found.name).collect();
    let elsewhere = if tracking.is_empty() {
        String::new()
    } else {
        format!("; these namespaces do track (--netns): {}", tracking.join(", "))
    };
    format!(
        "{nothing}{elsewhere}; to see ctwatch at work on a gateway under flood run 'cargo xtask lab'"
    )
}
