//! What a walk of the table makes of its entries.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::model::trace::Flow;
use destinations::Destination;
use entry::SourceNat;
use snat::{Holder, Pool};
use state::State;

const NETNS: u32 = 3;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;

pub(crate) fn at(seconds: u64) -> Moment {
    Moment { monotonic_ns: seconds * 1_000_000_000, wall_ns: 0 }
}

/// An entry without an answer and without translation; `ports` are source and destination.
pub(crate) fn entry(
    source: IpAddr,
    protocol: u8,
    destination: IpAddr,
    ports: (u16, u16),
) -> WalkedEntry {
    let flow = Flow {
        source: source::key(NETNS, source, protocol),
        destination,
        source_port: ports.0,
        destination_port: ports.1,
    };
    let (state, zone) = (State::Unreplied, 0);
    WalkedEntry {
        flow,
        source_nat: None,
        state,
        assured: false,
        unreplied: true,
        zone,
        remaining_s: Some(60),
    }
}

fn client(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 1, last])
}

fn server(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn walk(entries: impl IntoIterator<Item = WalkedEntry>) -> Walk {
    let mut tally = Tally::default();
    entries.into_iter().for_each(|entry| tally.add(&entry));
    tally.end(at(1))
}

fn translated(entry: WalkedEntry, port: u16) -> WalkedEntry {
    let Flow { destination, destination_port, .. } = entry.flow;
    let source_nat = Some(SourceNat { address: server(99), port, destination, destination_port });
    WalkedEntry { source_nat, ..entry }
}

#[test]
fn shares_zones_and_states_are_counted() {
    let udp = entry(client(1), UDP, server(1), (1024, 53));
    let tcp = WalkedEntry {
        state: State::Tcp(3),
        assured: true,
        unreplied: false,
        zone: 7,
        ..entry(client(2), TCP, server(1), (1024, 443))
    };
    let walk = walk([udp, tcp, tcp, WalkedEntry { zone: 7, ..udp }]);
    let census = &walk.census;
    assert_eq!((census.entries, census.assured, census.unreplied), (4, 2, 2));
    let states: Vec<_> = census.states.iter().map(|s| (s.state.as_ref(), s.entries)).collect();
    assert_eq!(states, [("ESTABLISHED", 2), ("unreplied", 2)]);
    assert_eq!(
        census.zones,
        [ZoneNumbers { zone: 7, entries: 3 }, ZoneNumbers { zone: 0, entries: 1 }]
    );
    let shares = |client, protocol| walk.sources[&source::key(NETNS, client, protocol)];
    assert_eq!(shares(client(1), UDP), Shares { entries: 2, assured: 0, unreplied: 2 });
    assert_eq!(shares(client(2), TCP), Shares { entries: 2, assured: 2, unreplied: 0 });
}

#[test]
fn destinations_have_their_entries_sources_and_unreplied() {
    let answered = |entry| WalkedEntry { unreplied: false, ..entry };
    let echo = |kind: u16| entry(client(1), ICMP, server(1), (9, kind << 8));
    let walk = walk([
        entry(client(1), UDP, server(1), (1, 53)),
        entry(client(1), UDP, server(1), (2, 53)),
        answered(entry(client(2), UDP, server(1), (1, 53))),
        entry(client(2), UDP, server(1), (1, 54)),
        // Whatever the type: it is no port.
        echo(8),
        echo(13),
    ]);
    let destination = |port, protocol| Destination { address: server(1), port, protocol };
    let numbers = |destination, entries, sources, unreplied| DestinationNumbers {
        destination,
        entries,
        sources,
        unreplied,
        half_open: unreplied,
    };
    assert_eq!(
        walk.census.destinations,
        [
            numbers(destination(Some(53), UDP), 3, 2, 2),
            numbers(destination(None, ICMP), 2, 1, 2),
            numbers(destination(Some(54), UDP), 1, 1, 1),
        ]
    );
}

#[test]
fn half_open_is_what_has_no_answer_or_is_not_beyond_it() {
    let tcp = |state, unreplied| WalkedEntry {
        state: State::Tcp(state),
        unreplied,
        ..entry(client(1), TCP, server(1), (1, 80))
    };
    // SYN_SENT, SYN_RECV, ESTABLISHED, picked up in the middle without an answer, TIME_WAIT, SYN_SENT2.
    let walk = walk(
        [(1, true), (2, false), (3, false), (3, true), (7, false), (9, false)]
            .map(|(state, unreplied)| tcp(state, unreplied)),
    );
    let numbers = walk.census.destinations[0];
    assert_eq!((numbers.entries, numbers.unreplied, numbers.half_open), (6, 2, 4));
}

#[test]
fn destinations_can_be_those_of_some_sources_only() {
    for (of, entries) in [("10.0.1.2/32", 1), ("10.0.1.0/24", 3), ("10.0.2.0/24", 0), ("::/0", 0)] {
        let mut tally = Tally::new(Some(of.parse().unwrap()));
        for last in 1..=3 {
            tally.add(&entry(client(last), UDP, server(1), (1, 53)));
        }
        let census = tally.end(at(1)).census;
        let counted: u64 = census.destinations.iter().map(|numbers| numbers.entries).sum();
        assert_eq!((counted, census.entries), (entries, 3), "{of}");
    }
}

#[test]
fn ports_of_source_nat_are_counted_towards_each_destination() {
    let to = |last, number: u16, destination| {
        translated(entry(client(last), UDP, destination, (number, 443)), 1024 + number)
    };
    let many = (0..30).map(|number| to(1, number, server(1)));
    let few = (30..40).map(|number| to(2, number, server(1)));
    let elsewhere = (0..5).map(|number| to(1, number, server(2)));
    let not_translated = (0..50).map(|number| entry(client(3), UDP, server(1), (number, 443)));
    let walk = walk(many.chain(few).chain(elsewhere).chain(not_translated));
    let [first, second] = walk.census.snat_pools.as_slice() else { panic!("{walk:?}") };
    let pool = |destination| Pool {
        address: server(99),
        destination: Destination { address: destination, port: Some(443), protocol: UDP },
        ports: 64_512,
    };
    assert_eq!((first.pool, first.ports_used), (pool(server(1)), 40));
    assert!((first.utilization - 40.0 / 64_512.0).abs() < 1e-12);
    let holder = |last, ports_used| Holder { source: client(last), ports_used };
    assert_eq!(first.holders, [holder(1, 30), holder(2, 10)]);
    assert_eq!((second.pool, second.ports_used), (pool(server(2)), 5));
}

#[test]
fn each_class_of_ports_is_a_pool_of_its_own() {
    let udp = |port| translated(entry(client(1), UDP, server(1), (port, 123)), port);
    let echo = |id| translated(entry(client(1), ICMP, server(1), (id, 8 << 8)), id);
    let esp = translated(entry(client(1), 50, server(1), (0, 0)), 0);
    let walk = walk([udp(123), udp(511), udp(512), udp(1023), udp(1024), echo(1), echo(2), esp]);
    let mut pools: Vec<(u32, u64)> = walk
        .census
        .snat_pools
        .iter()
        .map(|numbers| (numbers.pool.ports, numbers.ports_used))
        .collect();
    pools.sort_unstable();
    assert_eq!(pools, [(424, 2), (511, 2), (64_512, 1), (65_536, 2)]);
}

proptest! {
    /// Any table, in any order: the same census, and sums that hold.
    #[test]
    fn the_order_of_the_walk_does_not_matter_and_sums_hold(
        table in prop::collection::vec((0_u8..5, 0_u8..4, 0_u16..3, any::<bool>(), any::<bool>()), 0..200),
        turn in 0_usize..200,
    ) {
        let entries: Vec<WalkedEntry> = table
            .iter()
            .map(|(from, to, port, assured, tcp)| {
                let (protocol, state) = if *tcp { (TCP, State::Tcp(*from)) } else { (UDP, State::Replied) };
                let entry = entry(client(*from), protocol, server(*to), (7, *port));
                translated(WalkedEntry { assured: *assured, unreplied: !*assured, state, zone: *port, ..entry }, 2000)
            })
            .collect();
        let mut turned = entries.clone();
        turned.rotate_left(turn % entries.len().max(1));
        let (one, other) = (walk(entries.clone()), walk(turned));
        prop_assert_eq!(&one.census, &other.census);
        let census = &one.census;
        let count = entries.len() as u64;
        prop_assert_eq!(census.entries, count);
        prop_assert_eq!(census.assured + census.unreplied, count);
        prop_assert_eq!(census.states.iter().map(|s| s.entries).sum::<u64>(), count);
        prop_assert_eq!(census.zones.iter().map(|z| z.entries).sum::<u64>(), count);
        let listed: u64 = census.destinations.iter().map(|d| d.entries).sum();
        // At most 4 addresses, 3 ports and 2 protocols: 24 destinations, of which 20 are listed.
        let all: u64 = one.destinations.iter().map(|(_, tally)| tally.entries).sum();
        prop_assert_eq!(all, count);
        prop_assert!(listed <= count && census.destinations.len() <= LISTED_MAX);
        let by_source: u64 = one.sources.values().map(|s| u64::from(s.assured + s.unreplied)).sum();
        prop_assert_eq!(by_source, count);
        let ports: u64 = census.snat_pools.iter().map(|pool| pool.ports_used).sum();
        prop_assert!(ports <= count);
    }
}
