//! Why entries ended, each reason alone and exact: their time was over, a user deleted them, a device went down, the garbage
//! collector made room, a packet closed them.

use std::time::Duration;

use ctwatch_lab::counters::{self, GlobalSetting, conntrack_statistics};
use ctwatch_lab::{Ctwatch, FlowPlan, Gateway, address, wait};
use serde_json::Value;

use crate::observed::{
    assert_consistent, gateway, ip, line_after_now, line_with, number, of_source, rungs, stop,
    watch_on,
};

/// The garbage collector sleeps for as long as a minute (net/netfilter/nf_conntrack_core.c, GC_SCAN_INTERVAL_MAX).
const PATIENCE_WITH_GC: Duration = Duration::from_secs(150);

/// Runs a scenario on each rung, on a gateway of its own.
fn on_each_rung(scenario: impl Fn(&Gateway, Ctwatch)) {
    for rung in rungs() {
        let Some(gateway) = gateway() else { return };
        let (watch, first) = watch_on(&rung, &gateway, &["--top", "1000"]);
        for hook in ["gc", "deletion"] {
            assert_eq!(first.json["mode"][hook], "kprobe", "{}", first.json);
        }
        scenario(&gateway, watch);
    }
}

/// All that ended in `line` ended for one reason: what each source is expected to have.
#[track_caller]
fn assert_ended(gateway: &Gateway, line: &Value, reason: &str, expected: &[(&str, i64)]) {
    for (source, entries) in expected {
        for key in ["ended", reason] {
            assert_eq!(of_source(line, source, None, key), *entries, "{source} {key} in {line}");
        }
    }
    let all: i64 = expected.iter().map(|(_, entries)| entries).sum();
    for key in ["ended", reason] {
        assert_eq!(number(&line["totals"], key), all, "{key} in {line}");
    }
    assert_consistent(gateway, line);
}

#[test]
fn ends_by_timeout() {
    on_each_rung(|gateway, mut watch| {
        gateway.set_timeout("udp_timeout", 1).unwrap();
        FlowPlan::udp(ip("10.0.1.2"), 150).send(gateway.client()).unwrap();
        FlowPlan::udp(ip("fd00:10::5"), 50).send(gateway.client()).unwrap();
        FlowPlan::icmp_echo(ip("10.0.1.3"), 30).send(gateway.client()).unwrap();
        watch
            .find(PATIENCE_WITH_GC, "200 entries reaped", |line| {
                Ok((number(&line.json, "totals.timed_out") == 200).then_some(()))
            })
            .unwrap();
        let line = line_after_now(&mut watch);
        let expected = [("10.0.1.2", 150), ("fd00:10::5", 50), ("10.0.1.3", 0)];
        assert_ended(gateway, &line, "timed_out", &expected);
        stop(watch).unwrap();
    });
}

#[test]
fn ends_by_a_user_and_by_a_flush() {
    on_each_rung(|gateway, mut watch| {
        FlowPlan::udp(ip("10.0.1.2"), 120).send(gateway.client()).unwrap();
        FlowPlan::tcp_syn(ip("10.0.1.3"), 80).send(gateway.client()).unwrap();
        line_with(&mut watch, "totals.new", 200);
        assert_eq!(counters::flush_source(gateway.gateway(), ip("10.0.1.3")).unwrap(), 80);
        let line = line_after_now(&mut watch);
        assert_ended(gateway, &line, "deleted", &[("10.0.1.2", 0), ("10.0.1.3", 80)]);
        counters::flush(gateway.gateway()).unwrap();
        let line = line_after_now(&mut watch);
        assert_ended(gateway, &line, "deleted", &[("10.0.1.2", 120), ("10.0.1.3", 80)]);
        stop(watch).unwrap();
    });
}

/// Masqueraded entries go with the address that they were given.
#[test]
fn ends_by_a_device_that_goes_down() {
    on_each_rung(|gateway, mut watch| {
        FlowPlan::udp(ip("10.0.1.2"), 70).send(gateway.client()).unwrap();
        line_with(&mut watch, "totals.new", 70);
        in_gateway(gateway, &["ip", "link", "set", "server", "down"]);
        line_with(&mut watch, "totals.ended", 70);
        assert_ended(gateway, &line_after_now(&mut watch), "deleted", &[("10.0.1.2", 70)]);
        stop(watch).unwrap();
    });
}

/// Nobody listens: the server answers each SYN with a reset, which ends the entry at once (net/netfilter/
/// nf_conntrack_proto_tcp.c, `nf_conntrack_tcp_packet`).
#[test]
fn ends_by_a_tcp_reset() {
    on_each_rung(|gateway, mut watch| {
        let closed = FlowPlan::tcp_syn(ip("10.0.1.2"), 60).to(address::server(ip("10.0.1.2")), 9);
        closed.send(gateway.client()).unwrap();
        FlowPlan::tcp_syn(ip("10.0.1.3"), 25).send(gateway.client()).unwrap();
        line_with(&mut watch, "totals.new", 85);
        line_with(&mut watch, "totals.ended", 60);
        let line = line_after_now(&mut watch);
        assert_ended(gateway, &line, "closed", &[("10.0.1.2", 60), ("10.0.1.3", 0)]);
        stop(watch).unwrap();
    });
}

/// After a refusal, while the table is nearly full, the garbage collector throws out entries that nobody answered, until it is
/// full to less than 95 %. No counter of the kernel's shows it: what is missing from the table does.
#[test]
fn ends_by_gc_near_the_limit() {
    const LIMIT: u64 = 2000;
    // So many buckets that most packets are refused.
    let buckets = 65_536;
    on_each_rung(|gateway, mut watch| {
        let _buckets = GlobalSetting::buckets(buckets).unwrap();
        let _limit = GlobalSetting::limit(LIMIT).unwrap();
        let before = conntrack_statistics(gateway.gateway()).unwrap();
        FlowPlan::udp(ip("10.0.1.2"), 1200).send(gateway.client()).unwrap();
        FlowPlan::udp(ip("10.0.1.3"), 1600).send(gateway.client()).unwrap();
        wait::until(PATIENCE_WITH_GC, "the garbage collector", || {
            Ok((counters::entries(gateway.gateway())? < LIMIT / 100 * 95).then_some(()))
        })
        .unwrap();
        let line = line_after_now(&mut watch);
        let kernel = conntrack_statistics(gateway.gateway()).unwrap().since(&before);
        let (refused, early_drop) = (kernel.get("drop"), kernel.get("early_drop"));
        let held = counters::entries(gateway.gateway()).unwrap();
        let missing = i64::try_from(2800 - refused - early_drop - held).unwrap();
        println!("{refused} refused, {early_drop} evicted, {missing} gone without a trace");
        assert!(refused > 0 && missing > 95, "{line}");
        assert_eq!(number(&line, "totals.evicted_by_gc"), missing, "{line}");
        for source in ["10.0.1.2", "10.0.1.3"] {
            let of = |key: &str| of_source(&line, source, None, key);
            assert_eq!(of("ended"), of("evicted") + of("evicted_by_gc"), "{source} in {line}");
        }
        assert_consistent(gateway, &line);
        stop(watch).unwrap();
    });
}

fn in_gateway(gateway: &Gateway, command: &[&str]) {
    let status = std::process::Command::new("ip")
        .args(["netns", "exec", gateway.gateway().name()])
        .args(command)
        .status()
        .unwrap();
    assert!(status.success(), "{command:?}");
}
