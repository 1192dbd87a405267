//! Every number of a line is the generator's or the kernel's own: per source and protocol, in the sums, and after the end.

use ctwatch_lab::service::TcpListener;
use ctwatch_lab::{FlowPlan, Gateway, counters};

use crate::observed::{
    assert_consistent, assert_lossless, gateway, ip, line_after_now, line_with, number, of_source,
    rows, rungs, stop, watch, watch_on,
};

/// Source, protocol and how many flows: 640, 192, 64 and 100 by client.
const EXPECTED: [(&str, &str, i64); 7] = [
    ("10.0.1.2", "udp", 600),
    ("10.0.1.2", "icmp", 40),
    ("10.0.1.3", "tcp", 192),
    ("10.0.1.4", "icmp", 64),
    ("fd00:10::5", "udp", 40),
    ("fd00:10::5", "tcp", 35),
    ("fd00:10::5", "icmpv6", 25),
];

#[test]
fn exactness_of_every_source() {
    for rung in rungs() {
        let Some(gateway) = gateway() else { return };
        every_source_is_exact(&rung, &gateway);
    }
}

fn every_source_is_exact(rung: &str, gateway: &Gateway) {
    let _listener = TcpListener::start(gateway.server(), 8080).unwrap();
    let (mut watch, first) = watch_on(rung, gateway, &["--top", "1000"]);
    assert_eq!(number(&first.json, "totals.entries"), 0, "{}", first.json);

    let plans = [
        FlowPlan::udp(ip("10.0.1.2"), 600),
        FlowPlan::icmp_echo(ip("10.0.1.2"), 40),
        FlowPlan::tcp_syn(ip("10.0.1.3"), 192),
        FlowPlan::icmp_echo(ip("10.0.1.4"), 64),
        FlowPlan::udp(ip("fd00:10::5"), 40),
        FlowPlan::tcp_handshake(ip("fd00:10::5"), 35),
        FlowPlan::icmp_echo(ip("fd00:10::5"), 25),
    ];
    // The connections stay open, so that their entries stay what they are.
    let sent: Vec<_> = plans.iter().map(|plan| plan.send(gateway.client()).unwrap()).collect();
    assert_eq!(sent.iter().map(|sent| sent.flows).sum::<u64>(), 996);

    line_with(&mut watch, "totals.new", 996);
    let held = line_after_now(&mut watch);
    for (source, protocol, flows) in EXPECTED {
        for (key, value) in [("new", flows), ("entries", flows), ("refused", 0), ("ended", 0)] {
            assert_eq!(
                of_source(&held, source, Some(protocol), key),
                value,
                "{source} {protocol} {key} in {held}"
            );
        }
    }
    assert_eq!(rows(&held).count(), EXPECTED.len(), "{held}");
    assert_eq!(number(&held, "totals.new"), 996);
    assert_consistent(gateway, &held);
    assert_lossless(&held);

    // One client's entries go: they are charged to it, and to nobody else.
    assert_eq!(counters::flush_source(gateway.gateway(), ip("10.0.1.3")).unwrap(), 192);
    let flushed = line_after_now(&mut watch);
    assert_eq!(of_source(&flushed, "10.0.1.3", None, "ended"), 192, "{flushed}");
    assert_eq!(of_source(&flushed, "10.0.1.3", None, "entries"), 0, "{flushed}");
    assert_eq!(number(&flushed, "totals.ended"), 192, "{flushed}");
    assert_consistent(gateway, &flushed);

    counters::flush(gateway.gateway()).unwrap();
    let empty = line_after_now(&mut watch);
    assert_eq!(number(&empty, "totals.new"), 996, "{empty}");
    assert_eq!(number(&empty, "totals.ended"), 996, "{empty}");
    assert_eq!(number(&empty, "totals.entries"), 0, "{empty}");
    assert_consistent(gateway, &empty);
    assert_lossless(&empty);
    stop(watch).unwrap();
}

/// Sources beyond `--top` are in `others`, and the sum stays.
#[test]
fn exactness_of_unlisted_sources() {
    let Some(gateway) = gateway() else { return };
    let (mut watch, _first) = watch(&gateway, &["--top", "2"]);
    for (source, flows) in
        [("10.0.1.2", 50), ("10.0.1.3", 40), ("10.0.1.4", 30), ("fd00:10::5", 20)]
    {
        FlowPlan::udp(ip(source), flows).send(gateway.client()).unwrap();
    }
    line_with(&mut watch, "totals.new", 140);
    let line = line_after_now(&mut watch);
    let listed: Vec<_> = rows(&line).map(|row| row["source"].as_str().unwrap()).collect();
    assert_eq!(listed, ["10.0.1.2", "10.0.1.3"], "{line}");
    assert_eq!(number(&line, "others.new"), 50, "{line}");
    assert_consistent(&gateway, &line);
    stop(watch).unwrap();
}
