//! The namespaces that are looked at, and what becomes of rows, events and losses that are one of theirs, all of
//! theirs or nobody's. It does not know how any of these come about.

use ctwatch_common::{
    row::{Row, Tier},
    source::SourceKey,
};

use tokio::time::Instant;

use super::{following::Following, tracked::Tracked};
use crate::model::{
    counters::Counters, event::Event, loss::Hop, observation::Observation, rows::RowReading, source,
};

/// The namespaces that are looked at.
#[derive(Debug, Default)]
pub(super) struct Roster {
    tracked: Vec<Tracked>,
    /// Rows of other namespaces, by tier.
    taken_elsewhere: Vec<(Tier, usize)>,
    /// What rows of other namespaces had counted that were given up.
    released_elsewhere: Counters,
}

impl Roster {
    /// Looks at one more.
    pub(super) fn add(&mut self, tracked: Tracked) {
        self.tracked.push(tracked);
    }

    /// Each of them.
    pub(super) fn each(&mut self) -> impl Iterator<Item = &mut Tracked> {
        self.tracked.iter_mut()
    }

    /// The one with this number.
    pub(super) fn of(&mut self, netns: u32) -> Option<&mut Tracked> {
        self.tracked.iter_mut().find(|tracked| tracked.netns == netns)
    }

    /// Whether one of them is like this.
    pub(super) fn any(&self, is_it: impl Fn(&Tracked) -> bool) -> bool {
        self.tracked.iter().any(is_it)
    }

    /// When ctnetlink's events should be taken again; `None` where none are followed.
    pub(super) fn events_due(&self) -> Option<Instant> {
        let followed = self.tracked.iter().filter_map(|tracked| tracked.following.as_ref());
        followed.map(Following::due).min()
    }

    /// Hands an event to the namespace that it happened in.
    pub(super) fn take_event(&mut self, event: Event) {
        if let Some(tracked) = self.of(event.netns) {
            tracked.aggregator.observe(Observation::Event(event));
        }
    }

    /// Counts a loss that may be that of any of them.
    pub(super) fn lose(&mut self, hop: Hop, lost: u64) {
        self.each().for_each(|tracked| tracked.lose(hop, lost));
    }

    /// Hands each namespace its part of two readings of the rows.
    pub(super) fn take_rows(&mut self, before: RowReading, after: RowReading) {
        let (before, _) = self.parts(before);
        let (after, taken_elsewhere) = self.parts(after);
        self.taken_elsewhere = taken_elsewhere;
        for (tracked, (before, after)) in self.tracked.iter_mut().zip(before.into_iter().zip(after))
        {
            let (before, after) = (Box::new(before), Box::new(after));
            tracked.aggregator.observe(Observation::Rows { before, after });
        }
    }

    /// The part of a reading that is this namespace's.
    pub(super) fn part(&self, netns: u32, rows: RowReading) -> RowReading {
        let (mut parts, _) = rows.divide(&[netns]);
        parts.pop().unwrap_or_default()
    }

    /// How many rows of a tier are taken, by the last reading.
    pub(super) fn taken(&self, tier: Tier) -> usize {
        let of_tier =
            |rows: &RowReading| rows.rows.keys().filter(|key| source::tier(key) == tier).count();
        let here: usize =
            self.tracked.iter().map(|tracked| of_tier(tracked.aggregator.rows())).sum();
        let elsewhere = self
            .taken_elsewhere
            .iter()
            .find(|(other, _)| *other == tier)
            .map_or(0, |(_, taken)| *taken);
        here + elsewhere
    }

    /// Whether nothing would be lost if a row that is idle were given to another source: it holds nothing, or nobody
    /// looks at its namespace.
    pub(super) fn can_do_without(&self, key: &SourceKey, counters: &Counters) -> bool {
        self.tracked
            .iter()
            .find(|tracked| tracked.netns == key.netns)
            .is_none_or(|tracked| tracked.aggregator.held(key, counters) == 0)
    }

    /// Keeps what a row had counted that was given up.
    pub(super) fn release(&mut self, row: Row) {
        let counters = Counters::from_row(&row.counters);
        match self.of(row.key.netns) {
            Some(tracked) => {
                tracked.released.add(&counters);
                tracked.aggregator.observe(Observation::RowReleased(row));
            }
            None => self.released_elsewhere.add(&counters),
        }
    }

    /// A reading for each namespace, in their order, and how many rows are taken by others.
    fn parts(&self, rows: RowReading) -> (Vec<RowReading>, Vec<(Tier, usize)>) {
        let namespaces: Vec<u32> = self.tracked.iter().map(|tracked| tracked.netns).collect();
        let (mut parts, rest) = rows.divide(&namespaces);
        let mut everywhere = self.released_elsewhere;
        let mut taken = vec![(Tier::Source, 0), (Tier::Prefix, 0), (Tier::Namespace, 0)];
        for (key, counters) in &rest {
            everywhere.add(counters);
            let tier = source::tier(key);
            taken.iter_mut().filter(|(other, _)| *other == tier).for_each(|(_, taken)| *taken += 1);
        }
        if let [only] = parts.as_mut_slice() {
            only.elsewhere = everywhere;
            return (parts, taken);
        }
        let here = |(part, tracked): (&RowReading, &Tracked)| {
            let mut here = tracked.released;
            part.rows.values().for_each(|counters| here.add(counters));
            here
        };
        let heres: Vec<Counters> = parts.iter().zip(&self.tracked).map(here).collect();
        heres.iter().for_each(|here| everywhere.add(here));
        for (part, here) in parts.iter_mut().zip(&heres) {
            part.elsewhere = everywhere.since(here);
        }
        (parts, taken)
    }
}
