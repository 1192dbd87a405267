//! The last intervals of one network namespace, reduced to what decides who is listed. From where the snapshots come is
//! nothing to it: from a look or from a recording.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, VecDeque},
};

use ipnet::IpNet;

use super::protected::unmapped;
use crate::model::{
    flood::Flood,
    snapshot::{Snapshot, SourceNumbers},
    source,
};

/// So many intervals are kept, so that a long look takes no more memory than a short one.
pub const INTERVALS_MAX: usize = 60;
/// An interval that was cut off tells rates badly: one of less than this part of the one before is left out.
const WHOLE_MIN: f64 = 0.1;

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Window {
    intervals: VecDeque<Interval>,
    /// About how long they are, where snapshots come faster.
    interval_min_s: f64,
    /// Evictions suffered until the last snapshot, by network and in all.
    evicted: Option<Evicted>,
    flood: Option<Flood>,
    counting_since: Option<i128>,
    interval_s: f64,
    wall_ns: i128,
}

/// One interval.
#[derive(Clone, Debug, Default)]
pub struct Interval {
    /// How long it was.
    pub seconds: f64,
    /// What the table has room for; where it is not limited, what was in it.
    pub room: u64,
    /// Entries in the table at its end.
    pub entries: u64,
    /// What all did together.
    pub totals: Activity,
    /// What each address did, or each prefix that has no room for its addresses, over all protocols.
    pub by_network: BTreeMap<IpNet, Activity>,
}

/// What somebody did in an interval. `None` is what the mode does not see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Entries held at its end.
    pub entries: Option<u64>,
    /// Of those, entries that nobody had answered, at the last walk of the table.
    pub unreplied: Option<u64>,
    /// Entries made.
    pub new: Option<u64>,
    /// Packets refused.
    pub refused: Option<u64>,
    /// Its entries that were thrown out for somebody's packet.
    pub evicted: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Evicted {
    of_all: u64,
    by_network: BTreeMap<IpNet, u64>,
}

impl Activity {
    /// Adds what somebody else did. What is not known of one is not part of the sum.
    pub fn include(&mut self, other: &Self) {
        let add = |sum: &mut Option<u64>, more: Option<u64>| {
            if let Some(more) = more {
                *sum = Some(sum.unwrap_or(0).saturating_add(more));
            }
        };
        add(&mut self.entries, other.entries);
        add(&mut self.unreplied, other.unreplied);
        add(&mut self.new, other.new);
        add(&mut self.refused, other.refused);
        add(&mut self.evicted, other.evicted);
    }

    /// Adds what the same one did next: what is held is what is held in the end.
    fn go_on(&mut self, later: &Self) {
        (self.entries, self.unreplied) = (None, None);
        self.include(later);
    }

    /// Packets that asked for an entry, as far as they are seen.
    pub fn asked(&self) -> u64 {
        self.new.unwrap_or(0).saturating_add(self.refused.unwrap_or(0))
    }

    /// By the rates of the interval; evictions are added by the caller, as they have no rate.
    fn of_rates(numbers: &SourceNumbers, seconds: f64) -> Self {
        let count = |per_s: Option<f64>| per_s.map(|per_s| (per_s * seconds).round() as u64);
        Self {
            entries: numbers.entries,
            unreplied: numbers.unreplied,
            new: count(numbers.new_per_s),
            refused: count(numbers.refused_per_s),
            evicted: None,
        }
    }
}

impl Interval {
    /// Goes on to the end of `later`, which follows it.
    fn go_on(&mut self, later: Self) {
        self.seconds += later.seconds;
        self.room = later.room;
        self.entries = later.entries;
        self.totals.go_on(&later.totals);
        // Who is not listed any more holds what is not known.
        for (network, activity) in &mut self.by_network {
            activity.go_on(&later.by_network.get(network).copied().unwrap_or_default());
        }
        for (network, activity) in later.by_network {
            self.by_network.entry(network).or_insert(activity);
        }
    }
}

impl Window {
    /// What these snapshots of one namespace tell, in the order of time.
    pub fn of(snapshots: impl IntoIterator<Item = impl Borrow<Snapshot>>) -> Self {
        let mut window = Self::default();
        for snapshot in snapshots {
            window.add(snapshot.borrow());
        }
        window
    }

    /// One whose intervals are about so many seconds long: shorter ones are put together.
    pub fn with_intervals_of(seconds: f64) -> Self {
        Self { interval_min_s: seconds, ..Self::default() }
    }

