//! What is counted for one source, and sums of it.

use ctwatch_common::counter::Counter;

/// The counters of one row, or a sum of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets that asked for an entry.
    pub attempts: u64,
    /// Packets that were refused one because the table was full.
    pub refused: u64,
    /// Entries that are gone.
    pub ended: u64,
    /// Refusals that were sent as events.
    pub events_sent: u64,
    /// Refusals whose event found the ring full.
    pub events_lost: u64,
    /// Entries that were thrown out for somebody's packet.
    pub evicted: u64,
    /// Entries of anybody that were thrown out for a packet of this source.
    pub evictions_caused: u64,
    /// Entries that ended without ever having been confirmed.
    pub transient: u64,
}

impl Counters {
    /// From the numbers of a row.
    pub fn from_row(numbers: &[u64; Counter::COUNT]) -> Self {
        let [
            attempts,
            refused,
            ended,
            events_sent,
            events_lost,
            evicted,
            evictions_caused,
            transient,
        ] = *numbers;
        Self {
            attempts,
            refused,
            ended,
            events_sent,
            events_lost,
            evicted,
            evictions_caused,
            transient,
        }
    }

    /// Entries made: attempts that were not refused.
    ///
    /// The two are read one after the other, so while packets are being refused this may be short by those
    /// under way; it is exact as soon as they are through.
    pub fn new_entries(&self) -> u64 {
        self.attempts.saturating_sub(self.refused)
    }

    /// Entries made and not yet gone; negative if more went than came, which is so for
    /// sources whose entries are older than the count.
    pub fn balance(&self) -> i64 {
        signed(self.attempts) - signed(self.refused) - signed(self.ended)
    }

    /// How many entries came or went.
    pub fn churn(&self) -> u64 {
        self.new_entries().saturating_add(self.ended)
    }

    /// Refusals of which no event was sent, by the limit for each source.
    pub fn suppressed(&self) -> u64 {
        self.refused.saturating_sub(self.events_sent).saturating_sub(self.events_lost)
    }

    /// Whether nothing was ever counted.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// Adds another count to this one.
    pub fn add(&mut self, other: &Self) {
        self.attempts = self.attempts.wrapping_add(other.attempts);
        self.refused = self.refused.wrapping_add(other.refused);
        self.ended = self.ended.wrapping_add(other.ended);
        self.events_sent = self.events_sent.wrapping_add(other.events_sent);
        self.events_lost = self.events_lost.wrapping_add(other.events_lost);
        self.evicted = self.evicted.wrapping_add(other.evicted);
        self.evictions_caused = self.evictions_caused.wrapping_add(other.evictions_caused);
        self.transient = self.transient.wrapping_add(other.transient);
    }

    /// What was counted since `earlier`; nothing is less than nothing.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            attempts: self.attempts.saturating_sub(earlier.attempts),
            refused: self.refused.saturating_sub(earlier.refused),
            ended: self.ended.saturating_sub(earlier.ended),
            events_sent: self.events_sent.saturating_sub(earlier.events_sent),
            events_lost: self.events_lost.saturating_sub(earlier.events_lost),
            evicted: self.evicted.saturating_sub(earlier.evicted),
            evictions_caused: self.evictions_caused.saturating_sub(earlier.evictions_caused),
            transient: self.transient.saturating_sub(earlier.transient),
        }
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
