//! What was lost, at each hop from the kernel to the output.

use serde::{Deserialize, Serialize};

use super::event::Kind;

/// A place where something can be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// Bytes from the ring that were no event.
    DecodeErrors,
    /// Intervals without a snapshot, because the reader had not taken the ones before.
    SkippedTicks,
    /// Events left out of a snapshot because it had as many as it may.
    EventsDropped,
    /// Messages that ctnetlink could not deliver (ENOBUFS).
    NetlinkOverruns,
}

/// Counts of what was lost since the start; `None` where the mode cannot tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Loss {
    /// Refusals whose event found the ring buffer full.
    pub ring_full: Option<u64>,
    /// Evictions whose event found it full; `None` where they are not asked for either.
    pub evicted_ring_full: Option<u64>,
    /// Insert failures whose event found it full, likewise.
    pub insert_failed_ring_full: Option<u64>,
    /// Ends whose event found it full, likewise.
    pub ended_ring_full: Option<u64>,
    /// Attempts counted under a prefix or namespace because there was no row for the source.
    pub map_full: Option<u64>,
    /// Calls that a probe missed.
    pub probe_missed: Option<u64>,
    /// Refusals whose packet could not be told.
    pub requester_unknown: Option<u64>,
    /// Calls whose arguments could not be read.
    pub unreadable: Option<u64>,
    /// See [`Hop::DecodeErrors`].
    pub decode_errors: u64,
    /// See [`Hop::EventsDropped`].
    pub events_dropped: u64,
    /// See [`Hop::SkippedTicks`].
    pub skipped_ticks: u64,
    /// See [`Hop::NetlinkOverruns`].
    pub netlink_overruns: u64,
}

impl Loss {
    /// Events of a kind that found the ring buffer full; `None` where that is not known or not asked for.
    pub fn in_ring(&self, kind: Kind) -> Option<u64> {
        match kind {
            Kind::Refused => self.ring_full,
            Kind::Evicted => self.evicted_ring_full,
            Kind::InsertFailed => self.insert_failed_ring_full,
            Kind::Ended => self.ended_ring_full,
            Kind::Blocked => None,
        }
    }

    /// Counts something lost at a hop.
    pub fn count(&mut self, hop: Hop, lost: u64) {
        let counter = match hop {
            Hop::DecodeErrors => &mut self.decode_errors,
            Hop::SkippedTicks => &mut self.skipped_ticks,
            Hop::EventsDropped => &mut self.events_dropped,
            Hop::NetlinkOverruns => &mut self.netlink_overruns,
        };
        *counter = counter.saturating_add(lost);
    }
}
