//! What was counted but not sent, told with the events that were.
//!
//! The kernel side limits the events of each source and kind and counts, for each source, what happened, events sent and
//! events lost. The rest was suppressed. It is told with the source's next event of that kind, or, when the source has
//! fallen silent, by an event that stands for the suppressed ones alone: so events + suppressed + lost =
//! what was counted, with nothing told twice.

use std::collections::{HashMap, HashSet};

use ctwatch_common::source::SourceKey;

use super::{
    counters::Counters,
    event::{Event, Kind, Kinds},
    rows::RowReading,
};

/// What has been told of each source and kind.
#[derive(Clone, Debug, Default)]
pub struct Suppressed {
    told: HashMap<(Kind, SourceKey), u64>,
    waiting: HashSet<(Kind, SourceKey)>,
}

/// Whether there will be another interval to tell the rest in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// There will be.
    More,
    /// This is the last one.
    Last,
}

/// The end of an interval.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// When, in nanoseconds since 1970.
    pub wall_ns: i128,
    /// Whether another interval follows.
    pub ending: Ending,
}

impl Suppressed {
    /// Adds to the `events` of the interval between two readings what was suppressed until then.
    ///
    /// The number is at least what was suppressed at the first reading and at most that at the second, so what is just
    /// being sent is never taken for suppressed.
    pub fn tell(
        &mut self,
        netns: u32,
        kinds: Kinds,
        [before, after]: [&RowReading; 2],
        end: End,
        events: &mut Vec<Event>,
    ) {
        let mut last_event: HashMap<(Kind, SourceKey), usize> = HashMap::new();
        for (place, event) in events.iter_mut().enumerate().filter(|(_, event)| is_limited(event)) {
            event.source = after.counted_under(&event.source);
            last_event.insert((event.kind.kind(), event.source), place);
        }
        for (key, early) in before.rows.iter().filter(|(key, _)| key.netns == netns) {
            for kind in kinds.each() {
                let known = known_suppressed(kind, early, &after.counters(key));
                let place = last_event.get(&(kind, *key)).copied();
                self.tell_known((kind, *key), known, place, end, events);
            }
        }
    }

    /// Tells what has happened so many times in all and is in no row, so that no event of it can be sent.
    pub fn tell_nobodys(
        &mut self,
        kind: Kind,
        namespace: SourceKey,
        times: u64,
        end: End,
        events: &mut Vec<Event>,
    ) {
        self.tell_known((kind, namespace), times, None, end, events);
    }

    fn tell_known(
        &mut self,
        of: (Kind, SourceKey),
        known: u64,
        place: Option<usize>,
        end: End,
        events: &mut Vec<Event>,
    ) {
        if known == 0 {
            return;
        }
        let fresh = known.saturating_sub(self.told.get(&of).copied().unwrap_or(0));
        if fresh == 0 {
            self.waiting.remove(&of);
        } else if let Some(event) = place.and_then(|place| events.get_mut(place)) {
            event.suppressed = fresh;
            *self.told.entry(of).or_default() += fresh;
            self.waiting.remove(&of);
        } else if end.ending == Ending::Last || !self.waiting.insert(of) {
            self.waiting.remove(&of);
            *self.told.entry(of).or_default() += fresh;
            let (kind, key) = of;
            events.push(Event::unseen(kind, key, fresh, end.wall_ns));
        }
    }

    /// A row was given up: what it had counted as suppressed is not counted any more.
    pub fn release(&mut self, key: &SourceKey, counters: &Counters) {
        for kind in Kind::ALL {
            if let Some(told) = self.told.get_mut(&(kind, *key)) {
                *told = told.saturating_sub(known_suppressed(kind, counters, counters));
                if *told == 0 {
                    self.told.remove(&(kind, *key));
                    self.waiting.remove(&(kind, *key));
                }
            }
        }
    }
}

/// Whether the kernel side sends only some of its like.
fn is_limited(event: &Event) -> bool {
    event.kind.kind() != Kind::Blocked
}

