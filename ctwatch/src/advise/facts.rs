//! What is known of the machine besides the table: plain values, read elsewhere.

use super::addresses::Addresses;

/// Everything known of the machine. What could not be read is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// What the kernel's log tells of earlier trouble.
    pub log: LogSigns,
}

/// Memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// All of the machine's (`MemTotal`).
    pub total_bytes: Option<u64>,
    /// What can be had without swapping (`MemAvailable`).
    pub available_bytes: Option<u64>,
    /// Of one entry, by its slab.
    pub entry_bytes: Option<u64>,
    /// Of the extensions of one entry, as measured or as its settings imply.
    pub extension_bytes: Option<u64>,
}

/// A network namespace that tracks connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceFacts {
    /// Its inode number.
    pub netns: u32,
    /// Its name, or a path to it.
    pub name: String,
    /// Its entries.
    pub entries: u64,
}

/// Somebody else who sets some of the settings, so that a change will not last, or belongs there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// Who: a program or a file.
    pub who: String,
    /// Which settings, by dotted name; empty if that is not known.
    pub keys: Vec<String>,
    /// How to change them there.
    pub how: String,
}

/// Somebody who needs connections to be tracked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Who: a rule set, a program, a module.
    pub who: String,
    /// What shows that.
    pub why: String,
}

/// What the kernel's log tells, counted with the lines that its rate limit suppressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSigns {
    /// "table full, dropping packet", in any wording.
    pub table_full: u64,
    /// "expectation table full".
    pub expectation_table_full: u64,
    /// Lines of the kernel's network code that its rate limit suppressed.
    pub suppressed: u64,
    /// Whether the log could be read.
    pub is_known: bool,
}
