//! `ctwatch top`: the screen, and what goes on behind it.

mod deeds;
mod findings;
mod following;

use std::{
    io::{self, IsTerminal as _},
    sync::Arc,
    time::Duration,
};

use ratatui::buffer::Buffer;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::look::{Interrupts, Look, Pace, Patience};
use crate::{
    change,
    cli::TopArguments,
    clock,
    exit::CommandError,
    host::{memory, own_process},
    model::{
        event::Kinds,
        limits::{Limits, SortBy},
        snapshot::Snapshot,
    },
    screen::{
        draw,
        input::{Cost, Effect, Input},
        state::State,
        style::Looks,
        terminal::{self, FromTerminal, Terminal},
    },
};
use deeds::Deeds;
use findings::Findings;

/// Sources that are listed one by one: the screen sorts and filters them itself.
const LISTED_SOURCES: usize = 131_072;
/// Events that one snapshot has at most.
const EVENTS: usize = 1000;
/// How long the first snapshot may wait for the first dump of the table.
const CENSUS_PATIENCE: Duration = Duration::from_millis(500);
/// Things that wait to be shown.
const INPUTS_WAITING: usize = 8;
const SECOND: Duration = Duration::from_secs(1);

/// Shows the screen until it is told to end, or the terminal is closed.
///
/// # Errors
///
/// If there is no terminal, it cannot look, or cannot go on.
pub async fn run(arguments: &TopArguments) -> Result<(), CommandError> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(CommandError::Usage(
            "the screen needs a terminal, and standard input or output is none: use 'ctwatch watch'"
                .to_owned(),
        ));
    }
    let looks =
        terminal::looks(|name| std::env::var(name).ok()).map_err(CommandError::CannotRun)?;
    let filter = arguments.filter.parse().map_err(CommandError::Usage)?;
    let limits = Limits {
        listed_sources: LISTED_SOURCES,
        sort_by: SortBy::Entries,
        kinds: Kinds::RARE,
        events: EVENTS,
        remembered_sources: super::watch::REMEMBERED_SOURCES,
        only: None,
        census_every: Some(arguments.census),
    };
    let pace = Pace { interval: arguments.interval, census_patience: CENSUS_PATIENCE };
    let patience = if arguments.look.no_wait { Patience::End } else { Patience::Wait };
    let mut signals = Signals::new()?;
    let interrupts = &mut signals.interrupts;
    let begun = Look::begin(&arguments.look, pace, limits, patience, interrupts).await?;
    let Some(look) = begun else { return Ok(()) };

    let terminal = Terminal::open().map_err(|error| {
        CommandError::Failed(anyhow::Error::new(error).context("cannot take over the terminal"))
    })?;
    let (columns, lines) = terminal.size();
    let mut state = State::new(columns, lines, arguments.interval);
    state.arrangement.filter = filter;
    arguments.filter.trim().clone_into(&mut state.filter_text);
    let (send, inputs) = mpsc::channel(INPUTS_WAITING);
    let (paces, of_paces) = mpsc::channel(INPUTS_WAITING);
    let session = tokio::spawn(following::follow(look, of_paces, send.clone()));
    let changes = change::state::State::at(None);
    let deeds = Deeds::new(arguments, send.clone());
    let findings = Findings::new(arguments.look.netns.clone(), changes, send);
    let mut top = Top {
        state,
        looks,
        terminal,
        inputs,
        paces,
        findings,
        deeds,
        cpu_ns: clock::process_cpu_ns(),
        entry_bytes: memory::entry_bytes(),
    };
    let mut session = session;
    let ended = top.show(&mut session, &mut signals).await;
    // The terminal comes back first, then the hooks go: that may take a while.
    let Top { terminal, paces, inputs, findings, deeds, .. } = top;
    drop((terminal, paces, inputs, findings));
    deeds.end().await;
    if !session.is_finished() {
        // What it ends with, once it was told to, is of no interest any more.
        let _ = session.await;
    }
    ended
}

/// The signals that the screen minds.
struct Signals {
    interrupts: Interrupts,
    hangup: Signal,
    quit: Signal,
    resumed: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupts: Interrupts::new()?,
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            resumed: signal(SignalKind::from_raw(libc::SIGCONT))?,
        })
    }
}

/// All that the screen stands on.
struct Top {
    state: State,
    looks: Looks,
    terminal: Terminal,
    inputs: mpsc::Receiver<Input>,
    paces: mpsc::Sender<Duration>,
    findings: Findings,
    deeds: Deeds,
    cpu_ns: u64,
    entry_bytes: Option<u64>,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    GoOn,
    End,
}

impl Top {
    async fn show(
        &mut self,
        session: &mut JoinHandle<Result<(), CommandError>>,
        signals: &mut Signals,
    ) -> Result<(), CommandError> {
        let mut seconds = interval(SECOND);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut is_stale = true;
        loop {
            if is_stale && self.terminal.is_ready() {
                self.draw()?;
                is_stale = false;
            }
            let input = tokio::select! {
                biased;
                () = signals.interrupts.received() => return Ok(()),
                _ = signals.hangup.recv() => return Ok(()),
                _ = signals.quit.recv() => return Ok(()),
                _ = signals.resumed.recv() => {
                    self.terminal.resume()?;
                    None
                }
                from = self.terminal.next() => match from? {
                    FromTerminal::Input(input) => Some(input),
                    FromTerminal::Ready => continue,
                },
                ended = &mut *session => {
                    return ended.unwrap_or_else(|_| Err(CommandError::Failed(anyhow::anyhow!(
                        "the screen's session ended unexpectedly; please report this"
                    ))));
                }
                Some(input) = self.inputs.recv() => {
                    if let Input::Interval(snapshots) = &input {
                        self.findings.take(snapshots);
                    }
                    Some(input)
                }
                _ = seconds.tick() => {
                    let cost = self.cost();
                    self.state.take(Input::Cost(cost));
                    Some(Input::Tick)
                }
            };
            is_stale = true;
            if let Some(input) = input
                && self.take(input)? == Next::End
            {
                return Ok(());
            }
        }
    }

    fn take(&mut self, input: Input) -> Result<Next, CommandError> {
        for effect in self.state.take(input) {
            match effect {
                Effect::Quit => return Ok(Next::End),
                Effect::Suspend => self.terminal.suspend()?,
                Effect::Repaint => self.terminal.forget(),
                // One of many that were asked for in a row may be left out.
                Effect::Pace(pace) => drop(self.paces.try_send(pace)),
                Effect::Diagnose(netns) => self.findings.diagnose(netns),
                Effect::Walk(request) => self.findings.walk(request),
                Effect::ListBlocks(netns) => self.findings.list_blocks(netns),
                Effect::Do(deed, netns) => self.deeds.run(deed, netns),
            }
        }
        Ok(Next::GoOn)
    }

    fn draw(&mut self) -> Result<(), CommandError> {
        let mut picture = Buffer::empty(self.state.area);
        draw::draw(&self.state, self.looks, &mut picture);
        Ok(self.terminal.show(picture)?)
    }

    /// What was used since this was asked last, about a second ago.
    fn cost(&mut self) -> Cost {
        let now = clock::process_cpu_ns();
        let used = now.saturating_sub(std::mem::replace(&mut self.cpu_ns, now));
        Cost {
            cpu: used as f64 / SECOND.as_nanos() as f64,
            memory_bytes: own_process::read().map(|process| process.resident_memory_bytes),
            entry_bytes: self.entry_bytes,
        }
    }
}

/// The snapshots of one interval.
type Interval = Vec<Arc<Snapshot>>;
