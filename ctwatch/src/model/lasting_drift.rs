//! When the numbers of the sources are not to be believed any more without another dump of the table: they
//! stay away from the kernel's own count, or calls were missed of which nobody knows whose they were.

/// So many lines in a row must be away from the kernel's count, beyond what changed while it was read: in one
/// alone an entry may have been caught between its count and the kernel's.
const LINES: u32 = 2;

/// What happened since the last dump.
#[derive(Clone, Copy, Debug, Default)]
pub struct LastingDrift {
    lines: u32,
    missed: u64,
    missed_at_dump: u64,
}

impl LastingDrift {
    /// Takes in a line: its drift, and how many calls were missed since the start; `None` for what is not known.
    pub fn line(&mut self, drift: Option<i64>, missed: Option<u64>) {
        self.lines = if drift.unwrap_or(0) == 0 { 0 } else { self.lines.saturating_add(1) };
        self.missed = missed.unwrap_or(self.missed);
    }

    /// Takes in that there was a dump.
    pub fn dumped(&mut self) {
        self.lines = 0;
        self.missed_at_dump = self.missed;
    }

    /// Whether another one is called for.
    pub fn lasts(&self) -> bool {
        self.lines >= LINES || self.missed > self.missed_at_dump
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_lasts_when_it_is_there_twice_in_a_row() {
        let mut drift = LastingDrift::default();
        for (now, lasts) in [(3, false), (0, false), (3, false), (-1, true), (2, true)] {
            drift.line(Some(now), None);
            assert_eq!(drift.lasts(), lasts, "{now}");
        }
        drift.dumped();
        assert!(!drift.lasts());
        drift.line(None, None);
        assert!(!drift.lasts());
    }

    #[test]
    fn each_missed_call_calls_for_a_dump() {
        let mut drift = LastingDrift::default();
        drift.line(Some(0), Some(2));
        assert!(drift.lasts());
        drift.dumped();
        drift.line(Some(0), Some(2));
        assert!(!drift.lasts());
        drift.line(Some(0), Some(3));
        assert!(drift.lasts());
    }
}
