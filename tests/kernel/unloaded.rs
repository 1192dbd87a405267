//! conntrack comes and goes under a running ctwatch: it waits, begins anew, and is exact again; where its way of looking
//! keeps the module, it says so.

use ctwatch_lab::modules::{ConntrackUnused, is_conntrack_loaded};
use ctwatch_lab::{Ctwatch, FlowPlan, Gateway, GatewayPlan, wait};
use serde_json::Value;

use crate::observed::{
    INTERVAL, assert_consistent, assert_lossless, gateway, ip, line_after_now, line_with, number,
    of_source, rungs, start_attached, start_in, stop, watch_on,
};

const WATCH: [&str; 4] = ["watch", "--json", "--interval", "250ms"];
const WAITING: &str = "ctwatch: connection tracking has been unloaded; waiting for it";

#[test]
fn unloaded_and_loaded_again_it_begins_anew() {
    let Some(gateway) = gateway() else { return };
    let (mut watch, first) = watch_on("kprobe", &gateway, &["--top", "1000"]);
    assert!(first.json["mode"]["pins_module"].is_null(), "{}", first.json);
    FlowPlan::udp(ip("10.0.1.2"), 300).send(gateway.client()).unwrap();
    let before = line_with(&mut watch, "totals.new", 300);

    unload(&gateway, &mut watch);
    let line = first_line_of_another_count(&mut watch, &before);
    assert_eq!(number(&line, "totals.new"), 0, "{line}");
    for (source, flows) in [("10.0.1.3", 200), ("fd00:10::5", 50)] {
        FlowPlan::udp(ip(source), flows).send(gateway.client()).unwrap();
    }
    line_with(&mut watch, "totals.new", 250);
    let line = line_after_now(&mut watch);
    assert_eq!(of_source(&line, "10.0.1.3", Some("udp"), "new"), 200, "{line}");
    assert_eq!(of_source(&line, "fd00:10::5", Some("udp"), "entries"), 50, "{line}");
    assert_eq!(of_source(&line, "10.0.1.2", None, "new"), 0, "{line}");
    assert_consistent(&gateway, &line);
    assert_lossless(&line);

    let ended = watch.stop().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let said: Vec<&str> =
        ended.stderr.lines().filter(|line| !line.contains("nothing is tracked")).collect();
    assert_eq!(said.first(), Some(&WAITING), "{said:?}");
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[1].contains("is back"), "{said:?}");
}

#[test]
fn unloaded_and_loaded_again_without_hooks() {
    let Some(gateway) = gateway() else { return };
    let mut watch = start_attached(&gateway, "netlink", &WATCH, &["--top", "1000"]);
    watch.next(wait::PATIENCE).unwrap();
    FlowPlan::udp(ip("10.0.1.2"), 30).send(gateway.client()).unwrap();
    let before = line_with_entries(&mut watch, 30);

    unload(&gateway, &mut watch);
    first_line_of_another_count(&mut watch, &before);
    FlowPlan::udp(ip("10.0.1.3"), 20).send(gateway.client()).unwrap();
    let line = line_with_entries(&mut watch, 20);
    assert_eq!(of_source(&line, "10.0.1.3", Some("udp"), "entries"), 20, "{line}");
    assert_eq!(of_source(&line, "10.0.1.2", None, "entries"), 0, "{line}");
    let ended = watch.stop().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().filter(|line| *line == WAITING).count(), 1, "{}", ended.stderr);
}

#[test]
fn unloaded_and_loaded_again_with_all_namespaces() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.2"), 40).send(gateway.client()).unwrap();
    let mut watch = start_in("all", "kprobe", &WATCH, &["--top", "1000"]);
    let before = line_with_entries(&mut watch, 40);
    unload(&gateway, &mut watch);
    // It has no line before it tracks something, and the hooks may be attached a little later than that.
    let mut flows = 0;
    let line = wait::until(wait::PATIENCE, "a line", || {
        FlowPlan::udp(ip("10.0.1.2"), 1).starting_at(flows).send(gateway.client())?;
        flows += 1;
        let is_new = |json: &Value| json["mode"]["attached_at"] != before["mode"]["attached_at"];
        Ok(watch.lines()?.iter().map(|line| &line.json).find(|json| is_new(json)).cloned())
    });
    assert_eq!(line.unwrap()["netns_name"], gateway.gateway().name());
    FlowPlan::udp(ip("10.0.1.3"), 60).send(gateway.client()).unwrap();
    line_with_entries(&mut watch, flows + 60);
    let line = line_after_now(&mut watch);
    assert_eq!(of_source(&line, "10.0.1.3", Some("udp"), "new"), 60, "{line}");
    assert_consistent(&gateway, &line);
    watch.stop().unwrap();
}

