//! What an aggregator makes of observations.

use std::net::Ipv4Addr;

use super::*;
use crate::model::{
    baseline::Census,
    census::{Tally, entry::WalkedEntry, state::State},
    event::Kinds,
    limits::SortBy,
    mode::Rung,
    prefix::Prefix,
    rows::tests::row,
    source,
    trace::Flow,
};
use crate::output::sample;

pub(super) const NETNS: u32 = 42;

pub(super) fn aggregator(listed_sources: usize, sort_by: SortBy) -> Aggregator {
    let mode = Mode {
        alloc: Rung::Kprobe,
        early_drop: Rung::Kprobe,
        free: Rung::Kprobe,
        ..Mode::default()
    };
    let limits = Limits {
        listed_sources,
        sort_by,
        kinds: Kinds::of(&Kind::ALL),
        events: 10,
        remembered_sources: 100,
        only: None,
        census_every: None,
    };
    let mut aggregator = Aggregator::new(NETNS, limits, Arc::new(mode), at(0));
    aggregator.observe(Observation::HeldBefore(HashMap::new()));
    aggregator
}

pub(super) fn at(seconds: u64) -> Moment {
    Moment { monotonic_ns: seconds * 1_000_000_000, wall_ns: i128::from(seconds) * 1_000_000_000 }
}

pub(super) fn client(last: u8) -> SourceKey {
    source::key(NETNS, format!("10.0.1.{last}").parse().unwrap(), 17)
}

/// A reading of rows of attempts, refusals and ends, with the per-CPU totals that go with it.
pub(super) fn reading(rows: &[(SourceKey, u64, u64, u64)]) -> RowReading {
    let mut reading = RowReading::default();
    for (key, attempts, refused, ended) in rows {
        reading.add(&row(*key, [*attempts, *refused, *ended, *refused, 0]));
        for (total, more) in reading.witness.iter_mut().zip([*attempts, *refused, *ended]) {
            *total += more;
        }
    }
    reading
}

pub(super) fn observe(aggregator: &mut Aggregator, rows: &RowReading, entries: u64) {
    aggregator.observe(Observation::Rows {
        before: Box::new(rows.clone()),
        after: Box::new(rows.clone()),
    });
    aggregator.observe(Observation::Table(TableReading {
        entries,
        limit: Some(1000),
        ..TableReading::default()
    }));
}

#[test]
fn listed_and_others_add_up_to_the_totals_and_the_witness() {
    let mut aggregator = aggregator(1, SortBy::Entries);
    let rows =
        reading(&[(client(1), 50, 10, 5), (client(2), 9, 0, 4), (client(3).prefix(), 7, 1, 0)]);
    observe(&mut aggregator, &rows, 46);
    let snapshot = aggregator.tick(at(1), Ending::More);
    let listed = &snapshot.sources;
    assert_eq!(listed.iter().map(|row| row.key).collect::<Vec<_>>(), [Some(client(1))]);
    assert_eq!(
        (listed[0].entries, listed[0].new, listed[0].refused),
        (Some(35), Some(40), Some(10))
    );
    assert_eq!((snapshot.others.entries, snapshot.others.new), (Some(11), Some(15)));
    let mut sum = snapshot.others;
    listed.iter().for_each(|row| sum.include(row));
    assert_eq!(
        (sum.entries, sum.new, sum.refused, sum.ended),
        (
            snapshot.totals.entries,
            snapshot.totals.new,
            snapshot.totals.refused,
            snapshot.totals.ended
        )
    );
    let witness = snapshot.witness.unwrap();
    assert_eq!((witness.new, witness.refused, witness.ended, witness.difference), (55, 11, 9, 0));
    assert_eq!(snapshot.drift_entries, Some(0));
    assert_eq!(snapshot.loss.map_full, Some(7));
}

#[test]
fn other_namespaces_are_not_mixed_in() {
    let mut aggregator = aggregator(10, SortBy::Entries);
    let elsewhere = SourceKey { netns: 1, ..client(1) };
    observe(&mut aggregator, &reading(&[(elsewhere, 8, 0, 0), (client(1), 3, 0, 0)]), 3);
    let snapshot = aggregator.tick(at(1), Ending::More);
    assert_eq!((snapshot.totals.new, snapshot.drift_entries), (Some(3), Some(0)));
    assert_eq!(snapshot.witness.unwrap().difference, 0);
}

