//! The namespaces that are looked at, and what becomes of rows, events and losses that are one of theirs, all of
//! theirs or nobody's. It does not know how any of these come about.

use std::collections::HashSet;

use ctwatch_common::{row::Tier, source::SourceKey};
use tokio::time::Instant;

use super::{following::Following, tracked::Tracked};
use crate::model::{
    counters::Counters,
    departed::Departed,
    event::Event,
    loss::Hop,
    observation::Observation,
    rows::RowReading,
    source::{self, BySource},
};

/// Events kept at most for namespaces that are not looked at yet.
const UNCLAIMED_MAX: usize = 1024;

/// The namespaces that are looked at.
#[derive(Debug, Default)]
pub(super) struct Roster {
    newcomers: Newcomers,
    tracked: Vec<Tracked>,
    /// Rows of other namespaces, by tier.
    taken_elsewhere: [usize; 3],
    /// What rows of other namespaces had counted that were given up.
    released_elsewhere: Counters,
    /// Other namespaces of which something has been counted; only where all are looked at.
    strangers: HashSet<u32>,
    /// Events of other namespaces, which may yet be looked at.
    unclaimed: Vec<Event>,
    unclaimed_max: usize,
    departed: Departed,
}

/// Whether other namespaces will be looked at once something is counted of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Newcomers {
    /// They will not.
    #[default]
    Ignored,
    /// They will.
    Expected,
}

impl Roster {
    /// Looks at none yet; `events` are how many events of one interval are wanted.
    pub(super) fn new(newcomers: Newcomers, events: usize) -> Self {
        let unclaimed_max = match newcomers {
            Newcomers::Ignored => 0,
            Newcomers::Expected => events.min(UNCLAIMED_MAX),
        };
        Self { newcomers, unclaimed_max, ..Self::default() }
    }

    /// Looks at one more.
    pub(super) fn add(&mut self, mut tracked: Tracked) {
        let claimed = self.unclaimed.extract_if(.., |event| event.netns == tracked.netns);
        claimed.for_each(|event| tracked.aggregator.observe(Observation::Event(event)));
        self.strangers.remove(&tracked.netns);
        self.tracked.push(tracked);
    }

    /// A namespace that is looked at is gone; `rows` are all rows as they are now.
    pub(super) fn leave(&mut self, netns: u32, rows: RowReading) -> Option<Tracked> {
        let rows = self.part(netns, rows);
        let place = self.tracked.iter().position(|tracked| tracked.netns == netns)?;
        let tracked = self.tracked.remove(place);
        let keys: HashSet<&SourceKey> =
            rows.rows.keys().chain(tracked.aggregator.sources_before()).collect();
        let left = keys.into_iter().map(|key| {
            let counters = rows.counters(key);
            (*key, counters, tracked.aggregator.held(key, &counters))
        });
        self.departed.leave(netns, left);
        self.released_elsewhere.add(&tracked.released);
        Some(tracked)
    }

    /// A namespace that is not looked at is gone.
    pub(super) fn stranger_left(&mut self, netns: u32, rows: RowReading) {
        let rows = self.part(netns, rows);
        let left = rows.rows.iter().map(|(key, counters)| (*key, *counters, counters.balance()));
        self.departed.leave(netns, left);
        self.unclaimed.retain(|event| event.netns != netns);
    }

    /// A namespace has come, perhaps with the number of one that is gone.
    pub(super) fn come(&mut self, netns: u32, rows: RowReading) {
        let rows = self.whole_part(netns, rows);
        self.departed.come(netns, &rows);
    }

    /// The numbers of those that are looked at.
    pub(super) fn numbers(&self) -> HashSet<u32> {
        self.tracked.iter().map(|tracked| tracked.netns).collect()
    }

    /// The numbers of other namespaces of which something has been counted.
    pub(super) fn strangers(&self) -> &HashSet<u32> {
        &self.strangers
    }

