//! What the journal says has been done, and what became of it: a pure function of its records.

use std::path::{Path, PathBuf};

use super::record::{Began, Contents, Measured, Record, SetId, UndoneBy};

/// How far a change of one value or file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It was about to be made: it may have been or not.
    Begun,
    /// It was made.
    Made,
    /// It was undone.
    Restored,
}

/// A value that a change set changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueChange {
    /// The kernel's name.
    pub key: String,
    /// Before.
    pub old: u64,
    /// After.
    pub new: u64,
    /// How far.
    pub step: Step,
}

/// A file that a change set changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// Which.
    pub path: PathBuf,
    /// Before; `None` if there was none.
    pub old: Option<Contents>,
    /// After, `None` if it was removed: all that it was made by this change set, the last one last.
    pub made: Vec<Option<Contents>>,
    /// How far.
    pub step: Step,
}

/// That and how a change set was undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolledBack {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// By whom.
    pub by: UndoneBy,
    /// What was left as it was, each with the reason.
    pub left: Vec<String>,
}

/// One change set.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeSet {
    /// What was meant to be done.
    pub began: Began,
    /// The values that were changed, or about to be, in that order.
    pub values: Vec<ValueChange>,
    /// The files, in that order.
    pub files: Vec<FileChange>,
    /// Whether all values were changed.
    pub is_applied: bool,
    /// What failed, and why.
    pub failures: Vec<String>,
    /// What was seen afterwards.
    pub after: Option<Measured>,
    /// When it was confirmed, in milliseconds since 1970.
    pub confirmed_at_ms: Option<i64>,
    /// When it was made persistent, in milliseconds since 1970.
    pub persisted_at_ms: Option<i64>,
    /// That it was undone.
    pub rolled_back: Option<RolledBack>,
}

impl ChangeSet {
    /// Its number.
    pub fn id(&self) -> SetId {
        self.began.set
    }

    /// Whether it was begun and neither finished nor undone: ctwatch was cut off, or is at it now.
    pub fn is_cut_off(&self) -> bool {
        !self.is_applied && self.rolled_back.is_none()
    }

    /// Whether it still has to be confirmed, or it will be undone.
    pub fn awaits_confirmation(&self) -> bool {
        self.began.deadline.is_some()
            && self.confirmed_at_ms.is_none()
            && self.rolled_back.is_none()
    }

    /// Whether its time to be confirmed is over. After a restart of the machine (another `boot`) its values are gone.
    pub fn is_overdue(&self, boot: &str, boottime_ns: u64) -> bool {
        self.awaits_confirmation()
            && self.began.place.boot == boot
            && self.began.deadline.is_some_and(|deadline| deadline.boottime_ns <= boottime_ns)
    }

    /// Values that have not been restored yet, in the order in which they were changed.
    pub fn values_left(&self) -> impl DoubleEndedIterator<Item = &ValueChange> {
        self.values.iter().filter(|value| value.step != Step::Restored)
    }

    /// Files that have not been restored yet, in the order in which they were changed.
    pub fn files_left(&self) -> impl DoubleEndedIterator<Item = &FileChange> {
        self.files.iter().filter(|file| file.step != Step::Restored)
    }
}

/// That a record does not follow from those before it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("does not follow from the lines before it: {0}")]
pub struct Misplaced(String);

/// All change sets, the oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    sets: Vec<ChangeSet>,
}

impl Ledger {
    /// All, the oldest first.
    pub fn sets(&self) -> &[ChangeSet] {
        &self.sets
    }

    /// The one of that number.
    pub fn set(&self, id: SetId) -> Option<&ChangeSet> {
        self.sets.iter().find(|set| set.id() == id)
    }

    /// The latest that has not been undone.
    pub fn latest(&self) -> Option<&ChangeSet> {
        self.sets.iter().rev().find(|set| set.rolled_back.is_none())
    }

    /// The number of the next one.
    pub fn next_id(&self) -> SetId {
        self.sets.last().map_or(1, |last| last.id().saturating_add(1))
    }

    /// A later change set that has not been undone and changed the same value.
    pub fn later_value(&self, id: SetId, key: &str) -> Option<SetId> {
        self.later(id, |set| set.values_left().any(|value| value.key == key))
    }

