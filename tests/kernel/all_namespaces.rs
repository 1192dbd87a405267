//! Every network namespace has its own line, with its own exact numbers, also as namespaces come and go; and none lives on
//! because ctwatch looks at it.

use std::collections::HashMap;
use std::num::NonZeroU64;

use ctwatch_lab::counters::GlobalSetting;
use ctwatch_lab::gateway::UPLINK;
use ctwatch_lab::{Ctwatch, FlowPlan, Gateway, GatewayPlan, counters, wait};
use serde_json::Value;

use crate::observed::{
    assert_lossless, gateway, ip, number, of_source, rows, rung, rungs, start_attached, start_in,
    stop,
};
use crate::table_full::follow_events;

const WATCH: [&str; 6] = ["watch", "--json", "--interval", "250ms", "--top", "1000"];

#[test]
fn all_namespaces_are_exact_as_they_come_and_go() {
    for rung in rungs() {
        let Some(first) = gateway() else { return };
        come_and_go(&rung, &first);
    }
}

fn come_and_go(rung: &str, first: &Gateway) {
    let second = another();
    // One has entries from before the start, both get more.
    FlowPlan::udp(ip("10.0.1.2"), 70).send(first.client()).unwrap();
    FlowPlan::tcp_syn(ip("10.0.1.9"), 5).send(second.client()).unwrap();
    let mut watch = start_in("all", rung, &WATCH, &[]);
    line_of(&mut watch, first, "totals.entries", 70);
    FlowPlan::udp(ip("10.0.1.2"), 300).starting_at(70).send(first.client()).unwrap();
    FlowPlan::udp(ip("10.0.1.2"), 150).send(second.client()).unwrap();
    FlowPlan::icmp_echo(ip("fd00:10::5"), 30).send(second.client()).unwrap();
    line_of(&mut watch, first, "totals.new", 300);
    line_of(&mut watch, &second, "totals.new", 180);
    let lines = interval_after_now(&mut watch, &[first, &second]);
    for (gateway, source, new, entries) in [
        (first, "10.0.1.2", 300, 370),
        (&second, "10.0.1.2", 150, 150),
        (&second, "fd00:10::5", 30, 30),
        (&second, "10.0.1.9", 0, 5),
    ] {
        let line = &lines[gateway.gateway().name()];
        assert_eq!(of_source(line, source, None, "new"), new, "{source} in {line}");
        assert_eq!(of_source(line, source, None, "entries"), entries, "{source} in {line}");
    }
    assert_exact(&lines, &[first, &second], 0);

    // One that comes is counted from its first flow.
    let third = another();
    FlowPlan::udp(ip("10.0.1.2"), 25).send(third.client()).unwrap();
    line_of(&mut watch, &third, "totals.new", 25);
    let lines = interval_after_now(&mut watch, &[first, &second, &third]);
    assert_eq!(number(&lines[third.gateway().name()], "totals.entries"), 25);
    assert_exact(&lines, &[first, &second, &third], 0);

    // One that goes is gone: from the output, and from the kernel, which takes its interfaces with it.
    let number_of_second = second.gateway().number().unwrap();
    second.gateway().delete().unwrap();
    wait_until_gone(&second);
    drop(second);
    let lines = interval_after_now(&mut watch, &[first, &third]);
    assert_exact(&lines, &[first, &third], 180);

    // Its number is given to another, with which the same source begins at 0.
    let later: Vec<Gateway> = (0..3).map(|_| another()).collect();
    let heir = later.iter().find(|later| later.gateway().number().unwrap() == number_of_second);
    println!("{rung}: the number of the deleted namespace was given again: {}", heir.is_some());
    for (flows, gateway) in (10..).zip(&later) {
        FlowPlan::udp(ip("10.0.1.2"), flows).send(gateway.client()).unwrap();
        line_of(&mut watch, gateway, "totals.new", flows);
    }
    let everyone: Vec<&Gateway> = [first, &third].into_iter().chain(&later).collect();
    let lines = interval_after_now(&mut watch, &everyone);
    for (flows, gateway) in (10..).zip(&later) {
        let line = &lines[gateway.gateway().name()];
        assert_eq!(of_source(line, "10.0.1.2", Some("udp"), "entries"), flows, "{line}");
        assert_eq!(number(line, "totals.ended"), 0, "{line}");
        assert_eq!(rows(line).count(), 1, "{line}");
    }
    assert_exact(&lines, &everyone, 180);
    stop(watch).unwrap();
}

