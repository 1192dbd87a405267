//! Entries from before the start: each source holds what it holds, whenever ctwatch began to look.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use ctwatch_lab::counters::GlobalSetting;
use ctwatch_lab::{Flood, FlowPlan, counters, skip, wait};

use crate::observed::{
    INTERVAL, assert_consistent, assert_lossless, gateway, ip, line_after_now, number, of_source,
    stop, watch,
};

/// Room for what these scenarios put into the table, and chains of a sane length.
fn room() -> [GlobalSetting; 2] {
    [GlobalSetting::buckets(65_536).unwrap(), GlobalSetting::limit(65_536).unwrap()]
}

#[test]
fn baseline_of_twenty_thousand_flows() {
    let Some(gateway) = gateway() else { return };
    let _room = room();
    let shares = [("10.0.1.2", 10_000), ("10.0.1.3", 6_000), ("fd00:10::5", 4_000)];
    let plans = [
        FlowPlan::udp(ip("10.0.1.2"), 10_000),
        FlowPlan::tcp_syn(ip("10.0.1.3"), 6_000),
        FlowPlan::icmp_echo(ip("fd00:10::5"), 4_000),
    ];
    for plan in &plans {
        plan.send(gateway.client()).unwrap();
    }
    wait::until(wait::PATIENCE, "20 000 entries", || {
        Ok((counters::entries(gateway.gateway())? == 20_000).then_some(()))
    })
    .unwrap();

    let (mut watch, _first) = watch(&gateway, &["--top", "1000"]);
    let before = line_after_now(&mut watch);
    for (source, flows) in shares {
        assert_eq!(of_source(&before, source, None, "entries"), flows, "{source} in {before}");
        assert_eq!(of_source(&before, source, None, "new"), 0, "{source} in {before}");
    }
    assert_consistent(&gateway, &before);
    assert_lossless(&before);

    // Half of them go.
    assert_eq!(counters::flush_source(gateway.gateway(), ip("10.0.1.2")).unwrap(), 10_000);
    let after = line_after_now(&mut watch);
    for (source, flows) in [("10.0.1.2", 0), ("10.0.1.3", 6_000), ("fd00:10::5", 4_000)] {
        assert_eq!(of_source(&after, source, None, "entries"), flows, "{source} in {after}");
    }
    assert_eq!(number(&after, "totals.ended"), 10_000, "{after}");
    assert_consistent(&gateway, &after);
    assert_lossless(&after);
    stop(watch).unwrap();
}

/// The kernel counts expired entries until it reaps them, and a dump leaves them out and reaps them: they must be nobody's
/// soon, and make nobody's number too low when they go.
#[test]
fn baseline_with_expired_entries() {
    let Some(gateway) = gateway() else { return };
    let _room = room();
    // The kernel's own sweep may come between; then it is tried again.
    let mut stale = None;
    for _attempt in 0..3 {
        counters::flush(gateway.gateway()).unwrap();
        gateway.set_timeout("udp_timeout", 600).unwrap();
        FlowPlan::udp(ip("10.0.1.2"), 200).send(gateway.client()).unwrap();
        gateway.set_timeout("udp_timeout", 1).unwrap();
        FlowPlan::udp(ip("10.0.1.66"), 500).send(gateway.client()).unwrap();
        let sent = Instant::now();
        wait::until(wait::PATIENCE, "the expiry", || {
            Ok((sent.elapsed() > Duration::from_millis(1500)).then_some(()))
        })
        .unwrap();
        if counters::entries(gateway.gateway()).unwrap() == 700 {
            stale = Some(watch(&gateway, &["--top", "1000"]));
            break;
        }
    }
    let Some((mut watch, _first)) = stale else {
        return skip(
            "the kernel reaped the expired entries before ctwatch could look, three times",
        );
    };
    let patience = Duration::from_secs(10);
    let line = watch.find(patience, "a table without drift", |line| {
        let settled =
            number(&line.json, "drift_entries") == 0 && number(&line.json, "table.entries") == 200;
        Ok(settled.then(|| line.json.clone()))
    });
    let line = line.unwrap();
    assert_eq!(of_source(&line, "10.0.1.2", None, "entries"), 200, "{line}");
    assert_eq!(of_source(&line, "10.0.1.66", None, "entries"), 0, "{line}");

    // What is left goes as well, and nothing is negative.
    counters::flush(gateway.gateway()).unwrap();
    let empty = line_after_now(&mut watch);
    assert_eq!(number(&empty, "totals.entries"), 0, "{empty}");
    assert_consistent(&gateway, &empty);
    stop(watch).unwrap();
}

#[test]
fn baseline_taken_in_mid_flood() {
    let Some(gateway) = gateway() else { return };
    let _room = room();
    FlowPlan::tcp_syn(ip("10.0.1.2"), 3000).send(gateway.client()).unwrap();
    let rate_per_s = NonZeroU64::new(1500).unwrap();
    let flood =
        Flood::start(gateway.client(), FlowPlan::udp(ip("10.0.1.66"), 60_000).at_rate(rate_per_s))
            .unwrap();
    wait::until(wait::PATIENCE, "the flood", || Ok((flood.flows_so_far() >= 1000).then_some(())))
        .unwrap();

    // While ctwatch attaches and dumps, one client's entries come and another's go.
    let before = flood.flows_so_far();
    let (mut watch, first) = std::thread::scope(|scope| {
        let flush = scope.spawn(|| counters::flush_source(gateway.gateway(), ip("10.0.1.2")));
        let started = watch(&gateway, &["--top", "1000"]);
        assert_eq!(flush.join().unwrap().unwrap(), 3000);
        started
    });
    // Each of those may be counted twice or not at all for a while, no others.
    let churn = i64::try_from(flood.flows_so_far() - before).unwrap() + 3000;
    // Until the listing is over there is no drift to be told of.
    let first = if first.json["drift_entries"].is_null() {
        watch
            .find(wait::PATIENCE, "a listing that is over", |line| {
                Ok((!line.json["drift_entries"].is_null()).then(|| line.json.clone()))
            })
            .unwrap()
    } else {
        first.json
    };
    let drift = number(&first, "drift_entries");
    assert!(drift.abs() <= churn, "drift {drift}, churn {churn}: {first}");
    for _line in 0..4 {
        let line = watch.next(wait::PATIENCE).unwrap().json;
        assert!(number(&line, "drift_entries").abs() <= churn, "churn {churn}: {line}");
    }
    let sent = flood.stop().unwrap();
    let quiet = Instant::now();

    watch.forget().unwrap();
    let settled = watch.find(Duration::from_secs(10), "no drift after the flood", |line| {
        let settled = number(&line.json, "drift_entries") == 0
            && of_source(&line.json, "10.0.1.66", Some("udp"), "entries")
                == i64::try_from(sent.flows)?
            && of_source(&line.json, "10.0.1.2", None, "entries") == 0;
        Ok(settled.then_some(line.at))
    });
    println!(
        "drift 0 after {:?}, churn at the start {churn}",
        settled.unwrap().duration_since(quiet)
    );
    // And it stays.
    for _line in 0..Duration::from_secs(2).div_duration_f64(INTERVAL) as u32 {
        let line = watch.next(wait::PATIENCE).unwrap().json;
        assert_eq!(number(&line, "drift_entries"), 0, "{line}");
    }
    let line = line_after_now(&mut watch);
    assert_consistent(&gateway, &line);
    stop(watch).unwrap();
}