    /// How many are looked at.
    pub(super) fn len(&self) -> usize {
        self.tracked.len()
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
        } else if self.unclaimed.len() < self.unclaimed_max {
            self.unclaimed.push(event);
        } else if self.unclaimed_max > 0 {
            self.lose(Hop::EventsDropped, 1);
        }
    }

    /// Says on every line that something cannot be seen, once.
    pub(super) fn miss(&mut self, sentence: &str) {
        let is_new =
            |tracked: &&mut Tracked| !tracked.mode.degraded.iter().any(|said| said == sentence);
        self.each().filter(is_new).for_each(|tracked| tracked.miss(sentence.to_owned()));
    }

    /// Counts a loss that may be that of any of them.
    pub(super) fn lose(&mut self, hop: Hop, lost: u64) {
        self.each().for_each(|tracked| tracked.lose(hop, lost));
    }

    /// Hands each namespace its part of two readings of the rows.
    pub(super) fn take_rows(&mut self, before: RowReading, after: RowReading) {
        let (before, _) = self.parts(before);
        let (after, others) = self.parts(after);
        self.departed.forget(&others);
        if self.newcomers == Newcomers::Expected {
            let is_more = |key: &SourceKey, counters: &Counters| {
                !self.departed.beyond(key, counters).is_zero()
            };
            let more = others.iter().filter(|(key, counters)| is_more(key, counters));
            self.strangers = more.map(|(key, _)| key.netns).collect();
        }
        self.taken_elsewhere = [Tier::Source, Tier::Prefix, Tier::Namespace]
            .map(|tier| others.keys().filter(|key| source::tier(key) == tier).count());
        for (tracked, (before, after)) in self.tracked.iter_mut().zip(before.into_iter().zip(after))
        {
            let (before, after) = (Box::new(before), Box::new(after));
            tracked.aggregator.observe(Observation::Rows { before, after });
        }
    }

    /// The part of a reading that is this namespace's.
    pub(super) fn part(&self, netns: u32, rows: RowReading) -> RowReading {
        let mut part = self.whole_part(netns, rows);
        self.departed.take_off(&mut part);
        part
    }

    /// How many rows of a tier are taken, by the last reading.
    pub(super) fn taken(&self, tier: Tier) -> usize {
        let of_tier =
            |rows: &RowReading| rows.rows.keys().filter(|key| source::tier(key) == tier).count();
        let here: usize =
            self.tracked.iter().map(|tracked| of_tier(tracked.aggregator.rows())).sum();
        here + self.taken_elsewhere.get(tier as usize).copied().unwrap_or(0)
    }

    /// Whether rows of namespaces that are gone are to be given up, however many are free.
    pub(super) fn has_departed(&self) -> bool {
        !self.departed.is_empty()
    }

    /// Whether this is the number of a namespace that is gone.
    pub(super) fn is_departed(&self, netns: u32) -> bool {
        self.departed.has(netns)
    }

    /// Whether nothing would be lost if a row that is idle were given to another source: it holds nothing, or nobody
    /// will look at its namespace.
    pub(super) fn can_do_without(&self, key: &SourceKey, counters: &Counters) -> bool {
        match self.tracked.iter().find(|tracked| tracked.netns == key.netns) {
            Some(_) if self.departed.shares(key) => false,
            Some(tracked) => tracked.aggregator.held(key, counters) == 0,
            None => self.departed.has(key.netns) || !self.strangers.contains(&key.netns),
        }
    }

    /// Keeps what a row had counted that was given up.
    pub(super) fn release(&mut self, key: &SourceKey, counters: Counters) {
        let theirs = self.departed.give_up(key, &counters);
        self.released_elsewhere.add(&theirs);
        let own = counters.since(&theirs);
        match self.of(key.netns) {
            Some(_) if own.is_zero() => {}
            Some(tracked) => {
                tracked.released.add(&own);
                tracked.aggregator.observe(Observation::RowReleased(*key, own));
            }
            None => self.released_elsewhere.add(&own),
        }
    }

    fn whole_part(&self, netns: u32, rows: RowReading) -> RowReading {
        let (mut parts, _) = rows.divide(&[netns]);
        parts.pop().unwrap_or_default()
    }

    /// A reading for each namespace, in their order, and the rows of others.
    fn parts(&self, rows: RowReading) -> (Vec<RowReading>, BySource<Counters>) {
        let namespaces: Vec<u32> = self.tracked.iter().map(|tracked| tracked.netns).collect();
        let (mut parts, others) = rows.divide(&namespaces);
        let mut everywhere = self.released_elsewhere;
        others.values().for_each(|counters| everywhere.add(counters));
        for part in &mut parts {
            everywhere.add(&self.departed.take_off(part));
        }
        if let [only] = parts.as_mut_slice() {
            *only.elsewhere = everywhere;
            return (parts, others);
        }
        let here = |(part, tracked): (&RowReading, &Tracked)| {
            let mut here = tracked.released;
            part.rows.values().for_each(|counters| here.add(counters));
            here
        };
        let heres: Vec<Counters> = parts.iter().zip(&self.tracked).map(here).collect();
        heres.iter().for_each(|here| everywhere.add(here));
        for (part, here) in parts.iter_mut().zip(&heres) {
            *part.elsewhere = everywhere.since(here);
        }
        (parts, others)
    }
}
