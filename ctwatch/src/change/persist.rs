//! Makes changes outlast a reboot: decides what the four files are to say, and refuses where that would not do what it seems
//! to. It reads and writes nothing itself.
//!
//! The four: `modules-load.d` loads the module before settings are made; `modprobe.d` gives it its buckets, and with them
//! eight times as many as the limit; `sysctl.d` makes the settings, the limit always among them; a rule of udev's makes them
//! again whenever the module is loaded later than that.

pub mod format;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::PathBuf};

use self::format::{Block, Blocks};
use crate::advise::{
    advice::Change,
    persistence::{
        MARK, Machine, Module, Persistence,
        files::{Files, Place},
        modprobe::Hashsize,
        rounded_up,
    },
    settings::{BUCKETS, HASHSIZE, LIMIT},
};

/// Loads the module when the machine starts.
pub const MODULES_FILE: &str = "/etc/modules-load.d/ctwatch.conf";
/// Gives the module its buckets.
pub const MODPROBE_FILE: &str = "/etc/modprobe.d/ctwatch.conf";
/// Makes the settings: after those of packages, and before those that an administrator has put at the end on purpose, as in
/// `99-local.conf`; who wins is said.
pub const SYSCTL_FILE: &str = "/etc/sysctl.d/90-ctwatch.conf";
/// Makes the settings when the module is loaded late.
pub const UDEV_FILE: &str = "/etc/udev/rules.d/90-ctwatch.rules";

/// Whether files are written although they would not do everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// No.
    Refuse,
    /// Yes: another file wins over some of it, or ours was edited and that is lost.
    Write,
}

/// What is to outlast a reboot.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The number of the change set.
    pub set: u64,
    /// The time, as people read it.
    pub when: String,
    /// Its changes.
    pub changes: &'a [Change],
    /// The namespace that they were made in, if it is not the initial one.
    pub child_namespace: Option<String>,
    /// Whether to write in spite of another file.
    pub force: Force,
}

/// A file, as it is and as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// Which.
    pub path: PathBuf,
    /// What it says; `None` if it is not there.
    pub old: Option<Vec<u8>>,
    /// What it is to say.
    pub new: Vec<u8>,
}

/// What is to be written, and what will come of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The files that are to change.
    pub files: Vec<FileChange>,
    /// Which line wins where another file sets the same, a sentence each.
    pub who_wins: Vec<String>,
}

/// A line of somebody else's that would win.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Winner {
    /// The value.
    pub key: String,
    /// What it is to be.
    pub wanted: u64,
    /// What it would be, and by which line; `None` if no line would set it.
    pub found: Option<(String, Place)>,
}

impl std::fmt::Display for Winner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { key, wanted, found } = self;
        match found {
            Some((value, place)) => {
                write!(formatter, "{place} would make {key} {value}, and not {wanted}")
            }
            None => write!(formatter, "nothing would make {key} {wanted}"),
        }
    }
}

/// Why nothing is made persistent. Nothing has been written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PersistError {
    /// The change set changed no value.
    #[error("change set {0} changed no value that could be written into a file")]
    Nothing(u64),
    /// It was made in a namespace that files are not for.
    #[error(
        "change set {set} was made in the network namespace {namespace}, and the files that are read at the start are for the \
         initial one only: a new namespace begins with the kernel's own defaults, so whoever makes it has to set them, as in \
         the unit or script that has `ip netns add`, or in the settings of the container: {}", commands.join("; ")
    )]
    ChildNamespace {
        /// The change set.
        set: u64,
        /// The namespace.
        namespace: String,
        /// What sets them there.
        commands: Vec<String>,
    },
    /// Values are not what the change set made them.
    #[error(
        "change set {set} is not in force any more, so it is not made persistent: {}; to see what became of it: ctwatch changes", found.join("; ")
    )]
    NotInForce {
        /// The change set.
        set: u64,
        /// What is now, a phrase each.
        found: Vec<String>,
    },
    /// A file of that name is somebody else's.
    #[error(
        "{0} is there and was not written by ctwatch: move it away, and put what it says into a file of another name"
    )]
    NotOurs(String),
    /// A file of ours was edited.
    #[error(
        "{0} was changed by hand since ctwatch wrote it: move those lines into a file of another name, or write it anew without them with --force"
    )]
    Edited(String),
    /// Another file would win.
    #[error(
        "it would not outlast a reboot: {}; remove or correct what wins, or write it nevertheless with --force", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    )]
    Loses(Vec<Winner>),
}

