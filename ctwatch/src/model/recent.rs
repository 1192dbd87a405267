//! What has happened lately, in a look that goes on: the counters of its last seconds only.
//!
//! Advice is on a look whose counters begin at 0. Here two snapshots from before are kept, and the counters of the
//! older one are taken off, so that what is judged is at least one span long and less than two.

use std::sync::Arc;

use super::snapshot::Snapshot;

/// The beginnings of the last two spans.
#[derive(Clone, Debug)]
pub struct Recent {
    span_s: f64,
    older: Beginning,
    newer: Option<Beginning>,
    last: Arc<Snapshot>,
}

/// A snapshot, and what has been since.
#[derive(Clone, Debug)]
struct Beginning {
    /// `None` at the start of the look, where all counters are 0.
    before: Option<Arc<Snapshot>>,
    first: Arc<Snapshot>,
    seconds: f64,
    entries_max: u64,
}

/// The last seconds of a look.
#[derive(Clone, Debug)]
pub struct Lately {
    /// How long they were.
    pub seconds: f64,
    /// The snapshot of their first interval.
    pub first: Arc<Snapshot>,
    /// The last snapshot, with the counters of these seconds only.
    pub last: Arc<Snapshot>,
    /// The most entries that were held at the end of an interval.
    pub entries_max: u64,
}

impl Recent {
    /// Begins with the first snapshot of a look.
    pub fn new(span_s: f64, first: Arc<Snapshot>) -> Self {
        Self { span_s, older: Beginning::at(None, Arc::clone(&first)), newer: None, last: first }
    }

    /// Takes in the next one; where the counters have begun anew, so does this.
    pub fn take(&mut self, next: Arc<Snapshot>) {
        if next.mode.attached_at_wall_ns != self.last.mode.attached_at_wall_ns {
            *self = Self::new(self.span_s, next);
            return;
        }
        self.older.go_on(&next);
        match &mut self.newer {
            Some(newer) => newer.go_on(&next),
            None if self.older.seconds >= self.span_s => {
                self.newer = Some(Beginning::at(Some(Arc::clone(&self.last)), Arc::clone(&next)));
            }
            None => {}
        }
        if let Some(newer) = self.newer.take_if(|newer| newer.seconds >= self.span_s) {
            self.older = newer;
            self.newer = Some(Beginning::at(Some(Arc::clone(&self.last)), Arc::clone(&next)));
        }
        self.last = next;
    }

    /// What has happened lately. It goes through all sources: not to be called for each frame.
    pub fn lately(&self) -> Lately {
        let Beginning { before, first, seconds, entries_max } = &self.older;
        let last = match before {
            Some(before) => Arc::new(self.last.since(before, [])),
            None => Arc::clone(&self.last),
        };
        Lately { seconds: *seconds, first: Arc::clone(first), last, entries_max: *entries_max }
    }
}

impl Beginning {
    fn at(before: Option<Arc<Snapshot>>, first: Arc<Snapshot>) -> Self {
        Self { before, seconds: first.interval_s, entries_max: first.table.entries, first }
    }

    fn go_on(&mut self, next: &Snapshot) {
        self.seconds += next.interval_s;
        self.entries_max = self.entries_max.max(next.table.entries);
    }
}

impl Lately {
    /// One interval.
    pub fn begin(first: &Arc<Snapshot>) -> Self {
        Self {
            seconds: first.interval_s,
            first: Arc::clone(first),
            last: Arc::clone(first),
            entries_max: first.table.entries,
        }
    }

    /// Whether a snapshot goes on counting: where conntrack has been loaded again the counters have begun again.
    pub fn is_continued_by(&self, next: &Snapshot) -> bool {
        self.last.mode.attached_at_wall_ns == next.mode.attached_at_wall_ns
    }

    /// Goes on by an interval.
    pub fn go_on(&mut self, next: &Arc<Snapshot>) {
        self.seconds += next.interval_s;
        self.last = Arc::clone(next);
        self.entries_max = self.entries_max.max(next.table.entries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::snapshot::SourceNumbers, output::sample};

    fn at(second: u64) -> Arc<Snapshot> {
        let mut snapshot = sample::snapshot();
        let count = |numbers: &mut SourceNumbers| {
            numbers.new = Some(second * 100);
            numbers.refused = None;
            numbers.entries = Some(second);
        };
        count(&mut snapshot.totals);
        snapshot.sources.iter_mut().for_each(count);
        snapshot.table.entries = 1000 - second;
        snapshot.kernel.insert_failed = Some(second);
        Arc::new(snapshot)
    }

    fn after(seconds: u64) -> Lately {
        let mut recent = Recent::new(10.0, at(1));
        (2..=seconds).for_each(|second| recent.take(at(second)));
        recent.lately()
    }

    #[test]
    fn counters_are_those_of_the_last_seconds() {
        for seconds in 1..100_u64 {
            let lately = after(seconds);
            let looked = lately.seconds as u64;
            assert!(looked == seconds.min(looked) && looked < 20, "{looked} of {seconds}");
            assert!(looked >= seconds.min(10), "{looked} of {seconds}");
            let source = lately.last.sources.first().unwrap();
            for numbers in [&lately.last.totals, source] {
                assert_eq!(numbers.new, Some(looked * 100), "after {seconds} s");
                assert_eq!((numbers.refused, numbers.entries), (None, Some(seconds)));
            }
            assert_eq!(lately.last.kernel.insert_failed, Some(looked));
            // It falls, so the first of these seconds has the most.
            assert_eq!(lately.entries_max, lately.first.table.entries);
            assert_eq!(lately.entries_max, 1000 - (seconds - looked + 1));
        }
    }

    #[test]
    fn where_counting_begins_anew_so_does_this() {
        let mut recent = Recent::new(10.0, at(50));
        let mut anew = Snapshot::clone(&at(3));
        anew.mode = Arc::new(crate::model::mode::Mode {
            attached_at_wall_ns: Some(1),
            ..(*anew.mode).clone()
        });
        recent.take(Arc::new(anew));
        let lately = recent.lately();
        assert_eq!((lately.seconds, lately.last.totals.new), (1.0, Some(300)));
    }
}