#[test]
fn entries_from_before_the_start_are_held_until_they_end() {
    let mut aggregator = aggregator(10, SortBy::Entries);
    let nothing = RowReading::default();
    let held = HashMap::from([(client(1), 20)]);
    let census = Census { held, before: nothing.clone(), after: nothing };
    aggregator.observe(Observation::Census(Box::new(census)));
    observe(&mut aggregator, &reading(&[(client(1), 1, 0, 15)]), 6);
    let snapshot = aggregator.tick(at(1), Ending::More);
    assert_eq!(snapshot.sources[0].entries, Some(6));
    assert_eq!(snapshot.drift_entries, Some(0));
}

#[test]
fn drift_is_the_distance_from_what_both_readings_allow() {
    let mut aggregator = aggregator(10, SortBy::Entries);
    aggregator.observe(Observation::Rows {
        before: Box::new(reading(&[(client(1), 10, 0, 0)])),
        after: Box::new(reading(&[(client(1), 14, 0, 0)])),
    });
    for (count, drift) in [(10, 0), (12, 0), (14, 0), (9, 1), (20, -6)] {
        aggregator.observe(Observation::Table(TableReading {
            entries: count,
            ..TableReading::default()
        }));
        assert_eq!(aggregator.tick(at(1), Ending::More).drift_entries, Some(drift), "{count}");
    }
}

#[test]
fn rates_are_of_the_interval_and_order_the_busy_before_the_idle() {
    let mut aggregator = aggregator(10, SortBy::New);
    observe(&mut aggregator, &reading(&[(client(1), 500, 0, 0)]), 500);
    aggregator.tick(at(1), Ending::More);
    observe(&mut aggregator, &reading(&[(client(1), 500, 0, 0), (client(2), 30, 6, 0)]), 524);
    let snapshot = aggregator.tick(at(3), Ending::More);
    let first = &snapshot.sources[0];
    assert_eq!(
        (first.key, first.new_per_s, first.refused_per_s),
        (Some(client(2)), Some(12.0), Some(3.0))
    );
    assert_eq!(snapshot.table.growth_per_s, Some(12.0));
    assert_eq!(snapshot.table.time_to_full_s, Some(476.0 / 12.0));
}

#[test]
fn what_happened_before_the_first_interval_is_told_with_it() {
    let mut aggregator = aggregator(10, SortBy::Entries);
    aggregator.observe(Observation::Event(Event { netns: NETNS, ..sample::event() }));
    assert_eq!(aggregator.tick(at(1), Ending::More).events.len(), 0);
    assert_eq!(aggregator.tick(at(2), Ending::More).events.len(), 1);
    assert_eq!(aggregator.tick(at(3), Ending::Last).events.len(), 0);
}

#[test]
fn the_kernels_count_begins_between_two_readings() {
    let mut aggregator = aggregator(10, SortBy::Entries);
    let drop = |drop| {
        Observation::Kernel(KernelStatistics { drop: Some(drop), ..KernelStatistics::default() })
    };
    observe(&mut aggregator, &reading(&[(client(1), 30, 7, 0)]), 23);
    aggregator.observe(drop(100));
    observe(&mut aggregator, &reading(&[(client(1), 32, 9, 0)]), 23);
    observe(&mut aggregator, &reading(&[(client(1), 40, 17, 0)]), 23);
    aggregator.observe(drop(109));
    let [before, after] = aggregator.tick(at(1), Ending::More).sums.unwrap();
    assert_eq!((before.before_kernel.refused, after.before_kernel.refused), (7, 9));
}

#[test]
fn a_row_that_is_given_up_leaves_its_counts_behind() {
    let mut aggregator = aggregator(10, SortBy::Entries);
    let rows = reading(&[(client(1), 30, 2, 27)]);
    observe(&mut aggregator, &rows, 1);
    let counters = Counters::from_row(&row(client(1), [30, 2, 27, 2, 0]).counters);
    aggregator.observe(Observation::RowReleased(client(1), counters));
    let mut after = reading(&[(client(1), 5, 0, 6)]);
    after.witness = [35, 2, 33, 0, 0, 0, 0, 0];
    observe(&mut aggregator, &after, 0);
    let snapshot = aggregator.tick(at(1), Ending::More);
    let client = snapshot.sources[0];
    assert_eq!(
        (client.entries, client.new, client.refused, client.ended),
        (Some(0), Some(33), Some(2), Some(33))
    );
    assert_eq!((snapshot.drift_entries, snapshot.witness.unwrap().difference), (Some(0), 0));
}

