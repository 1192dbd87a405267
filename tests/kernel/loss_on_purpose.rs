//! Each way up made too small on purpose: what is lost is counted and shown, and the totals stay exact. A map that is too
//! small has a scenario of its own (see tiny_map).

use std::num::NonZeroU64;

use ctwatch_lab::counters::{GlobalSetting, conntrack_statistics};
use ctwatch_lab::{FlowPlan, counters, skip, wait};
use rustix::process::Signal;

use crate::observed::{
    assert_consistent, gateway, ip, line_after_now, line_with, number, of_source, rungs,
    start_attached, stop, watch_on,
};
use crate::table_full::follow_events;

/// How many entries fit.
const LIMIT: u64 = 300;
/// Many more buckets than entries: the kernel finds nobody to evict and refuses most.
const BUCKETS: u64 = 16_384;
/// The smallest ring there can be: room for some fifty refusals.
const RING: [&str; 2] = ["--ring-bytes", "4096"];
/// More sources than fit into the ring, each of which may send an event at once.
const SOURCES: NonZeroU64 = NonZeroU64::new(1000).unwrap();

#[test]
fn loss_of_events_in_a_small_ring_is_counted() {
    for rung in rungs() {
        let Some(gateway) = gateway() else { return };
        let _buckets = GlobalSetting::buckets(BUCKETS).unwrap();
        let _limit = GlobalSetting::limit(LIMIT).unwrap();
        let (mut watch, _) = watch_on(&rung, &gateway, &RING);
        let events = follow_events(&rung, gateway.gateway().name(), "refused", &RING);
        let before = conntrack_statistics(gateway.gateway()).unwrap();
        let plan = FlowPlan::udp(ip("10.0.8.1"), 3 * SOURCES.get()).from_sources(SOURCES);
        // While nobody takes anything out of the rings they are sure to be too small.
        for stopped in [&watch, &events] {
            stopped.signal(Signal::STOP).unwrap();
        }
        plan.send(gateway.client()).unwrap();
        for stopped in [&watch, &events] {
            stopped.signal(Signal::CONT).unwrap();
        }
        let drop = conntrack_statistics(gateway.gateway()).unwrap().since(&before).get("drop");
        line_with(&mut watch, "totals.refused", drop);
        let line = line_after_now(&mut watch);
        assert_eq!(number(&line, "totals.refused"), i64::try_from(drop).unwrap(), "{line}");
        assert!(number(&line, "loss.ring_full") > 0, "{line}");
        assert_consistent(&gateway, &line);
        stop(watch).unwrap();

        let ended = events.stop().unwrap();
        let (summary, lines) = ended.lines.split_last().unwrap();
        let lines = lines.iter().filter(|line| line.json["kind"] == "refused");
        let told: i64 = lines.map(|event| 1 + number(&event.json, "suppressed")).sum();
        let lost = number(&summary.json, "refused.lost");
        println!("{rung}: {} events tell of {told} refusals, {lost} lost", ended.lines.len());
        assert!(lost > 0, "{}", ended.stderr);
        let said = format!("{lost} lost as the ring buffer was full");
        assert!(ended.stderr.contains(&said), "{}", ended.stderr);
        assert_eq!(number(&summary.json, "events_dropped"), 0, "{}", summary.json);
        assert_eq!(told + lost, i64::try_from(drop).unwrap());
    }
}

/// A socket far too small for a burst of events: they are given up, which is said, and a dump still tells who holds what.
#[test]
fn loss_of_ctnetlink_events_is_counted() {
    let Some(gateway) = gateway() else { return };
    let command = ["watch", "--json", "--interval", "250ms", "--top", "1000"];
    let small = ["--netlink-buffer-bytes", "4096"];
    let mut watch = start_attached(&gateway, "netlink", &command, &small);
    let first = watch.next(wait::PATIENCE).unwrap().json;
    if first["mode"]["alloc"] != "netlink" {
        return skip("ctnetlink is not loaded, and looking loads nothing");
    }
    let many = NonZeroU64::new(40).unwrap();
    FlowPlan::udp(ip("10.0.1.1"), 2000).from_sources(many).send(gateway.client()).unwrap();
    line_with(&mut watch, "loss.netlink_overruns", 1);
    line_with(&mut watch, "totals.entries", 2000);
    let line = line_after_now(&mut watch);
    assert_eq!((&line["mode"]["alloc"], &line["mode"]["free"]), (&"none".into(), &"none".into()));
    assert!(line["totals"]["new"].is_null() && line["totals"]["ended"].is_null(), "{line}");
    let said = line["mode"]["degraded"].to_string();
    assert!(said.contains("given up, because the kernel could not deliver all of them"), "{line}");
    for last in 1..=40 {
        let held = of_source(&line, &format!("10.0.1.{last}"), None, "entries");
        assert_eq!(held, 50, "10.0.1.{last} in {line}");
    }
    assert_eq!(counters::entries(gateway.gateway()).unwrap(), 2000);
    let ended = watch.stop().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("ctnetlink's events were given up"), "{}", ended.stderr);
}
