use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::{
    blocklist::{
        protected::Protection,
        samples::{self, Seen},
    },
    output::sample,
};

const ABUSER: Seen = Seen { source: "10.0.1.66", entries: 700, new: 50, refused: 300 };
const OTHER: Seen = Seen { source: "10.0.2.1", entries: 10, new: 1, refused: 9 };

fn protect(list: &[(&str, &str)]) -> Protected {
    let protection = |(network, what): &(&str, &str)| Protection {
        network: network.parse().unwrap(),
        what: (*what).to_owned(),
    };
    Protected::new(list.iter().map(protection).collect())
}

fn select(sources: &[Seen], policy: &Policy, protected: &[(&str, &str)]) -> Blocklist {
    super::select(&samples::window(&[sources; 3]), policy, &protect(protected))
}

fn blocked(list: &Blocklist) -> Vec<String> {
    list.blocks.iter().map(|block| super::super::ruleset::element(&block.network)).collect()
}

fn spared(list: &Blocklist) -> Vec<(String, &str)> {
    let spared = list.spared.iter();
    spared.map(|each| (super::super::ruleset::element(&each.network), each.why.as_str())).collect()
}

#[test]
fn who_fills_the_table_while_others_are_refused_is_listed_with_the_reason() {
    let list = select(&[ABUSER, OTHER], &Policy::default(), &[]);
    let [block] = list.blocks.as_slice() else { panic!("{list:?}") };
    assert_eq!(block.network, "10.0.1.66/32".parse().unwrap());
    assert_eq!(block.duration, Policy::default().expiry);
    assert_eq!(
        block.why,
        "holds 70 % of the table, asks for 350/s (97 % of all); of others 27 refused"
    );
    assert_eq!((list.spared, list.notes), (vec![], vec![]));
}

#[test]
fn a_customer_of_ipv6_is_judged_and_listed_as_one() {
    let v6 = |source| Seen { source, entries: 110, new: 0, refused: 0 };
    let sources = [v6("2001:db8::1"), v6("2001:db8::2"), v6("2001:db8:0:1::1"), OTHER];
    assert_eq!(blocked(&select(&sources, &Policy::default(), &[])), ["2001:db8::/64"]);
}

#[test]
fn of_a_link_of_many_customers_each_address_is_judged_by_itself() {
    let v6 = |source, entries| Seen { source, entries, new: 0, refused: 0 };
    let sources = [v6("2001:db8::66", 400), v6("2001:db8::2", 110), v6("2001:db8::3", 110), OTHER];
    let own = [("2001:db8::1/128", "an address of this machine itself")];
    let list = select(&sources, &Policy::default(), &own);
    assert_eq!(blocked(&list), ["2001:db8::66"]);
    let why = "it contains 2001:db8::1: an address of this machine itself";
    assert_eq!(spared(&list), [("2001:db8::/64".to_owned(), why)]);
}

#[test]
fn who_is_protected_is_spared_and_it_is_said_why() {
    let router = [("10.0.1.66/32", "a router that this machine's routes lead to")];
    let list = select(&[ABUSER, OTHER], &Policy::default(), &router);
    assert!(list.blocks.is_empty() && list.notes.is_empty(), "{list:?}");
    let why = "it is a router that this machine's routes lead to";
    assert_eq!(spared(&list), [("10.0.1.66".to_owned(), why)]);
    // Who does not stand out is not worth a word.
    assert!(select(&[OTHER], &Policy::default(), &[("10.0.2.1/32", "x")]).spared.is_empty());
}

#[test]
fn a_spoofed_flood_lists_nobody_and_says_what_would_help() {
    let flood = sample::snapshot().floods.unwrap()[0].clone();
    let window = |entries| {
        let mut snapshot = samples::snapshot(&[ABUSER, OTHER], 1000);
        snapshot.floods = Some([crate::model::flood::Flood { entries, ..flood.clone() }].into());
        Window::of([&snapshot, &snapshot, &snapshot])
    };
    let list = super::select(&window(200), &Policy::default(), &protect(&[]));
    assert!(list.blocks.is_empty() && list.spared.is_empty());
    let [note] = list.notes.as_slice() else { panic!("{list:?}") };
    for part in ["198.51.100.1 port 443 (tcp)", "98765 addresses", "made up", "ctwatch advise"] {
        assert!(note.contains(part), "{part}: {note}");
    }
    // A small one is no hiding place.
    let list = super::select(&window(199), &Policy::default(), &protect(&[]));
    assert_eq!(blocked(&list), ["10.0.1.66"]);
}

