//! One row of the memory that the kernel side counts in and the user side reads.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{counter::Counter, source::SourceKey};

/// A source and its counters: two cache lines, of which the first has all that a connection counts while
/// the table is not full.
///
/// A row whose key is all zero is free. Row [`UNATTRIBUTED`] keeps the zero key and
/// is never free: it has the counts that belong to no source.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Row {
    /// Whose row this is.
    pub key: SourceKey,
    /// The counters by [`Counter`], each only ever growing while the row has its key.
    pub counters: [u64; Counter::COUNT],
}

/// Size of a row in bytes.
pub const ROW_BYTES: usize = size_of::<Row>();

/// The row for counts that belong to no source.
pub const UNATTRIBUTED: u32 = 0;

/// The kinds of rows. Each has rows of its own, so that a flood of sources cannot use up
/// the rows of the prefixes that are to take it over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Tier {
    /// Rows of single addresses.
    Source = 0,
    /// Rows of prefixes.
    Prefix = 1,
    /// Rows of whole namespaces.
    Namespace = 2,
}

const _: () = assert!(ROW_BYTES == 128);
