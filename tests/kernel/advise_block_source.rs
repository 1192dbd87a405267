//! The command that blocks a source does it: run as they are on the gateway, no packet of the abuser asks for an entry any
//! more, and the others get theirs again.

use std::num::NonZeroU64;
use std::process::Command;

use ctwatch_lab::counters::GlobalSetting;
use ctwatch_lab::{Flood, FlowPlan, Gateway, counters, wait};
use serde_json::Value;

use crate::observed::{
    assert_consistent, ctwatch, gateway, ip, line_after_now, number, of_source, rung,
    start_attached, stop, watch,
};

const LIMIT: u64 = 2000;
/// Many more buckets than entries: the kernel seeks somebody to evict in eight of them only, so it refuses most.
const BUCKETS: u64 = 65_536;
const ABUSER: &str = "10.0.1.66";
const ABUSER_PER_S: u64 = 400;
/// So many others, with so many entries each.
const OTHERS: u64 = 30;
const ENTRIES_OF_OTHERS: u64 = 5;

#[test]
fn advise_block_source_stops_the_abuser_and_lets_the_others_in() {
    let Some(gateway) = gateway() else { return };
    let _buckets = GlobalSetting::buckets(BUCKETS).unwrap();
    let _limit = GlobalSetting::limit(LIMIT).unwrap();
    let (mut watch, _) = watch(&gateway, &["--top", "1000"]);
    others(OTHERS * ENTRIES_OF_OTHERS).send(gateway.client()).unwrap();
    let rate = NonZeroU64::new(ABUSER_PER_S).unwrap();
    let abuse = FlowPlan::udp(ip(ABUSER), 1_000_000).at_rate(rate);
    let flood = Flood::start(gateway.client(), abuse).unwrap();
    wait::until(wait::PATIENCE, "a full table", || {
        Ok((counters::entries(gateway.gateway())? >= LIMIT).then_some(()))
    })
    .unwrap();

    // Others go on asking meanwhile.
    let asking = others(10_000).starting_at(10_000).at_rate(NonZeroU64::new(20).unwrap());
    let asking = Flood::start(gateway.client(), asking).unwrap();
    let line = advise(&gateway);
    asking.stop().unwrap();
    assert_eq!(line["cause"], "single_source", "{line}");
    let advice = &line["advice"][0];
    assert_eq!(advice["id"], format!("block-source-{ABUSER}"), "{line}");
    assert_eq!(advice["severity"], "critical", "{advice}");
    assert!(number(&advice["evidence"]["refused_of_others"], "value") > 0, "{advice}");
    assert_eq!(advice["changes"].as_array().map(Vec::len), Some(0), "{advice}");
    println!("{}", advice["why"]);

    for command in advice["commands"].as_array().unwrap() {
        run(&gateway, command.as_str().unwrap());
    }
    let blocked = line_after_now(&mut watch);
    let sent = flood.flows_so_far();
    assert_eq!(counters::listed(gateway.gateway(), ip(ABUSER)).unwrap(), 0);
    let newly = others(100).starting_at(100_000);
    newly.send(gateway.client()).unwrap();
    wait::until(wait::PATIENCE, "the abuser to go on", || {
        Ok((flood.flows_so_far() >= sent + 2 * ABUSER_PER_S).then_some(()))
    })
    .unwrap();
    let later = line_after_now(&mut watch);
    for key in ["new", "refused"] {
        let of_abuser = |line: &Value| of_source(line, ABUSER, None, key);
        assert!(of_abuser(&blocked) > 0, "{key} in {blocked}");
        assert_eq!(of_abuser(&later), of_abuser(&blocked), "{key}: {blocked} then {later}");
    }
    assert_eq!(of_source(&later, ABUSER, None, "entries"), 0, "{later}");
    let grown = |key: &str| number(&later, key) - number(&blocked, key);
    assert_eq!((grown("totals.new"), grown("totals.refused")), (100, 0), "{blocked} then {later}");
    assert_consistent(&gateway, &later);
    let sent = flood.stop().unwrap().flows;
    println!(
        "of {sent} flows of the abuser {} had an entry",
        of_source(&later, ABUSER, None, "new")
    );
    stop(watch).unwrap();
}

fn others(flows: u64) -> FlowPlan {
    FlowPlan::udp(ip("10.0.2.1"), flows).from_sources(NonZeroU64::new(OTHERS).unwrap())
}

/// What `ctwatch advise --check` says; it has advice, so it ends with 3.
fn advise(gateway: &Gateway) -> Value {
    let command = ["advise", "--json", "--check", "--for", "3s"];
    let ended = start_attached(gateway, &rung(), &command, &[]).ended(wait::PATIENCE).unwrap();
    assert_eq!(ended.status.code(), Some(3), "{}", ended.stderr);
    let [line] = ended.lines.as_slice() else { panic!("{}", ended.stderr) };
    line.json.clone()
}

/// Runs a line of the advice as an administrator would.
#[track_caller]
fn run(gateway: &Gateway, command: &str) {
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("ip")
        .args(["netns", "exec", gateway.gateway().name(), "sh", "-c", command])
        .env("PATH", format!("{}:{path}", ctwatch().parent().unwrap().display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}
