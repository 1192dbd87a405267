use proptest::prelude::*;

use super::*;

/// nft 1.0.6, Linux 6.18: a block of an address and of a network by ctwatch, one by somebody else, and a range.
const TABLE: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}}, {"table": {"family": "inet", "name": "ctwatch", "handle": 1}},
{"set": {"family": "inet", "name": "block4", "table": "ctwatch", "type": "ipv4_addr", "handle": 1, "size": 131072, "flags": ["timeout"], "elem": [{"elem": {"val": "10.0.1.66", "timeout": 600, "expires": 599, "comment": "since=1700000000 by=root why=a flood", "counter": {"packets": 3, "bytes": 9}}}], "stmt": [{"counter": null}]}},
{"set": {"family": "inet", "name": "block6", "table": "ctwatch", "type": "ipv6_addr", "handle": 2, "size": 131072, "flags": ["timeout"], "elem": ["2001:db8::7"], "stmt": [{"counter": null}]}},
{"set": {"family": "inet", "name": "block6_64", "table": "ctwatch", "type": "ipv6_addr", "handle": 12, "size": 131072, "flags": ["timeout"], "elem": [{"elem": {"val": "2001:db8:1::", "timeout": 600, "expires": 598, "comment": "since=1700000000 by=root why=a flood", "counter": {"packets": 1, "bytes": 2}}}], "stmt": [{"counter": null}]}},
{"set": {"family": "inet", "name": "block4_networks", "table": "ctwatch", "type": "ipv4_addr", "handle": 3, "size": 131072, "flags": ["interval", "timeout"], "elem": [{"elem": {"val": {"range": ["10.0.3.1", "10.0.3.9"]}, "timeout": 600, "expires": 500}}, {"elem": {"val": {"prefix": {"addr": "10.0.2.0", "len": 24}}, "timeout": 600, "expires": 599, "comment": "mine", "counter": {"packets": 0, "bytes": 0}}}], "stmt": [{"counter": null}]}},
{"set": {"family": "inet", "name": "block6_networks", "table": "ctwatch", "type": "ipv6_addr", "handle": 4, "size": 131072, "flags": ["interval", "timeout"], "stmt": [{"counter": null}]}},
{"chain": {"family": "inet", "table": "ctwatch", "name": "block", "handle": 5, "type": "filter", "hook": "prerouting", "prio": -310, "policy": "accept"}},
{"rule": {"family": "inet", "table": "ctwatch", "chain": "block", "handle": 6, "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "@block4"}}, {"counter": {"packets": 3, "bytes": 9}}, {"drop": null}]}},
{"rule": {"family": "inet", "table": "ctwatch", "chain": "block", "handle": 7, "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "ip6", "field": "saddr"}}, "right": "@block6"}}, {"counter": {"packets": 0, "bytes": 0}}, {"drop": null}]}},
{"rule": {"family": "inet", "table": "ctwatch", "chain": "block", "handle": 13, "expr": [{"match": {"op": "==", "left": {"&": [{"payload": {"protocol": "ip6", "field": "saddr"}}, "ffff:ffff:ffff:ffff::"]}, "right": "@block6_64"}}, {"counter": {"packets": 0, "bytes": 0}}, {"drop": null}]}},
{"rule": {"family": "inet", "table": "ctwatch", "chain": "block", "handle": 8, "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "@block4_networks"}}, {"counter": {"packets": 0, "bytes": 0}}, {"drop": null}]}},
{"rule": {"family": "inet", "table": "ctwatch", "chain": "block", "handle": 9, "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "ip6", "field": "saddr"}}, "right": "@block6_networks"}}, {"counter": {"packets": 0, "bytes": 0}}, {"drop": null}]}}]}"#;

fn changed(from: &str, to: &str) -> Listing {
    assert!(TABLE.contains(from), "{from}");
    Listing::parse(&TABLE.replace(from, to)).unwrap()
}

#[test]
fn blocks_are_read_whoever_made_them() {
    let listing = Listing::parse(TABLE).unwrap();
    let note = Note { since_s: 1_700_000_000, by: "root".into(), why: "a flood".into() };
    let dropped = |packets, bytes| Some(Dropped { packets, bytes });
    let block = |network: &str, left_s, note, dropped| Blocked {
        network: network.parse().unwrap(),
        left_s,
        note,
        dropped,
    };
    assert_eq!(
        listing.blocks,
        [
            block("10.0.1.66/32", Some(599), Some(note.clone()), dropped(3, 9)),
            block("10.0.2.0/24", Some(599), None, dropped(0, 0)),
            block("2001:db8::7/128", None, None, None),
            block("2001:db8:1::/64", Some(598), Some(note), dropped(1, 2)),
        ]
    );
    assert_eq!((listing.has_table, listing.chain), (true, Chain::Right));
    let [problem] = listing.problems.as_slice() else { panic!("{:?}", listing.problems) };
    assert!(problem.contains("block4_networks") && problem.contains("10.0.3.9"), "{problem}");
    assert!(listing.has("set", "block6") && listing.has("chain", "block"));
    assert!(!listing.has("set", "block"));
}

#[test]
fn a_chain_that_somebody_has_changed_is_told() {
    for (from, to, chain) in [
        ("\"right\": \"@block4\"", "\"right\": \"@other\"", Chain::OtherRules),
        (", {\"drop\": null}", ", {\"accept\": null}", Chain::OtherRules),
        ("\"op\": \"==\"", "\"op\": \"!=\"", Chain::OtherRules),
        ("\"prio\": -310", "\"prio\": 0", Chain::OtherHook),
        ("\"hook\": \"prerouting\"", "\"hook\": \"output\"", Chain::OtherHook),
    ] {
        let listing = changed(from, to);
        assert_eq!(listing.chain, chain, "{to}");
        assert!(listing.problems.iter().any(|problem| problem.contains("the chain block")), "{to}");
    }
    let gone = changed("\"name\": \"block\", \"handle\": 5", "\"name\": \"other\", \"handle\": 5");
    assert_eq!(gone.chain, Chain::Missing);
    assert!(gone.problems.iter().any(|problem| problem.contains("is missing")));
}

#[test]
fn a_set_of_another_kind_and_a_table_that_sleeps_are_told() {
    let other =
        changed("\"type\": \"ipv4_addr\", \"handle\": 1,", "\"type\": \"mark\", \"handle\": 1,");
    assert_eq!(other.foreign_sets, ["block4"]);
    assert!(other.blocks.iter().all(|block| block.network.to_string() != "10.0.1.66/32"));
    let eternal = changed("\"size\": 131072, \"flags\": [\"timeout\"]", "\"size\": 131072");
    assert_eq!(eternal.foreign_sets, ["block4", "block6", "block6_64"]);
    for flags in ["[\"dormant\"]", "\"dormant\"", "4"] {
        let asleep = changed("\"handle\": 1}}", &format!("\"handle\": 1, \"flags\": {flags}}}}}"));
        assert!(asleep.problems[0].contains("dormant"), "{flags}: {:?}", asleep.problems);
    }
}

#[test]
fn what_is_no_table_is_an_error() {
    for text in ["", "[]", "{}", r#"{"nftables": 1}"#] {
        assert_eq!(Listing::parse(text), Err(NotATable), "{text}");
    }
    assert_eq!(Listing::parse(r#"{"nftables": []}"#), Ok(Listing::default()));
}

proptest! {
    #[test]
    fn any_text_gives_a_result(text in "\\PC*", at in 0..TABLE.len(), with in "[\\[\\]{}\",0-9a-z]{0,3}") {
        let _ = Listing::parse(&text);
        if TABLE.is_char_boundary(at) {
            let (head, tail) = TABLE.split_at(at);
            let _ = Listing::parse(&format!("{head}{with}{}", tail.get(1..).unwrap_or_default()));
        }
    }
}
