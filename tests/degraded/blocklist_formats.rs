//! Blocklists in the formats of nft, loaded by nft itself in a gateway's namespace, and what they do to packets.

mod loading;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ctwatch::blocklist::Blocklist;
use ctwatch_lab::{FlowPlan, counters};

use self::loading::{FORMATS, block, elements, kept, loaded, nft, nft_well, rendered, run_well};
use crate::observed::{gateway, ip, wait_for_entries};

const MANY: u32 = 100_000;
/// Of them /64s of IPv6; of other networks, nft 1.0.6 takes no ten thousand.
const NETWORKS: u32 = 50_000;

#[test]
fn nft_loads_each_of_its_formats_and_lists_what_was_in_it() {
    let Some(gateway) = gateway() else { return };
    for (name, options) in FORMATS {
        for list in [odd(), Blocklist::new(1, [])] {
            let text = rendered(name, &list);
            nft(&gateway, &[options, &["-c"]].concat(), &text);
            let tables = nft_well(&gateway, &["list", "tables"]);
            assert!(!tables.contains("ctwatch"), "-c changes nothing: {tables}");
            nft(&gateway, options, &text);
            assert_eq!(loaded(&gateway).0, kept(name, &list), "{name}");
            nft_well(&gateway, &["delete", "table", "inet", "ctwatch"]);
        }
    }
}

#[test]
fn a_list_that_is_loaded_again_extends_its_blocks_and_keeps_the_others() {
    let Some(gateway) = gateway() else { return };
    for (name, options) in FORMATS {
        let both = ["10.0.1.66", "10.9.0.0/16", "fd00:10::66", "2001:db8::/64"];
        let other = block("10.0.1.7/32", 600, "in the first list only");
        let first = both.map(|network| block(network, 60, "first")).into_iter().chain([other]);
        nft(&gateway, options, &rendered(name, &Blocklist::new(1, first)));
        let second = Blocklist::new(2, both.map(|network| block(network, 600, "second")));
        nft(&gateway, options, &rendered(name, &second));
        let (entries, left_s) = loaded(&gateway);
        for entry in entries {
            let is_other = entry.network.to_string() == "10.0.1.7/32";
            let why = if is_other { "in the first list only" } else { "second" };
            assert_eq!(entry.why.as_deref(), Some(why), "{name}");
            assert_eq!(entry.duration, Some(Duration::from_secs(600)), "{name} {}", entry.network);
            assert!(left_s[&entry.network.to_string()] > 500, "{name} {left_s:?}");
        }
        assert_eq!(left_s.len(), 5, "{name} {left_s:?}");
        nft_well(&gateway, &["delete", "table", "inet", "ctwatch"]);
    }
}

#[test]
fn nft_takes_100_000_blocks_twice() {
    let Some(gateway) = gateway() else { return };
    let addresses = (0..MANY - NETWORKS).map(|number| {
        let address = std::net::Ipv4Addr::from(u32::from_be_bytes([10, 16, 0, 0]) + number);
        block(&address.to_string(), 3600, "holds 80 % of the table")
    });
    let networks = (0..NETWORKS).map(|number| {
        block(
            &format!("2001:db8:{:x}:{:x}::/64", number / 256, number % 256),
            3600,
            "holds 80 % of the table",
        )
    });
    let list = Blocklist::new(1, addresses.chain(networks));
    for (name, options) in [FORMATS[0], FORMATS[2]] {
        let text = rendered(name, &list);
        for _twice in 0..2 {
            let began = Instant::now();
            nft(&gateway, options, &text);
            let took_ms = began.elapsed().as_millis();
            println!(
                "{name}: {MANY} blocks, {NETWORKS} of them networks, {} bytes, loaded in {took_ms} ms",
                text.len()
            );
        }
        assert_eq!(loaded(&gateway).0, kept(name, &list), "{name}");
        nft_well(&gateway, &["delete", "table", "inet", "ctwatch"]);
    }
}

#[test]
fn packets_of_the_blocked_are_counted_and_open_no_entry() {
    let Some(gateway) = gateway() else { return };
    let list = Blocklist::new(
        1,
        ["10.0.1.66", "10.0.3.0/24", "fd00:10::66", "fd00:10:0:0:7::/80", "fd00:10:0:9::/64"]
            .map(|network| block(network, 600, "holds 80 % of the table")),
    );
    for (name, options) in FORMATS {
        let text = rendered(name, &list);
        nft(&gateway, options, &text);
        // The rules that the operator adds, as the list itself says.
        for command in text.lines().filter_map(|line| line.strip_prefix("#   ")) {
            run_well(&gateway, "sh", &["-c", command]);
        }
        counters::flush(gateway.gateway()).unwrap();
        let sources =
            ["10.0.1.66", "10.0.3.9", "fd00:10::66", "fd00:10:0:0:7::9", "fd00:10:0:9:a::9"];
        for (packets, source) in (3..).zip(sources) {
            FlowPlan::udp(ip(source), packets).send(gateway.client()).unwrap();
        }
        for source in ["10.0.1.2", "fd00:10::2"] {
            FlowPlan::udp(ip(source), 7).send(gateway.client()).unwrap();
        }
        wait_for_entries(&gateway, 14);
        for source in sources {
            assert_eq!(counters::listed(gateway.gateway(), ip(source)).unwrap(), 0, "{source}");
        }
        let dropped: BTreeMap<String, u64> = elements(&gateway)
            .into_iter()
            .map(|each| (each.0.network.to_string(), each.2))
            .collect();
        let sent = [
            ("10.0.1.66/32", 3),
            ("10.0.3.0/24", 4),
            ("fd00:10::66/128", 5),
            ("fd00:10:0:0:7::/80", 6),
            ("fd00:10:0:9::/64", 7),
        ];
        let sent = sent.map(|(network, packets)| (network.to_owned(), packets));
        assert_eq!(dropped, BTreeMap::from(sent), "{name}");
        nft_well(&gateway, &["delete", "table", "inet", "ctwatch"]);
    }
}

/// What a list may be made of, and what must not break out of its comment.
fn odd() -> Blocklist {
    let long = "é".repeat(250);
    Blocklist::new(
        1_800_000_000_000_000_000,
        [
            block("10.0.1.66", 600, "\"; } flush ruleset # \\\n}\nflush ruleset"),
            block("10.0.1.66", 700, "$x @block4 'y' # \"\" }"),
            block("10.9.0.5/16", 600, &long),
            block("10.9.7.0/24", 900, "in the network"),
            block("0.0.0.0/0", 600, "all"),
            block("::/0", 600, "all"),
            block("128.0.0.0/1", 1_000, "half of all"),
            block("::ffff:10.0.1.67", 31_536_000, ""),
            block("2001:db8::1", 600, "\0\t日本"),
            block("2001:db8:1::/64", 600, "-"),
        ],
    )
}
