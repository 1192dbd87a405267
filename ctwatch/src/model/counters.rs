//! What is counted for one source, and sums of it.

use ctwatch_common::{
    counter::Counter,
    event::{Optional, Outbox},
};
use serde::{Deserialize, Serialize};

use super::event::Kind;

/// The counters of one row, or a sum of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Packets that asked for an entry.
    pub attempts: u64,
    /// Entries that are gone.
    pub ended: u64,
    /// Entries that ended without ever having been confirmed.
    pub transient: u64,
    /// Entries that ended when their time was over.
    pub timed_out: u64,
    /// Entries that were deleted before that: by a user, a flush, or as a device went down.
    pub deleted: u64,
    /// Packets that were refused one because the table was full.
    pub refused: u64,
    /// Refusals that were sent as events.
    pub events_sent: u64,
    /// Refusals whose event found the ring full.
    pub events_lost: u64,
    /// Entries that were thrown out for somebody's packet.
    pub evicted: u64,
    /// Entries of anybody that were thrown out for a packet of this source.
    pub evictions_caused: u64,
    /// Entries that the garbage collector threw out because the table was nearly full.
    pub evicted_by_gc: u64,
    /// Packets whose entry could not be inserted, while that was looked at.
    pub insert_failed: u64,
    /// Of these, those for which a hash chain was too long.
    pub chain_too_long: u64,
    /// Events of the kinds that are sent only where they are asked for.
    pub outbox: Sent,
}

/// Events of each [`Optional`] kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sent {
    /// How many were sent.
    pub sent: [u64; Optional::COUNT],
    /// How many found the ring full.
    pub lost: [u64; Optional::COUNT],
}

impl Sent {
    /// How many of a kind were sent or lost.
    pub fn told(&self, kind: Kind) -> u64 {
        let at = |numbers: &[u64]| {
            kind.optional()
                .and_then(|optional| numbers.get(optional as usize))
                .copied()
                .unwrap_or(0)
        };
        at(&self.sent).saturating_add(at(&self.lost))
    }

    fn each(&self, other: &Self, one: fn(u64, u64) -> u64) -> Self {
        let all = |mine: [u64; Optional::COUNT], theirs: [u64; Optional::COUNT]| {
            let mut pairs = mine.into_iter().zip(theirs).map(|(mine, theirs)| one(mine, theirs));
            std::array::from_fn(|_| pairs.next().unwrap_or(0))
        };
        Self { sent: all(self.sent, other.sent), lost: all(self.lost, other.lost) }
    }
}

impl From<&Outbox> for Sent {
    fn from(outbox: &Outbox) -> Self {
        Self { sent: outbox.sent, lost: outbox.lost }
    }
}

impl Counters {
    /// From the numbers of a row.
    pub fn from_row(numbers: &[u64; Counter::COUNT]) -> Self {
        let [
            attempts,
            ended,
            transient,
            timed_out,
            deleted,
            refused,
            events_sent,
            events_lost,
            evicted,
            evictions_caused,
            evicted_by_gc,
            insert_failed,
            chain_too_long,
        ] = *numbers;
        Self {
            attempts,
            ended,
            transient,
            timed_out,
            deleted,
            refused,
            events_sent,
            events_lost,
            evicted,
            evictions_caused,
            evicted_by_gc,
            insert_failed,
            chain_too_long,
            outbox: Sent::default(),
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

    /// Entries that were thrown out before their time to make room.
    pub fn evictions(&self) -> u64 {
        self.evicted.saturating_add(self.evicted_by_gc)
    }

    /// Whether nothing was ever counted.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// Entries that got into the table, or whose first packet is still on its way there.
    pub fn confirmed(&self) -> u64 {
        self.new_entries().saturating_sub(self.transient)
    }

    /// Entries that ended for none of the other reasons: closed by a packet, such as a TCP reset, or whoever used
    /// them last let go only later.
    pub fn closed(&self) -> u64 {
        let reasons =
            [self.transient, self.timed_out, self.evicted, self.evicted_by_gc, self.deleted];
        reasons.iter().fold(self.ended, |rest, reason| rest.saturating_sub(*reason))
    }

    /// Adds another count to this one.
    pub fn add(&mut self, other: &Self) {
        self.attempts = self.attempts.wrapping_add(other.attempts);
        self.ended = self.ended.wrapping_add(other.ended);
        self.transient = self.transient.wrapping_add(other.transient);
        self.timed_out = self.timed_out.wrapping_add(other.timed_out);
        self.deleted = self.deleted.wrapping_add(other.deleted);
        self.refused = self.refused.wrapping_add(other.refused);
        self.events_sent = self.events_sent.wrapping_add(other.events_sent);
        self.events_lost = self.events_lost.wrapping_add(other.events_lost);
        self.evicted = self.evicted.wrapping_add(other.evicted);
        self.evictions_caused = self.evictions_caused.wrapping_add(other.evictions_caused);
        self.evicted_by_gc = self.evicted_by_gc.wrapping_add(other.evicted_by_gc);
        self.insert_failed = self.insert_failed.wrapping_add(other.insert_failed);
        self.chain_too_long = self.chain_too_long.wrapping_add(other.chain_too_long);
        self.outbox = self.outbox.each(&other.outbox, u64::wrapping_add);
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
            timed_out: self.timed_out.saturating_sub(earlier.timed_out),
            evicted_by_gc: self.evicted_by_gc.saturating_sub(earlier.evicted_by_gc),
            deleted: self.deleted.saturating_sub(earlier.deleted),
            insert_failed: self.insert_failed.saturating_sub(earlier.insert_failed),
            chain_too_long: self.chain_too_long.saturating_sub(earlier.chain_too_long),
            outbox: self.outbox.each(&earlier.outbox, u64::saturating_sub),
        }
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_one_reason() {
        let counters = Counters {
            attempts: 20,
            refused: 2,
            ended: 15,
            transient: 5,
            timed_out: 4,
            evicted: 3,
            evicted_by_gc: 1,
            deleted: 1,
            ..Counters::default()
        };
        assert_eq!((counters.closed(), counters.confirmed()), (1, 13));
    }
}
