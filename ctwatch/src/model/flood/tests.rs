//! What is a flood, and what only looks like one.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::model::census::{
    Tally,
    entry::WalkedEntry,
    state::State,
    tests::{at, entry},
};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Entries of `sources` addresses, `each` to one destination: the source, a number and the number of the entry.
struct Traffic {
    sources: fn(u32) -> IpAddr,
    count: u32,
    each: u16,
    destination: fn(u32) -> (IpAddr, u16),
    protocol: u8,
    /// One in so many is answered; none if 0.
    answered: u32,
    /// What those are in that are answered.
    state: State,
}

impl Traffic {
    const FLOOD: Self = Self {
        sources: scattered,
        count: 5000,
        each: 1,
        destination: |_| (IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), 80),
        protocol: TCP,
        answered: 0,
        state: State::Tcp(3),
    };

    fn floods(&self) -> Vec<Flood> {
        let mut tally = Tally::default();
        for number in 0..self.count {
            for port in 0..self.each {
                let (destination, destination_port) = (self.destination)(number);
                let entry = entry(
                    (self.sources)(number),
                    self.protocol,
                    destination,
                    (1024 + port, destination_port),
                );
                let unreplied = self.answered == 0 || number % self.answered != 0;
                let state = if unreplied { State::Unreplied } else { self.state };
                tally.add(&WalkedEntry { unreplied, state, ..entry });
            }
        }
        recognise(&tally.end(at(1)).destinations)
    }
}

/// All over IPv4.
fn scattered(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(number.wrapping_mul(0x9E37_79B1)).into()
}

#[test]
fn a_spoofed_flood_is_named_by_its_destination() {
    let floods = Traffic::FLOOD.floods();
    let [flood] = floods.as_slice() else { panic!("{floods:?}") };
    assert_eq!(flood.destination.address, IpAddr::from([198, 51, 100, 1]));
    assert_eq!((flood.destination.port, flood.destination.protocol), (Some(80), TCP));
    assert_eq!((flood.entries, flood.unreplied_share), (5000, 1.0));
    assert!((4000..6000).contains(&flood.sources), "{}", flood.sources);
    assert_eq!(flood.prefixes, []);
}

#[test]
fn a_flood_to_many_ports_is_one() {
    let destination = |number: u32| (IpAddr::from([198, 51, 100, 1]), number as u16);
    let floods = Traffic { destination, count: 4000, ..Traffic::FLOOD }.floods();
    let [flood] = floods.as_slice() else { panic!("{floods:?}") };
    assert_eq!((flood.destination.port, flood.entries), (None, 4000));
    // With more ports than a walk counts destinations it is still seen, and has at least so many entries.
    let floods = Traffic { destination, count: 60_000, ..Traffic::FLOOD }.floods();
    assert_eq!((floods[0].destination.port, floods[0].entries), (None, 4096));
}

#[test]
fn a_flood_that_the_server_answers_is_a_flood_if_nobody_goes_on() {
    let syn_recv = Traffic { answered: 1, state: State::Tcp(2), ..Traffic::FLOOD };
    let floods = syn_recv.floods();
    let [flood] = floods.as_slice() else { panic!("{floods:?}") };
    assert_eq!((flood.unreplied_share, flood.half_open_share), (0.0, 1.0));
}

#[test]
fn a_flood_from_one_prefix_names_it() {
    let near = |number: u32| IpAddr::from([10, 7, (number >> 8) as u8, number as u8]);
    let floods = Traffic { sources: near, ..Traffic::FLOOD }.floods();
    let [PrefixShare { network, share }] = floods[0].prefixes.as_slice() else {
        panic!("{floods:?}")
    };
    assert_eq!((network.to_string().as_str(), *share), ("10.7.0.0/16", 1.0));
    // One host of an IPv6 network that has a new address for each packet.
    let network = |number: u32| {
        IpAddr::from([0x2001, 0xdb8, 1, 2, 0, 0, (number >> 16) as u16, number as u16])
    };
    let destination = |_| (IpAddr::from([0x2001, 0xdb8, 9, 9, 0, 0, 0, 1]), 53);
    let floods =
        Traffic { sources: network, destination, protocol: UDP, ..Traffic::FLOOD }.floods();
    assert_eq!(floods[0].prefixes[0].network.to_string(), "2001:db8:1:2::/64");
}

