//! What every command that looks at the table does first: may it, is there anything, and begin.

use std::{
    collections::{HashSet, VecDeque},
    io::{self, Write as _},
    sync::Arc,
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::Instant,
};

use super::progress;
use crate::{
    cli::LookArguments,
    collect::{Choice, CollectError, CollectOptions, Interval},
    exit::CommandError,
    host::{
        modules,
        namespace::{NamespaceChoice, NamespaceError, NamespaceTarget, NetworkNamespace},
        namespace_list::tracking_namespaces,
        sysctl::{ConntrackFiles, ConntrackFilesError},
    },
    model::{limits::Limits, snapshot::Snapshot},
    privilege,
    probe::{
        attach::{AttachOptions, Ceiling},
        object::Sizes,
    },
    recording::item::Place,
    session::{Session, SessionError},
};

/// How long a reader that does not read can delay the end.
pub const READER_PATIENCE: Duration = Duration::from_secs(1);
/// Time between two looks whether conntrack is there by now.
const WAIT_INTERVAL: Duration = Duration::from_millis(500);

const NOTHING_HERE: &str =
    "connection tracking is in the kernel, but nothing is tracked in this network namespace";
const NOTHING_ANYWHERE: &str =
    "connection tracking is in the kernel, but nothing is tracked in any network namespace";

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
    progress::clear();
    let write = move || {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    };
    let written = tokio::task::spawn_blocking(write).await;
    // The thread does not panic; if it did there would be no output any more.
    Ok(written.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))?)
}

/// A look at the table that outlives conntrack's being unloaded: it waits and begins anew.
#[derive(Debug)]
pub struct Look {
    choice: NamespaceChoice,
    patience: Patience,
    pace: Pace,
    limits: Limits,
    attach: AttachOptions,
    session: Option<Session>,
    /// Snapshots of the last interval that have not been taken yet.
    of_interval: VecDeque<Arc<Snapshot>>,
    is_stopping: bool,
    waiting: Waiting,
    listener: Option<mpsc::Sender<String>>,
}

/// What has been said about waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// Nothing yet.
    Silently,
    /// That there is nothing to see yet.
    Announced,
    /// That conntrack is gone.
    Unloaded,
}

impl Look {
    /// Begins to look; `None` if a signal came first.
    ///
    /// # Errors
    ///
    /// If it may not, cannot, or would have to wait and `patience` says not to.
    pub async fn begin(
        arguments: &LookArguments,
        pace: Pace,
        limits: Limits,
        patience: Patience,
        interrupts: &mut Interrupts,
    ) -> Result<Option<Self>, CommandError> {
        if let NamespaceChoice::One(target) = &arguments.netns {
            NetworkNamespace::open(target).map_err(namespace_error)?;
        }
        if let Some(sentence) = privilege::missing() {
            return Err(CommandError::CannotRun(sentence));
        }
        let attach = AttachOptions {
            ceiling: arguments.attach.into(),
            sizes: Sizes {
                ring_bytes: arguments.ring_bytes,
                ..Sizes::for_sources(arguments.max_sources)
            },
            netlink_buffer_bytes: arguments.netlink_buffer_bytes,
            object: arguments.bpf_object.clone(),
            why_no_hooks: None,
        };
        let mut look = Self {
            choice: arguments.netns.clone(),
            patience,
            pace,
            limits,
            attach,
            session: None,
            of_interval: VecDeque::new(),
            is_stopping: false,
            waiting: Waiting::Silently,
            listener: None,
        };
        tokio::select! {
            biased;
            () = interrupts.received() => Ok(None),
            session = progress::during("attaching, and reading the table", look.open()) => {
                look.session = Some(session?);
                Ok(Some(look))
            }
        }
    }

