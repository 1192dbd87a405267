//! What is written for another program stays a line a block, whatever the sentence and however long the block.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::blocklist::Block;

const PROGRAMS: [&str; 5] = ["ipset", "iptables", "ip6tables", "crowdsec", "fail2ban"];
/// What every format can hold: days of a timeout of ipset's.
const DURATION_S_MAX: u64 = 2_147_483;
/// Before what 32 bits of seconds hold, by more than the longest duration.
const WALL_S_MAX: i128 = i32::MAX as i128 - 3_000_000;

fn network() -> impl Strategy<Value = IpNet> {
    let v4 = (any::<u32>(), 1..=32_u8).prop_map(|(address, length)| {
        IpNet::new(Ipv4Addr::from(address).into(), length).unwrap().trunc()
    });
    let v6 = (any::<u128>(), 1..=128_u8).prop_map(|(address, length)| {
        IpNet::new(Ipv6Addr::from(address).into(), length).unwrap().trunc()
    });
    prop_oneof![v4, v6]
}

fn list(why: &'static str) -> impl Strategy<Value = Blocklist> {
    let block = (network(), 1..=DURATION_S_MAX, why).prop_map(|(network, duration_s, why)| Block {
        network,
        duration: Duration::from_secs(duration_s),
        why,
    });
    (0..WALL_S_MAX * 1_000_000_000, prop::collection::vec(block, 0..20))
        .prop_map(|(wall_ns, blocks)| Blocklist { wall_ns, blocks, ..Blocklist::default() })
}

/// Those that a format is for.
fn of_family(list: &Blocklist, name: &str) -> Vec<Block> {
    let is_wanted = |block: &&Block| match name {
        "iptables" => block.network.addr().is_ipv4(),
        "ip6tables" => block.network.addr().is_ipv6(),
        _ => true,
    };
    list.blocks.iter().filter(is_wanted).cloned().collect()
}

proptest! {
    #[test]
    fn no_sentence_breaks_a_line(list in list(".*")) {
        for name in PROGRAMS {
            let format = by_name(name).unwrap();
            let text = (format.render)(&list);
            let networks: Vec<IpNet> =
                (format.parse)(&text).unwrap().into_iter().map(|entry| entry.network).collect();
            let blocks = of_family(&list, name);
            prop_assert_eq!(&networks, &blocks.iter().map(|block| block.network).collect::<Vec<_>>(), "{}", name);
            prop_assert!(text.lines().count() >= blocks.len());
            prop_assert!(!text.contains('\0'), "{}", name);
        }
    }
}

/// Who is blocked for longer than a program can count is blocked for as long as it can, not for ever and not for no time.
#[test]
fn no_duration_is_too_long_or_too_short() {
    let wall_ns = 1_790_000_000_000_000_000;
    for (duration_s, expected_s) in [
        (u64::MAX, [DURATION_S_MAX, i32::MAX as u64 - 1_790_000_000, 9_223_372_036, u64::MAX]),
        (0, [1; 4]),
    ] {
        let block = Block {
            network: "10.0.1.66/32".parse().unwrap(),
            duration: Duration::from_secs(duration_s),
            why: String::new(),
        };
        let list = Blocklist { wall_ns, blocks: vec![block], ..Blocklist::default() };
        for (name, expected_s) in
            ["ipset", "iptables", "crowdsec", "fail2ban"].into_iter().zip(expected_s)
        {
            let format = by_name(name).unwrap();
            let entries = (format.parse)(&(format.render)(&list)).unwrap();
            assert_eq!(entries[0].duration, Some(Duration::from_secs(expected_s)), "{name}");
        }
    }
}

#[test]
fn what_is_of_another_format_is_told_by_its_line() {
    for (name, text, expected) in [
        (
            "ipset",
            "# x\nadd ctwatch4 10.0.1.66 comment \"x\" -exist\n",
            "line 2: expected 'timeout', found 'comment'",
        ),
        (
            "iptables",
            "*raw\n-A ctwatch -s 10.0.1 -j DROP\n",
            "line 2: expected an address or a network, found '10.0.1'",
        ),
        (
            "crowdsec",
            "[\n{\"duration\":\"1h\",\"value\":\"10.0.1.66\",\"reason\":\"\"}\n]\n",
            "line 2: no decision on an address: '10.0.1.66' for '1h'",
        ),
        (
            "fail2ban",
            "2026-11-26T20:41:21Z ctwatch: block 10.0.1.66 for x s: \n",
            "line 1: expected a number of seconds, found 'x'",
        ),
    ] {
        let error = (by_name(name).unwrap().parse)(text).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}