#[test]
fn without_hooks_what_cannot_be_seen_is_unknown() {
    let mut aggregator = aggregator(10, SortBy::Entries);
    aggregator.observe(Observation::Mode(Arc::new(Mode::default())));
    aggregator.observe(Observation::Held(HashMap::from([(client(1), 4)])));
    let snapshot = aggregator.tick(at(1), Ending::More);
    let client = snapshot.sources[0];
    assert_eq!(
        (client.entries, client.new, client.refused, client.ended),
        (Some(4), None, None, None)
    );
    assert_eq!(
        (snapshot.drift_entries, snapshot.witness, snapshot.loss.ring_full),
        (None, None, None)
    );
    assert_eq!(snapshot.totals.refused, None);
}

#[test]
fn until_the_first_dump_what_is_held_is_unknown_and_what_comes_is_counted() {
    let known = aggregator(10, SortBy::New);
    let mut aggregator = Aggregator::new(NETNS, known.limits, known.mode, at(0));
    observe(&mut aggregator, &reading(&[(client(1), 30, 2, 1)]), 5000);
    let before = aggregator.tick(at(1), Ending::More);
    assert_eq!((before.sources[0].entries, before.sources[0].new), (None, Some(28)));
    assert_eq!((before.totals.entries, before.drift_entries), (None, None));
    aggregator.observe(Observation::HeldBefore(HashMap::from([(client(1), 4973)])));
    let after = aggregator.tick(at(2), Ending::More);
    assert_eq!((after.sources[0].entries, after.drift_entries), (Some(5000), Some(0)));
}

/// A walk of the table that meets one entry of each of these, to one destination.
fn walked(sources: impl IntoIterator<Item = SourceKey>, at: Moment) -> Observation {
    let mut tally = Tally::default();
    for source in sources {
        let flow = Flow {
            source,
            destination: [198, 51, 100, 1].into(),
            source_port: 1024,
            destination_port: 80,
        };
        let (source_nat, state, zone) = (None, State::Unreplied, 0);
        tally.add(&WalkedEntry {
            flow,
            source_nat,
            state,
            assured: false,
            unreplied: true,
            zone,
            remaining_s: None,
        });
    }
    Observation::Walked(Box::new(tally.end(at)))
}

fn scattered(number: u32) -> SourceKey {
    source::key(NETNS, Ipv4Addr::from_bits(number.wrapping_mul(0x9E37_79B1)).into(), 17)
}

#[test]
fn while_there_is_a_flood_its_sources_are_summed_up_and_the_heavy_one_is_listed() {
    let mut aggregator = aggregator(1000, SortBy::Entries);
    let spoofed = || (0..3000).map(scattered);
    let mut rows: Vec<_> = spoofed().map(|source| (source, 1, 0, 0)).collect();
    rows.push((client(1), 400, 0, 0));
    observe(&mut aggregator, &reading(&rows), 3400);
    assert_eq!(aggregator.tick(at(1), Ending::More).sources.len(), 1000);
    aggregator.observe(walked(spoofed(), at(2)));
    observe(&mut aggregator, &reading(&rows), 3400);
    let snapshot = aggregator.tick(at(5), Ending::More);
    let [flood] = snapshot.floods.as_deref().unwrap() else { panic!("{:?}", snapshot.floods) };
    assert_eq!((flood.destination.port, flood.entries), (Some(80), 3000));
    let listed: Vec<_> = snapshot.sources.iter().map(|row| (row.key, row.entries)).collect();
    assert_eq!(listed, [(Some(client(1)), Some(400))]);
    assert_eq!((snapshot.others.entries, snapshot.totals.entries), (Some(3000), Some(3400)));
    assert_eq!((snapshot.others.unreplied, snapshot.sources[0].unreplied), (Some(3000), Some(0)));
    let census = snapshot.census.unwrap();
    assert_eq!((census.age_s, census.census.entries), (3.0, 3000));
    let prefixes = snapshot.prefixes.unwrap();
    let prefix = |prefix: &Prefix| (prefix.network.to_string(), prefix.entries);
    assert_eq!(prefixes.iter().map(prefix).collect::<Vec<_>>(), [("10.0.1.1/32".to_owned(), 400)]);
}

