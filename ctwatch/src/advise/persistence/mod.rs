//! What the files that outlast a reboot will do to conntrack, and which of them will not do what they seem to. Pure: the
//! files' texts come from elsewhere, and nothing here says what to write into them.

pub mod files;
mod findings;
pub mod loading;
pub mod modprobe;
pub mod sysctl;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use self::{
    files::{Files, Place},
    loading::{Applied, Loading},
    modprobe::{Directives, Hashsize},
    sysctl::Assignment,
};
use super::settings::{BUCKETS, HASHSIZE, LIMIT};

/// What begins the text of each file that ctwatch wrote, so that it never takes another's for its own.
pub const MARK: &str = "# Written by ctwatch";

/// How conntrack is in the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Module {
    /// Part of the kernel's image: it is there before any file is read.
    BuiltIn,
    /// A module that is loaded.
    Loaded,
    /// A module that is not loaded.
    #[default]
    NotLoaded,
}

/// What else decides what the files will do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Whether systemd sets the sysctls when the machine starts; else procps does (`sysctl --system`).
    pub has_systemd: bool,
    /// How conntrack is in the kernel.
    pub module: Module,
    /// The values in force, by key, the buckets by [`HASHSIZE`]; empty where they could not be read.
    pub values: BTreeMap<String, String>,
}

/// A file that does not do what it seems to, or does more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersistenceFinding {
    /// Its name, the same as long as it is about the same.
    pub id: Cow<'static, str>,
    /// What is wrong, in one sentence.
    pub what: String,
    /// The file.
    pub file: String,
    /// The line in it, counted from 1; `None` if it is about something that is missing.
    pub line: Option<u32>,
    /// What the kernel, or the program that reads the file, does with it.
    pub why: String,
    /// What puts it right.
    pub what_to_do: String,
}

/// Why a value will be what it will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// A sysctl is set to it.
    Sysctl,
    /// The module is given it when it is loaded.
    ModuleOption,
    /// The module is given its number of buckets, and takes eight times that as the limit (`nf_conntrack_init_start`,
    /// net/netfilter/nf_conntrack_core.c).
    EightTimesBuckets,
}

/// What a value will be after a reboot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AfterReboot {
    /// The value.
    pub value: String,
    /// The line that decides it.
    pub place: Place,
    /// How that line does.
    pub cause: Cause,
}

/// All that the files of a machine say of conntrack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Persistence {
    /// Every setting of a sysctl of conntrack's, in the order in which they are made.
    pub assignments: Vec<Assignment>,
    /// What modprobe is told.
    pub directives: Directives,
    /// Who loads the module, and who sets sysctls when it is loaded.
    pub loading: Loading,
    /// What each value will be after a reboot, by key, the buckets by [`HASHSIZE`]; what is not in it will be the kernel's
    /// default.
    pub after_reboot: BTreeMap<String, AfterReboot>,
    /// What is wrong.
    pub findings: Vec<PersistenceFinding>,
}

impl Persistence {
    /// Reads the files as the programs do that are run when a machine starts.
    pub fn of(files: &Files, machine: &Machine) -> Self {
        let assignments = sysctl::in_order(files, machine);
        let directives = modprobe::read(files);
        let loading = loading::read(files, machine, &directives);
        let after_reboot = after_reboot(&assignments, &directives, &loading, machine);
        let mut found =
            Self { assignments, directives, loading, after_reboot, findings: Vec::new() };
        found.findings = findings::of(&found, files, machine);
        found
    }

    /// The assignment of a sysctl that wins over all others, whether or not it will be made.
    pub fn last_assignment(&self, key: &str) -> Option<&Assignment> {
        self.assignments.iter().rfind(|assignment| assignment.key == key)
    }
}

fn after_reboot(
    assignments: &[Assignment],
    directives: &Directives,
    loading: &Loading,
    machine: &Machine,
) -> BTreeMap<String, AfterReboot> {
    let mut after = BTreeMap::new();
    // A module that was built in before any file can be read takes no options from files.
    if machine.module != Module::BuiltIn
        && let Some((place, Hashsize::Buckets(buckets))) = &directives.hashsize
        && let Some(buckets) = rounded_up(*buckets).filter(|buckets| *buckets > 0)
    {
        let mut set = |key: &str, value: u64, cause| {
            let place = place.clone();
            after.insert(key.to_owned(), AfterReboot { value: value.to_string(), place, cause });
        };
        set(HASHSIZE, buckets, Cause::ModuleOption);
        set(LIMIT, buckets.saturating_mul(8), Cause::EightTimesBuckets);
    }
    for assignment in assignments {
        if loading.applied(&assignment.name) == Applied::Never {
            continue;
        }
        let (key, value) = match (assignment.key.as_str(), assignment.number()) {
            (BUCKETS, Some(buckets)) => {
                let rounded = u64::try_from(buckets).ok().and_then(rounded_up);
                (HASHSIZE, rounded.map_or(assignment.value.clone(), |buckets| buckets.to_string()))
            }
            (key, Some(number)) => (key, number.to_string()),
            // The kernel takes no value that is no number.
            (_, None) => continue,
        };
        let place = assignment.place.clone();
        after.insert(key.to_owned(), AfterReboot { value, place, cause: Cause::Sysctl });
    }
    after
}

/// The number of buckets that the kernel makes of one: whole pages of them (`nf_ct_alloc_hashtable`,
/// net/netfilter/nf_conntrack_core.c; 512 where a page has 4096 bytes and a pointer 8); `None` if that does not fit.
pub fn rounded_up(buckets: u64) -> Option<u64> {
    buckets.checked_next_multiple_of(512)
}
