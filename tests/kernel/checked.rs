//! What `check` says on a real table: its state by the fill and by what is refused, its numbers the kernel's own, and who fills it.

use std::num::NonZeroU64;
use std::process::Command;

use ctwatch_lab::counters::{GlobalSetting, conntrack_statistics};
use ctwatch_lab::{Flood, FlowPlan, Gateway, counters, wait};

use crate::observed::{ctwatch, gateway, ip};

const LIMIT: u64 = 400;

fn check(gateway: &Gateway, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(ctwatch())
        .args(["check", "--netns", gateway.gateway().name(), "--for", "500ms", "-t", "1m"])
        .args(arguments)
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
}

#[test]
fn check_says_how_full_the_table_is_whether_it_refuses_and_who_fills_it() {
    let Some(gateway) = gateway() else { return };
    // As many buckets as the kernel searches: whoever asks at a full table finds somebody to throw out only now and then.
    let _buckets = GlobalSetting::buckets(16_384).unwrap();
    let _limit = GlobalSetting::limit(LIMIT).unwrap();
    let open = |count| {
        FlowPlan::udp(ip("10.0.1.66"), count).send(gateway.client()).unwrap();
    };
    open(100);
    let (status, line) = check(&gateway, &[]);
    assert_eq!(status, Some(0), "{line}");
    assert!(line.starts_with("CONNTRACK OK - 100 of 400 entries (25 %) | "), "{line}");
    assert!(line.contains(" entries=100;300;360;0;400 utilization=25.00%;75;90;0;100 "), "{line}");

    FlowPlan::udp(ip("10.0.1.66"), 220).starting_at(100).send(gateway.client()).unwrap();
    let (status, line) = check(&gateway, &[]);
    assert_eq!(status, Some(1), "{line}");
    let warned = "CONNTRACK WARNING - 320 of 400 entries (80 %), 10.0.1.66 holds 100 % | ";
    assert!(line.starts_with(warned), "{line}");

    let plan = FlowPlan::udp(ip("10.0.1.66"), 1_000_000).at_rate(NonZeroU64::new(400).unwrap());
    let flood = Flood::start(gateway.client(), plan).unwrap();
    wait::until(wait::PATIENCE, "refusals", || {
        Ok((conntrack_statistics(gateway.gateway())?.get("drop") > 0).then_some(()))
    })
    .unwrap();
    let (status, line) = check(&gateway, &[]);
    assert_eq!(status, Some(2), "{line}");
    assert!(line.starts_with("CONNTRACK CRITICAL - "), "{line}");
    assert!(line.contains(" packets refused in ") && line.contains(", 10.0.1.66 holds "), "{line}");
    flood.stop().unwrap();

    // Nothing moves any more: its counters are the kernel's.
    let drop = conntrack_statistics(gateway.gateway()).unwrap().get("drop");
    let (_, line) = check(&gateway, &[]);
    assert!(
        line.contains(&format!(" drop={drop}c ")) && line.contains(" refused=0;;0;0 "),
        "{line}"
    );
    let entries = counters::entries(gateway.gateway()).unwrap();
    assert!(line.contains(&format!(" entries={entries};")), "{line}");
}