    /// The next snapshot, those of one interval one after another; `None` after the last one. Safe to be dropped
    /// and called again.
    ///
    /// # Errors
    ///
    /// If it cannot go on.
    pub async fn next(&mut self) -> Result<Option<Arc<Snapshot>>, CommandError> {
        loop {
            if let Some(snapshot) = self.of_interval.pop_front() {
                return Ok(Some(snapshot));
            }
            match self.next_interval().await? {
                Some(interval) => self.of_interval = interval.into(),
                None => return Ok(None),
            }
        }
    }

    /// The snapshots of the next interval, none where no namespace tracks anything; `None` after the last one. Safe to be
    /// dropped and called again.
    ///
    /// # Errors
    ///
    /// If it cannot go on.
    pub async fn next_interval(&mut self) -> Result<Option<Interval>, CommandError> {
        loop {
            let Some(session) = &mut self.session else {
                if self.is_stopping {
                    return Ok(None);
                }
                self.session = Some(self.open().await?);
                continue;
            };
            match session.next().await {
                Err(error) if is_unloaded(&error) && self.patience == Patience::Wait => {
                    self.session = None;
                    self.unloaded();
                }
                Err(SessionError::Collect(CollectError::Misread(why)))
                    if self.attach.ceiling == Ceiling::Highest =>
                {
                    self.say(&format!("the hooks are given up, counting begins at 0 again: {why}"));
                    self.session = None;
                    self.attach.ceiling = Ceiling::Netlink;
                    self.attach.why_no_hooks = Some(why);
                }
                next => return next.map_err(session_error),
            }
        }
    }

    /// From now on tells this listener what it would say on standard error, as far as that keeps up.
    pub fn tell(&mut self, listener: mpsc::Sender<String>) {
        self.listener = Some(listener);
    }

    /// Lets this much time be between two snapshots from now on.
    pub fn set_interval(&mut self, interval: Duration) {
        self.pace.interval = interval;
        if let Some(session) = &self.session {
            session.set_interval(interval);
        }
    }

    fn say(&self, sentence: &str) {
        match &self.listener {
            // Whoever does not listen misses it.
            Some(listener) => drop(listener.try_send(sentence.to_owned())),
            None => say(sentence),
        }
    }

    /// Whether the last snapshot was the last one of its interval.
    pub fn is_interval_complete(&self) -> bool {
        self.of_interval.is_empty()
    }

    /// The place of the last snapshot in its interval.
    pub fn place(&self) -> Place {
        if self.is_interval_complete() { Place::LastOfInterval } else { Place::FollowedByOthers }
    }

    /// Ends the look. The last interval's snapshots follow, then [`Self::next`] gives `None`.
    pub fn stop(&mut self) {
        self.is_stopping = true;
        if let Some(session) = &mut self.session {
            session.stop();
        }
    }

    async fn open(&mut self) -> Result<Session, CommandError> {
        loop {
            let namespaces = self.choose().await?;
            let options = CollectOptions {
                namespaces,
                interval: self.pace.interval,
                census_patience: self.pace.census_patience,
                limits: self.limits,
                attach: self.attach.clone(),
            };
            match Session::open(options).await {
                Err(error) if is_unloaded(&error) && self.patience == Patience::Wait => {
                    self.unloaded();
                }
                opened => {
                    if self.waiting == Waiting::Unloaded && opened.is_ok() {
                        self.say("connection tracking is back; counting begins at 0 again");
                    }
                    self.waiting = Waiting::Silently;
                    return opened.map_err(session_error);
                }
            }
        }
    }

    fn unloaded(&mut self) {
        if self.waiting != Waiting::Unloaded {
            self.say("connection tracking has been unloaded; waiting for it");
            self.waiting = Waiting::Unloaded;
        }
    }

    fn tracking(&self) -> Result<Tracking, CommandError> {
        let tracking = Tracking::of(&self.choice);
        tracking.map_err(|error| match error {
            // The arguments were right when it began.
            CommandError::Usage(why) if self.waiting != Waiting::Silently => {
                CommandError::Failed(anyhow::anyhow!(why))
            }
            error => error,
        })
    }