#[test]
fn a_prefix_is_listed_only_if_that_is_asked_for_and_covers_nobody_who_is_protected() {
    let v4 = |source, entries| Seen { source, entries, new: 0, refused: 0 };
    let two = [v4("10.0.1.1", 300), v4("10.0.1.2", 300), v4("10.0.1.3", 5), OTHER];
    let all_may = Policy { sources_share_max: 1.0, ..Policy::default() };
    let by_24 = Policy { aggregate_ipv4: Some(24), ..all_may.clone() };
    assert_eq!(blocked(&select(&two, &all_may, &[])), ["10.0.1.1", "10.0.1.2"]);
    assert_eq!(blocked(&select(&two, &by_24, &[])), ["10.0.1.0/24"]);
    // One culprit is no reason for a prefix.
    let one = [v4("10.0.1.1", 300), v4("10.0.1.2", 30), OTHER];
    assert_eq!(blocked(&select(&one, &by_24, &[])), ["10.0.1.1"]);
    // Many that do not stand out one by one are.
    let many = [v4("10.0.1.1", 150), v4("10.0.1.2", 150), OTHER];
    assert_eq!(blocked(&select(&many, &by_24, &[])), ["10.0.1.0/24"]);
    assert!(blocked(&select(&many, &all_may, &[])).is_empty());
    let neighbour = [("10.0.1.9/32", "an operator")];
    assert_eq!(blocked(&select(&two, &by_24, &neighbour)), ["10.0.1.1", "10.0.1.2"]);
    let list = select(&many, &by_24, &neighbour);
    assert_eq!(spared(&list), [("10.0.1.0/24".to_owned(), "it contains 10.0.1.9: an operator")]);
    let v6 = |source| Seen { source, entries: 300, new: 0, refused: 0 };
    let v6 = [v6("2001:db8::1"), v6("2001:db8:0:1::1"), OTHER];
    let by_56 = Policy { aggregate_ipv6: Some(56), ..all_may };
    assert_eq!(blocked(&select(&v6, &by_56, &[])), ["2001:db8::/56"]);
}

#[test]
fn a_network_whose_addresses_had_no_room_is_listed_as_a_prefix_only() {
    let crowd = Seen { source: "10.0.1.0/24", entries: 700, new: 0, refused: 0 };
    let list = select(&[crowd, OTHER], &Policy::default(), &[]);
    assert!(list.blocks.is_empty() && list.spared[0].why.contains("--max-sources"), "{list:?}");
    let by_24 = Policy { aggregate_ipv4: Some(24), ..Policy::default() };
    let list = select(&[crowd, OTHER], &by_24, &[]);
    assert_eq!((blocked(&list), list.spared.len()), (vec!["10.0.1.0/24".to_owned()], 0));
}

#[test]
fn caps_take_the_worst_first_and_say_who_is_left_out() {
    let sources = [
        Seen { source: "10.0.1.1", entries: 300, new: 0, refused: 0 },
        Seen { source: "10.0.1.2", entries: 400, new: 0, refused: 0 },
        OTHER,
    ];
    let list = select(&sources, &Policy { blocks_max: 1, ..Policy::default() }, &[]);
    assert_eq!(blocked(&list), ["10.0.1.2"]);
    assert!(list.spared[0].why.contains("--max-blocks"), "{list:?}");
    // A quarter of three is one.
    let list = select(&sources, &Policy::default(), &[]);
    assert_eq!(blocked(&list), ["10.0.1.2"]);
    assert_eq!(
        list.spared[0].why,
        "it is one of the 3 sources that were seen, and with those listed that is more than 25 % (--max-share)"
    );
}

#[test]
fn why_nobody_is_listed_is_said() {
    let note = |list: &Blocklist| {
        assert!(list.blocks.is_empty() && list.spared.is_empty(), "{list:?}");
        let [note] = list.notes.as_slice() else { panic!("{list:?}") };
        note.clone()
    };
    let said = note(&select(&[OTHER], &Policy::default(), &[]));
    assert!(said.contains("holds most, 10.0.2.1, has 10 entries (1.0 % of the table)"), "{said}");
    let said = note(&select(&[ABUSER], &Policy::default(), &[]));
    assert!(said.contains("10.0.1.66 (holds 70 %") && said.contains("--harm 0"), "{said}");
    let four = Policy { intervals_min: 4, ..Policy::default() };
    let said = note(&select(&[ABUSER, OTHER], &four, &[]));
    assert!(said.contains("3 intervals were seen, and a source is listed after 4"), "{said}");
    let said = note(&super::select(&Window::default(), &Policy::default(), &protect(&[])));
    assert!(said.contains("0 intervals"), "{said}");
    let said = note(&select(&[], &Policy::default(), &[]));
    assert!(said.contains("not known who holds"), "{said}");
}

#[test]
fn what_the_mode_does_not_see_is_said() {
    let window = samples::unseen(samples::snapshot(&[ABUSER, OTHER], 1000));
    let policy = Policy { intervals_min: 1, ..Policy::default() };
    let list = super::select(&window, &policy, &protect(&[]));
    assert_eq!(blocked(&list), ["10.0.1.66"]);
    assert_eq!(list.blocks[0].why, "holds 70 % of the table");
    let said = list.notes.join("\n");
    assert!(said.contains("who asks for entries") && said.contains("95 % full"), "{said}");
}

