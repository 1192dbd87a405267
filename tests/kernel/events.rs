//! Every kind of event made to happen: what is told of each, with what was suppressed and lost, is what the kernel counted.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use ctwatch_lab::counters::{self, GlobalSetting, Statistics, conntrack_statistics};
use ctwatch_lab::{Ctwatch, FlowPlan, Gateway, address, wait};
use serde_json::Value;

use crate::insert_failures::masquerade_to_ten_ports;
use crate::observed::{ctwatch, gateway, ip, number, rungs, stop};
use crate::table_full::{follow_events, probes};

/// How many entries fit, and so few buckets that some packets find somebody to evict and others do not.
const LIMIT: u64 = 300;
const BUCKETS: u64 = 4096;
const ALL_KINDS: &str = "refused,evicted,insert_failed,ended,blocked";

#[test]
fn events_of_every_kind_add_up_to_what_the_kernel_counted() {
    for rung in rungs() {
        let Some(gateway) = gateway() else { return };
        everything_is_told(&rung, &gateway);
    }
}

fn everything_is_told(rung: &str, gateway: &Gateway) {
    let mut events = follow_events(rung, gateway.gateway().name(), ALL_KINDS, &[]);
    let before = conntrack_statistics(gateway.gateway()).unwrap();
    let mut sent = fill(gateway);
    counters::flush(gateway.gateway()).unwrap();
    sent += end_by_itself(gateway);
    sent += fail_to_insert(gateway);
    block_and_unblock(gateway, &mut events);
    let read = || counters::entries(gateway.gateway());
    let held = wait::until_quiet(wait::PATIENCE, Duration::from_millis(500), "the table", read);
    let held = held.unwrap();
    let counted = conntrack_statistics(gateway.gateway()).unwrap().since(&before);

    let lines: Vec<Value> = stop(events).unwrap().into_iter().map(|line| line.json).collect();
    let (summary, lines) = lines.split_last().unwrap();
    assert_eq!(summary["kind"], "summary", "{summary}");
    let told = sums(lines, summary);
    println!("{rung}: {} lines, {told:?}, {counted:?}", lines.len());
    assert_reasons(lines);
    assert_sums(&told, &counted, lines);
    // Whatever was made and is not there any more has ended, once.
    let refused = refused(&counted);
    assert_eq!(told["evicted"] + told["ended"], sent - refused - held, "{summary}");
}

/// Packets that conntrack refused: what it dropped, less insertions that clashed.
fn refused(counted: &Statistics) -> u64 {
    let chains = if counted.has("chaintoolong") { counted.get("chaintoolong") } else { 0 };
    counted.get("drop") - (counted.get("insert_failed") - chains)
}

/// A table that is full: refusals and evictions.
fn fill(gateway: &Gateway) -> u64 {
    let _buckets = GlobalSetting::buckets(BUCKETS).unwrap();
    let _limit = GlobalSetting::limit(LIMIT).unwrap();
    FlowPlan::udp(ip("10.0.1.2"), LIMIT).send(gateway.client()).unwrap();
    FlowPlan::udp(ip("10.0.1.66"), 400).send(gateway.client()).unwrap();
    FlowPlan::udp(ip("fd00:10::5"), 100).send(gateway.client()).unwrap();
    LIMIT + 500
}

/// Entries whose time is over, and entries that a reset closes.
fn end_by_itself(gateway: &Gateway) -> u64 {
    gateway.set_timeout("udp_timeout", 1).unwrap();
    FlowPlan::udp(ip("10.0.1.7"), 30).send(gateway.client()).unwrap();
    wait::until(wait::PATIENCE, "30 entries to expire", || {
        // A listing frees what has expired (`ctnetlink_dump_table`, net/netfilter/nf_conntrack_netlink.c).
        counters::listed(gateway.gateway(), ip("10.0.1.7"))?;
        Ok((counters::entries(gateway.gateway())? == 0).then_some(()))
    })
    .unwrap();
    let closed = FlowPlan::tcp_syn(ip("10.0.1.8"), 20).to(address::server(ip("10.0.1.8")), 9);
    closed.send(gateway.client()).unwrap();
    wait::until(wait::PATIENCE, "20 resets", || {
        Ok((counters::entries(gateway.gateway())? == 0).then_some(()))
    })
    .unwrap();
    50
}

/// Two connections to one destination cannot leave by the same port; the first failures are seen by nobody.
fn fail_to_insert(gateway: &Gateway) -> u64 {
    masquerade_to_ten_ports(gateway);
    let before = probes();
    FlowPlan::tcp_syn(ip("10.0.1.3"), 20).send(gateway.client()).unwrap();
    wait::until(wait::PATIENCE, "the hook on insertions", || {
        Ok((probes() >= before + 3).then_some(()))
    })
    .unwrap();
    let settled = Duration::from_secs(1);
    wait::until_quiet(wait::PATIENCE, settled, "the number of probes", || Ok(probes())).unwrap();
    FlowPlan::tcp_syn(ip("10.0.1.4"), 30).send(gateway.client()).unwrap();
    50
}

