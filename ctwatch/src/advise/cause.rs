//! Why the table fills, or what else is wrong with it.

use super::{advice::Datum, bounds::Bounds, case::Case};

/// The causes, in the words of the JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nothing is wrong.
    None,
    /// One source, or a few, hold or open far more than all others.
    SingleSource,
    /// Many sources of next to no entries each, which have not shown to be there.
    SpoofedFlood,
    /// Entries that nobody uses any more stay for a long timeout.
    LingeringState,
    /// Everybody needs more than there is.
    Growth,
    /// Hash chains are so long that entries are not inserted, or look-ups are slow.
    BucketsTooSmall,
    /// The hash table is so large that the kernel does not find entries to evict.
    BucketsTooLarge,
    /// An address of source NAT has no port left towards a destination.
    SnatPorts,
    /// The table of expectations is full.
    Expectations,
    /// The kernel has no memory for entries.
    Memory,
    /// Connections are tracked and nothing needs it.
    ConntrackNotNeeded,
}

impl Cause {
    /// Its name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SingleSource => "single_source",
            Self::SpoofedFlood => "spoofed_flood",
            Self::LingeringState => "lingering_state",
            Self::Growth => "growth",
            Self::BucketsTooSmall => "buckets_too_small",
            Self::BucketsTooLarge => "buckets_too_large",
            Self::SnatPorts => "snat_ports",
            Self::Expectations => "expectations",
            Self::Memory => "memory",
            Self::ConntrackNotNeeded => "conntrack_not_needed",
        }
    }
}

/// The cause, and what it was concluded from.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The cause.
    pub cause: Cause,
    /// A few plain sentences with the numbers.
    pub explanation: String,
    /// The numbers.
    pub evidence: Vec<Datum>,
}

/// Names the one cause that explains most of what is wrong.
pub fn classify(_case: &Case, _bounds: &Bounds) -> Finding {
    Finding {
        cause: Cause::None,
        explanation: "nothing is wrong with the table".to_owned(),
        evidence: Vec::new(),
    }
}
