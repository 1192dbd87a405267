//! ctnetlink's events: exact while there are few, given up and said so when there are many.

use std::num::NonZeroU64;
use std::process::Command;

use ctwatch_lab::{Ctwatch, FlowPlan, counters, skip, wait};

use crate::observed::{
    at, ctwatch, degraded, gateway, ip, line_with, row, wait_for_entries, watch, without_hooks,
};

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

#[test]
fn what_cannot_be_seen_of_events_is_said_and_what_can_is_told() {
    let Some(gateway) = gateway() else { return };
    let netns = gateway.gateway().name();
    let place = ["--json", "--attach", "netlink", "--netns", netns];
    FlowPlan::udp(ip("10.0.1.2"), 1).send(gateway.client()).unwrap();
    let once = [["watch", "--once"].as_slice(), &place].concat();
    let first = Ctwatch::run(&ctwatch(), &once, wait::PATIENCE).unwrap().lines.remove(0);
    if first.json["mode"]["alloc"] != "netlink" {
        return skip("ctnetlink is not loaded, and looking loads nothing");
    }
    counters::flush(gateway.gateway()).unwrap();
    let kinds = ["events", "--kind", "ended,evicted,insert_failed"];
    let arguments = [kinds.as_slice(), &place].concat();
    let mut events = Ctwatch::start(&ctwatch(), &arguments).unwrap();
    events.hear(wait::PATIENCE, "evictions cannot be seen").unwrap();
    events.hear(wait::PATIENCE, "insert failures cannot be seen").unwrap();
    let rate = NonZeroU64::new(LOW_RATE_PER_S).unwrap();
    FlowPlan::udp(ip("10.0.1.66"), 300).at_rate(rate).send(gateway.client()).unwrap();
    FlowPlan::tcp_syn(ip("fd00:10::5"), 7).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, 307);
    counters::flush(gateway.gateway()).unwrap();
    let mut seen = 0;
    events
        .find(wait::PATIENCE, "307 ends", |line| {
            let event = &line.json;
            assert_eq!((&event["kind"], &event["suppressed"]), (&"ended".into(), &0.into()));
            assert!(event["reason"].is_null() && event["destination"].is_string(), "{event}");
            seen += 1;
            Ok((seen == 307).then_some(()))
        })
        .unwrap();
    let ended = events.stop().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let summary = &ended.lines.last().unwrap().json;
    let all = serde_json::json!({"events": 307, "suppressed": 0, "lost": 0});
    assert_eq!((&summary["kind"], &summary["ended"]), (&"summary".into(), &all), "{summary}");
    for unseen in ["evicted", "insert_failed", "refused"] {
        assert!(summary[unseen].is_null(), "{summary}");
    }
}

#[test]
fn events_of_which_nothing_can_be_seen_are_not_waited_for() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.66"), 1).send(gateway.client()).unwrap();
    let arguments = without_hooks(&gateway, &["events", "--kind", "evicted"]);
    let ended = Ctwatch::run(&ctwatch(), &arguments, wait::PATIENCE).unwrap();
    assert_eq!(ended.status.code(), Some(77), "{}", ended.stderr);
    assert!(ended.stderr.contains("evictions cannot be seen"), "{}", ended.stderr);
}

#[test]
fn blocks_and_caps_are_told_as_they_begin_and_end() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.66"), 1).send(gateway.client()).unwrap();
    let state = tempfile::tempdir().unwrap();
    let command = ["events", "--json", "--kind", "blocked", "--source", "10.0.1.66"];
    let place = ["--attach", "netlink", "--netns", gateway.gateway().name()];
    let arguments = [command.as_slice(), &place].concat();
    let mut events = Ctwatch::start(&ctwatch(), &arguments).unwrap();
    let run = |command: &[&str]| {
        let ended = Command::new(ctwatch())
            .args(command)
            .args(["--netns", gateway.gateway().name()])
            .env("CTWATCH_STATE_DIR", state.path().join("state"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(0), "{said}");
    };
    // Whoever was blocked before the first look is told of as having its time anew.
    let first = wait::until(wait::PATIENCE, "a block that is told", || {
        run(&["block", "10.0.1.66", "--now", "--for", "5m", "--why", "it floods"]);
        Ok(events.lines()?.first().map(|line| line.json.clone()))
    });
    let first = first.unwrap();
    assert!(first["reason"] == "blocked" || first["reason"] == "prolonged", "{first}");
    assert_eq!((&first["source"], &first["why"]), (&"10.0.1.66".into(), &"it floods".into()));
    // Of nobody else is anything told.
    run(&["block", "10.0.2.1", "--now"]);
    run(&["block", "10.0.1.66", "--now", "--for", "8s"]);
    let mut of_reason = |reason: &str| {
        let event = events.find(wait::PATIENCE, reason, |line| {
            Ok((line.json["reason"] == reason).then(|| line.json.clone()))
        });
        event.unwrap()
    };
    let expired = of_reason("expired");
    assert_eq!((&expired["protocol"], &expired["by"]), (&"any".into(), &"root".into()));
    run(&["cap", "10.0.1.0/24", "200", "--for", "5m"]);
    let capped = of_reason("capped");
    assert_eq!(
        (&capped["source"], &capped["entries_max"]),
        (&"10.0.1.0/24".into(), &200.into()),
        "{capped}"
    );
    run(&["unblock", "--all"]);
    of_reason("lifted");
    let ended = events.stop().unwrap();
    assert!(ended.lines.iter().all(|line| line.json["source"] != "10.0.2.1"));
}
