//! How much one snapshot tells, and in what order: what the user asked for.

/// What bounds a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many sources are listed one by one.
    pub listed_sources: usize,
    /// By what they are ordered.
    pub sort_by: SortBy,
    /// How many events one snapshot has at most; 0 if none are wanted.
    pub events: usize,
    /// How many sources are remembered in user space, beyond those that have a row in the kernel.
    pub remembered_sources: usize,
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
}