#[test]
fn rows_for_many_made_up_sources_are_not_listed_and_one_that_hides_a_heavy_source_is() {
    let mut aggregator = aggregator(1000, SortBy::Entries);
    let network = |third: u8, last: u8| source::key(NETNS, [20, 0, third, last].into(), 17);
    let crowd = || (0..2000_u32).map(|number| network((number / 250) as u8, (number % 250) as u8));
    let heavy = network(0, 251);
    let mut rows: Vec<_> = (0..8).map(|third| (network(third, 0).prefix(), 250, 0, 0)).collect();
    rows[0].1 += 400;
    rows.push((heavy.namespace(), 70, 0, 0));
    observe(&mut aggregator, &reading(&rows), 2470);
    aggregator.observe(walked(crowd().chain(vec![heavy; 400]), at(1)));
    let snapshot = aggregator.tick(at(1), Ending::More);
    assert_eq!(snapshot.floods.as_deref().map(<[_]>::len), Some(1));
    let listed: Vec<_> = snapshot.sources.iter().map(|row| (row.key, row.entries)).collect();
    assert_eq!(listed, [(Some(heavy.prefix()), Some(650))]);
    assert_eq!((snapshot.others.entries, snapshot.totals.entries), (Some(1820), Some(2470)));
}

#[test]
fn what_a_walk_told_adds_up_whoever_has_a_row() {
    let mut aggregator = aggregator(1, SortBy::Entries);
    assert_eq!(aggregator.tick(at(0), Ending::More).totals.unreplied, None);
    // One has its own row, one is counted under its prefix, and one has gone since.
    let (own, under_prefix) = (client(1), source::key(NETNS, [10, 0, 2, 7].into(), 17));
    let gone = source::key(NETNS, [10, 0, 3, 3].into(), 17);
    let rows = reading(&[(own, 2, 0, 0), (under_prefix.prefix(), 1, 0, 0)]);
    observe(&mut aggregator, &rows, 3);
    aggregator.observe(walked([own, own, under_prefix, gone], at(1)));
    let snapshot = aggregator.tick(at(1), Ending::More);
    assert_eq!((snapshot.sources[0].key, snapshot.sources[0].unreplied), (Some(own), Some(2)));
    assert_eq!((snapshot.others.unreplied, snapshot.totals.unreplied), (Some(2), Some(4)));
    assert_eq!(snapshot.totals.assured, Some(0));
    assert_eq!((snapshot.totals.entries, snapshot.totals.new), (Some(3), Some(3)));
}

#[test]
fn only_the_sources_asked_for_are_listed() {
    let mut aggregator = aggregator(10, SortBy::Entries);
    aggregator.limits.only = Some("10.0.1.0/31".parse().unwrap());
    observe(&mut aggregator, &reading(&[(client(1), 5, 0, 0), (client(2), 7, 0, 0)]), 12);
    let snapshot = aggregator.tick(at(1), Ending::More);
    assert_eq!(snapshot.sources.iter().map(|row| row.key).collect::<Vec<_>>(), [Some(client(1))]);
    assert_eq!((snapshot.others.entries, snapshot.totals.entries), (Some(7), Some(12)));
}

#[test]
fn entry_seconds_outlast_the_row() {
    let mut aggregator = aggregator(10, SortBy::EntrySeconds);
    let rows = reading(&[(client(1), 30, 0, 0), (client(2), 10, 0, 0)]);
    for second in 0..=4 {
        observe(&mut aggregator, &rows, 40);
        aggregator.tick(at(second), Ending::More);
    }
    // The first has ended all, and gives up its row.
    observe(&mut aggregator, &reading(&[(client(2), 10, 0, 0)]), 10);
    let given_up = row(client(1), [30, 0, 30, 0, 0]);
    let counted = Counters::from_row(&given_up.counters);
    aggregator.observe(Observation::RowReleased(given_up.key, counted));
    let snapshot = aggregator.tick(at(6), Ending::More);
    let seconds: Vec<_> = snapshot.sources.iter().map(|row| (row.key, row.entry_seconds)).collect();
    assert_eq!(seconds, [(Some(client(1)), Some(150.0)), (Some(client(2)), Some(60.0))]);
    assert_eq!(snapshot.totals.entry_seconds, Some(210.0));
}

#[test]
fn a_full_table_calls_for_walks_and_an_idle_one_for_none() {
    let mut aggregator = aggregator(10, SortBy::Entries);
    for (entries, from, expected) in [(799, 1, false), (801, 21, true)] {
        aggregator.observe(walked([client(1)], at(from - 1)));
        for second in from..from + 15 {
            observe(&mut aggregator, &reading(&[(client(1), entries, 0, 0)]), entries);
            aggregator.tick(at(second), Ending::More);
        }
        assert_eq!(aggregator.wants_walk(), expected, "{entries} of 1000");
    }
}