#[test]
fn all_namespaces_have_their_own_events() {
    let Some(first) = gateway() else { return };
    let second = another();
    // Few entries in many buckets: the kernel finds hardly anybody to evict.
    let _buckets = GlobalSetting::buckets(16_384).unwrap();
    let _limit = GlobalSetting::limit(200).unwrap();
    // One of them tracks something when the events begin.
    FlowPlan::udp(ip("10.0.1.2"), 100).send(first.client()).unwrap();
    let mut events = follow_events(&rung(), "all", "refused", &[]);
    FlowPlan::udp(ip("10.0.1.2"), 800).starting_at(100).send(first.client()).unwrap();
    next_of(&mut events, &first);
    FlowPlan::udp(ip("10.0.1.3"), 700).send(second.client()).unwrap();
    next_of(&mut events, &second);
    let ended = events.stop().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    for (gateway, source) in [(&first, "10.0.1.2"), (&second, "10.0.1.3")] {
        let name = gateway.gateway().name();
        let of_gateway = ended.lines.iter().filter(|line| line.json["netns_name"] == name);
        let told: i64 = of_gateway
            .filter(|line| line.json["kind"] != "summary")
            .map(|line| {
                assert_eq!(line.json["source"], source, "{}", line.json);
                assert_eq!(line.json["netns"].as_u64(), gateway.gateway().number().ok());
                1 + number(&line.json, "suppressed")
            })
            .sum();
        let refused = counters::statistics(gateway.gateway()).unwrap().get("drop");
        assert!(refused > 0);
        assert_eq!(u64::try_from(told).unwrap(), refused, "{name}");
    }
}

/// Rows of a namespace that is gone are there for others, also where there are few.
#[test]
fn all_rows_of_a_namespace_that_is_gone_are_given_to_others() {
    let Some(first) = gateway() else { return };
    let sources = NonZeroU64::new(60).unwrap();
    let plan = FlowPlan::udp(ip("10.0.1.2"), 120).from_sources(sources);
    FlowPlan::udp(ip("10.0.1.2"), 7).send(first.client()).unwrap();
    let mut watch = start_in("all", &rung(), &WATCH, &["--max-sources", "100"]);
    line_of(&mut watch, &first, "totals.entries", 7);
    for _ in 0..3 {
        let second = another();
        plan.send(second.client()).unwrap();
        let line = line_of(&mut watch, &second, "totals.new", 120);
        assert_eq!(rows(&line).filter(|row| number(row, "new") == 2).count(), 60, "{line}");
        assert_eq!(number(&line, "loss.map_full"), 0, "{line}");
        second.gateway().delete().unwrap();
        wait_until_gone(&second);
        // Two looks at which they are idle, and a grace period.
        watch.forget().unwrap();
        for _ in 0..16 {
            watch.next(wait::PATIENCE).unwrap();
        }
    }
    let lines = interval_after_now(&mut watch, &[&first]);
    assert_exact(&lines, &[&first], 3 * 120);
    stop(watch).unwrap();
}

#[test]
fn all_namespaces_once_each() {
    let Some(first) = gateway() else { return };
    let second = another();
    let command = ["watch", "--json", "--once", "--netns", "all"];
    let nothing = Ctwatch::run(&crate::observed::ctwatch(), &command, wait::PATIENCE).unwrap();
    assert_eq!(nothing.status.code(), Some(77), "{}", nothing.stderr);
    assert!(nothing.stderr.contains("in any network namespace"), "{}", nothing.stderr);
    FlowPlan::udp(ip("10.0.1.2"), 20).send(first.client()).unwrap();
    FlowPlan::udp(ip("10.0.1.2"), 30).send(second.client()).unwrap();
    let ended = start_in("all", &rung(), &["watch", "--json", "--once"], &[]);
    let ended = ended.ended(wait::PATIENCE).unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""));
    let held = |gateway: &Gateway| {
        let is_it = |line: &&ctwatch_lab::ctwatch::Line| {
            line.json["netns_name"] == gateway.gateway().name()
        };
        let lines: Vec<i64> = ended
            .lines
            .iter()
            .filter(is_it)
            .map(|line| of_source(&line.json, "10.0.1.2", Some("udp"), "entries"))
            .collect();
        lines
    };
    assert_eq!((held(&first), held(&second), ended.lines.len()), (vec![20], vec![30], 2));
}