/// Sources close together, so that prefixes have several.
fn sources() -> impl Strategy<Value = Vec<Seen>> {
    let v4 = (0_u32..1 << 6).prop_map(|bits| Ipv4Addr::from(0x0a00_0000 | bits << 6).to_string());
    let v6 = (0_u128..1 << 4, 0_u128..4).prop_map(|(subnet, host)| {
        Ipv6Addr::from_bits(0x2001_0db8 << 96 | subnet << 64 | host).to_string()
    });
    let mapped = (0_u32..1 << 6)
        .prop_map(|bits| Ipv4Addr::from(0x0a00_0000 | bits << 6).to_ipv6_mapped().to_string());
    let crowd = (0_u8..4).prop_map(|subnet| format!("10.0.{subnet}.0/24"));
    let amount = prop_oneof![0_u64..20, 0_u64..1000];
    let seen = (
        prop_oneof![4 => v4, 2 => v6, 1 => mapped, 1 => crowd],
        amount.clone(),
        amount.clone(),
        amount,
    )
        .prop_map(|(source, entries, new, refused)| Seen {
            source: source.leak(),
            entries,
            new,
            refused,
        });
    prop::collection::vec(seen, 0..12)
}

fn policy() -> impl Strategy<Value = Policy> {
    (
        (0.0..0.5, 0_u64..100, 1_usize..4, 0.0..=1.0, 0_u64..3),
        (prop::option::of(20_u8..30), prop::option::of(50_u8..64)),
        (1_usize..5, 0.01..=1.0),
    )
        .prop_map(
            |((share_min, amount, intervals_min, leave_at, harm_min), aggregate, caps)| Policy {
                share_min,
                entries_min: amount,
                asked_per_s_min: amount,
                intervals_min,
                leave_at,
                harm_min,
                aggregate_ipv4: aggregate.0,
                aggregate_ipv6: aggregate.1,
                blocks_max: caps.0,
                sources_share_max: caps.1,
                ..Policy::default()
            },
        )
}

fn protected_networks() -> impl Strategy<Value = Vec<IpNet>> {
    let v4 = (0_u32..1 << 12, 26_u8..=32)
        .prop_map(|(bits, length)| IpNet::new(Ipv4Addr::from(0x0a00_0000 | bits).into(), length));
    let v6 = (0_u128..1 << 4, 0_u128..4, 60_u8..=128).prop_map(|(subnet, host, length)| {
        let bits = 0x2001_0db8 << 96 | subnet << 64 | host;
        IpNet::new(Ipv6Addr::from_bits(bits).into(), length)
    });
    prop::collection::vec(prop_oneof![v4, v6].prop_map(|network| network.unwrap().trunc()), 0..6)
}

fn meet(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

proptest! {
    #[test]
    fn a_list_spares_the_protected_keeps_its_caps_and_is_disjoint_sorted_and_the_same_in_any_order(
        intervals in prop::collection::vec(sources(), 1..5),
        policy in policy(),
        protected in protected_networks(),
        turn in 0_usize..12,
    ) {
        let list = protected.iter().map(|network| Protection { network: *network, what: "x".into() });
        let judge = Protected::new(list.collect());
        let slices: Vec<&[Seen]> = intervals.iter().map(Vec::as_slice).collect();
        let window = samples::window(&slices);
        let list = super::select(&window, &policy, &judge);
        for block in &list.blocks {
            prop_assert!(protected.iter().all(|each| !meet(each, &block.network)), "{block:?}");
            prop_assert!(judge.why(&block.network).is_none());
            prop_assert_eq!(block.network.trunc(), block.network);
        }
        prop_assert!(list.blocks.len() <= policy.blocks_max);
        for (position, block) in list.blocks.iter().enumerate() {
            for later in &list.blocks[position + 1..] {
                prop_assert!(block.network < later.network && !meet(&block.network, &later.network));
            }
        }
        // The share of sources, one at least: of addresses of IPv4, and /64s of IPv6 or what is protected in one.
        let sources = Sources::of(&window, &judge);
        let known = sources.by_network.len();
        let hit = sources.by_network.keys()
            .filter(|source| list.blocks.iter().any(|block| block.network.contains(*source)))
            .count();
        prop_assert!(hit <= 1.max((known as f64 * policy.sources_share_max).ceil() as usize));

        let turned: Vec<Vec<Seen>> = intervals.iter().map(|sources| {
            let mut sources = sources.clone();
            sources.reverse();
            let turn = turn.min(sources.len());
            sources.rotate_left(turn);
            sources
        }).collect();
        let slices: Vec<&[Seen]> = turned.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(super::select(&samples::window(&slices), &policy, &judge), list);
    }

    /// Lists are not empty for want of anything to list.
    #[test]
    fn who_holds_nearly_all_is_listed_unless_protected(held in 600_u64..1000, is_protected: bool) {
        let sources = [Seen { entries: held, ..ABUSER }, OTHER];
        let protected: &[(&str, &str)] = if is_protected { &[("10.0.0.0/15", "x")] } else { &[] };
        let list = select(&sources, &Policy::default(), protected);
        prop_assert_eq!((list.blocks.len(), list.spared.len()), if is_protected { (0, 1) } else { (1, 0) });
    }
}
