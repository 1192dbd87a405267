//! Calls that the hooks missed, and what of them can be credited.
//!
//! A missed beginning is one more new entry, a missed end one more ended, of sources that nobody knows: so
//! totals stay exact. The kernel counts misses over all namespaces, so they are credited to one only as long as
//! nothing was counted in another. What is held is credited to nobody only until a dump of the table has found
//! whose it is.

use super::counters::Counters;

/// Calls that the hooks missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// Calls of `__nf_conntrack_alloc`.
    pub attempts: u64,
    /// Calls of `nf_conntrack_free`.
    pub ended: u64,
    /// Returns of `early_drop`, which may have been refusals.
    pub refusals: u64,
    /// Calls that only tell more of what is counted elsewhere.
    pub others: u64,
}

impl Missed {
    /// All of them.
    pub fn total(&self) -> u64 {
        let Self { attempts, ended, refusals, others } = *self;
        [attempts, ended, refusals, others].into_iter().fold(0, u64::saturating_add)
    }

    /// What was missed since `earlier`.
    fn since(&self, earlier: &Self) -> Self {
        Self {
            attempts: self.attempts.saturating_sub(earlier.attempts),
            ended: self.ended.saturating_sub(earlier.ended),
            refusals: self.refusals.saturating_sub(earlier.refusals),
            others: self.others.saturating_sub(earlier.others),
        }
    }

    fn add(&mut self, more: &Self) {
        self.attempts = self.attempts.saturating_add(more.attempts);
        self.ended = self.ended.saturating_add(more.ended);
        self.refusals = self.refusals.saturating_add(more.refusals);
        self.others = self.others.saturating_add(more.others);
    }
}

/// Whether misses are surely of the namespace that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Nothing was counted elsewhere.
    Alone,
    /// They may be of another namespace.
    Shared,
}

/// What is credited to one namespace.
#[derive(Clone, Debug, Default)]
pub struct Credit {
    seen: Missed,
    credited: Missed,
    refused: u64,
    settled: i64,
    is_shared: bool,
}

impl Credit {
    /// Takes in what was missed until now. Once another namespace had a share, nothing more is credited.
    pub fn follow(&mut self, missed: &Missed, share: Share) {
        self.is_shared |= share == Share::Shared;
        let fresh = missed.since(&self.seen);
        self.seen = *missed;
        if !self.is_shared {
            self.credited.add(&fresh);
        }
    }

    /// Takes in how many refusals the kernel counted and how many were counted here: what is missing among these
    /// was missed, as far as returns of `early_drop` were.
    pub fn believe_refusals(&mut self, kernel: u64, counted: u64) {
        let missing = kernel.saturating_sub(counted).min(self.credited.refusals);
        self.refused = self.refused.max(missing);
    }

    /// Attempts, refusals and ends that are credited.
    pub fn counters(&self) -> Counters {
        Counters {
            attempts: self.credited.attempts,
            refused: self.refused,
            ended: self.credited.ended,
            ..Counters::default()
        }
    }

    /// Entries that somebody holds beyond what all sources hold, of whom a dump has not told yet; negative where
    /// sources seem to hold more than they do.
    pub fn unsettled(&self) -> i64 {
        self.counters().balance() - self.settled
    }

    /// As [`Self::unsettled`] at an earlier reading, when this had been missed.
    pub fn unsettled_at(&self, missed: &Missed) -> i64 {
        let since = self.seen.since(missed);
        let balance =
            Counters { attempts: since.attempts, ended: since.ended, ..Counters::default() };
        if self.is_shared { self.unsettled() } else { self.unsettled() - balance.balance() }
    }

    /// Takes in by how much a dump has corrected what all sources hold together. As far as that is what misses
    /// explain it is theirs from now on and nobody's no more, so that nothing is counted twice.
    pub fn settle(&mut self, corrected: i64) {
        let unsettled = self.unsettled();
        self.settled += corrected.clamp(unsettled.min(0), unsettled.max(0));
    }

    /// Takes in the first dump, by which everything is settled.
    pub fn settle_all(&mut self) {
        self.settled = self.counters().balance();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missed(attempts: u64, ended: u64, refusals: u64) -> Missed {
        Missed { attempts, ended, refusals, others: 0 }
    }

    #[test]
    fn what_was_missed_is_held_by_somebody_until_a_dump_tells_whom() {
        let mut credit = Credit::default();
        credit.follow(&missed(9, 2, 0), Share::Alone);
        assert_eq!(credit.unsettled(), 7);
        assert_eq!(credit.unsettled_at(&missed(5, 2, 0)), 3);
        credit.settle(5);
        assert_eq!(credit.unsettled(), 2);
        // A dump that found more than misses explain, and one that found the contrary.
        credit.settle(100);
        credit.settle(-3);
        assert_eq!(credit.unsettled(), 0);
        credit.follow(&missed(9, 6, 0), Share::Alone);
        credit.settle(-3);
        assert_eq!(credit.unsettled(), -1);
        assert_eq!((credit.counters().new_entries(), credit.counters().ended), (9, 6));
    }

    #[test]
    fn misses_are_refusals_as_far_as_the_kernel_counted_more_than_was_seen() {
        let mut credit = Credit::default();
        credit.follow(&missed(10, 3, 4), Share::Alone);
        credit.believe_refusals(102, 100);
        assert_eq!((credit.counters().new_entries(), credit.counters().refused), (8, 2));
        credit.believe_refusals(150, 100);
        assert_eq!(credit.counters().refused, 4);
        credit.believe_refusals(0, 100);
        assert_eq!(credit.counters().refused, 4);
    }

    #[test]
    fn nothing_more_is_credited_once_another_namespace_may_have_missed_it() {
        let mut credit = Credit::default();
        credit.follow(&missed(3, 0, 0), Share::Alone);
        credit.follow(&missed(5, 0, 0), Share::Shared);
        credit.follow(&missed(9, 9, 0), Share::Alone);
        assert_eq!((credit.counters().attempts, credit.counters().ended), (3, 0));
    }
}