#[test]
fn what_only_looks_like_a_flood_is_none() {
    let near_misses = [
        (
            "a scan of many ports by one source",
            Traffic {
                sources: |_| IpAddr::from([10, 0, 1, 2]),
                destination: |number| (IpAddr::from([198, 51, 100, 1]), number as u16),
                ..Traffic::FLOOD
            },
        ),
        (
            "many clients of a peer-to-peer host that is up",
            Traffic {
                destination: |number| (IpAddr::from([198, 51, 100, 1]), number as u16),
                answered: 1,
                ..Traffic::FLOOD
            },
        ),
        (
            "one source that opens many to one port",
            Traffic { sources: |_| IpAddr::from([10, 0, 1, 2]), ..Traffic::FLOOD },
        ),
        ("a popular server with many real clients", Traffic { answered: 1, ..Traffic::FLOOD }),
        ("a server that answers one in nine", Traffic { answered: 9, ..Traffic::FLOOD }),
        ("a server that is down, and its few clients", Traffic { count: 800, ..Traffic::FLOOD }),
        ("clients that try again and again", Traffic { each: 4, ..Traffic::FLOOD }),
        (
            "a /64 that scans a network",
            Traffic {
                sources: |number| IpAddr::from([0x2001, 0xdb8, 1, 2, 0, 0, 0, number as u16]),
                destination: |number| {
                    (IpAddr::from([0x2001, 0xdb8, 9, 9, 0, 0, 0, number as u16]), 22)
                },
                ..Traffic::FLOOD
            },
        ),
    ];
    for (what, traffic) in near_misses {
        assert_eq!(traffic.floods(), [], "{what}");
    }
    // The same just beyond each of the bounds.
    assert_eq!(Traffic { answered: 20, ..Traffic::FLOOD }.floods().len(), 1);
    assert_eq!(Traffic { count: 1500, ..Traffic::FLOOD }.floods().len(), 1);
}

#[test]
fn only_sources_of_next_to_nothing_are_part_of_a_flood() {
    let floods = Traffic::FLOOD.floods();
    let key = |protocol| Some(source::key(1, "10.0.1.2".parse().unwrap(), protocol));
    let small = SourceNumbers {
        key: key(TCP),
        entries: Some(2),
        new_per_s: Some(1.0),
        refused_per_s: Some(0.0),
        entry_seconds: Some(20.0),
        ..SourceNumbers::default()
    };
    let part = |row: SourceNumbers| is_only_part_of(&floods, &row, |_| false, 1.0, 10.0);
    assert!(part(small));
    assert!(part(SourceNumbers { entries: None, new_per_s: None, ..small }));
    for more in [
        SourceNumbers { entries: Some(3), ..small },
        SourceNumbers { new_per_s: Some(3.0), ..small },
        SourceNumbers { refused_per_s: Some(3.0), ..small },
        SourceNumbers { entry_seconds: Some(20.5), ..small },
        SourceNumbers { key: key(UDP), ..small },
        SourceNumbers { key: None, ..small },
    ] {
        assert!(!part(more), "{more:?}");
    }
    assert!(!is_only_part_of(&[], &small, |_| false, 1.0, 10.0));
    // A row for many addresses is, if its sources are.
    let crowd = SourceNumbers { key: key(TCP).map(|key| key.prefix()), entries: Some(90), ..small };
    assert!(!part(crowd));
    assert!(is_only_part_of(&floods, &crowd, |key| Some(*key) == crowd.key, 1.0, 10.0));
    // Those that found no room for a row are nobody in particular.
    let everybody = key(TCP).map(|key| key.namespace());
    assert!(part(SourceNumbers { key: everybody, entries: Some(60_000), ..small }));
}
