//! The main job without hooks: a flood's top source is named, what cannot be seen is said and is null, and no module is
//! loaded.

use std::collections::BTreeSet;

use ctwatch_lab::{Ctwatch, FlowPlan, counters, skip, wait};
use serde_json::Value;

use crate::observed::{
    at, ctwatch, degraded, gateway, ip, line_with, row, wait_for_entries, watch, without_hooks,
};

#[test]
fn the_top_source_of_a_flood_is_named_with_what_it_holds() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::tcp_syn(ip("10.0.1.2"), 300).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, 300);
    let (mut watch, _) = watch(&gateway, "100ms");
    let held = |line: &Value, source, protocol| {
        row(line, source, protocol).and_then(|row| row["entries"].as_u64())
    };
    let before =
        line_with(&mut watch, "the first dump", |line| !at(line, "totals.entries").is_null());
    assert_eq!(held(&before, "10.0.1.2", "tcp"), Some(300), "{before}");

    FlowPlan::icmp_echo(ip("fd00:10::5"), 100).send(gateway.client()).unwrap();
    FlowPlan::udp(ip("10.0.1.66"), 4000).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, 4400);
    let line = line_with(&mut watch, "a dump of all 4400 entries", |line| {
        at(line, "totals.entries") == 4400
    });
    assert_eq!(line["sources"][0]["source"], "10.0.1.66", "{line}");
    assert_eq!(held(&line, "10.0.1.66", "udp"), Some(4000), "{line}");
    assert_eq!(held(&line, "10.0.1.2", "tcp"), Some(300), "{line}");
    assert_eq!(held(&line, "fd00:10::5", "icmpv6"), Some(100), "{line}");
    assert_eq!(at(&line, "table.entries"), counters::entries(gateway.gateway()).unwrap());

    let ended = watch.stop().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}

#[test]
fn what_cannot_be_seen_is_null_and_said_in_one_line() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.66"), 10).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, 10);
    let arguments = without_hooks(&gateway, &["watch", "--json", "--once"]);
    let ended = Ctwatch::run(&ctwatch(), &arguments, wait::PATIENCE).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let [line] = ended.lines.as_slice() else { panic!("{} lines", ended.lines.len()) };
    let line = &line.json;

    for unseen in
        ["drift_entries", "witness", "loss.map_full", "loss.probe_missed", "loss.requester_unknown"]
    {
        assert!(at(line, unseen).is_null(), "{unseen} in {line}");
    }
    for seen in ["table.entries", "table.buckets", "kernel.drop", "loss.netlink_overruns"] {
        assert!(at(line, seen).is_u64(), "{seen} in {line}");
    }
    // A number is there exactly if there is a way to see it.
    for (hook, numbers) in
        [("alloc", ["new", "new_per_s"]), ("early_drop", ["refused", "refused_per_s"])]
    {
        let seen = line["mode"][hook] != "none";
        for number in numbers {
            for rows in [&line["totals"], &line["others"], &line["sources"][0]] {
                assert_eq!(rows[number].is_number(), seen, "{number} in {line}");
            }
        }
    }
    assert_ne!(line["mode"]["alloc"], "kprobe", "{line}");

    let said = degraded(line);
    assert!(!said.is_empty(), "{line}");
    let talk: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(talk.len(), 1, "{}", ended.stderr);
    for sentence in said {
        assert!(talk[0].contains(sentence), "{sentence} is not in {}", ended.stderr);
    }
}

#[test]
fn no_module_is_loaded() {
    let Some(before) = modules() else {
        return skip("this kernel has no /proc/modules: it can load none");
    };
    // Building the gateway loads modules; looking at it must not.
    drop(before);
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.66"), 100).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, 100);
    let before = modules();
    for command in ["watch", "events"] {
        let arguments = without_hooks(&gateway, &[command, "--json", "--duration", "1s"]);
        let ended = Ctwatch::run(&ctwatch(), &arguments, wait::PATIENCE).unwrap();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    }
    assert_eq!(modules(), before);
}

/// The names of the modules that are loaded; `None` if the kernel has no modules.
fn modules() -> Option<BTreeSet<String>> {
    let text = std::fs::read_to_string("/proc/modules").ok()?;
    Some(text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}