    /// A later change set that has not been undone and changed the same file.
    pub fn later_file(&self, id: SetId, path: &Path) -> Option<SetId> {
        self.later(id, |set| set.files_left().any(|file| file.path == path))
    }

    fn later(&self, id: SetId, has: impl Fn(&ChangeSet) -> bool) -> Option<SetId> {
        let later = self.sets.iter().filter(|set| set.id() > id && set.rolled_back.is_none());
        later.filter(|set| has(set)).map(ChangeSet::id).next_back()
    }

    /// Takes the next record.
    ///
    /// # Errors
    ///
    /// It does not follow from those before it; nothing has changed then.
    pub fn take(&mut self, record: Record) -> Result<(), Misplaced> {
        let id = record.set();
        if let Record::Began(began) = record {
            if id < self.next_id() {
                return Err(Misplaced(format!("change set {id} begins after a later one")));
            }
            self.sets.push(ChangeSet {
                began,
                values: Vec::new(),
                files: Vec::new(),
                is_applied: false,
                failures: Vec::new(),
                after: None,
                confirmed_at_ms: None,
                persisted_at_ms: None,
                rolled_back: None,
            });
            return Ok(());
        }
        let known = self.sets.iter_mut().find(|set| set.id() == id);
        let set = known.ok_or_else(|| Misplaced(format!("change set {id} never began")))?;
        take(set, record).map_err(|what| Misplaced(format!("{what} in change set {id}")))
    }
}

fn take(set: &mut ChangeSet, record: Record) -> Result<(), String> {
    if set.rolled_back.is_some() {
        return Err("something happens after it was rolled back".to_owned());
    }
    match record {
        Record::Began(_) => return Err("it begins twice".to_owned()),
        Record::Changing { key, old, new, .. } => {
            if set.is_applied || !set.began.changes.iter().any(|change| change.key == key) {
                return Err(format!("{key} is changed and was not to be"));
            }
            if set.values.iter().any(|value| value.key == key) {
                return Err(format!("{key} is changed twice"));
            }
            set.values.push(ValueChange { key, old, new, step: Step::Begun });
        }
        Record::Changed { key, .. } => value(set, &key)?.step = Step::Made,
        Record::Replacing { path, old, new, .. } => {
            // Made persistent once more: what was there at first is what has to be restored, unless it was.
            let known = set.files.iter_mut().find(|file| file.path == path);
            if let Some(file) = known.filter(|file| file.step != Step::Restored) {
                file.made.push(new);
                file.step = Step::Begun;
            } else {
                set.files.retain(|file| file.path != path);
                set.files.push(FileChange { path, old, made: vec![new], step: Step::Begun });
            }
        }
        Record::Replaced { path, .. } => file(set, &path)?.step = Step::Made,
        Record::Failed { what, why, .. } => set.failures.push(format!("{what}: {why}")),
        Record::Restored { what, .. } => {
            if let Ok(value) = value(set, &what) {
                value.step = Step::Restored;
            } else {
                file(set, Path::new(&what))?.step = Step::Restored;
            }
        }
        Record::Applied { .. } => set.is_applied = true,
        Record::Measured { after, .. } => set.after = Some(after),
        Record::Confirmed { at_ms, .. } => set.confirmed_at_ms = Some(at_ms),
        Record::Persisted { at_ms, .. } => set.persisted_at_ms = Some(at_ms),
        Record::RolledBack { at_ms, by, left, .. } => {
            set.rolled_back = Some(RolledBack { at_ms, by, left });
        }
    }
    Ok(())
}

fn value<'a>(set: &'a mut ChangeSet, key: &str) -> Result<&'a mut ValueChange, String> {
    let found = set.values.iter_mut().find(|value| value.key == key);
    found.ok_or_else(|| format!("{key} was not being changed"))
}

fn file<'a>(set: &'a mut ChangeSet, path: &Path) -> Result<&'a mut FileChange, String> {
    let found = set.files.iter_mut().find(|file| file.path == path);
    found.ok_or_else(|| format!("{} was not being changed", path.display()))
}
