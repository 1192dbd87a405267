//! Conditioned counts, by example and against counting each entry for the longest listed prefix around it.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

fn holding(address: &str, entries: u64) -> Holding {
    let key = source::key(1, address.parse().unwrap(), 6);
    Holding::of_key(&key, entries, entries as f64).unwrap()
}

fn lines(prefixes: &[Prefix]) -> Vec<(String, u64, u64, u64)> {
    let line = |p: &Prefix| (p.network.to_string(), p.entries, p.entries_total, p.sources);
    prefixes.iter().map(line).collect()
}

#[test]
fn a_prefix_is_listed_only_for_what_its_listed_parts_do_not_explain() {
    let holdings = vec![
        holding("10.0.1.2", 500),
        // Neither of these alone, but their /24.
        holding("10.0.1.3", 60),
        holding("10.0.1.4", 60),
        // None of these /24s, but their /16.
        holding("10.0.2.1", 50),
        holding("10.0.3.1", 50),
        holding("10.0.3.2", 1),
        // Nobody's.
        holding("192.0.2.1", 99),
        holding("2001:db8:1:1::1", 70),
        holding("2001:db8:1:1::2", 70),
        holding("2001:db8:1:2::1", 99),
    ];
    assert_eq!(
        lines(&heavy(holdings, 100)),
        [
            ("10.0.1.2/32".to_owned(), 500, 500, 1),
            ("2001:db8:1:1::/64".to_owned(), 140, 140, 2),
            ("10.0.1.0/24".to_owned(), 120, 620, 2),
            ("10.0.0.0/16".to_owned(), 101, 721, 3),
        ]
    );
}

#[test]
fn protocols_of_one_address_are_one_source() {
    let udp = source::key(1, "10.0.1.2".parse().unwrap(), 17);
    let holdings = vec![holding("10.0.1.2", 60), Holding::of_key(&udp, 60, 1.0).unwrap()];
    assert_eq!(lines(&heavy(holdings, 100)), [("10.0.1.2/32".to_owned(), 120, 120, 1)]);
}

#[test]
fn a_row_for_a_prefix_counts_for_that_prefix_and_not_for_an_address() {
    let key = source::key(1, "10.0.1.0".parse().unwrap(), 6);
    let holdings =
        vec![Holding::of_key(&key.prefix(), 150, 0.0).unwrap(), holding("10.0.1.0", 120)];
    assert_eq!(
        lines(&heavy(holdings, 100)),
        [("10.0.1.0/24".to_owned(), 150, 270, 1), ("10.0.1.0/32".to_owned(), 120, 120, 1)]
    );
    assert_eq!(Holding::of_key(&key.namespace(), 1, 0.0), None);
}

#[test]
fn what_is_not_known_is_not_made_up() {
    let key = Some(source::key(1, "10.0.1.2".parse().unwrap(), 6));
    let row = SourceNumbers { key, entries: Some(1000), ..SourceNumbers::default() };
    assert_eq!(of_rows(&[row]).unwrap().len(), 1);
    assert_eq!(of_rows(&[row, SourceNumbers { entries: None, ..row }]), None);
}

/// Prefixes from the longest to the shortest, each judged by counting every entry anew.
fn brute_force(holdings: &[Holding], threshold: u64) -> Vec<(String, u64)> {
    let mut taken = vec![false; holdings.len()];
    let mut found = Vec::new();
    for (v4, v6) in [(32, 128), (24, 64), (16, 48)] {
        let network = |holding: &Holding| {
            let length = if holding.family == FAMILY_IPV4 { v4 } else { v6 };
            network(holding, length).unwrap()
        };
        let networks: Vec<IpNet> = holdings.iter().map(network).collect();
        let mut distinct = networks.clone();
        distinct.sort();
        distinct.dedup();
        for candidate in distinct {
            let inside: Vec<usize> = (0..holdings.len())
                .filter(|index| networks[*index] == candidate && !taken[*index])
                .collect();
            let entries: u64 = inside.iter().map(|index| holdings[*index].entries).sum();
            if entries >= threshold {
                inside.iter().for_each(|index| taken[*index] = true);
                found.push((candidate.to_string(), entries));
            }
        }
    }
    found.sort();
    found
}

/// Addresses that lie close together, so that prefixes are shared.
fn addresses() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0_u8..2, 0_u8..3, 0_u8..4).prop_map(|(b, c, d)| IpAddr::from([10, b, c, d])),
        (0_u16..2, 0_u16..2, 0_u16..3)
            .prop_map(|(c, d, h)| IpAddr::from([0x2001, 0xdb8, c, d, 0, 0, 0, h])),
    ]
}

proptest! {
    #[test]
    fn it_is_what_brute_force_finds_whatever_the_order(
        rows in prop::collection::vec((addresses(), 0_u64..60, prop::bool::ANY), 0..60),
        threshold in 1_u64..200,
        turn in any::<prop::sample::Index>(),
    ) {
        let holdings: Vec<Holding> = rows
            .iter()
            .map(|(address, entries, tcp)| {
                let key = source::key(1, *address, if *tcp { 6 } else { 17 });
                Holding::of_key(&key, *entries, 0.0).unwrap()
            })
            .collect();
        let found = heavy(holdings.clone(), threshold);
        let mut names: Vec<(String, u64)> =
            found.iter().map(|prefix| (prefix.network.to_string(), prefix.entries)).collect();
        names.sort();
        prop_assert_eq!(&names, &brute_force(&holdings, threshold));
        let total: u64 = holdings.iter().map(|holding| holding.entries).sum();
        prop_assert!(found.iter().map(|prefix| prefix.entries).sum::<u64>() <= total);
        prop_assert!(found.iter().all(|prefix| prefix.entries <= prefix.entries_total));
        let mut turned = holdings;
        if !turned.is_empty() {
            let by = turn.index(turned.len());
            turned.rotate_left(by);
        }
        prop_assert_eq!(heavy(turned, threshold), found);
    }
}