fn block_and_unblock(gateway: &Gateway, events: &mut Ctwatch) {
    let state = tempfile::tempdir().unwrap();
    let place = ["--netns", gateway.gateway().name()];
    for (command, reason) in [
        (["block", "10.0.1.66", "--now", "--why", "it floods"].as_slice(), "blocked"),
        (&["unblock", "10.0.1.66"], "lifted"),
    ] {
        let arguments = [command, &place].concat();
        let ended = Command::new(ctwatch())
            .args(arguments)
            .env("CTWATCH_STATE_DIR", state.path().join("state"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(0), "{said}");
        let of_reason = |line: &Value| line["kind"] == "blocked" && line["reason"] == reason;
        let event = events
            .find(wait::PATIENCE, reason, |line| {
                Ok(of_reason(&line.json).then(|| line.json.clone()))
            })
            .unwrap();
        assert_eq!(event["source"], "10.0.1.66", "{event}");
        assert_eq!((&event["why"], &event["by"]), (&"it floods".into(), &"root".into()), "{event}");
        assert!(event["until"].is_string() && event["dropped_packets"].is_u64(), "{event}");
    }
}

/// What the lines of each kind tell, with what was lost.
fn sums(lines: &[Value], summary: &Value) -> BTreeMap<String, u64> {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for line in lines.iter().filter(|line| line["kind"] != "summary") {
        let kind = line["kind"].as_str().unwrap().to_owned();
        let suppressed = u64::try_from(number(line, "suppressed")).unwrap();
        *sums.entry(kind).or_default() += 1 + suppressed;
    }
    for (kind, told) in &sums {
        let of = |key: &str| summary[kind][key].as_u64().unwrap();
        assert_eq!(of("events") + of("suppressed"), *told, "{kind} in {summary}");
    }
    for (kind, told) in &mut sums {
        *told += summary[kind]["lost"].as_u64().unwrap();
    }
    assert_eq!(summary["events_dropped"], 0, "{summary}");
    sums
}

#[track_caller]
fn assert_sums(told: &BTreeMap<String, u64>, counted: &Statistics, lines: &[Value]) {
    let gc = lines.iter().any(|line| line["reason"] == "nearly_full");
    assert_eq!(told["refused"], refused(counted));
    assert_eq!(told["insert_failed"], counted.get("insert_failed"));
    assert!(counted.get("early_drop") > 0 && refused(counted) > 0, "{counted:?}");
    // The garbage collector counts nowhere whom it throws out.
    let by_gc = told["evicted"] - counted.get("early_drop");
    assert!(by_gc == 0 || gc, "{by_gc} evictions too many");
    assert_eq!(told["blocked"], 2);
}

/// Each reason is told, with what there is to know of it.
#[track_caller]
fn assert_reasons(lines: &[Value]) {
    let reasons: BTreeSet<(&str, &str)> = lines
        .iter()
        .filter_map(|line| Some((line["kind"].as_str()?, line["reason"].as_str()?)))
        .collect();
    for expected in [
        ("refused", "table_full"),
        ("evicted", "table_full"),
        ("insert_failed", "clash"),
        ("ended", "timed_out"),
        ("ended", "deleted"),
        ("ended", "closed"),
        ("ended", "unconfirmed"),
        ("blocked", "blocked"),
        ("blocked", "lifted"),
    ] {
        assert!(reasons.contains(&expected), "{expected:?} in {reasons:?}");
    }
    for line in lines {
        match (line["kind"].as_str().unwrap(), line["reason"].as_str()) {
            ("evicted", Some("table_full")) => {
                let requester = line["requester"].as_str().unwrap();
                assert!(["10.0.1.2", "10.0.1.66", "fd00:10::5"].contains(&requester), "{line}");
                assert_eq!(line["requester_protocol"], "udp", "{line}");
            }
            ("ended", Some("deleted")) => {
                assert_eq!(line["process"], "conntrack", "{line}");
                assert!(line["pid"].as_u64() > Some(0), "{line}");
            }
            // What failed before it was looked at is nobody's, and some of what followed is suppressed.
            ("insert_failed", None) => {
                assert!(
                    ["other", "10.0.1.3", "10.0.1.4"].contains(&line["source"].as_str().unwrap()),
                    "{line}"
                );
            }
            ("insert_failed", Some(_)) => assert_eq!(line["source"], "10.0.1.4", "{line}"),
            _ => {}
        }
    }
    let unseen = lines.iter().filter(|line| line["source"] == "other");
    let unseen: BTreeSet<_> = unseen.filter_map(|line| line["kind"].as_str()).collect();
    assert_eq!(unseen, BTreeSet::from(["insert_failed"]));
}