/// What the files are to say so that the changes outlast a reboot, with those of earlier sets that are in them.
///
/// # Errors
///
/// They are not in force any more, are of another namespace, or would not come into force by these files.
pub fn plan_files(
    files: &Files,
    machine: &Machine,
    request: &Request<'_>,
) -> Result<Plan, PersistError> {
    let values = in_force(machine, request)?;
    let blocks = with_earlier(
        files,
        Block { set: request.set, when: request.when.clone(), values },
        request,
    )?;
    let texts = texts(&blocks, machine);
    let mut after = files.clone();
    for (path, text) in &texts {
        own(files, path)?;
        after.put(*path, text.clone());
    }
    let after = Persistence::of(&after, machine);
    let block = blocks.last().into_iter().flat_map(|block| &block.values);
    let wanted: Vec<(&String, u64)> = block.map(|(key, value)| (key, *value)).collect();
    let losers: Vec<Winner> =
        wanted.iter().filter_map(|(key, value)| winner(&after, key, *value)).collect();
    if !losers.is_empty() && request.force == Force::Refuse {
        return Err(PersistError::Loses(losers));
    }
    let mut who_wins: Vec<String> = losers.iter().map(ToString::to_string).collect();
    who_wins.extend(wanted.iter().flat_map(|(key, value)| beaten(&after, key, *value)));
    let changed = texts.into_iter().filter_map(|(path, text)| {
        let old = files.text(path);
        (old != Some(&text)).then(|| FileChange {
            path: PathBuf::from(path),
            old: old.map(|text| text.as_bytes().to_vec()),
            new: text.into_bytes(),
        })
    });
    Ok(Plan { files: changed.collect(), who_wins })
}

/// The values of the set as they are in force, with the limit if the buckets are among them: without it the module would take
/// eight times their number.
fn in_force(
    machine: &Machine,
    request: &Request<'_>,
) -> Result<BTreeMap<String, u64>, PersistError> {
    let Request { set, changes, .. } = request;
    if changes.is_empty() {
        return Err(PersistError::Nothing(*set));
    }
    if let Some(namespace) = &request.child_namespace {
        let commands = changes.iter().map(|change| {
            format!("ip netns exec {namespace} sysctl -w {}={}", change.key, change.to)
        });
        let commands = commands.collect();
        let namespace = namespace.clone();
        return Err(PersistError::ChildNamespace { set: *set, namespace, commands });
    }
    let mut values = BTreeMap::new();
    let mut lost = Vec::new();
    for Change { key, to, .. } in *changes {
        let now = machine.values.get(key).map(String::as_str);
        let made = match (key.as_str(), to.parse().ok()) {
            (HASHSIZE, Some(buckets)) => rounded_up(buckets),
            (_, number) => number,
        };
        match (made, now) {
            (Some(made), Some(now)) if now == made.to_string() => {
                values.insert(key.clone(), made);
            }
            (_, Some(now)) => lost.push(format!("{key} is {now} now, and was made {to}")),
            (_, None) => lost.push(format!("{key}, which was made {to}, cannot be read now")),
        }
    }
    let limit = machine.values.get(LIMIT);
    if values.contains_key(HASHSIZE) && !values.contains_key(LIMIT) {
        match limit.and_then(|limit| limit.parse().ok()) {
            Some(limit) => {
                values.insert(LIMIT.to_owned(), limit);
            }
            None => lost.push(format!(
                "{LIMIT}, which has to be written besides the buckets, cannot be read"
            )),
        }
    }
    if lost.is_empty() {
        Ok(values)
    } else {
        Err(PersistError::NotInForce { set: *set, found: lost })
    }
}

