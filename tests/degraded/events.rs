//! ctnetlink's events: exact while there are few, given up and said so when there are many.

use std::num::NonZeroU64;

use ctwatch_lab::{FlowPlan, counters, skip};

use crate::observed::{at, degraded, gateway, ip, line_with, row, watch};

/// A rate at which events are worth their cost: an entry makes two of them in its life.
const LOW_RATE_PER_S: u64 = 1000;
/// More flows than events may come in a second, made as fast as possible.
const FLOOD: u64 = 60_000;

#[test]
fn at_a_low_rate_every_entry_that_comes_and_goes_is_counted() {
    let Some(gateway) = gateway() else { return };
    let (mut watch, first) = watch(&gateway, "100ms");
    if first.json["mode"]["alloc"] != "netlink" {
        return skip("ctnetlink is not loaded, and looking loads nothing");
    }
    let rate = NonZeroU64::new(LOW_RATE_PER_S).unwrap();
    let busy = FlowPlan::udp(ip("10.0.1.66"), 1500).at_rate(rate).send(gateway.client()).unwrap();
    let calm = FlowPlan::tcp_syn(ip("fd00:10::5"), 7).send(gateway.client()).unwrap();
    let all = busy.flows + calm.flows;
    let line = line_with(&mut watch, "all new entries", |line| {
        assert!(at(line, "totals.new").as_u64() <= Some(all), "{line}");
        at(line, "totals.new") == all
    });
    assert_eq!(row(&line, "10.0.1.66", "udp").unwrap()["new"], busy.flows, "{line}");
    assert_eq!(row(&line, "fd00:10::5", "tcp").unwrap()["new"], calm.flows, "{line}");
    assert_eq!(at(&line, "totals.ended"), 0, "{line}");

    counters::flush_source(gateway.gateway(), ip("10.0.1.66")).unwrap();
    let line =
        line_with(&mut watch, "all ended entries", |line| at(line, "totals.ended") == busy.flows);
    assert_eq!(row(&line, "10.0.1.66", "udp").unwrap()["ended"], busy.flows, "{line}");
    assert_eq!(at(&line, "totals.new"), all, "{line}");
    assert_eq!(line["mode"]["alloc"], "netlink", "{line}");
    assert_eq!(at(&line, "loss.netlink_overruns"), 0, "{line}");
}

#[test]
fn in_a_flood_events_are_given_up_and_it_is_said() {
    let Some(gateway) = gateway() else { return };
    // However long the interval is.
    let (mut watch, first) = watch(&gateway, "3s");
    if first.json["mode"]["alloc"] != "netlink" {
        return skip("ctnetlink is not loaded, and looking loads nothing");
    }
    FlowPlan::udp(ip("10.0.1.66"), FLOOD).send(gateway.client()).unwrap();
    let line =
        line_with(&mut watch, "that events are given up", |line| line["mode"]["alloc"] == "none");
    assert_eq!(line["mode"]["free"], "none", "{line}");
    for unknown in ["new", "ended", "new_per_s"] {
        assert!(line["totals"][unknown].is_null(), "{unknown} in {line}");
        assert!(line["sources"][0][unknown].is_null(), "{unknown} in {line}");
    }
    let why =
        degraded(&line).into_iter().find(|said| said.contains("given up")).unwrap().to_owned();
    assert!(why.contains("5000 of them in a second") || why.contains("could not deliver"), "{why}");

    // The listings go on.
    let line = line_with(&mut watch, "a dump of the whole flood", |line| {
        at(line, "totals.entries") == FLOOD
    });
    assert_eq!(line["sources"][0]["source"], "10.0.1.66", "{line}");
    // Nobody listens any more: the connections of the next flood cost what they cost without ctwatch.
    assert!(at(&line, "totals.new").is_null(), "{line}");
}
