//! The record of one event, as it lies in the ring buffer.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The value of [`EventRecord::kind`] for a packet that was refused an entry because the table was full.
pub const KIND_REFUSED_TABLE_FULL: u8 = 1;
/// The value of [`EventRecord::kind`] for a packet that asked for an entry, while that is traced.
pub const KIND_BEGAN: u8 = 2;
/// The value of [`EventRecord::kind`] for an entry that is gone, while that is traced.
pub const KIND_ENDED: u8 = 3;

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
}

/// Size of a record in bytes.
pub const EVENT_BYTES: usize = size_of::<EventRecord>();

const _: () = assert!(EVENT_BYTES == 56);
