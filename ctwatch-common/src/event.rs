//! The record of one event, as it lies in the ring buffer, and what a row remembers of those that it has sent.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The value of [`EventRecord::kind`] for a packet that was refused an entry because the table was full.
pub const KIND_REFUSED_TABLE_FULL: u8 = 1;
/// The value of [`EventRecord::kind`] for a packet that asked for an entry, while that is traced.
pub const KIND_BEGAN: u8 = 2;
/// The value of [`EventRecord::kind`] for an entry that is gone, while that is traced.
pub const KIND_ENDED: u8 = 3;
/// An entry was thrown out for somebody's packet, because the table was full; [`EventRecord::by`] is whose.
pub const KIND_EVICTED_FOR_PACKET: u8 = 4;
/// An entry was thrown out by the garbage collector, because the table was nearly full.
pub const KIND_EVICTED_BY_GC: u8 = 5;
/// An entry could not be inserted: there is another one with its tuple.
pub const KIND_INSERT_CLASH: u8 = 6;
/// An entry could not be inserted: it clashed with none and was not deleted, so a hash chain was too long.
pub const KIND_INSERT_CHAIN_TOO_LONG: u8 = 7;
/// An entry could not be inserted: it was deleted before.
pub const KIND_INSERT_DELETED: u8 = 8;
/// An entry ended that never was in the table.
pub const KIND_END_UNCONFIRMED: u8 = 9;
/// An entry ended as its time was over.
pub const KIND_END_TIMED_OUT: u8 = 10;
/// An entry was deleted; [`EventRecord::by`] is the name of the task that did it.
pub const KIND_END_DELETED: u8 = 11;
/// An entry ended for none of the other reasons.
pub const KIND_END_CLOSED: u8 = 12;

/// One event. All numbers are in the machine's byte order, addresses in the network's.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct EventRecord {
    /// When, in nanoseconds of `CLOCK_MONOTONIC` (`bpf_ktime_get_ns`).
    pub time_ns: u64,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// The row that the event is counted in.
    pub row: u32,
    /// Source address of the packet, before translation.
    pub source: [u8; 16],
    /// Destination address of the packet, before translation.
    pub destination: [u8; 16],
    /// Source port, or the identifier of an ICMP query.
    pub source_port: u16,
    /// Destination port, or type and code of an ICMP message.
    pub destination_port: u16,
    /// `AF_INET` or `AF_INET6`.
    pub family: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// What happened: one of the `KIND_` constants.
    pub kind: u8,
    /// For whose packet, by its source address; or the name of the task that did it; or zeros.
    pub by: [u8; 16],
    /// The process that did it; 0 if it is not known.
    pub by_process: u32,
    /// The family of the address in `by`; 0 if it is none.
    pub by_family: u16,
    /// The protocol of the packet that it was done for.
    pub by_protocol: u8,
    /// Nothing.
    pub reserved: u8,
}

/// Size of a record in bytes.
pub const EVENT_BYTES: usize = size_of::<EventRecord>();

const _: () = assert!(EVENT_BYTES == 80);

/// Kinds of events that are sent only where user space asks for them, and limited each by itself. The discriminant is the
/// place in an [`Outbox`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Optional {
    /// Entries thrown out to make room.
    Evicted = 0,
    /// Entries that could not be inserted.
    InsertFailed = 1,
    /// Entries that ended for any other reason.
    Ended = 2,
}

impl Optional {
    /// How many there are.
    pub const COUNT: usize = 3;

    /// Its bit in the kernel side's global `WANTED`.
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// What a row has sent of each [`Optional`] kind.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Outbox {
    /// When it may send the next one, in nanoseconds of `CLOCK_MONOTONIC`.
    pub next_ns: [u64; Optional::COUNT],
    /// How many it has sent.
    pub sent: [u64; Optional::COUNT],
    /// How many found the ring buffer full.
    pub lost: [u64; Optional::COUNT],
}

/// Size of an outbox in bytes.
pub const OUTBOX_BYTES: usize = size_of::<Outbox>();
