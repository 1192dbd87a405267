//! What the journal is made of: records, and the lines that they are written as. Nothing that is read is believed: a line has
//! a checksum, a record only names values and files that ctwatch changes.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{checksum::crc32, knob::by_key};

/// The number of a change set: what one `ctwatch apply --yes` does.
pub type SetId = u64;

/// Where changes are persistent: nothing else is ever written there or restored.
pub const PERSISTENT: &str = "/etc";

/// A value of the kernel's that is to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedChange {
    /// The kernel's name of it.
    pub key: String,
    /// What it is.
    pub from: u64,
    /// What it is to be.
    pub to: u64,
}

/// In which network namespace, and since which start of the machine values hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The kernel's random name of its start (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
    /// The number of the namespace.
    pub netns: u32,
    /// What it was called: `self`, a name or a path.
    pub netns_name: String,
    /// Whether it is the initial one, whose values are the machine's.
    pub is_initial: bool,
}

/// Until when a change set must be confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deadline {
    /// On `CLOCK_BOOTTIME`, which no clock adjustment moves, in nanoseconds.
    pub boottime_ns: u64,
    /// How long was given, in seconds.
    pub within_s: u64,
}

/// What was seen of the table for a while, to compare before and after.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// How long was looked, in seconds.
    pub seconds: f64,
    /// Entries held at the end.
    pub entries: u64,
    /// Entries that fitted; `None` if unlimited.
    pub limit: Option<u64>,
    /// Packets that were given an entry, a second.
    pub new_per_s: Option<f64>,
    /// Packets that were refused one because the table was full, a second.
    pub refused_per_s: Option<f64>,
    /// Refused of all that asked, from 0 to 1; `None` if nothing asked or it was not seen.
    pub refused_share: Option<f64>,
}

/// The contents of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Contents {
    /// Text, so that people can read the journal.
    Text(String),
    /// Anything else.
    Bytes(Vec<u8>),
}

impl From<Vec<u8>> for Contents {
    fn from(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(|error| Self::Bytes(error.into_bytes()), Self::Text)
    }
}

impl Contents {
    /// As bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// The beginning of a change set: all that is meant to be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Began {
    /// Its number, higher than all before.
    pub set: SetId,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Where.
    pub place: Place,
    /// The cause that was found.
    pub cause: String,
    /// The ids of the advice that is followed.
    pub advice: Vec<String>,
    /// The values, in the order in which they are changed.
    pub changes: Vec<PlannedChange>,
    /// Until when it must be confirmed; `None` if it need not be.
    pub deadline: Option<Deadline>,
    /// What was seen before.
    pub before: Option<Measured>,
    /// The share of packets that are expected to be refused afterwards.
    pub predicted_refused_share: Option<f64>,
}

/// Who undid a change set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UndoneBy {
    /// `ctwatch apply` itself, because a change failed.
    Failure,
    /// `ctwatch rollback`.
    Operator,
    /// The watchdog, because nobody confirmed in time.
    Watchdog,
    /// A later command, because nobody had confirmed in time and the watchdog was gone.
    Overdue,
}

impl UndoneBy {
    /// In words, behind "rolled back".
    pub const fn words(self) -> &'static str {
        match self {
            Self::Failure => "because a change failed",
            Self::Operator => "by ctwatch rollback",
            Self::Watchdog => "by the watchdog: nobody confirmed in time",
            Self::Overdue => {
                "by a later command: nobody had confirmed in time, and the watchdog was gone"
            }
        }
    }
}

/// One record. The time between two of them is when what the first one says may or may not have happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// A change set begins.
    Began(Began),
    /// A value is about to be changed.
    Changing {
        /// The change set.
        set: SetId,
        /// The kernel's name of the value.
        key: String,
        /// What it is now.
        old: u64,
        /// What it will be.
        new: u64,
    },
    /// It has been changed and read back.
    Changed {
        /// The change set.
        set: SetId,
        /// The kernel's name of the value.
        key: String,
    },
    /// A file is about to be replaced, made or removed.
    Replacing {
        /// The change set that becomes persistent by it.
        set: SetId,
        /// The file.
        path: PathBuf,
        /// What it holds now; `None` if there is none.
        old: Option<Contents>,
        /// What it will hold; `None` if it will be removed.
        new: Option<Contents>,
    },
    /// It has been, and read back.
    Replaced {
        /// The change set.
        set: SetId,
        /// The file.
        path: PathBuf,
    },
    /// Something could not be changed.
    Failed {
        /// The change set.
        set: SetId,
        /// The value or the file.
        what: String,
        /// Why.
        why: String,
    },
    /// A value or a file is what it was before.
    Restored {
        /// The change set.
        set: SetId,
        /// The value or the file.
        what: String,
    },
    /// All values of the plan are changed.
    Applied {
        /// The change set.
        set: SetId,
    },
    /// What was seen afterwards.
    Measured {
        /// The change set.
        set: SetId,
        /// What.
        after: Measured,
    },
    /// Somebody has said that all is well.
    Confirmed {
        /// The change set.
        set: SetId,
        /// When, in milliseconds since 1970.
        at_ms: i64,
    },
    /// All files are written: it outlives a restart of the machine.
    Persisted {
        /// The change set.
        set: SetId,
        /// When, in milliseconds since 1970.
        at_ms: i64,
    },
    /// Values and files are what they were before, but for those that were left.
    RolledBack {
        /// The change set.
        set: SetId,
        /// When, in milliseconds since 1970.
        at_ms: i64,
        /// Who did it.
        by: UndoneBy,
        /// What was left as it is, each with the reason.
        left: Vec<String>,
    },
}

