//! Refusals that were counted but not sent, told with the events that were.
//!
//! The kernel side limits the events of each source and counts, for each source, refusals, events sent and
//! events lost. The rest was suppressed. It is told with the source's next event, or, when the source has
//! fallen silent, by an event that stands for the suppressed ones alone: so events + suppressed + lost =
//! refused, with nothing told twice.

use std::collections::{HashMap, HashSet};

use ctwatch_common::source::SourceKey;

use super::{
    event::{Event, EventKind},
    rows::RowReading,
};

/// What has been told of each source.
#[derive(Clone, Debug, Default)]
pub struct Suppressed {
    told: HashMap<SourceKey, u64>,
    waiting: HashSet<SourceKey>,
}

/// Whether there will be another interval to tell the rest in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// There will be.
    More,
    /// This is the last one.
    Last,
}

impl Suppressed {
    /// Adds to the `events` of the interval between two readings what was suppressed until then.
    ///
    /// The number is at least what was suppressed at the first reading and at most that at the second, so a
    /// refusal whose event is just being sent is never taken for a suppressed one.
    pub fn tell(
        &mut self,
        netns: u32,
        before: &RowReading,
        after: &RowReading,
        wall_ns: i128,
        ending: Ending,
        events: &mut Vec<Event>,
    ) {
        let mut last_event: HashMap<SourceKey, usize> = HashMap::new();
        for (place, event) in events.iter_mut().enumerate() {
            event.source = after.counted_under(&event.source);
            last_event.insert(event.source, place);
        }
        for (key, early) in
            before.rows.iter().filter(|(key, early)| key.netns == netns && early.refused > 0)
        {
            let late = after.counters(key);
            let known =
                early.refused.saturating_sub(late.events_sent).saturating_sub(late.events_lost);
            let told = self.told.entry(*key).or_default();
            let fresh = known.saturating_sub(*told);
            let event = last_event.get(key).and_then(|place| events.get_mut(*place));
            if let Some(event) = event {
                event.suppressed = fresh;
                *told += fresh;
                self.waiting.remove(key);
            } else if fresh == 0 {
                self.waiting.remove(key);
            } else if ending == Ending::Last || !self.waiting.insert(*key) {
                self.waiting.remove(key);
                *told += fresh;
                events.push(unseen(netns, *key, fresh, wall_ns));
            }
        }
    }

    /// A row was given up: what it had counted as suppressed is not counted any more.
    pub fn release(&mut self, key: &SourceKey, suppressed: u64) {
        if let Some(told) = self.told.get_mut(key) {
            *told = told.saturating_sub(suppressed);
            if *told == 0 {
                self.told.remove(key);
                self.waiting.remove(key);
            }
        }
    }
}

/// An event for refusals of which no packet is known: itself, and the others as suppressed.
fn unseen(netns: u32, source: SourceKey, refusals: u64, wall_ns: i128) -> Event {
    Event {
        wall_ns,
        netns,
        kind: EventKind::RefusedTableFull,
        source,
        protocol: source.protocol,
        source_port: None,
        destination: None,
        destination_port: None,
        suppressed: refusals.saturating_sub(1),
    }
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

    fn event() -> Event {
        unseen(NETNS, client(), 1, 0)
    }

    fn told(
        suppressed: &mut Suppressed,
        reading: &RowReading,
        events: Vec<Event>,
        ending: Ending,
    ) -> Vec<u64> {
        let mut events = events;
        suppressed.tell(NETNS, reading, reading, 0, ending, &mut events);
        events.iter().map(|event| event.suppressed).collect()
    }

    #[test]
    fn the_last_event_of_a_source_tells_what_was_suppressed() {
        let mut suppressed = Suppressed::default();
        let first = told(&mut suppressed, &reading(10, 2, 1), vec![event(), event()], Ending::More);
        assert_eq!(first, [0, 7]);
        let second = told(&mut suppressed, &reading(15, 3, 1), vec![event()], Ending::More);
        assert_eq!(second, [4]);
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
    fn a_refusal_whose_event_is_under_way_is_not_suppressed() {
        let mut suppressed = Suppressed::default();
        let mut events = Vec::new();
        suppressed.tell(
            NETNS,
            &reading(10, 9, 0),
            &reading(11, 11, 0),
            0,
            Ending::Last,
            &mut events,
        );
        assert_eq!(events, []);
    }
}
