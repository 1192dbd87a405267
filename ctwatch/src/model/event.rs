//! One thing that happened to one packet, entry or source, as it is told to the user.

use std::net::IpAddr;

use ctwatch_common::{event::Optional, source::SourceKey};
use serde::{Deserialize, Serialize};

/// The kinds of events that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A packet was refused an entry.
    Refused,
    /// An entry was thrown out before its time to make room.
    Evicted,
    /// An entry could not be inserted, so its packet was dropped.
    InsertFailed,
    /// An entry ended for any other reason.
    Ended,
    /// A source was blocked or capped, or is no more.
    Blocked,
}

impl Kind {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 5] =
        [Self::Refused, Self::Evicted, Self::InsertFailed, Self::Ended, Self::Blocked];

    /// Its name in JSON and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Evicted => "evicted",
            Self::InsertFailed => "insert_failed",
            Self::Ended => "ended",
            Self::Blocked => "blocked",
        }
    }

    /// What the kernel side calls it, where it sends it only if it is asked to.
    pub fn optional(self) -> Option<Optional> {
        match self {
            Self::Refused | Self::Blocked => None,
            Self::Evicted => Some(Optional::Evicted),
            Self::InsertFailed => Some(Optional::InsertFailed),
            Self::Ended => Some(Optional::Ended),
        }
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// No kind.
    pub const NONE: Self = Self(0);
    /// Refusals alone.
    pub const REFUSED: Self = Self(1 << Kind::Refused as u8);
    /// Those that are rare where all is well: all but ends.
    pub const RARE: Self = Self(
        Self::REFUSED.0
            | 1 << Kind::Evicted as u8
            | 1 << Kind::InsertFailed as u8
            | 1 << Kind::Blocked as u8,
    );

    /// Those of a list.
    pub fn of(kinds: &[Kind]) -> Self {
        Self(kinds.iter().fold(0, |set, kind| set | 1 << *kind as u8))
    }

    /// Those that are in both.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether it has a kind.
    pub fn has(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Its kinds, in their order.
    pub fn each(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| self.has(*kind))
    }

    /// What the kernel side is asked to send besides refusals, a bit each.
    pub fn optional_bits(self) -> u32 {
        self.each().filter_map(Kind::optional).fold(0, |bits, optional| bits | optional.bit())
    }
}

/// What happened, and why as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// A packet was refused an entry because the table was full.
    RefusedTableFull,
    /// An entry was thrown out for somebody's packet, because the table was full.
    EvictedTableFull,
    /// An entry was thrown out by the garbage collector, because the table was nearly full.
    EvictedNearlyFull,
    /// Entries were thrown out, some for one of these reasons and some for the other.
    Evicted,
    /// There was another entry with the same tuple.
    InsertFailedClash,
    /// A chain of the hash was too long.
    InsertFailedChainTooLong,
    /// The entry was deleted before it was in the table.
    InsertFailedDeleted,
    /// It is not known why.
    InsertFailed,
    /// The entry never was in the table: its packet was dropped on the way.
    EndedUnconfirmed,
    /// Its time was over.
    EndedTimedOut,
    /// It was deleted.
    EndedDeleted,
    /// A packet closed it, such as a TCP reset, or its last user was late.
    EndedClosed,
    /// It is not known why.
    Ended,
    /// A source was blocked.
    Blocked,
    /// A source may hold so many entries and no more.
    Capped,
    /// Its time anew, or another cap.
    Prolonged,
    /// It is let in again, or capped no more, as its time was over.
    Expired,
    /// It was let in again, or is capped no more, before its time.
    Lifted,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::RefusedTableFull,
        Self::EvictedTableFull,
        Self::EvictedNearlyFull,
        Self::Evicted,
        Self::InsertFailedClash,
        Self::InsertFailedChainTooLong,
        Self::InsertFailedDeleted,
        Self::InsertFailed,
        Self::EndedUnconfirmed,
        Self::EndedTimedOut,
        Self::EndedDeleted,
        Self::EndedClosed,
        Self::Ended,
        Self::Blocked,
        Self::Capped,
        Self::Prolonged,
        Self::Expired,
        Self::Lifted,
    ];

    /// Of which kind, and why; `None` if it is not known, or for several reasons.
    fn row(self) -> (Kind, Option<&'static str>) {
        match self {
            Self::RefusedTableFull => (Kind::Refused, Some("table_full")),
            Self::EvictedTableFull => (Kind::Evicted, Some("table_full")),
            Self::EvictedNearlyFull => (Kind::Evicted, Some("nearly_full")),
            Self::Evicted => (Kind::Evicted, None),
            Self::InsertFailedClash => (Kind::InsertFailed, Some("clash")),
            Self::InsertFailedChainTooLong => (Kind::InsertFailed, Some("chain_too_long")),
            Self::InsertFailedDeleted => (Kind::InsertFailed, Some("deleted")),
            Self::InsertFailed => (Kind::InsertFailed, None),
            Self::EndedUnconfirmed => (Kind::Ended, Some("unconfirmed")),
            Self::EndedTimedOut => (Kind::Ended, Some("timed_out")),
            Self::EndedDeleted => (Kind::Ended, Some("deleted")),
            Self::EndedClosed => (Kind::Ended, Some("closed")),
            Self::Ended => (Kind::Ended, None),
            Self::Blocked => (Kind::Blocked, Some("blocked")),
            Self::Capped => (Kind::Blocked, Some("capped")),
            Self::Prolonged => (Kind::Blocked, Some("prolonged")),
            Self::Expired => (Kind::Blocked, Some("expired")),
            Self::Lifted => (Kind::Blocked, Some("lifted")),
        }
    }

    /// Of which kind.
    pub fn kind(self) -> Kind {
        self.row().0
    }

    /// The event's `reason` in JSON; `None` if it is not known.
    pub fn reason(self) -> Option<&'static str> {
        self.row().1
    }

    /// What stands for events of a kind of which nothing else is known.
    pub fn unseen(kind: Kind) -> Self {
        match kind {
            Kind::Refused => Self::RefusedTableFull,
            Kind::Evicted => Self::Evicted,
            Kind::InsertFailed => Self::InsertFailed,
            Kind::Ended => Self::Ended,
            Kind::Blocked => Self::Blocked,
        }
    }
}

