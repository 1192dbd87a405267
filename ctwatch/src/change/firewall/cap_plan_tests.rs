use std::{collections::BTreeSet, time::Duration};

use super::*;
use crate::blocklist::note::Note;

const SOURCE: &str = "10.0.1.66/32";

fn held(source: &str, entries_max: u32, handle: u64) -> Capped {
    Capped {
        network: source.parse().unwrap(),
        entries_max,
        left_s: Some(5),
        note: Some(Note { since_s: 7, by: "root".into(), why: "old".into() }),
        dropped: Dropped { packets: 3, bytes: 9 },
        handle,
    }
}

fn caps(held: Vec<Capped>) -> Caps {
    Caps { held, chain: Chain::Right, ..Caps::default() }
}

fn plan(caps: &Caps, entries_max: u32) -> Result<(Vec<String>, CapOutcome), CapError> {
    let terms = Terms { now_s: 100, by: "me".into(), duration: Duration::from_secs(600) };
    let wish = Wish { network: SOURCE.parse().unwrap(), why: None };
    let (script, outcome) = cap(caps, &wish, entries_max, &terms)?;
    // The table, and the chain, come first.
    Ok((script.lines().map(str::to_owned).collect(), outcome))
}

#[test]
fn who_is_not_capped_yet_gets_a_set_and_a_rule() {
    let (script, outcome) = plan(&Caps::default(), 200).unwrap();
    assert_eq!(outcome, CapOutcome::Capped);
    assert_eq!(
        script,
        [
            "add table inet ctwatch",
            "add chain inet ctwatch cap { type filter hook prerouting priority -150; policy accept; }",
            "add set inet ctwatch cap_0a000142_32 { type ipv4_addr; flags timeout; }",
            "add element inet ctwatch cap_0a000142_32 { 10.0.1.66 timeout 600s comment \"since=100 by=me why=\" }",
            "add rule inet ctwatch cap ip saddr @cap_0a000142_32 ct status & confirmed == 0 ct count over 200 counter packets 0 bytes 0 drop",
        ]
    );
}

#[test]
fn who_is_capped_already_keeps_the_rule_that_counts_unless_the_number_changes() {
    let old = caps(vec![held(SOURCE, 200, 4)]);
    let (script, outcome) = plan(&old, 200).unwrap();
    assert_eq!(outcome, CapOutcome::Extended);
    assert_eq!(
        script[3..],
        [
            "delete element inet ctwatch cap_0a000142_32 { 10.0.1.66 }",
            "add element inet ctwatch cap_0a000142_32 { 10.0.1.66 timeout 600s comment \"since=7 by=me why=old\" }",
        ]
    );
    let (script, outcome) = plan(&old, 50).unwrap();
    assert_eq!(outcome, CapOutcome::Changed);
    assert_eq!(script[5], "delete rule inet ctwatch cap handle 4");
    assert!(script[6].contains("over 50 counter packets 3 bytes 9 drop"), "{}", script[6]);
}

#[test]
fn what_is_left_of_others_is_swept_away_but_not_the_set_that_is_needed() {
    let left = Caps {
        remnants: BTreeSet::from(["cap_0a000142_32".into(), "cap_0a000143_32".into()]),
        remnant_rules: vec![8, 9],
        ..caps(Vec::new())
    };
    let (script, _) = plan(&left, 1).unwrap();
    let deleted: Vec<&String> = script.iter().filter(|line| line.starts_with("delete")).collect();
    assert_eq!(
        deleted,
        [
            "delete rule inet ctwatch cap handle 8",
            "delete rule inet ctwatch cap handle 9",
            "delete set inet ctwatch cap_0a000143_32",
        ]
    );
    let bare = Caps { without_rule: vec![SOURCE.parse().unwrap()], ..left };
    let (script, _) = plan(&bare, 1).unwrap();
    assert!(script.iter().any(|line| line.starts_with("delete element")), "{script:?}");
}

#[test]
fn a_chain_that_somebody_has_changed_is_made_anew_with_all_caps() {
    for (chain, deleted) in [(Chain::OtherRules, 0), (Chain::OtherHook, 1)] {
        let changed = Caps { chain, ..caps(vec![held(SOURCE, 200, 4), held("10.9.0.0/16", 5, 6)]) };
        let (script, outcome) = plan(&changed, 200).unwrap();
        assert_eq!(outcome, CapOutcome::Changed);
        let count = |start: &str| script.iter().filter(|line| line.starts_with(start)).count();
        assert_eq!(
            (count("flush chain"), count("delete chain"), count("add rule"), count("delete rule")),
            (1, deleted, 2, 0),
            "{script:?}"
        );
    }
}

#[test]
fn the_chain_goes_with_the_last_cap() {
    let (one, two) = (held(SOURCE, 200, 4), held("10.9.0.0/16", 5, 6));
    let old = Caps {
        remnants: BTreeSet::from(["cap_0a000143_32".into()]),
        remnant_rules: vec![8],
        ..caps(vec![one.clone(), two.clone()])
    };
    assert_eq!(
        uncap(&old, &[&one]),
        "delete rule inet ctwatch cap handle 4\ndelete rule inet ctwatch cap handle 8\n\
         delete set inet ctwatch cap_0a000142_32\ndelete set inet ctwatch cap_0a000143_32\n"
    );
    assert_eq!(
        uncap(&old, &[&one, &two]),
        "flush chain inet ctwatch cap\ndelete chain inet ctwatch cap\ndelete set inet ctwatch cap_0a000142_32\n\
         delete set inet ctwatch cap_0a090000_16\ndelete set inet ctwatch cap_0a000143_32\n"
    );
    assert_eq!(uncap(&Caps::default(), &[]), "");
}

#[test]
fn there_is_an_end_to_caps_and_a_foreign_set_is_left_alone() {
    let address = |number: u32| format!("10.2.0.{number}/32");
    let many = (0..64).map(|number| held(&address(number), 1, u64::from(number))).collect();
    assert_eq!(plan(&caps(many), 1), Err(CapError::TooMany));
    let foreign = Caps { foreign_sets: vec!["cap_0a000142_32".into()], ..Caps::default() };
    assert!(matches!(plan(&foreign, 1), Err(CapError::ForeignSet(_))));
}
