//! What the commands that change something share: the state, the journal, what their errors mean, and change sets whose time
//! is over.

use super::look;
use crate::{
    change::{
        journal::{Journal, JournalError},
        ledger::ChangeSet,
        machine::Machine,
        record::{SetId, UndoneBy},
        state::{Lock, State, StateError},
        undo::{Foreign, UndoError, Undoing, Undone, undo},
    },
    clock,
    exit::CommandError,
    host::boot,
};

/// The state, locked: nobody else changes anything meanwhile. Nothing may be printed while this is held, as a reader who does
/// not read would keep everybody out.
pub(super) struct Locked {
    pub(super) journal: Journal,
    pub(super) boot: String,
    _lock: Lock,
}

impl Locked {
    /// Locks the state and reads the journal.
    pub(super) fn new(state: &State) -> Result<Self, CommandError> {
        state.prepare().map_err(state_error)?;
        let lock = state.lock().map_err(state_error)?;
        Ok(Self { journal: read(state)?, boot: this_boot()?, _lock: lock })
    }

    /// The change set of that number, or the latest that has not been undone.
    pub(super) fn set(&self, id: Option<SetId>) -> Result<Option<&ChangeSet>, CommandError> {
        let ledger = self.journal.ledger();
        let Some(id) = id else { return Ok(ledger.latest()) };
        ledger.set(id).map(Some).ok_or_else(|| {
            let known: Vec<String> = ledger.sets().iter().map(|set| set.id().to_string()).collect();
            let known = if known.is_empty() {
                "none was ever made".to_owned()
            } else {
                format!("there is {}", known.join(", "))
            };
            CommandError::Usage(format!("there is no change set {id}: {known}"))
        })
    }

    /// Undoes a change set.
    pub(super) fn undo(
        &mut self,
        id: SetId,
        by: UndoneBy,
        foreign: Foreign<'_>,
    ) -> Result<Undone, CommandError> {
        let place = self.set(Some(id))?.map(|set| set.began.place.clone());
        let mut machine =
            place.map_or_else(|| Machine::new(None), |place| place.machine(&self.boot));
        let undoing = Undoing { by, foreign, at_ms: clock::wall_ms(), boot: &self.boot };
        undo(id, &mut self.journal, &mut machine, &undoing).map_err(undo_error)
    }

    /// Undoes the change set that nobody has confirmed in time, if there is one: its watchdog is gone.
    pub(super) fn undo_overdue(&mut self) -> Result<Option<(SetId, Undone)>, CommandError> {
        let now_ns = clock::boottime_ns();
        let mut sets = self.journal.ledger().sets().iter();
        let overdue = sets.find(|set| set.is_overdue(&self.boot, now_ns)).map(ChangeSet::id);
        let Some(id) = overdue else { return Ok(None) };
        self.undo(id, UndoneBy::Overdue, Foreign::LeaveBut("")).map(|undone| Some((id, undone)))
    }
}

/// The journal, to be read only.
pub(super) fn read(state: &State) -> Result<Journal, CommandError> {
    state.check().map_err(state_error)?;
    Journal::open(&mut Machine::new(None), state.journal()).map_err(journal_error)
}

/// The change set that nobody has confirmed in time and that is in force nevertheless, if there is one.
pub(super) fn overdue(state: &State) -> Result<Option<SetId>, CommandError> {
    let (boot, now_ns) = (this_boot()?, clock::boottime_ns());
    let journal = read(state)?;
    let overdue = journal.ledger().sets().iter().find(|set| set.is_overdue(&boot, now_ns));
    Ok(overdue.map(ChangeSet::id))
}

/// Which start of the machine this is.
pub(super) fn this_boot() -> Result<String, CommandError> {
    let failed =
        |error| anyhow::Error::new(error).context("cannot tell which start of the machine this is");
    boot::id().map_err(|error| CommandError::Failed(failed(error)))
}

/// What was undone, in sentences for standard error; whether all of it was.
pub(super) fn told(id: SetId, undone: &Undone) -> Result<Vec<String>, CommandError> {
    let mut sentences = Vec::new();
    if !undone.restored.is_empty() {
        sentences.push(format!("restored: {}", undone.restored.join(", ")));
    }
    if undone.restored.is_empty() && undone.left.is_empty() {
        sentences.push("everything was as before already".to_owned());
    }
    if let Some(why) = &undone.unnoted {
        sentences.push(format!(
            "the journal could not be told so ({why}); 'ctwatch rollback {id}' tells it later"
        ));
    }
    if undone.left.is_empty() {
        return Ok(sentences);
    }
    let done =
        if sentences.is_empty() { String::new() } else { format!("{}; ", sentences.join("; ")) };
    Err(CommandError::Failed(anyhow::anyhow!(
        "change set {id} is not undone wholly: {done}left: {}",
        undone.left.join("; ")
    )))
}

/// Says that an overdue change set was undone.
pub(super) fn say_overdue(overdue: Option<&(SetId, Undone)>) -> Result<(), CommandError> {
    let Some((id, undone)) = overdue else { return Ok(()) };
    look::say(&format!(
        "change set {id} was not confirmed in time and its watchdog is gone: it is undone now"
    ));
    told(*id, undone)?.iter().for_each(|sentence| look::say(sentence));
    Ok(())
}

/// What an error of the state means for the command.
pub(super) fn state_error(error: StateError) -> CommandError {
    match error {
        StateError::NotPermitted { .. } => CommandError::CannotRun(error.to_string()),
        error => CommandError::Failed(error.into()),
    }
}

/// What an error of the journal means for the command.
pub(super) fn journal_error(error: JournalError) -> CommandError {
    if let JournalError::Read { source, .. } = &error
        && source.kind() == std::io::ErrorKind::PermissionDenied
    {
        return CommandError::CannotRun(format!(
            "{:#}: run ctwatch as root",
            anyhow::Error::new(error)
        ));
    }
    CommandError::Failed(match error.remedy() {
        Some(remedy) => anyhow::anyhow!("{error}; {remedy}"),
        None => error.into(),
    })
}

fn undo_error(error: UndoError) -> CommandError {
    CommandError::Failed(error.into())
}