/// Names as in the JSON, to tell a newer version's record from nonsense.
const KINDS: [&str; 12] = [
    "began",
    "changing",
    "changed",
    "replacing",
    "replaced",
    "failed",
    "restored",
    "applied",
    "measured",
    "confirmed",
    "persisted",
    "rolled_back",
];

/// Why a line is no record.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Its checksum is another.
    #[error("is damaged: its checksum is not that of its contents")]
    Damaged,
    /// A record that this version does not know.
    #[error(
        "has a record of the kind '{0}', which this version of ctwatch does not know: use the one that wrote it, or a newer one"
    )]
    NewerVersion(String),
    /// The checksum is right and the contents are not.
    #[error("is no record of ctwatch's: {0}")]
    NoRecord(String),
    /// It names something that ctwatch does not change.
    #[error("names '{0}', which ctwatch does not change")]
    Foreign(String),
}

impl Record {
    /// The change set that it is of.
    pub fn set(&self) -> SetId {
        match self {
            Self::Began(began) => began.set,
            Self::Changing { set, .. }
            | Self::Changed { set, .. }
            | Self::Replacing { set, .. }
            | Self::Replaced { set, .. }
            | Self::Failed { set, .. }
            | Self::Restored { set, .. }
            | Self::Applied { set }
            | Self::Measured { set, .. }
            | Self::Confirmed { set, .. }
            | Self::Persisted { set, .. }
            | Self::RolledBack { set, .. } => *set,
        }
    }

    /// As a line: the checksum of the rest in eight hexadecimal digits, a space, JSON, the line's end.
    ///
    /// # Errors
    ///
    /// It cannot be written as JSON, as a path that is no text.
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        let json = serde_json::to_string(self)?;
        Ok(format!("{:08x} {json}\n", crc32(json.as_bytes())))
    }

    /// From a line without its end.
    ///
    /// # Errors
    ///
    /// It is damaged, of a newer version, or names what must not be changed.
    pub fn from_line(line: &[u8]) -> Result<Self, LineError> {
        let (sum, json) = line.split_at_checked(9).ok_or(LineError::Damaged)?;
        if sum != format!("{:08x} ", crc32(json)).as_bytes() {
            return Err(LineError::Damaged);
        }
        let no_record = |error: serde_json::Error| LineError::NoRecord(error.to_string());
        let value: serde_json::Value = serde_json::from_slice(json).map_err(no_record)?;
        let kind = value.get("kind").and_then(serde_json::Value::as_str).unwrap_or_default();
        if !kind.is_empty() && !KINDS.contains(&kind) {
            return Err(LineError::NewerVersion(kind.to_owned()));
        }
        let record: Self = serde_json::from_value(value).map_err(no_record)?;
        record.names_only_ours()?;
        Ok(record)
    }

    fn names_only_ours(&self) -> Result<(), LineError> {
        let known =
            |key: &String| by_key(key).map(|_| ()).ok_or_else(|| LineError::Foreign(key.clone()));
        match self {
            Self::Began(began) => began.changes.iter().try_for_each(|change| known(&change.key)),
            Self::Changing { key, .. } | Self::Changed { key, .. } => known(key),
            Self::Replacing { path, .. } | Self::Replaced { path, .. } => is_persistent(path)
                .then_some(())
                .ok_or_else(|| LineError::Foreign(path.display().to_string())),
            _ => Ok(()),
        }
    }
}

/// Whether a file is one that changes may be made persistent in.
pub fn is_persistent(path: &Path) -> bool {
    path.starts_with(PERSISTENT)
        && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}