    /// Waits until conntrack is there. Where it is there and has nothing to show yet, it says so and goes on,
    /// so that the first connection is already counted.
    async fn choose(&mut self) -> Result<Choice, CommandError> {
        loop {
            // It is opened again each time, so that waiting keeps no namespace alive.
            let (choice, nothing) = match self.tracking()? {
                Tracking::Some(choice) => return Ok(choice),
                Tracking::None(choice) if self.waiting == Waiting::Unloaded => return Ok(choice),
                Tracking::None(choice) => {
                    let nothing = match choice {
                        Choice::One(_) => NOTHING_HERE,
                        Choice::All => NOTHING_ANYWHERE,
                    };
                    (Some(choice), nothing)
                }
                Tracking::NotLoaded => (None, "connection tracking (nf_conntrack) is not loaded"),
            };
            if self.patience == Patience::End {
                return Err(CommandError::CannotRun(hint(nothing)));
            }
            if self.waiting == Waiting::Silently {
                self.say(&format!("{}; waiting", hint(nothing)));
                self.waiting = Waiting::Announced;
            }
            if let Some(choice) = choice {
                return Ok(choice);
            }
            tokio::time::sleep(WAIT_INTERVAL).await;
        }
    }
}

/// Whether there is anything to look at.
enum Tracking {
    /// Connections are tracked.
    Some(Choice),
    /// None are, but they could be.
    None(Choice),
    /// Nothing tracks any.
    NotLoaded,
}

impl Tracking {
    fn of(choice: &NamespaceChoice) -> Result<Self, CommandError> {
        let target = match choice {
            NamespaceChoice::All => &NamespaceTarget::OwnNamespace,
            NamespaceChoice::One(target) => target,
        };
        let namespace = NetworkNamespace::open(target).map_err(namespace_error)?;
        if modules::is_conntrack_in_transit() {
            return Ok(Self::NotLoaded);
        }
        let mut files = match ConntrackFiles::open_in(&namespace) {
            Ok(files) => files,
            Err(ConntrackFilesError::NotLoaded) => return Ok(Self::NotLoaded),
            Err(error) => return Err(CommandError::Failed(error.into())),
        };
        let (choice, any) = match choice {
            NamespaceChoice::All => (Choice::All, !tracking_namespaces().is_empty()),
            NamespaceChoice::One(_) => (Choice::One(namespace), tracks(&mut files)),
        };
        Ok(if any { Self::Some(choice) } else { Self::None(choice) })
    }
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
    progress::clear();
    let _ = writeln!(io::stderr().lock(), "ctwatch: {sentence}");
}

/// What a session's end means for the command.
fn session_error(error: SessionError) -> CommandError {
    match error {
        SessionError::Collect(CollectError::Table(ConntrackFilesError::NotLoaded)) => {
            CommandError::Failed(anyhow::anyhow!(
                "connection tracking has been unloaded from the kernel; start ctwatch again when it is back"
            ))
        }
        SessionError::Collect(CollectError::Table(ConntrackFilesError::Namespace(error))) => {
            namespace_error(error)
        }
        SessionError::Collect(CollectError::NotHooked(why) | CollectError::Misread(why)) => {
            CommandError::CannotRun(why)
        }
        error => CommandError::Failed(error.into()),
    }
}

/// What a namespace that cannot be looked into means for the command.
pub(super) fn namespace_error(error: NamespaceError) -> CommandError {
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

fn is_unloaded(error: &SessionError) -> bool {
    matches!(error, SessionError::Collect(CollectError::Table(ConntrackFilesError::NotLoaded)))
}

fn tracks(files: &mut ConntrackFiles) -> bool {
    files.count().is_ok_and(|count| count > 0)
        || files.statistics().is_ok_and(|statistics| statistics.any())
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
