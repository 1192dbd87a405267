//! Somebody is to blame: one source, or a flood from made-up addresses; and nobody is.

use std::net::Ipv4Addr;

use ctwatch_lab::FlowPlan;

use super::{
    Table, advice, advise, advise_during, assert_cause, crowd, evidence, refusal, text,
    wait_for_entries,
};
use crate::observed::{gateway, ip};

const LIMIT: u64 = 2048;

#[test]
fn causes_one_abuser_is_named_and_a_larger_limit_refused() {
    let Some(gateway) = gateway() else { return };
    let _table = Table::of(LIMIT, LIMIT);
    crowd("10.0.2.1", 60, 300).send(gateway.client()).unwrap();
    FlowPlan::udp(ip("10.0.1.66"), LIMIT).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, LIMIT * 9 / 10);
    let diagnosis =
        advise_during(&gateway, FlowPlan::udp(ip("10.0.1.66"), 100_000).starting_at(LIMIT), 300);
    assert_cause(&diagnosis, "single_source");
    assert_eq!(diagnosis["evidence"]["sources"]["value"], "10.0.1.66", "{diagnosis}");
    assert!(evidence(&diagnosis, "entries_share") > 0.7, "{diagnosis}");
    assert!(evidence(&diagnosis, "asked_share") > 0.9, "{diagnosis}");
    let usual = evidence(&diagnosis, "entries_usual");
    assert!((1.0..=5.0).contains(&usual), "{diagnosis}");
    let why = refusal(&diagnosis, "raise_limit");
    assert!(why.contains("would fill a larger one"), "{why}");
    let advice = advice(&diagnosis, "block-source-10.0.1.66");
    assert!(!advice["commands"].as_array().unwrap().is_empty(), "{diagnosis}");
}

#[test]
fn causes_spoofed_flood_is_named_by_its_destination_and_a_larger_limit_refused() {
    let Some(gateway) = gateway() else { return };
    let _table = Table::of(LIMIT, LIMIT);
    let victim = Ipv4Addr::new(198, 51, 100, 7);
    gateway.do_not_masquerade(victim).unwrap();
    crowd("10.0.2.1", 60, 300).send(gateway.client()).unwrap();
    let flood = |count| {
        FlowPlan::tcp_syn(ip("10.0.1.2"), count)
            .to(victim.into(), 443)
            .from_scattered(Ipv4Addr::new(20, 0, 0, 0))
    };
    flood(LIMIT).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, LIMIT * 9 / 10);
    let diagnosis = advise_during(&gateway, flood(100_000).starting_at(LIMIT), 300);
    assert_cause(&diagnosis, "spoofed_flood");
    assert_eq!(
        diagnosis["evidence"]["flood_destination"]["value"], "198.51.100.7 port 443 tcp",
        "{diagnosis}"
    );
    assert!(evidence(&diagnosis, "flood_sources") > 1000.0, "{diagnosis}");
    assert!(refusal(&diagnosis, "raise_limit").contains("made-up addresses"), "{diagnosis}");
    // Nobody is blocked: the addresses are not theirs who send.
    refusal(&diagnosis, "block_source");
    advice(&diagnosis, "protect-198.51.100.7-443");
}

/// A fifth of the table, from everybody, comes and goes.
#[test]
fn causes_none_where_nothing_is_wrong_and_nothing_is_advised() {
    let Some(gateway) = gateway() else { return };
    let _table = Table::of(LIMIT, LIMIT);
    gateway.set_timeout("udp_timeout", 30).unwrap();
    crowd("10.0.2.1", 60, LIMIT / 5).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, LIMIT / 5);
    let diagnosis = advise(&gateway);
    assert_cause(&diagnosis, "none");
    let rules: Vec<String> = diagnosis["advice"]
        .as_array()
        .unwrap()
        .iter()
        .map(|advice| text(&advice["rule"]))
        .filter(|rule| {
            ["raise_limit", "buckets", "expectations", "block_source"].contains(&rule.as_str())
        })
        .collect();
    assert!(rules.is_empty(), "{diagnosis}");
}
