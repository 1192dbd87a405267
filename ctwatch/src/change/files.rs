//! Replaces persistent files for a change set: each is announced in the journal with what it holds, replaced, and read back;
//! when one fails, those before it are put back.

use std::path::PathBuf;

use super::{
    apply::{append, because},
    journal::Journal,
    record::{Contents, Record, SetId, is_persistent},
    system::System,
};

/// A file as it is to be; `None` is to be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileWish {
    /// Which.
    pub path: PathBuf,
    /// What it is to hold.
    pub contents: Option<Vec<u8>>,
}

/// Why files were not replaced.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}{}", if .left.is_empty() { "; all files are as they were before".to_owned() } else { format!("; this could not be put back: {}; try 'ctwatch rollback'", .left.join("; ")) })]
pub struct FilesError {
    /// The file, or the journal.
    pub what: String,
    /// Why.
    pub why: String,
    /// What could not be put back, each with the reason.
    pub left: Vec<String>,
}

/// Makes the files what they are wished to be, in that order, and says in the journal that the change set is persistent. A
/// file that already is stays untouched.
///
/// # Errors
///
/// One could not be replaced. Those before it are put back, and the error says which could not be.
pub fn replace(
    set: SetId,
    wishes: &[FileWish],
    journal: &mut Journal,
    system: &mut impl System,
    at_ms: i64,
) -> Result<(), FilesError> {
    let known = journal.ledger().set(set).into_iter().flat_map(|set| set.files_left());
    let known: Vec<PathBuf> = known.map(|file| file.path.clone()).collect();
    let mut before: Vec<FileWish> = Vec::new();
    let done = wishes
        .iter()
        .try_for_each(|wish| one(set, wish, journal, system, &mut before))
        .and_then(|()| append(journal, system, Record::Persisted { set, at_ms }));
    let Err((what, why)) = done else { return Ok(()) };
    let mut left = Vec::new();
    for old in before.iter().rev() {
        if let Err(error) = put(old, system) {
            left.push(format!("{}: {error}", old.path.display()));
        } else if !known.contains(&old.path) {
            let what = old.path.display().to_string();
            // A journal that is full must not keep anything from being put back.
            let _ = journal.append(system, Record::Restored { set, what });
        }
    }
    Err(FilesError { what, why, left })
}

fn one(
    set: SetId,
    wish: &FileWish,
    journal: &mut Journal,
    system: &mut impl System,
    before: &mut Vec<FileWish>,
) -> Result<(), (String, String)> {
    let name = wish.path.display().to_string();
    if !is_persistent(&wish.path) {
        return Err((name, "ctwatch writes no such file".to_owned()));
    }
    let old = system.file(&wish.path).map_err(|error| (name.clone(), because(&error)))?;
    if old == wish.contents {
        return Ok(());
    }
    let contents = |bytes: &Option<Vec<u8>>| bytes.clone().map(Contents::from);
    let (path, new) = (wish.path.clone(), contents(&wish.contents));
    let replacing = Record::Replacing { set, path: path.clone(), old: contents(&old), new };
    append(journal, system, replacing)?;
    before.push(FileWish { path: path.clone(), contents: old });
    put(wish, system).map_err(|why| (name, why))?;
    append(journal, system, Record::Replaced { set, path })
}

fn put(wish: &FileWish, system: &mut impl System) -> Result<(), String> {
    let written = match &wish.contents {
        Some(contents) => system.replace_file(&wish.path, contents),
        None => system.remove_file(&wish.path),
    };
    written.map_err(|error| because(&error))?;
    let found = system.file(&wish.path).map_err(|error| because(&error))?;
    let is_right = found == wish.contents;
    is_right.then_some(()).ok_or_else(|| "it was written and is not what was written".to_owned())
}