    /// Goes on by an interval. Where counting has begun again, so does the window.
    pub fn add(&mut self, snapshot: &Snapshot) {
        let counting_since = snapshot.mode.attached_at_wall_ns;
        if self.counting_since != counting_since {
            *self = Self { counting_since, ..Self::with_intervals_of(self.interval_min_s) };
        }
        self.wall_ns = snapshot.wall_ns;
        if let Some(floods) = &snapshot.floods {
            self.flood = floods.first().cloned();
        }
        let seconds = snapshot.interval_s;
        let is_cut_off = seconds < self.interval_s * WHOLE_MIN;
        self.interval_s = seconds;
        if is_cut_off {
            return;
        }
        let mut evicted =
            Evicted { of_all: snapshot.totals.evicted.unwrap_or(0), by_network: BTreeMap::new() };
        let mut totals = Activity::of_rates(&snapshot.totals, seconds);
        let mut by_network: BTreeMap<IpNet, Activity> = BTreeMap::new();
        for row in &snapshot.sources {
            let Some(network) = network(row) else { continue };
            let activity = by_network.entry(network).or_default();
            activity.include(&Activity::of_rates(row, seconds));
            *evicted.by_network.entry(network).or_default() += row.evicted.unwrap_or(0);
        }
        if let Some(before) = self.evicted.as_ref().filter(|_| snapshot.totals.evicted.is_some()) {
            totals.evicted = Some(evicted.of_all.saturating_sub(before.of_all));
            for (network, activity) in &mut by_network {
                let count = |evicted: &Evicted| {
                    evicted.by_network.get(network).copied().unwrap_or_default()
                };
                activity.evicted = Some(count(&evicted).saturating_sub(count(before)));
            }
        }
        self.evicted = Some(evicted);
        let entries = snapshot.table.entries;
        let room = snapshot.table.limit.unwrap_or(entries);
        let interval = Interval { seconds, room, entries, totals, by_network };
        let is_short = |last: &&mut Interval| last.seconds + seconds / 2.0 < self.interval_min_s;
        if let Some(last) = self.intervals.back_mut().filter(is_short) {
            last.go_on(interval);
            return;
        }
        if self.intervals.len() == INTERVALS_MAX {
            self.intervals.pop_front();
        }
        self.intervals.push_back(interval);
    }

    /// Forgets what was before the last so many seconds. An interval stays if more than half of it was within them.
    pub fn keep_last(&mut self, seconds: f64) {
        let mut seen_s: f64 = self.intervals.iter().map(|interval| interval.seconds).sum();
        while let Some(first) = self.intervals.front()
            && seen_s - first.seconds / 2.0 >= seconds
        {
            seen_s -= first.seconds;
            self.intervals.pop_front();
        }
    }

    /// The intervals, the latest last.
    pub fn intervals(&self) -> &VecDeque<Interval> {
        &self.intervals
    }

    /// The largest flood from addresses that are probably made up, by the last walk of the table.
    pub fn flood(&self) -> Option<&Flood> {
        self.flood.as_ref()
    }

    /// When it ended: nanoseconds since 1970.
    pub fn wall_ns(&self) -> i128 {
        self.wall_ns
    }
}

