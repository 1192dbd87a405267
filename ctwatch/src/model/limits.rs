//! How much one snapshot tells, and in what order: what the user asked for.

use std::time::Duration;

use ipnet::IpNet;

use super::event::Kinds;

/// What bounds a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many sources are listed one by one.
    pub listed_sources: usize,
    /// By what they are ordered.
    pub sort_by: SortBy,
    /// Which events are wanted.
    pub kinds: Kinds,
    /// How many events one snapshot has at most.
    pub events: usize,
    /// How many sources are remembered in user space, beyond those that have a row in the kernel.
    pub remembered_sources: usize,
    /// Whose rows are listed, and whose destinations are counted; everybody's unless said.
    pub only: Option<IpNet>,
    /// The table is walked at least so often; without it only once, and under pressure.
    pub census_every: Option<Duration>,
}

/// What sources are ordered by, the largest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortBy {
    /// Entries held now.
    Entries,
    /// Entries made in the last interval.
    New,
    /// Packets refused in the last interval.
    Refused,
    /// Entries of anybody thrown out for them since the start.
    EvictionsCaused,
    /// Entries held times seconds, since the start.
    EntrySeconds,
}
