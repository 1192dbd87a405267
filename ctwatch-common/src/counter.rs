//! The counters that every row has, and the per-CPU totals that check them.

/// What is counted for each source in the kernel. The discriminant is the place in the row.
///
/// The first five are what a connection counts while the table is not full: they share the key's cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Counter {
    /// Packets that asked for an entry (`__nf_conntrack_alloc` entered).
    Attempts = 0,
    /// Entries that are gone (`nf_conntrack_free` entered), whatever the reason. Counted before the reason is.
    Ended = 1,
    /// Entries that ended without ever having been confirmed: their packet was dropped on the way.
    Transient = 2,
    /// Entries that ended when their time was over.
    TimedOut = 3,
    /// Entries that ended before their time inside a deletion: by a user, a flush, or as a device went down.
    Deleted = 4,
    /// Packets that were refused one because the table was full (`early_drop` returned false).
    Refused = 5,
    /// Refusals that went to user space as an event.
    EventsSent = 6,
    /// Refusals whose event found the ring buffer full.
    EventsLost = 7,
    /// Entries that were thrown out for somebody's packet while the table was full.
    Evicted = 8,
    /// Entries of anybody that were thrown out for a packet of this source.
    EvictionsCaused = 9,
    /// Entries that ended before their time inside the garbage collector, which does that near the limit.
    EvictedByGc = 10,
    /// Packets whose entry could not be inserted (`__nf_conntrack_confirm` said NF_DROP).
    InsertFailed = 11,
    /// Of these, those for which a hash chain was too long.
    ChainTooLong = 12,
}

impl Counter {
    /// How many counters there are.
    pub const COUNT: usize = 13;
}

/// What is counted for each CPU, independently of the rows. The discriminant is the place in the array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Witness {
    /// As [`Counter::Attempts`], whatever the source.
    Attempts = 0,
    /// As [`Counter::Refused`], whatever the source.
    Refused = 1,
    /// As [`Counter::Ended`], whatever the source.
    Ended = 2,
    /// As [`Counter::EventsSent`], whatever the source.
    EventsSent = 3,
    /// As [`Counter::EventsLost`], whatever the source.
    EventsLost = 4,
    /// Refusals whose packet could not be told, counted under no source.
    RequesterUnknown = 5,
    /// Calls whose arguments could not be read, counted under no source.
    Unreadable = 6,
    /// Beginnings and ends that were to be traced and found the ring buffer full.
    TracesLost = 7,
}

impl Witness {
    /// How many places one CPU has: a cache line of 64-bit counters.
    pub const COUNT: usize = 8;
}
