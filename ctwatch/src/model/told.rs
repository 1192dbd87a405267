//! How much of what happened was told: events, those that they stand for, and what was lost on the way.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    event::{Event, Kind, Kinds},
    snapshot::Snapshot,
};

/// Of one kind. Where no filter keeps anything back, what it counts adds up to what the hooks have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Events, each a line.
    pub events: u64,
    /// What they stand for besides themselves.
    pub suppressed: u64,
    /// Events that found the ring buffer full, of all sources.
    pub lost: u64,
}

/// What was told of one network namespace.
#[derive(Clone, Debug)]
pub struct Told {
    /// Until when, in nanoseconds since 1970.
    pub wall_ns: i128,
    /// The network namespace, by inode number.
    pub netns: u32,
    /// What it is called.
    pub netns_name: Option<Arc<str>>,
    /// Events of any kind that were too many for one interval.
    pub events_dropped: u64,
    /// Events that stand for what is known of no port, where one was asked for.
    pub port_unknown: u64,
    kinds: Kinds,
    seen: Kinds,
    numbers: BTreeMap<Kind, Numbers>,
    lost: BTreeMap<Kind, Growing>,
    dropped: Growing,
}

/// A count that begins anew where a session does.
#[derive(Clone, Copy, Debug, Default)]
struct Growing {
    before: u64,
    last: u64,
}

impl Growing {
    fn follow(&mut self, now: u64) -> u64 {
        if now < self.last {
            self.before = self.before.saturating_add(self.last);
        }
        self.last = now;
        self.before.saturating_add(now)
    }
}

impl Told {
    /// Nothing yet, of a namespace and of these kinds.
    pub fn new(netns: u32, kinds: Kinds) -> Self {
        Self {
            wall_ns: 0,
            netns,
            netns_name: None,
            events_dropped: 0,
            port_unknown: 0,
            kinds,
            seen: Kinds::NONE,
            numbers: BTreeMap::new(),
            lost: BTreeMap::new(),
            dropped: Growing::default(),
        }
    }

    /// Takes in what a snapshot says besides its events.
    pub fn follow(&mut self, snapshot: &Snapshot) {
        self.wall_ns = snapshot.wall_ns;
        self.netns_name.clone_from(&snapshot.netns_name);
        self.events_dropped = self.dropped.follow(snapshot.loss.events_dropped);
        let seen = self.kinds.each().filter(|kind| snapshot.mode.why_unseen(*kind).is_none());
        self.seen = Kinds::of(&seen.collect::<Vec<_>>());
        for kind in self.kinds.each() {
            let lost = snapshot.loss.in_ring(kind).unwrap_or(0);
            let lost = self.lost.entry(kind).or_default().follow(lost);
            self.numbers.entry(kind).or_default().lost = lost;
        }
    }

    /// Takes in an event that is told.
    pub fn count(&mut self, event: &Event) {
        let numbers = self.numbers.entry(event.kind.kind()).or_default();
        numbers.events += 1;
        numbers.suppressed = numbers.suppressed.saturating_add(event.suppressed);
    }

    /// The numbers of a kind; `None` if it was not asked for, or cannot be seen now and never was.
    pub fn of(&self, kind: Kind) -> Option<Numbers> {
        let numbers = self.numbers.get(&kind).copied().unwrap_or_default();
        let is_known = self.seen.has(kind) || numbers != Numbers::default();
        (self.kinds.has(kind) && is_known).then_some(numbers)
    }

    /// How much is in no line of its own: suppressed, lost, dropped, or not known of the port.
    pub fn untold(&self) -> u64 {
        let of_kinds = self.numbers.values().map(|numbers| numbers.suppressed + numbers.lost);
        of_kinds.sum::<u64>() + self.events_dropped + self.port_unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::loss::Loss, output::sample};

    fn with_loss(ring_full: u64, events_dropped: u64) -> Snapshot {
        let loss = Loss { ring_full: Some(ring_full), events_dropped, ..Loss::default() };
        Snapshot { loss, ..sample::snapshot() }
    }

    #[test]
    fn what_is_told_and_what_is_not_adds_up() {
        let kinds = Kinds::of(&[Kind::Refused, Kind::InsertFailed]);
        let mut told = Told::new(1, kinds);
        told.follow(&with_loss(2, 1));
        told.count(&sample::event());
        told.count(&sample::event());
        let refused = Numbers { events: 2, suppressed: 14, lost: 2 };
        assert_eq!(told.of(Kind::Refused), Some(refused));
        assert_eq!(told.untold(), 17);
        // Not asked for, and asked for but not to be seen.
        assert_eq!((told.of(Kind::Ended), told.of(Kind::InsertFailed)), (None, None));
    }

    #[test]
    fn a_session_that_begins_anew_takes_nothing_back() {
        let mut told = Told::new(1, Kinds::REFUSED);
        for (ring_full, expected) in [(5, 5), (7, 7), (1, 8), (3, 10)] {
            told.follow(&with_loss(ring_full, ring_full));
            assert_eq!(told.of(Kind::Refused).unwrap().lost, expected);
            assert_eq!(told.events_dropped, expected);
        }
    }
}
