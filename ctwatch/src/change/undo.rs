//! Puts values and files back to what they were before a change set. It works from the journal alone and may be cut off and
//! begun again at any point: what is back already stays.

use std::io;

use super::{
    apply::{because, knob, value_of},
    journal::Journal,
    ledger::{ChangeSet, FileChange, ValueChange},
    record::{Contents, Record, SetId, UndoneBy},
    system::System,
};
use crate::advise::settings::{HASHSIZE, LIMIT};

/// What to do with what somebody else has changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign<'a> {
    /// Nothing is undone at all.
    Refuse,
    /// It is left, and the rest undone. But not this one, which was being changed a moment ago.
    LeaveBut(&'a str),
    /// It is overwritten as well.
    Overwrite,
}

/// What has become of a value or a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is as ctwatch left it.
    InForce,
    /// It is as it was before.
    Restored,
    /// Somebody else has changed it since; what it is now, in words.
    Foreign(String),
    /// It is not there any more, and with it went the change: why, in words.
    Gone(String),
    /// It cannot be told: why, in words.
    Unknown(String),
}

/// What was undone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undone {
    /// Put back, in the order in which it was done.
    pub restored: Vec<String>,
    /// Back already, or gone.
    pub needless: Vec<String>,
    /// Left as it is, each with the reason.
    pub left: Vec<String>,
    /// Whether nothing more can be done: what is left is somebody else's.
    pub is_complete: bool,
    /// That the journal could not be told, and why.
    pub unnoted: Option<String>,
}

/// Why nothing was undone.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// There is no such change set.
    #[error("there is no change set {0}")]
    NoSuchSet(SetId),
    /// Somebody else has changed something since.
    #[error("nothing was undone, as this was changed by somebody else since: {}; to overwrite it: ctwatch rollback {set} --force", found.join("; "))]
    Foreign {
        /// The change set.
        set: SetId,
        /// What, each with what it is now.
        found: Vec<String>,
    },
    /// A later change set has changed the same.
    #[error(
        "nothing was undone, as change set {later} changed {what} again since: undo that first, with ctwatch rollback {later}"
    )]
    Later {
        /// The value or the file.
        what: String,
        /// The later change set.
        later: SetId,
    },
    /// Something cannot be read.
    #[error("nothing was undone, as it cannot be told what it is now: {}", .0.join("; "))]
    Unknown(Vec<String>),
}

/// What has become of a value that was changed in this start of the machine, or in an earlier one: then it is only in force
/// where a persistent file set it again.
pub fn standing_of_value(
    value: &ValueChange,
    is_this_start: bool,
    system: &mut impl System,
) -> Standing {
    match knob(&value.key).and_then(|knob| value_of(system, &knob)) {
        Ok(found) if found == value.old => Standing::Restored,
        Ok(found) if found == value.new => Standing::InForce,
        Ok(_) if !is_this_start => {
            Standing::Gone("the machine has been started anew since".to_owned())
        }
        Ok(found) => Standing::Foreign(found.to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Standing::Gone(error.to_string()),
        Err(error) => Standing::Unknown(error.to_string()),
    }
}

/// What has become of a file.
pub fn standing_of_file(file: &FileChange, system: &mut impl System) -> Standing {
    match system.file(&file.path) {
        Ok(found) if same(found.as_deref(), file.old.as_ref()) => Standing::Restored,
        Ok(found) if file.made.iter().any(|made| same(found.as_deref(), made.as_ref())) => {
            Standing::InForce
        }
        Ok(Some(_)) => Standing::Foreign("has other contents".to_owned()),
        Ok(None) => Standing::Foreign("has been removed".to_owned()),
        Err(error) => Standing::Unknown(error.to_string()),
    }
}

fn same(found: Option<&[u8]>, expected: Option<&Contents>) -> bool {
    found == expected.map(Contents::bytes)
}

/// A value or a file that is to be put back.
enum Item {
    Value(ValueChange),
    File(FileChange),
}

impl Item {
    fn name(&self) -> String {
        match self {
            Self::Value(value) => value.key.clone(),
            Self::File(file) => file.path.display().to_string(),
        }
    }

    fn standing(&self, is_this_start: bool, system: &mut impl System) -> Standing {
        match self {
            Self::Value(value) => standing_of_value(value, is_this_start, system),
            Self::File(file) => standing_of_file(file, system),
        }
    }

    /// Puts it back and makes sure of it.
    fn restore(&self, system: &mut impl System) -> io::Result<()> {
        match self {
            Self::Value(value) => {
                let knob = knob(&value.key)?;
                system.set_value(&knob, &value.old.to_string())?;
            }
            Self::File(FileChange { path, old: Some(old), .. }) => {
                system.replace_file(path, old.bytes())?;
            }
            Self::File(FileChange { path, old: None, .. }) => system.remove_file(path)?,
        }
        match self.standing(true, system) {
            Standing::Restored => Ok(()),
            _ => Err(io::Error::other("it was written and is not what was written")),
        }
    }

    /// Whether it must not be put back while the other of limit and buckets could not be: fewer buckets for a limit that
    /// stays high, or a higher limit for buckets that stay few, are worse than what is now.
    fn needs_the_other(&self) -> bool {
        let Self::Value(value) = self else { return false };
        let size = |size: u64| if value.key == LIMIT && size == 0 { u64::MAX } else { size };
        match value.key.as_str() {
            HASHSIZE => value.old < value.new,
            LIMIT => size(value.old) > size(value.new),
            _ => false,
        }
    }
}

/// In the order of undoing: files first, as they were changed last.
fn items(set: &ChangeSet) -> Vec<Item> {
    let files = set.files_left().rev().cloned().map(Item::File);
    files.chain(set.values_left().rev().cloned().map(Item::Value)).collect()
}

/// How a change set is to be undone.
#[derive(Clone, Copy, Debug)]
pub struct Undoing<'a> {
    /// By whom.
    pub by: UndoneBy,
    /// What to do with what somebody else has changed.
    pub foreign: Foreign<'a>,
    /// Now, in milliseconds since 1970.
    pub at_ms: i64,
    /// The kernel's random name of its present start.
    pub boot: &'a str,
}