/// For whom, or by whom, it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum By {
    /// For a packet of this source.
    Requester {
        /// Its source address.
        source: IpAddr,
        /// Its protocol.
        protocol: u8,
    },
    /// By this process.
    Process {
        /// What the kernel calls it (`comm`).
        name: String,
        /// Its number.
        id: u32,
    },
}

/// What is known of a block or a cap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Block {
    /// Who did it; `None` if that is not written beside it.
    pub by: Option<String>,
    /// Why; `None` if that is not written beside it.
    pub why: Option<String>,
    /// Until when, in nanoseconds since 1970; `None` if for ever, which ctwatch never does.
    pub until_wall_ns: Option<i128>,
    /// How many entries it may hold; `None` for a block.
    pub entries_max: Option<u32>,
    /// Packets that were dropped since, as far as that was looked at; `None` if they are not counted.
    pub dropped_packets: Option<u64>,
}

/// An event. One line of output stands for the event itself and for `suppressed` more of its kind, from the same
/// source, of which nothing else is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in nanoseconds since 1970.
    pub wall_ns: i128,
    /// The network namespace, by inode number.
    pub netns: u32,
    /// What happened.
    pub kind: EventKind,
    /// Whose packet or entry it was, or the prefix that stands for it.
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
    /// How many more there were since the last event of this kind and source.
    pub suppressed: u64,
    /// For whom or by whom; `None` where that says nothing or is not known.
    #[serde(default)]
    pub by: Option<By>,
    /// Of a block or cap.
    #[serde(default)]
    pub block: Option<Block>,
}

impl Event {
    /// How many times it happened: this time, and those that are suppressed.
    pub fn times(&self) -> u64 {
        self.suppressed.saturating_add(1)
    }

    /// Of something that happened so many times, of which nothing else is known.
    pub fn unseen(kind: Kind, source: SourceKey, times: u64, wall_ns: i128) -> Self {
        Self {
            wall_ns,
            netns: source.netns,
            kind: EventKind::unseen(kind),
            source,
            protocol: source.protocol,
            source_port: None,
            destination: None,
            destination_port: None,
            suppressed: times.saturating_sub(1),
            by: None,
            block: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_the_kinds_it_was_made_of() {
        let kinds = Kinds::of(&[Kind::Ended, Kind::Refused, Kind::Ended]);
        assert_eq!(kinds.each().collect::<Vec<_>>(), [Kind::Refused, Kind::Ended]);
        assert_eq!(kinds.optional_bits(), Optional::Ended.bit());
        assert_eq!((Kinds::of(&[Kind::Refused]), Kinds::NONE), (Kinds::REFUSED, Kinds::of(&[])));
    }

    #[test]
    fn what_is_not_known_of_a_kind_is_of_that_kind() {
        for kind in Kind::ALL {
            assert_eq!(EventKind::unseen(kind).kind(), kind);
        }
    }
}
