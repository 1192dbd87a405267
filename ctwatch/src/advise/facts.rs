//! What is known of the machine besides the table: plain values, read elsewhere, or recorded.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{addresses::Addresses, persistence::Persistence};
use crate::model::snapshot::KernelStatistics;

/// Everything known of the machine. What could not be read is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Its memory, and what an entry takes of it.
    pub memory: Memory,
    /// Whether limit and buckets, which are the whole machine's, can be changed from here.
    pub may_change_machine: Option<bool>,
    /// All network namespaces that track connections, this one included.
    pub namespaces: Vec<NamespaceFacts>,
    /// Whether sources are translated here, so that the RFCs' floors for NATs hold.
    pub translates_sources: Option<bool>,
    /// Expectations held now, over all helpers.
    pub expectations: Option<u64>,
    /// Its own addresses, and whom it depends on.
    pub addresses: Addresses,
    /// Who else writes these settings.
    pub writers: Vec<Writer>,
    /// Which rules or services need connections to be tracked.
    pub users: Vec<User>,
    /// Whether `users` are all there are: only then does nobody in it mean that nobody needs it.
    pub are_users_known: bool,
    /// Rules that keep packets from being tracked; `None` if the rules could not be read.
    pub notrack_rules: Option<u64>,
    /// Timeouts that rules have of their own (`ct timeout` of nft, `nfct timeout`): with any, what an entry has left does not
    /// say how long it has been idle. `None` if that could not be asked for.
    pub timeouts_of_rules: Option<u64>,
    /// What the kernel's log tells of earlier trouble.
    pub log: LogSigns,
    /// How conntrack is in the kernel, and which modules keep it there.
    pub modules: Modules,
    /// Where this program runs, as far as that keeps it from changing anything.
    pub surroundings: Surroundings,
    /// The kernel's counters of each CPU since the namespace was made; empty where the kernel has no file of them.
    pub statistics_by_cpu: Vec<KernelStatistics>,
    /// Settings under the names of Linux 2.6 (`net.ipv4.netfilter.ip_conntrack_*`) that this kernel still has.
    pub legacy_names: Vec<String>,
    /// What the files say that are read when the machine starts.
    pub persistence: Persistence,
    /// What could not be read.
    pub unread: Vec<Unread>,
}

/// Something that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    /// What is not known because of it.
    pub what: Cow<'static, str>,
    /// Why, and what to do about it.
    pub why: String,
}

/// Memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// All of the machine's (`MemTotal`).
    pub total_bytes: Option<u64>,
    /// What can be had without swapping (`MemAvailable`).
    pub available_bytes: Option<u64>,
    /// Of one entry, by its slab.
    pub entry_bytes: Option<u64>,
    /// Of the extensions of one new entry, as the settings, the listeners and the rules imply.
    pub extension_bytes: Option<u64>,
    /// What makes new entries have extensions; empty if nothing does.
    pub extension_reasons: Vec<Cow<'static, str>>,
    /// Entries in use over all namespaces, by their slab, which counts those that a CPU keeps ready as well.
    pub entry_objects: Option<u64>,
    /// Pieces of the size of extensions in use, whoever uses them: no more entries than these can have any.
    pub extension_objects_max: Option<u64>,
}

/// A network namespace that tracks connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceFacts {
    /// Its inode number.
    pub netns: u32,
    /// Its name, or a path to it.
    pub name: String,
    /// Its entries.
    pub entries: u64,
}

/// Somebody else who sets some of the settings, so that a change will not last, or belongs there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writer {
    /// Who: a program or a file.
    pub who: String,
    /// Which settings, by dotted name; empty if that is not known.
    pub keys: Vec<String>,
    /// How to change them there.
    pub how: String,
}

/// Somebody who needs connections to be tracked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Who: a rule set, a program, a module.
    pub who: String,
    /// What shows that.
    pub why: String,
    /// What for.
    pub need: Need,
}

/// What somebody needs tracked connections for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Need {
    /// To translate addresses: it cannot be done without.
    Translation,
    /// To tell packets of known connections from others: rules can be written without it.
    State,
    /// A program that makes rules, or lives on the table.
    Program,
}

/// How conntrack is in the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Modules {
    /// Whether it is there at all.
    pub is_loaded: bool,
    /// Whether it is built in, so that it cannot be removed.
    pub is_built_in: bool,
    /// All modules that need it, in an order in which they can be removed: each before those that it needs, and
    /// conntrack itself last. Empty where it is built in.
    pub removal_order: Vec<ModuleUse>,
}

/// A module in the way of removing conntrack, or conntrack itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleUse {
    /// Its name.
    pub name: String,
    /// The modules that need it.
    pub used_by: Vec<String>,
    /// How often anything else than a module holds it: rules, sockets, traced functions.
    pub held: u64,
}

/// Where this program runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Surroundings {
    /// Whether the namespace that is looked at is the machine's first one, which alone can change limit and buckets.
    pub is_initial_namespace: Option<bool>,
    /// What runs the container that this program is in; `None` if there is no sign of one.
    pub container: Option<String>,
    /// Which of `/proc/sys` and `/sys` are mounted so that nothing can be written.
    pub read_only: Vec<Cow<'static, str>>,
}

/// What the kernel's log tells, counted with the lines that its rate limit suppressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogSigns {
    /// "table full, dropping packet", in any wording.
    pub table_full: u64,
    /// "expectation table full".
    pub expectation_table_full: u64,
    /// Lines of the kernel's network code that its rate limit suppressed.
    pub suppressed: u64,
    /// Seconds since the last line that says that a table was full.
    pub last_full_s_ago: Option<u64>,
    /// How far the log goes back, in seconds.
    pub covers_s: Option<u64>,
    /// Whether the log could be read.
    pub is_known: bool,
}