/// Undoes change set `id`. First everything is looked at, and if something speaks against it nothing is undone. What then
/// cannot be put back is left, with the reason, and the rest is put back.
///
/// # Errors
///
/// Something speaks against it, and nothing was undone.
pub fn undo(
    id: SetId,
    journal: &mut Journal,
    system: &mut impl System,
    undoing: &Undoing<'_>,
) -> Result<Undone, UndoError> {
    let set = journal.ledger().set(id).ok_or(UndoError::NoSuchSet(id))?.clone();
    let items = examine(&set, system, undoing);
    if undoing.foreign == Foreign::Refuse {
        nothing_against(id, journal, &items)?;
    }
    let note = |system: &mut _, record| {
        let noted = journal.append(system, record);
        noted.map_err(|error| format!("{:#}", anyhow::Error::new(error)))
    };
    Ok(put_back(id, items, system, undoing, note))
}

/// Undoes a change set that is remembered, where the journal cannot be read any more. What somebody else has changed is left.
pub fn undo_remembered(set: &ChangeSet, system: &mut impl System, undoing: &Undoing<'_>) -> Undone {
    let items = examine(set, system, undoing);
    put_back(set.id(), items, system, undoing, |_, _| Ok(()))
}

fn examine(
    set: &ChangeSet,
    system: &mut impl System,
    undoing: &Undoing<'_>,
) -> Vec<(Item, Standing)> {
    let is_this_start = set.began.place.boot == undoing.boot;
    let with_standing = |item: Item| {
        let standing = item.standing(is_this_start, system);
        (item, standing)
    };
    items(set).into_iter().map(with_standing).collect()
}

fn put_back<S: System>(
    set: SetId,
    items: Vec<(Item, Standing)>,
    system: &mut S,
    undoing: &Undoing<'_>,
    mut note: impl FnMut(&mut S, Record) -> Result<(), String>,
) -> Undone {
    let mut undone = Undone::default();
    let mut is_size_left = false;
    let mut is_complete = true;
    // That the journal cannot be told keeps nothing from being undone: begun again, it finds what is back already.
    for (item, standing) in items {
        let name = item.name();
        let outcome = match standing {
            Standing::Restored | Standing::Gone(_) => Ok(false),
            Standing::Foreign(found) if !is_ours(&undoing.foreign, &name) => {
                Err((format!("{name} is {found} by somebody else"), true))
            }
            _ if is_size_left && item.needs_the_other() => {
                Err((format!("{name}, as alone it would make things worse"), false))
            }
            Standing::InForce | Standing::Foreign(_) | Standing::Unknown(_) => {
                let restored = item.restore(system).map(|()| true);
                restored.map_err(|error| (format!("{name}: {}", because(&error)), false))
            }
        };
        match outcome {
            Ok(was_put_back) => {
                let list = if was_put_back { &mut undone.restored } else { &mut undone.needless };
                list.push(name.clone());
                let noted = note(system, Record::Restored { set, what: name });
                undone.unnoted = noted.err().or(undone.unnoted);
            }
            Err((why, is_settled)) => {
                is_size_left |= name == LIMIT || name == HASHSIZE;
                is_complete &= is_settled;
                undone.left.push(why);
            }
        }
    }
    undone.is_complete = is_complete;
    if is_complete {
        let (at_ms, by, left) = (undoing.at_ms, undoing.by, undone.left.clone());
        let noted = note(system, Record::RolledBack { set, at_ms, by, left });
        undone.unnoted = noted.err().or(undone.unnoted);
    }
    undone
}

fn is_ours(foreign: &Foreign<'_>, name: &str) -> bool {
    match foreign {
        Foreign::Refuse => false,
        Foreign::LeaveBut(own) => *own == name,
        Foreign::Overwrite => true,
    }
}

fn nothing_against(
    id: SetId,
    journal: &Journal,
    items: &[(Item, Standing)],
) -> Result<(), UndoError> {
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    for (item, standing) in items {
        let later = match item {
            Item::Value(value) => journal.ledger().later_value(id, &value.key),
            Item::File(file) => journal.ledger().later_file(id, &file.path),
        };
        if let Some(later) = later {
            return Err(UndoError::Later { what: item.name(), later });
        }
        match standing {
            Standing::Foreign(now) => found.push(format!("{} ({now})", item.name())),
            Standing::Unknown(why) => unknown.push(format!("{}: {why}", item.name())),
            _ => {}
        }
    }
    if !unknown.is_empty() {
        return Err(UndoError::Unknown(unknown));
    }
    if !found.is_empty() {
        return Err(UndoError::Foreign { set: id, found });
    }
    Ok(())
}
