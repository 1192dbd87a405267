//! One thing that happened to one packet, as it is told to the user.

use std::net::IpAddr;

use ctwatch_common::source::SourceKey;
use serde::{Deserialize, Serialize};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// A packet was refused an entry because the table was full.
    RefusedTableFull,
}

impl EventKind {
    /// The event's `kind` in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::RefusedTableFull => "refused",
        }
    }

    /// The event's `reason` in JSON.
    pub fn reason(self) -> &'static str {
        match self {
            Self::RefusedTableFull => "table_full",
        }
    }
}

/// An event. One line of output stands for the event itself and for `suppressed` more like it, from the same
/// source, of which nothing else is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in nanoseconds since 1970.
    pub wall_ns: i128,
    /// The network namespace, by inode number.
    pub netns: u32,
    /// What happened.
    pub kind: EventKind,
    /// Whose packet it was, or the prefix that stands for it.
    #[serde(with = "super::key_bytes")]
    pub source: SourceKey,
    /// The packet's protocol.
    pub protocol: u8,
    /// Source port; `None` where the protocol has none or the packet is not known.
    pub source_port: Option<u16>,
    /// Destination address; `None` where the packet is not known.
    pub destination: Option<IpAddr>,
    /// Destination port; `None` where the protocol has none or the packet is not known.
    pub destination_port: Option<u16>,
    /// How many more there were since the last event of this source.
    pub suppressed: u64,
}
