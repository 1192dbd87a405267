//! Where the kernel keeps what the hooks read.
//!
//! The tuple has had the same layout in every kernel since 5.4, so its offsets are constants here, which
//! the user side compares with the running kernel's BTF before it loads anything. All other offsets differ
//! between builds; they come from BTF and are set as globals of the object.

/// Offsets in `struct nf_conntrack_tuple` (include/net/netfilter/nf_conntrack_tuple.h), in bytes.
pub mod tuple {
    /// `src.u3`: source address, 16 bytes.
    pub const SOURCE: usize = 0;
    /// `src.u.all`: source port or ICMP identifier, big-endian.
    pub const SOURCE_PORT: usize = 16;
    /// `src.l3num`: address family, in the machine's byte order.
    pub const FAMILY: usize = 18;
    /// `dst.u3`: destination address, 16 bytes.
    pub const DESTINATION: usize = 20;
    /// `dst.u.all`: destination port, or ICMP type and code, big-endian.
    pub const DESTINATION_PORT: usize = 36;
    /// `dst.protonum`: IP protocol number.
    pub const PROTOCOL: usize = 38;
    /// Bytes of the tuple that are read.
    pub const SIZE: usize = 40;
}

/// Distances in `struct nf_conn` (include/net/netfilter/nf_conntrack.h), in bytes.
pub mod entry {
    /// From `timeout` to the original tuple: the zone and the tuple's hash node lie between, and whatever else
    /// differs between builds lies before or behind.
    pub const TIMEOUT_TO_TUPLE: usize = 24;
}

/// What user space tells the hooks while they run: the words of the kernel side's map `CONTROL`.
pub mod control {
    /// Not zero while refusals are to be looked for among dropped packets.
    pub const WATCH_DROPS: u32 = 0;
    /// Not zero while every beginning and end of an entry is to be sent as an event.
    pub const TRACE: u32 = 1;
    /// How many words there are.
    pub const WORDS: u32 = 2;
}
