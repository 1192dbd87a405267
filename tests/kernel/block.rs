//! A source that floods a full table is blocked: from then on none of its packets costs an entry or a refusal, each is dropped
//! and counted, the others get in again, and when the time is over so does it.

use std::num::NonZeroU64;
use std::time::Duration;

use ctwatch_lab::counters::GlobalSetting;
use ctwatch_lab::{Ctwatch, Flood, FlowPlan, Gateway, counters, wait};
use serde_json::Value;

use crate::observed::{
    assert_consistent, ctwatch, gateway, ip, line_after_now, number, of_source, rung,
    start_attached, stop, watch,
};

const LIMIT: u64 = 2000;
/// Many more buckets than entries: the kernel seeks somebody to evict in eight of them only, so it refuses most.
const BUCKETS: u64 = 65_536;
const ABUSER_PER_S: u64 = 400;
/// So many others, with so many entries each.
const OTHERS: u64 = 30;
const ENTRIES_OF_OTHERS: u64 = 5;
const BLOCK: Duration = Duration::from_secs(40);

#[test]
fn block_stops_a_flood_before_it_costs_an_entry() {
    stops("10.0.1.66", "10.0.2.1");
}

#[test]
fn block_stops_a_flood_of_ipv6_too() {
    stops("fd00:10::1:66", "fd00:10:0:2::1");
}

fn stops(abuser: &str, other: &str) {
    let Some(gateway) = gateway() else { return };
    let _buckets = GlobalSetting::buckets(BUCKETS).unwrap();
    let _limit = GlobalSetting::limit(LIMIT).unwrap();
    let state = tempfile::tempdir().unwrap();
    let others =
        |flows| FlowPlan::udp(ip(other), flows).from_sources(NonZeroU64::new(OTHERS).unwrap());
    let (mut watch, _) = watch(&gateway, &["--top", "1000"]);
    others(OTHERS * ENTRIES_OF_OTHERS).send(gateway.client()).unwrap();
    let rate = NonZeroU64::new(ABUSER_PER_S).unwrap();
    let flood =
        Flood::start(gateway.client(), FlowPlan::udp(ip(abuser), 1_000_000).at_rate(rate)).unwrap();
    wait::until(wait::PATIENCE, "a full table", || {
        Ok((counters::entries(gateway.gateway())? >= LIMIT).then_some(()))
    })
    .unwrap();
    let asking = others(10_000).starting_at(10_000).at_rate(NonZeroU64::new(20).unwrap());
    let asking = Flood::start(gateway.client(), asking).unwrap();

    let duration = format!("{}s", BLOCK.as_secs());
    let state = state.path().join("state").display().to_string();
    let command = ["block", abuser, "--for", &duration, "--why", "it floods", "--json"];
    // An emulated machine takes long to attach hooks.
    let ended = start_attached(
        &gateway,
        &rung(),
        &command,
        &["--state-dir", &state, "--look-within", "1m"],
    )
    .ended(4 * wait::PATIENCE)
    .unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let [line] = ended.lines.as_slice() else { panic!("{}", ended.stderr) };
    let block = &line.json["blocks"][0];
    println!("{block}");
    let refused = |side: &str| block[side]["refused_of_others_per_s"].as_f64();
    assert!(refused("before").is_some_and(|rate| rate > 0.0), "{block}");
    assert_eq!(refused("after"), Some(0.0), "{block}");
    assert_eq!(block["after"]["entries_of_sources"], 0, "{block}");
    assert!(number(block, "ended_entries") > 1000, "{block}");
    assert!(number(block, "dropped_packets") > 0, "{block}");
    assert_eq!(
        (&block["has_effect"], &block["why"]),
        (&true.into(), &"it floods".into()),
        "{block}"
    );

    let blocked = line_after_now(&mut watch);
    let sent = flood.flows_so_far();
    wait::until(wait::PATIENCE, "the abuser to go on", || {
        Ok((flood.flows_so_far() >= sent + 2 * ABUSER_PER_S).then_some(()))
    })
    .unwrap();
    asking.stop().unwrap();
    let sent = flood.stop().unwrap().flows;
    let dropped = wait::until(wait::PATIENCE, "each packet to be counted", || {
        let dropped = blocks(&gateway, &state)["blocks"][0]["dropped_packets"].as_u64();
        let dropped = dropped.ok_or_else(|| anyhow::anyhow!("it is blocked no more"))?;
        let asked =
            of_source(&blocked, abuser, None, "new") + of_source(&blocked, abuser, None, "refused");
        Ok((dropped + u64::try_from(asked)? >= sent).then_some(dropped))
    })
    .unwrap();
    let later = line_after_now(&mut watch);
    let of_abuser = |line: &Value, key: &str| of_source(line, abuser, None, key);
    for key in ["new", "refused"] {
        assert!(of_abuser(&blocked, key) > 0, "{key} in {blocked}");
        assert_eq!(
            of_abuser(&later, key),
            of_abuser(&blocked, key),
            "{key}: {blocked} then {later}"
        );
    }
    let asked = u64::try_from(of_abuser(&later, "new") + of_abuser(&later, "refused")).unwrap();
    assert_eq!(asked + dropped, sent, "each packet asked for an entry or was dropped: {later}");
    assert_eq!(of_abuser(&later, "entries"), 0, "{later}");
    assert_eq!(number(&later, "totals.refused"), number(&blocked, "totals.refused"), "{later}");
    assert_consistent(&gateway, &later);
    println!("of {sent} packets {asked} asked for an entry and {dropped} were dropped");

    wait::until(BLOCK + wait::PATIENCE, "the end of the block", || {
        Ok(blocks(&gateway, &state)["blocks"].as_array().is_some_and(Vec::is_empty).then_some(()))
    })
    .unwrap();
    let again = FlowPlan::udp(ip(abuser), 7).starting_at(2_000_000);
    again.send(gateway.client()).unwrap();
    wait::until(wait::PATIENCE, "its entries", || {
        Ok((counters::listed(gateway.gateway(), ip(abuser))? == 7).then_some(()))
    })
    .unwrap();
    stop(watch).unwrap();
}

fn blocks(gateway: &Gateway, state: &str) -> Value {
    let arguments = ["blocks", "--json", "--netns", gateway.gateway().name(), "--state-dir", state];
    let ended = Ctwatch::run(&ctwatch(), &arguments, wait::PATIENCE).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    ended.lines[0].json.clone()
}