/// Whom a row stands for; `None` for all that found no room.
fn network(row: &SourceNumbers) -> Option<IpNet> {
    let key = row.key.as_ref()?;
    let address = source::address(key.family, &key.address)?;
    Some(unmapped(&IpNet::new(address, key.prefix_length).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;

    fn snapshot(change: impl FnOnce(&mut Snapshot)) -> Snapshot {
        let mut snapshot = sample::snapshot();
        change(&mut snapshot);
        snapshot
    }

    fn row(source: &str, protocol: u8, numbers: SourceNumbers) -> SourceNumbers {
        SourceNumbers { key: Some(source::key(1, source.parse().unwrap(), protocol)), ..numbers }
    }

    #[test]
    fn protocols_are_summed_and_rates_become_counts() {
        let numbers = SourceNumbers {
            entries: Some(10),
            unreplied: Some(4),
            new_per_s: Some(2.5),
            refused_per_s: None,
            ..SourceNumbers::default()
        };
        let window = Window::of([snapshot(|snapshot| {
            snapshot.interval_s = 2.0;
            snapshot.sources = vec![row("10.0.1.2", 6, numbers), row("10.0.1.2", 17, numbers)];
        })]);
        let interval = &window.intervals()[0];
        let activity = interval.by_network[&"10.0.1.2/32".parse().unwrap()];
        let expected = Activity {
            entries: Some(20),
            unreplied: Some(8),
            new: Some(10),
            refused: None,
            evicted: None,
        };
        assert_eq!((activity, interval.room, interval.entries), (expected, 65_536, 62_000));
    }

    #[test]
    fn evictions_are_counted_from_the_second_snapshot_on() {
        let at = |evicted: u64, of_all: u64| {
            snapshot(|snapshot| {
                let numbers = SourceNumbers { evicted: Some(evicted), ..SourceNumbers::default() };
                snapshot.sources = vec![row("10.0.1.2", 6, numbers)];
                snapshot.totals.evicted = Some(of_all);
            })
        };
        let window = Window::of([at(100, 500), at(103, 510)]);
        let evicted: Vec<_> = window
            .intervals()
            .iter()
            .map(|interval| {
                let own = interval.by_network.values().next().unwrap().evicted;
                (own, interval.totals.evicted)
            })
            .collect();
        assert_eq!(evicted, [(None, None), (Some(3), Some(10))]);
    }

    #[test]
    fn short_intervals_are_put_together() {
        let of = |source: &str, entries: u64, evicted: u64| {
            snapshot(|snapshot| {
                snapshot.interval_s = 0.25;
                snapshot.table.entries = entries;
                let numbers = SourceNumbers {
                    entries: Some(entries),
                    new_per_s: Some(8.0),
                    evicted: Some(evicted),
                    ..SourceNumbers::default()
                };
                snapshot.sources = vec![row(source, 6, numbers)];
                snapshot.totals = numbers;
            })
        };
        let mut window = Window::with_intervals_of(1.0);
        for seen in 1..=3 {
            window.add(&of("10.0.1.2", 10 * seen, seen));
        }
        window.add(&of("10.0.1.3", 40, 4));
        window.add(&of("10.0.1.2", 50, 5));
        let lengths: Vec<f64> =
            window.intervals().iter().map(|interval| interval.seconds).collect();
        assert_eq!(lengths, [1.0, 0.25]);
        let first = &window.intervals()[0];
        let activity = |entries, new, evicted| Activity {
            entries,
            unreplied: None,
            new: Some(new),
            refused: None,
            evicted,
        };
        assert_eq!((first.entries, first.totals), (40, activity(Some(40), 8, Some(3))));
        let expected = [
            ("10.0.1.2/32", activity(None, 6, Some(2))),
            ("10.0.1.3/32", activity(Some(40), 2, Some(4))),
        ];
        let expected =
            expected.map(|(network, activity)| (network.parse::<IpNet>().unwrap(), activity));
        assert_eq!(first.by_network, expected.into());
    }

    #[test]
    fn the_last_seconds_are_kept_whatever_the_clock_is_off() {
        for (seconds, kept) in [(1.0005, 10), (0.9995, 10), (4.0, 2), (19.0, 1), (21.0, 0)] {
            let of = |_| snapshot(|snapshot| snapshot.interval_s = seconds);
            let mut window = Window::of((0..30).map(of));
            window.keep_last(10.0);
            assert_eq!(window.intervals().len(), kept, "{seconds}");
        }
    }

    #[test]
    fn where_counting_begins_again_so_does_the_window() {
        let at = |since| {
            snapshot(|snapshot| {
                let mut mode = (*snapshot.mode).clone();
                mode.attached_at_wall_ns = Some(since);
                snapshot.mode = mode.into();
            })
        };
        assert_eq!(Window::of([at(1), at(1), at(1)]).intervals().len(), 3);
        assert_eq!(Window::of([at(1), at(1), at(2)]).intervals().len(), 1);
    }

    #[test]
    fn an_interval_that_was_cut_off_is_left_out_and_memory_is_bounded() {
        let of = |seconds: f64| snapshot(|snapshot| snapshot.interval_s = seconds);
        assert_eq!(Window::of([of(1.0), of(0.01)]).intervals().len(), 1);
        assert_eq!(Window::of([of(0.01)]).intervals().len(), 1);
        let many = (0..INTERVALS_MAX + 5).map(|_| of(1.0));
        assert_eq!(Window::of(many).intervals().len(), INTERVALS_MAX);
    }
}