#[test]
fn all_is_over_where_the_only_namespace_is_deleted() {
    for rung in rungs().into_iter().chain(["netlink".to_owned()]) {
        let Some(gateway) = gateway() else { return };
        FlowPlan::udp(ip("10.0.1.2"), 20).send(gateway.client()).unwrap();
        let mut watch = start_attached(&gateway, &rung, &WATCH, &[]);
        let line = watch.next(wait::PATIENCE).unwrap().json;
        assert_eq!(line["netns_name"], gateway.gateway().name(), "{line}");
        gateway.gateway().delete().unwrap();
        let ended = watch.ended(wait::PATIENCE).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        let said = format!("the network namespace {} has been deleted", gateway.gateway().name());
        assert!(ended.stderr.contains(&said), "{}", ended.stderr);
        wait_until_gone(&gateway);
    }
}

fn another() -> Gateway {
    Gateway::build(&GatewayPlan::default()).unwrap()
}

/// Waits until the kernel has ended the gateway's namespace: its interfaces go, and with each the other end.
#[track_caller]
fn wait_until_gone(gateway: &Gateway) {
    wait::until(wait::PATIENCE, "the end of the namespace", || {
        Ok(counters::link(gateway.client(), UPLINK).is_err().then_some(()))
    })
    .unwrap();
}

/// Waits for the gateway's line in which `path` has reached `expected`.
#[track_caller]
fn line_of(watch: &mut Ctwatch, gateway: &Gateway, path: &str, expected: u64) -> Value {
    let name = gateway.gateway().name();
    let what = format!("{path} = {expected} of {name}");
    let expected = i64::try_from(expected).unwrap();
    watch
        .find(wait::PATIENCE, &what, |line| {
            let is_it = line.json["netns_name"] == name && number(&line.json, path) == expected;
            Ok(is_it.then(|| line.json.clone()))
        })
        .unwrap()
}

#[track_caller]
fn next_of(events: &mut Ctwatch, gateway: &Gateway) {
    let name = gateway.gateway().name();
    let what = format!("an event of {name}");
    events
        .find(wait::PATIENCE, &what, |line| Ok((line.json["netns_name"] == name).then_some(())))
        .unwrap();
}

/// The lines of one interval that was measured wholly after this call, by name; they are those of these gateways.
#[track_caller]
fn interval_after_now(watch: &mut Ctwatch, gateways: &[&Gateway]) -> HashMap<String, Value> {
    watch.forget().unwrap();
    let deadline = std::time::Instant::now() + wait::PATIENCE;
    // What is under way may have been measured before. A line of the same time belongs to the same interval.
    let mut times: Vec<Value> = Vec::new();
    let mut lines = HashMap::new();
    loop {
        let line = watch.next(wait::PATIENCE).unwrap().json;
        if times.last() != Some(&line["ts"]) {
            if times.len() > 2 && lines.len() == gateways.len() {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "{} gateways: {lines:?}", gateways.len());
            times.push(line["ts"].clone());
            lines.clear();
        }
        let name = line["netns_name"].as_str().unwrap_or_default().to_owned();
        assert!(lines.insert(name, line).is_none(), "a namespace has two lines");
    }
    for gateway in gateways {
        assert!(lines.contains_key(gateway.gateway().name()), "{lines:?}");
    }
    lines
}

/// Each line is its gateway's and adds up, and the totals of all and `departed` are what the witness saw begin.
#[track_caller]
fn assert_exact(lines: &HashMap<String, Value>, gateways: &[&Gateway], departed: i64) {
    let mut new = departed;
    for gateway in gateways {
        let line = &lines[gateway.gateway().name()];
        for key in ["entries", "new", "refused", "ended"] {
            let sum: i64 = rows(line).map(|row| number(row, key)).sum();
            assert_eq!(sum + number(&line["others"], key), number(&line["totals"], key), "{line}");
        }
        let count = i64::try_from(counters::entries(gateway.gateway()).unwrap()).unwrap();
        assert_eq!(number(line, "totals.entries"), count, "{line}");
        assert_eq!(number(line, "table.entries"), count, "{line}");
        assert_eq!(number(line, "drift_entries"), 0, "{line}");
        assert_eq!(number(line, "witness.difference"), 0, "{line}");
        assert_eq!(line["netns"].as_u64(), gateway.gateway().number().ok(), "{line}");
        assert_lossless(line);
        new += number(line, "totals.new");
    }
    for line in lines.values() {
        assert_eq!(number(line, "witness.new"), new, "{line}");
    }
}