/// The set behind those that are in our file already.
fn with_earlier(
    files: &Files,
    block: Block,
    request: &Request<'_>,
) -> Result<Blocks, PersistError> {
    own(files, SYSCTL_FILE)?;
    let mut blocks = match files.text(SYSCTL_FILE) {
        None => Vec::new(),
        Some(text) => match (format::read_sysctl(text), request.force) {
            (Some(blocks), _) => blocks,
            (None, Force::Write) => Vec::new(),
            (None, Force::Refuse) => return Err(PersistError::Edited(SYSCTL_FILE.to_owned())),
        },
    };
    format::add(&mut blocks, block);
    Ok(blocks)
}

/// A file of that name, if there is one, must be ours, and no link to another.
fn own(files: &Files, path: &str) -> Result<(), PersistError> {
    let is_ours = files
        .by_path
        .get(path)
        .is_none_or(|file| file.link_to.is_none() && file.text.starts_with(MARK));
    if is_ours { Ok(()) } else { Err(PersistError::NotOurs(path.to_owned())) }
}

/// The files that this machine needs: one that has conntrack built in loads no module. In an order in which none is missing that
/// sets the limit once the module is given its buckets, wherever writing is cut off.
fn texts(blocks: &Blocks, machine: &Machine) -> Vec<(&'static str, String)> {
    let mut texts = vec![(SYSCTL_FILE, format::sysctl(blocks))];
    if machine.module != Module::BuiltIn {
        texts.push((UDEV_FILE, format::udev_rules(machine.has_systemd)));
        texts.push((MODULES_FILE, format::modules_load()));
        texts.extend(format::modprobe(blocks).map(|text| (MODPROBE_FILE, text)));
    }
    texts
}

/// What would make a value something else.
fn winner(after: &Persistence, key: &str, wanted: u64) -> Option<Winner> {
    // An option that is no number keeps the module from loading, whatever else is said.
    let unusable = after.directives.hashsize.as_ref();
    if let Some((place, Hashsize::Unusable(options))) = unusable {
        let found =
            Some((format!("unset, as the module does not load with `{options}`"), place.clone()));
        return Some(Winner { key: key.to_owned(), wanted, found });
    }
    let found = after.after_reboot.get(key);
    let is_right = found.is_some_and(|found| found.value == wanted.to_string());
    let found = found.map(|found| (found.value.clone(), found.place.clone()));
    (!is_right).then(|| Winner { key: key.to_owned(), wanted, found })
}

/// The lines of others that say something else and lose.
fn beaten(after: &Persistence, key: &str, wanted: u64) -> Vec<String> {
    let sysctl = if key == HASHSIZE { BUCKETS } else { key };
    let Some(winner) = after.after_reboot.get(key) else { return Vec::new() };
    let sentence = |place: &Place, value: &str| {
        format!("{key}: {} wins over {place}, which says {value}", winner.place)
    };
    let mut found: Vec<String> = after
        .assignments
        .iter()
        .filter(|other| other.key == sysctl && other.place != winner.place)
        .filter(|other| other.number().is_none_or(|number| u64::try_from(number) != Ok(wanted)))
        .map(|other| sentence(&other.place, &other.value))
        .collect();
    if key == HASHSIZE {
        let options = after.directives.hashsizes.iter().filter_map(|(place, size)| match size {
            Hashsize::Buckets(buckets) if *buckets != wanted => Some((place, buckets)),
            _ => None,
        });
        found.extend(options.map(|(place, buckets)| sentence(place, &buckets.to_string())));
    }
    found
}
