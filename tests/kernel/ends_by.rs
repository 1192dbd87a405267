//! Why entries ended, each reason alone and exact: their time was over, a user deleted them, a device went down, the garbage
//! collector made room, a packet closed them.

use std::num::NonZeroU64;
use std::time::Duration;

use ctwatch_lab::counters::{self, GlobalSetting};
use ctwatch_lab::{Ctwatch, Flood, FlowPlan, Gateway, address, wait};
use serde_json::Value;

use crate::observed::{
    assert_consistent, gateway, ip, line_after_now, line_with, number, of_source, rungs, stop,
    watch_on,
};
use crate::without_ctnetlink::Unloaded;

/// The garbage collector sleeps for as long as a minute (net/netfilter/nf_conntrack_core.c, GC_SCAN_INTERVAL_MAX).
const PATIENCE_WITH_GC: Duration = Duration::from_secs(150);

/// Runs a scenario on one gateway that is watched on every rung at once: each has maps and programs of its own.
fn on_every_rung(scenario: impl FnOnce(&Gateway, &mut [Ctwatch])) {
    let Some(gateway) = gateway() else { return };
    let started = rungs().into_iter().map(|rung| {
        let (watch, first) = watch_on(&rung, &gateway, &["--top", "1000"]);
        for hook in ["gc", "deletion"] {
            assert_eq!(first.json["mode"][hook], "kprobe", "{}", first.json);
        }
        watch
    });
    let mut watches: Vec<Ctwatch> = started.collect();
    scenario(&gateway, &mut watches);
    for watch in watches {
        stop(watch).unwrap();
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
    on_every_rung(|gateway, watches| {
        gateway.set_timeout("udp_timeout", 1).unwrap();
        FlowPlan::udp(ip("10.0.1.2"), 150).send(gateway.client()).unwrap();
        FlowPlan::udp(ip("fd00:10::5"), 50).send(gateway.client()).unwrap();
        FlowPlan::icmp_echo(ip("10.0.1.3"), 30).send(gateway.client()).unwrap();
        wait::until(PATIENCE_WITH_GC, "200 entries reaped", || {
            Ok((counters::entries(gateway.gateway())? == 30).then_some(()))
        })
        .unwrap();
        let expected = [("10.0.1.2", 150), ("fd00:10::5", 50), ("10.0.1.3", 0)];
        for watch in watches {
            assert_ended(gateway, &line_after_now(watch), "timed_out", &expected);
        }
    });
}

#[test]
fn ends_by_a_user_and_by_a_flush() {
    on_every_rung(|gateway, watches| {
        FlowPlan::udp(ip("10.0.1.2"), 120).send(gateway.client()).unwrap();
        FlowPlan::tcp_syn(ip("10.0.1.3"), 80).send(gateway.client()).unwrap();
        for watch in &mut *watches {
            line_with(watch, "totals.new", 200);
        }
        assert_eq!(counters::flush_source(gateway.gateway(), ip("10.0.1.3")).unwrap(), 80);
        for watch in &mut *watches {
            let expected = [("10.0.1.2", 0), ("10.0.1.3", 80)];
            assert_ended(gateway, &line_after_now(watch), "deleted", &expected);
        }
        counters::flush(gateway.gateway()).unwrap();
        for watch in watches {
            let expected = [("10.0.1.2", 120), ("10.0.1.3", 80)];
            assert_ended(gateway, &line_after_now(watch), "deleted", &expected);
        }
    });
}

/// The module through which users delete is not pinned: it may go, and come again.
#[test]
fn ends_by_a_user_after_ctnetlink_was_loaded_again() {
    on_every_rung(|gateway, watches| {
        let unloaded = Unloaded::now();
        for watch in &mut *watches {
            line_after_now(watch);
        }
        drop(unloaded);
        FlowPlan::udp(ip("10.0.1.2"), 30).send(gateway.client()).unwrap();
        for watch in &mut *watches {
            line_with(watch, "totals.new", 30);
            let line = line_after_now(watch);
            assert_eq!(line["mode"]["deletion"], "kprobe", "{line}");
        }
        assert_eq!(counters::flush_source(gateway.gateway(), ip("10.0.1.2")).unwrap(), 30);
        for watch in watches {
            assert_ended(gateway, &line_after_now(watch), "deleted", &[("10.0.1.2", 30)]);
        }
    });
}

/// Masqueraded entries go with the address that they were given.
#[test]
fn ends_by_a_device_that_goes_down() {
    on_every_rung(|gateway, watches| {
        FlowPlan::udp(ip("10.0.1.2"), 70).send(gateway.client()).unwrap();
        for watch in &mut *watches {
            line_with(watch, "totals.new", 70);
        }
        in_gateway(gateway, &["ip", "link", "set", "server", "down"]);
        for watch in watches {
            line_with(watch, "totals.ended", 70);
            assert_ended(gateway, &line_after_now(watch), "deleted", &[("10.0.1.2", 70)]);
        }
    });
}

/// Nobody listens: the server answers each SYN with a reset, which ends the entry at once (net/netfilter/
/// nf_conntrack_proto_tcp.c, `nf_conntrack_tcp_packet`).
#[test]
fn ends_by_a_tcp_reset() {
    on_every_rung(|gateway, watches| {
        let closed = FlowPlan::tcp_syn(ip("10.0.1.2"), 60).to(address::server(ip("10.0.1.2")), 9);
        closed.send(gateway.client()).unwrap();
        FlowPlan::tcp_syn(ip("10.0.1.3"), 25).send(gateway.client()).unwrap();
        for watch in watches {
            watch
                .find(wait::PATIENCE, "60 resets", |line| {
                    let of = |key: &str| number(&line.json["totals"], key);
                    Ok(((of("new"), of("ended")) == (85, 60)).then_some(()))
                })
                .unwrap();
            let expected = [("10.0.1.2", 60), ("10.0.1.3", 0)];
            assert_ended(gateway, &line_after_now(watch), "closed", &expected);
        }
    });
}

/// After a refusal, while the table is full to 95 % or more, the garbage collector throws out entries that nobody answered. No
/// counter of the kernel's shows it: what is missing from the table does.
#[test]
fn ends_by_gc_near_the_limit() {
    const LIMIT: u64 = 2000;
    // So many buckets that most packets are refused.
    const BUCKETS: u64 = 65_536;
    on_every_rung(|gateway, watches| {
        let _buckets = GlobalSetting::buckets(BUCKETS).unwrap();
        let _limit = GlobalSetting::limit(LIMIT).unwrap();
        FlowPlan::udp(ip("10.0.1.2"), 1200).send(gateway.client()).unwrap();
        // It is told of a refusal once, and may have been through most of the table by then (up to 5.14): so they go on.
        let rate_per_s = NonZeroU64::new(100).unwrap();
        let plan = FlowPlan::udp(ip("10.0.1.3"), 50_000).at_rate(rate_per_s);
        let flood = Flood::start(gateway.client(), plan).unwrap();
        for watch in &mut *watches {
            watch
                .find(PATIENCE_WITH_GC, "the garbage collector", |line| {
                    Ok((number(&line.json, "totals.evicted_by_gc") > 0).then_some(()))
                })
                .unwrap();
        }
        let sent = 1200 + i64::try_from(flood.stop().unwrap().flows).unwrap();
        // It may be at work still.
        wait::until_quiet(PATIENCE_WITH_GC, Duration::from_secs(1), "the table", || {
            counters::entries(gateway.gateway())
        })
        .unwrap();
        for watch in watches {
            assert_what_gc_left(gateway, &line_after_now(watch), sent);
        }
    });
}

#[track_caller]
fn assert_what_gc_left(gateway: &Gateway, line: &Value, sent: i64) {
    let of_kernel = |key: &str| number(&line["kernel"], key);
    let (refused, early_drop) = (of_kernel("drop"), of_kernel("early_drop"));
    let missing = sent - refused - early_drop - number(line, "table.entries");
    println!("{refused} refused, {early_drop} evicted, {missing} gone without a trace");
    assert!(refused > 0 && missing > 0, "{line}");
    assert_eq!(number(line, "totals.evicted_by_gc"), missing, "{line}");
    for source in ["10.0.1.2", "10.0.1.3"] {
        let of = |key: &str| of_source(line, source, None, key);
        assert_eq!(of("ended"), of("evicted") + of("evicted_by_gc"), "{source} in {line}");
    }
    assert_consistent(gateway, line);
}

fn in_gateway(gateway: &Gateway, command: &[&str]) {
    let status = std::process::Command::new("ip")
        .args(["netns", "exec", gateway.gateway().name()])
        .args(command)
        .status()
        .unwrap();
    assert!(status.success(), "{command:?}");
}