/// How often something had happened at an `early` reading and was not sent by a `late` one.
///
/// Ends are counted before the reason that makes evictions of them, so that is read late too.
fn known_suppressed(kind: Kind, early: &Counters, late: &Counters) -> u64 {
    let (counted, otherwise) = match kind {
        Kind::Refused => (early.refused, late.events_sent.saturating_add(late.events_lost)),
        Kind::Evicted => (early.evictions(), 0),
        Kind::InsertFailed => (early.insert_failed, 0),
        Kind::Ended => (early.ended, late.evictions()),
        Kind::Blocked => return 0,
    };
    counted.saturating_sub(otherwise).saturating_sub(late.outbox.told(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{rows::tests::row, source};

    const NETNS: u32 = 3;

    fn client() -> SourceKey {
        source::key(NETNS, "10.0.1.2".parse().unwrap(), 17)
    }

    fn reading(refused: u64, sent: u64, lost: u64) -> RowReading {
        let mut reading = RowReading::default();
        reading.add(&row(client(), [refused, refused, 0, sent, lost]));
        reading
    }

    fn event(kind: Kind) -> Event {
        Event::unseen(kind, client(), 1, 0)
    }

    fn told(
        suppressed: &mut Suppressed,
        reading: &RowReading,
        mut events: Vec<Event>,
        ending: Ending,
    ) -> Vec<u64> {
        let kinds = Kinds::of(&Kind::ALL);
        let end = End { wall_ns: 0, ending };
        suppressed.tell(NETNS, kinds, [reading, reading], end, &mut events);
        events.iter().map(|event| event.suppressed).collect()
    }

    #[test]
    fn the_last_event_of_a_source_tells_what_was_suppressed() {
        let mut suppressed = Suppressed::default();
        let two = vec![event(Kind::Refused), event(Kind::Refused)];
        let first = told(&mut suppressed, &reading(10, 2, 1), two, Ending::More);
        assert_eq!(first, [0, 7]);
        let one = vec![event(Kind::Refused)];
        let second = told(&mut suppressed, &reading(15, 3, 1), one, Ending::More);
        assert_eq!(second, [4]);
    }

    #[test]
    fn each_kind_tells_its_own() {
        let mut suppressed = Suppressed::default();
        let mut reading = reading(10, 1, 0);
        let counters = reading.rows.get_mut(&client()).unwrap();
        (counters.ended, counters.evicted, counters.evicted_by_gc) = (20, 4, 2);
        counters.insert_failed = 3;
        (counters.outbox.sent, counters.outbox.lost) = ([2, 0, 1], [1, 0, 5]);
        let events = vec![event(Kind::Ended), event(Kind::Evicted), event(Kind::Refused)];
        let mut told_all = told(&mut suppressed, &reading, events, Ending::Last);
        told_all.sort_unstable();
        // Three insert failures of which none was sent are a line of their own, which is one of them.
        assert_eq!(told_all, [2, 3, 8, 9]);
    }

    #[test]
    fn a_source_that_fell_silent_is_told_one_interval_later() {
        let mut suppressed = Suppressed::default();
        assert_eq!(told(&mut suppressed, &reading(10, 2, 0), vec![], Ending::More), [0_u64; 0]);
        assert_eq!(told(&mut suppressed, &reading(10, 2, 0), vec![], Ending::More), [7]);
        assert_eq!(told(&mut suppressed, &reading(10, 2, 0), vec![], Ending::More), [0_u64; 0]);
    }

    #[test]
    fn the_last_interval_tells_everything() {
        let mut suppressed = Suppressed::default();
        assert_eq!(told(&mut suppressed, &reading(10, 2, 0), vec![], Ending::Last), [7]);
    }

    #[test]
    fn what_is_in_no_row_is_told_once() {
        let (mut suppressed, mut events) = (Suppressed::default(), Vec::new());
        let end = End { wall_ns: 0, ending: Ending::Last };
        for times in [4, 4, 5] {
            let of = client().namespace();
            suppressed.tell_nobodys(Kind::InsertFailed, of, times, end, &mut events);
        }
        assert_eq!(events.iter().map(Event::times).collect::<Vec<_>>(), [4, 1]);
    }

    #[test]
    fn a_refusal_whose_event_is_under_way_is_not_suppressed() {
        let mut suppressed = Suppressed::default();
        let mut events = Vec::new();
        let readings = [&reading(10, 9, 0), &reading(11, 11, 0)];
        let end = End { wall_ns: 0, ending: Ending::Last };
        suppressed.tell(NETNS, Kinds::REFUSED, readings, end, &mut events);
        assert_eq!(events, []);
    }
}
