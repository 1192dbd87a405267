//! Carries out a change set: each value is announced in the journal, changed, and read back; when one fails, those before it
//! are undone in reverse.

use std::io;

use super::{
    journal::{Journal, JournalError},
    knob::{Knob, by_key},
    record::{Began, PlannedChange, Record, SetId, UndoneBy},
    system::System,
    undo::{Foreign, Undoing, Undone, undo},
};

/// Why a change set was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A value is another one than when the plan was made; nothing has been changed.
    #[error("{key} is {found} now, and was {expected} when the plan was shown")]
    Moved {
        /// Which.
        key: String,
        /// What it was.
        expected: u64,
        /// What it is.
        found: u64,
    },
    /// A value cannot be read; nothing has been changed.
    #[error("cannot read {key}")]
    Read {
        /// Which.
        key: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The beginning cannot be written into the journal; nothing has been changed.
    #[error("nothing was changed, as it could not have been undone")]
    NotBegun(#[source] JournalError),
    /// It could not be finished.
    #[error("{what}: {why}; {outcome}")]
    Failed {
        /// The value that could not be changed, or the journal.
        what: String,
        /// Why.
        why: String,
        /// What became of the values that had been changed already.
        outcome: Outcome,
    },
}

/// What became of a change set that could not be finished.
#[derive(Debug)]
pub enum Outcome {
    /// All is as it was.
    Undone,
    /// Some of it could not be undone.
    Remains {
        /// What, each with the reason.
        left: Vec<String>,
    },
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Undone => formatter.write_str("all is as it was before"),
            Self::Remains { left } => write!(
                formatter,
                "this could not be undone: {}; try again with 'ctwatch rollback'",
                left.join("; ")
            ),
        }
    }
}

/// Makes sure that every value is still what the plan says.
///
/// # Errors
///
/// One is another, or cannot be read.
pub fn check_from(changes: &[PlannedChange], system: &mut impl System) -> Result<(), ApplyError> {
    for change in changes {
        let read = knob(&change.key).and_then(|knob| value_of(system, &knob));
        let found = read.map_err(|source| ApplyError::Read { key: change.key.clone(), source })?;
        if found != change.from {
            let (key, expected) = (change.key.clone(), change.from);
            return Err(ApplyError::Moved { key, expected, found });
        }
    }
    Ok(())
}

/// Writes the beginning into the journal, calls `ready`, and then changes value after value. `ready` is where a watchdog is
/// started: the journal says what it would have to undo, and nothing has been changed yet.
///
/// # Errors
///
/// It could not be begun, or not be finished; then what had been changed is undone, and the error says what could not be.
pub fn apply(
    began: Began,
    journal: &mut Journal,
    system: &mut impl System,
    ready: impl FnOnce() -> Result<(), String>,
) -> Result<(), ApplyError> {
    check_from(&began.changes, system)?;
    let (id, changes, at_ms) = (began.set, began.changes.clone(), began.at_ms);
    let boot = began.place.boot.clone();
    journal.append(system, Record::Began(began)).map_err(ApplyError::NotBegun)?;
    let failed = ready()
        .map_err(|why| ("the watchdog".to_owned(), why))
        .and_then(|()| changes.iter().try_for_each(|change| make(id, change, journal, system)))
        .and_then(|()| append(journal, system, Record::Applied { set: id }));
    let Err((what, why)) = failed else { return Ok(()) };
    let note = Record::Failed { set: id, what: what.clone(), why: why.clone() };
    // A journal that is full must not keep anything from being undone.
    let _ = journal.append(system, note);
    let (by, foreign) = (UndoneBy::Failure, Foreign::LeaveBut(&what));
    let undone = undo(id, journal, system, &Undoing { by, foreign, at_ms, boot: &boot });
    let outcome = match undone {
        Ok(Undone { left, .. }) if left.is_empty() => Outcome::Undone,
        Ok(Undone { left, .. }) => Outcome::Remains { left },
        Err(error) => Outcome::Remains { left: vec![format!("{:#}", anyhow::Error::new(error))] },
    };
    Err(ApplyError::Failed { what, why, outcome })
}

fn make(
    set: SetId,
    change: &PlannedChange,
    journal: &mut Journal,
    system: &mut impl System,
) -> Result<(), (String, String)> {
    let key = &change.key;
    let failed = |error: io::Error| (key.clone(), because(&error));
    let knob = knob(key).map_err(failed)?;
    let (old, new) = (change.from, change.to);
    append(journal, system, Record::Changing { set, key: key.clone(), old, new })?;
    system.set_value(&knob, &new.to_string()).map_err(failed)?;
    let found = value_of(system, &knob).map_err(failed)?;
    if found != new {
        return Err((key.clone(), format!("the kernel made {found} of {new}")));
    }
    append(journal, system, Record::Changed { set, key: key.clone() })
}

/// Tells the journal; an error names it, and says why.
pub(super) fn append(
    journal: &mut Journal,
    system: &mut impl System,
    record: Record,
) -> Result<(), (String, String)> {
    let added = journal.append(system, record);
    added.map_err(|error| ("the journal".to_owned(), format!("{:#}", anyhow::Error::new(error))))
}

/// The knob of a name that is in a plan or a journal.
///
/// # Errors
///
/// There is none of that name.
pub(super) fn knob(key: &str) -> io::Result<Knob> {
    by_key(key).ok_or_else(|| io::Error::other("ctwatch changes no value of that name"))
}

/// A value as a number.
///
/// # Errors
///
/// It cannot be read, or is none.
pub(super) fn value_of(system: &mut impl System, knob: &Knob) -> io::Result<u64> {
    let text = system.value(knob)?;
    text.trim().parse().map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the kernel says '{text}', which is no number"),
        )
    })
}

/// What the kernel's answer means for whoever wants to change a value.
pub fn because(error: &io::Error) -> String {
    let hint = match error.raw_os_error() {
        Some(libc::EROFS) => {
            "/proc/sys or /sys is read-only here, as in a container: run ctwatch on the host"
        }
        Some(libc::EACCES | libc::EPERM) => {
            "it takes root, and for values of the whole machine the initial network namespace"
        }
        Some(libc::EOPNOTSUPP) => {
            "the kernel allows it in the initial network namespace alone: run ctwatch on the host"
        }
        Some(libc::EINVAL | libc::ERANGE) => "the kernel does not take that value",
        Some(libc::ENOMEM) => "the kernel has no memory for it",
        Some(libc::ENOSPC) => "the disk is full",
        Some(libc::ENOENT) => {
            "this kernel has no such value, or connection tracking has been unloaded"
        }
        _ => return error.to_string(),
    };
    format!("{error}: {hint}")
}
