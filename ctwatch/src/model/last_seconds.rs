//! The last so many seconds of one namespace, exactly: of a recording, which may go on for hours.

use std::{collections::VecDeque, sync::Arc};

use super::{recent::Lately, snapshot::Snapshot};

/// Into so many parts a window is divided: it begins at one of them.
const PARTS: f64 = 60.0;

/// The last so many seconds of the snapshots of one namespace.
#[derive(Clone, Debug)]
pub struct LastSeconds {
    seconds: f64,
    /// The last snapshot before it; `None` if that is when counting began.
    before: Option<Arc<Snapshot>>,
    parts: VecDeque<Lately>,
}

impl LastSeconds {
    /// The last `seconds`, or up to a sixtieth more.
    pub fn of_last(seconds: f64) -> Self {
        Self { seconds, before: None, parts: VecDeque::new() }
    }

    /// Goes on by an interval. Where counting has begun again, so does what was seen.
    pub fn add(&mut self, snapshot: &Arc<Snapshot>) {
        if self.parts.back().is_some_and(|last| !last.is_continued_by(snapshot)) {
            *self = Self::of_last(self.seconds);
        }
        match self.parts.back_mut().filter(|last| last.seconds < self.seconds / PARTS) {
            Some(last) => last.go_on(snapshot),
            None => self.parts.push_back(Lately::begin(snapshot)),
        }
        let mut seconds: f64 = self.parts.iter().map(|part| part.seconds).sum();
        while let Some(first) = self.parts.front()
            && seconds - first.seconds >= self.seconds
        {
            seconds -= first.seconds;
            self.before = self.parts.pop_front().map(|part| part.last);
        }
    }

    /// What was seen, its counters beginning at 0; `None` if nothing was.
    pub fn seen(&self) -> Option<Lately> {
        let (front, back) = (self.parts.front()?, self.parts.back()?);
        let meanwhile = || self.parts.iter().map(|part| &*part.last);
        let counted = |snapshot: &Arc<Snapshot>| match &self.before {
            Some(before) => Arc::new(snapshot.since(before, meanwhile())),
            None => Arc::clone(snapshot),
        };
        Some(Lately {
            first: counted(&front.first),
            last: counted(&back.last),
            entries_max: self.parts.iter().map(|part| part.entries_max).max()?,
            seconds: self.parts.iter().map(|part| part.seconds).sum(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::mode::Mode, output::sample};

    /// A snapshot after so many entries were made, all of them held.
    fn snapshot(new: u64, interval_s: f64, attached_at_wall_ns: i128) -> Arc<Snapshot> {
        let mut snapshot = sample::snapshot();
        (snapshot.table.entries, snapshot.totals.new) = (new, Some(new));
        snapshot.interval_s = interval_s;
        snapshot.mode =
            Arc::new(Mode { attached_at_wall_ns: Some(attached_at_wall_ns), ..Mode::default() });
        Arc::new(snapshot)
    }

    fn lately(seconds: f64, intervals: impl IntoIterator<Item = (u64, f64)>) -> Lately {
        let mut seen = LastSeconds::of_last(seconds);
        intervals.into_iter().for_each(|(new, length_s)| seen.add(&snapshot(new, length_s, 0)));
        seen.seen().unwrap()
    }

    #[test]
    fn all_of_it_is_what_a_look_would_have_seen() {
        let intervals = [(10, 1.0), (40, 1.0), (30, 1.0), (35, 0.02)];
        let seen = lately(3.0, intervals);
        let mut live = Lately::begin(&snapshot(10, 1.0, 0));
        intervals[1..].iter().for_each(|(new, length)| live.go_on(&snapshot(*new, *length, 0)));
        assert_eq!(seen.seconds.to_bits(), live.seconds.to_bits());
        assert_eq!((seen.entries_max, live.entries_max), (40, 40));
        for (seen, live) in [(&seen.first, &live.first), (&seen.last, &live.last)] {
            assert_eq!(format!("{seen:?}"), format!("{live:?}"));
        }
    }

    #[test]
    fn only_the_last_of_it_counts_from_its_beginning() {
        let seen = lately(3.0, (1..=10).map(|second| (100 * second, 1.0)));
        assert_eq!((seen.first.table.entries, seen.last.table.entries), (800, 1000));
        assert_eq!((seen.first.totals.new, seen.last.totals.new), (Some(100), Some(300)));
        assert_eq!((seen.entries_max, seen.seconds), (1000, 3.0));
    }

    #[test]
    fn an_hour_is_kept_in_sixtieths_and_its_peak_is_found() {
        let mut lately = LastSeconds::of_last(3600.0);
        for second in 0..10_000 {
            lately.add(&snapshot(if second == 7000 { 50_000 } else { second }, 1.0, 0));
        }
        assert!(lately.parts.len() <= 61, "{}", lately.parts.len());
        let seen = lately.seen().unwrap();
        assert!((3600.0..=3661.0).contains(&seen.seconds), "{}", seen.seconds);
        assert_eq!(seen.entries_max, 50_000);
        assert_eq!(seen.last.totals.new, Some(seen.seconds as u64));
    }

    #[test]
    fn where_counting_has_begun_again_so_has_it() {
        let mut lately = LastSeconds::of_last(10.0);
        lately.add(&snapshot(500, 1.0, 0));
        lately.add(&snapshot(7, 1.0, 1));
        let seen = lately.seen().unwrap();
        assert_eq!((seen.last.totals.new, seen.entries_max, seen.seconds), (Some(7), 7, 1.0));
        assert!(LastSeconds::of_last(10.0).seen().is_none());
    }
}
