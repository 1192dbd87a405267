use proptest::prelude::*;

use super::*;

/// nft 1.0.6, Linux 6.18: a cap on an address, one on a network, and what is left of one whose time is over.
const TABLE: &str = r#"[{"table": {"family": "inet", "name": "ctwatch", "handle": 1}},
{"set": {"family": "inet", "name": "cap_0a000142_32", "table": "ctwatch", "type": "ipv4_addr", "handle": 2, "flags": ["timeout"], "elem": [{"elem": {"val": "10.0.1.66", "timeout": 600, "expires": 599, "comment": "since=1 by=root why=x"}}]}},
{"set": {"family": "inet", "name": "cap_20010db8000000000000000000000000_64", "table": "ctwatch", "type": "ipv6_addr", "handle": 4, "flags": ["interval", "timeout"], "elem": [{"elem": {"val": {"prefix": {"addr": "2001:db8::", "len": 64}}, "timeout": 600, "expires": 598}}]}},
{"set": {"family": "inet", "name": "cap_0a000143_32", "table": "ctwatch", "type": "ipv4_addr", "handle": 6, "flags": ["timeout"]}},
{"chain": {"family": "inet", "table": "ctwatch", "name": "cap", "handle": 1, "type": "filter", "hook": "prerouting", "prio": -150, "policy": "accept"}},
{"rule": {"family": "inet", "table": "ctwatch", "chain": "cap", "handle": 3, "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "@cap_0a000142_32"}}, {"match": {"op": "!", "left": {"ct": {"key": "status"}}, "right": "confirmed"}}, {"ct count": {"val": 100, "inv": true}}, {"counter": {"packets": 3, "bytes": 9}}, {"drop": null}]}},
{"rule": {"family": "inet", "table": "ctwatch", "chain": "cap", "handle": 5, "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "ip6", "field": "saddr"}}, "right": "@cap_20010db8000000000000000000000000_64"}}, {"match": {"op": "==", "left": {"&": [{"ct": {"key": "status"}}, "confirmed"]}, "right": 0}}, {"ct count": {"val": 7, "inv": true}}, {"counter": {"packets": 0, "bytes": 0}}, {"drop": null}]}},
{"rule": {"family": "inet", "table": "ctwatch", "chain": "cap", "handle": 8, "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "@cap_0a000143_32"}}, {"match": {"op": "!", "left": {"ct": {"key": "status"}}, "right": "confirmed"}}, {"ct count": {"val": 9, "inv": true}}, {"counter": {"packets": 0, "bytes": 0}}, {"drop": null}]}}]"#;

fn read(text: &str) -> Caps {
    Caps::read(&serde_json::from_str::<Vec<Value>>(text).unwrap())
}

fn changed(from: &str, to: &str) -> Caps {
    assert!(TABLE.contains(from), "{from}");
    read(&TABLE.replacen(from, to, 1))
}

#[test]
fn caps_that_hold_are_told_from_what_is_left_of_others() {
    let caps = read(TABLE);
    let note = Note { since_s: 1, by: "root".into(), why: "x".into() };
    let cap = |network: &str, entries_max, left_s, note, packets, bytes, handle| Capped {
        network: network.parse().unwrap(),
        entries_max,
        left_s: Some(left_s),
        note,
        dropped: Dropped { packets, bytes },
        handle,
    };
    assert_eq!(
        caps.held,
        [
            cap("10.0.1.66/32", 100, 599, Some(note), 3, 9, 3),
            cap("2001:db8::/64", 7, 598, None, 0, 0, 5),
        ]
    );
    assert_eq!(caps.remnants, BTreeSet::from(["cap_0a000143_32".to_owned()]));
    assert_eq!((caps.remnant_rules.as_slice(), caps.chain), (&[8][..], Chain::Right));
    assert_eq!(caps.problems(), [""; 0]);
}

#[test]
fn what_somebody_has_changed_is_told() {
    for (from, to, chain) in [
        ("\"val\": 100, \"inv\": true", "\"val\": 100, \"inv\": false", Chain::OtherRules),
        ("{\"drop\": null}", "{\"accept\": null}", Chain::OtherRules),
        ("\"op\": \"!\"", "\"op\": \"!=\"", Chain::OtherRules),
        ("\"protocol\": \"ip\"", "\"protocol\": \"ip6\"", Chain::OtherRules),
        ("\"prio\": -150", "\"prio\": 0", Chain::OtherHook),
    ] {
        let caps = changed(from, to);
        assert_eq!(caps.chain, chain, "{to}");
        assert!(caps.problems().iter().any(|problem| problem.contains("the chain cap")), "{to}");
    }
    let gone = changed("\"chain\": \"cap\", \"handle\": 3", "\"chain\": \"other\", \"handle\": 3");
    assert_eq!(gone.without_rule, ["10.0.1.66/32".parse().unwrap()]);
    assert!(gone.problems()[0].contains("caps 10.0.1.66 is gone"), "{:?}", gone.problems());
    let foreign = changed("\"type\": \"ipv4_addr\", \"handle\": 2", "\"type\": \"mark\"");
    assert_eq!(foreign.foreign_sets, ["cap_0a000142_32"]);
    assert!(foreign.problems()[0].contains("cap_0a000142_32"), "{:?}", foreign.problems());
}

proptest! {
    #[test]
    fn any_text_gives_a_result(at in 0..TABLE.len(), with in "[\\[\\]{}\",0-9a-z]{0,3}") {
        let (head, tail) = TABLE.split_at(at);
        let text = format!("{head}{with}{}", tail.get(1..).unwrap_or_default());
        if let Ok(objects) = serde_json::from_str::<Vec<Value>>(&text) {
            let _ = Caps::read(&objects).problems();
        }
    }
}