#[test]
fn unloaded_it_ends_where_it_may_not_wait() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.2"), 30).send(gateway.client()).unwrap();
    let (watch, _first) = watch_on("kprobe", &gateway, &["--no-wait"]);
    gateway.stop_translating().unwrap();
    let unused = ConntrackUnused::begin().unwrap();
    unused.unload_conntrack().unwrap();
    let ended = watch.ended(wait::PATIENCE).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("has been unloaded from the kernel"), "{}", ended.stderr);
}

#[test]
fn loaded_while_it_waits_every_connection_is_counted() {
    let Some(gateway) = gateway() else { return };
    for rung in rungs() {
        gateway.stop_translating().unwrap();
        let unused = ConntrackUnused::begin().unwrap();
        unused.unload_conntrack().unwrap();
        let mut watch = start_attached(&gateway, &rung, &WATCH, &["--top", "1000"]);
        // It must not load anything by looking.
        wait::until_quiet(wait::PATIENCE, 4 * INTERVAL, "lines", || Ok(watch.lines()?.len()))
            .unwrap();
        assert!(!is_conntrack_loaded() && watch.lines().unwrap().is_empty());
        drop(unused);
        gateway.translate(GatewayPlan::default().timeout_s).unwrap();
        watch.next(wait::PATIENCE).unwrap();
        FlowPlan::tcp_syn(ip("10.0.1.3"), 120).send(gateway.client()).unwrap();
        line_with(&mut watch, "totals.new", 120);
        let line = line_after_now(&mut watch);
        assert_consistent(&gateway, &line);
        assert_lossless(&line);
        let ended = watch.stop().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        assert!(ended.stderr.contains("nf_conntrack) is not loaded"), "{}", ended.stderr);
    }
}

#[test]
fn unloaded_only_after_ctwatch_where_it_traces_functions() {
    if !rungs().iter().any(|rung| rung == "fexit") {
        return;
    }
    let Some(gateway) = gateway() else { return };
    let (watch, first) = watch_on("fexit", &gateway, &[]);
    let said = first.json["mode"]["pins_module"].as_str().unwrap();
    assert!(said.contains("stop ctwatch") && said.contains("--attach kprobe"), "{said}");
    gateway.stop_translating().unwrap();
    let unused = ConntrackUnused::begin().unwrap();
    let refused = unused.try_to_unload_conntrack().unwrap_err();
    assert_eq!(refused.raw_os_error(), 11, "{refused}: EWOULDBLOCK is what rmmod calls in use");
    stop(watch).unwrap();
    unused.unload_conntrack().unwrap();
    assert!(!is_conntrack_loaded());
}

/// Unloads conntrack, waits until ctwatch prints no more, loads it again and has the gateway as it was.
#[track_caller]
fn unload(gateway: &Gateway, watch: &mut Ctwatch) {
    gateway.stop_translating().unwrap();
    let unused = ConntrackUnused::begin().unwrap();
    unused.unload_conntrack().unwrap();
    wait::until_quiet(wait::PATIENCE, 4 * INTERVAL, "lines", || Ok(watch.lines()?.len())).unwrap();
    assert!(!is_conntrack_loaded());
    drop(unused);
    gateway.translate(GatewayPlan::default().timeout_s).unwrap();
}

/// The first line of which `mode.attached_at` is another than in `before`.
#[track_caller]
fn first_line_of_another_count(watch: &mut Ctwatch, before: &Value) -> Value {
    let began = &before["mode"]["attached_at"];
    assert!(began.is_string(), "{before}");
    watch
        .find(wait::PATIENCE, "a count that begins again", |line| {
            Ok((line.json["mode"]["attached_at"] != *began).then(|| line.json.clone()))
        })
        .unwrap()
}

#[track_caller]
fn line_with_entries(watch: &mut Ctwatch, entries: u64) -> Value {
    watch
        .find(wait::PATIENCE, "entries by source", |line| {
            Ok((line.json["totals"]["entries"] == entries).then(|| line.json.clone()))
        })
        .unwrap()
}
