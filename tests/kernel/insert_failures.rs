//! Entries that cannot be inserted: looked at only once the kernel has counted one, then by source; in sum always what the
//! kernel says.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use ctwatch_lab::counters::{GlobalSetting, conntrack_statistics};
use ctwatch_lab::{Ctwatch, FlowPlan, Gateway, wait};
use serde_json::Value;

use crate::observed::{
    assert_consistent, gateway, ip, line_after_now, number, of_source, rungs, stop, watch_on,
};

/// Sends `unseen`, which fails before anybody looks, then `seen`: the failures of each are those that the kernel counts
/// meanwhile. Returns the last line.
fn fail(gateway: &Gateway, watch: &mut Ctwatch, unseen: &FlowPlan, seen: &FlowPlan) -> Value {
    let failed = || {
        let read = || Ok(conntrack_statistics(gateway.gateway())?.get("insert_failed"));
        wait::until_quiet(wait::PATIENCE, Duration::from_millis(200), "insert_failed", read)
            .unwrap()
    };
    let at_first = failed();
    let line = line_after_now(watch);
    assert_eq!(
        (&line["mode"]["confirm"], &line["totals"]["insert_failed"]),
        (&"none".into(), &0.into())
    );
    assert_eq!(line["mode"]["confirm_since"], Value::Null, "{line}");
    unseen.send(gateway.client()).unwrap();
    watch
        .find(wait::PATIENCE, "the hook on insertions", |line| {
            Ok((line.json["mode"]["confirm"] == "kprobe").then_some(()))
        })
        .unwrap();
    let before = failed();
    seen.send(gateway.client()).unwrap();
    let after = failed();
    let line = line_after_now(watch);
    assert!(line["mode"]["confirm_since"].is_string(), "{line}");
    let of_seen = of_source(&line, &seen.sources.first().to_string(), None, "insert_failed");
    println!("{} failed before the hook was there, then {}", before - at_first, after - before);
    assert!(before > at_first && after > before, "{line}");
    assert_eq!(u64::try_from(of_seen).unwrap(), after - before, "{line}");
    assert_eq!(u64::try_from(number(&line, "totals.insert_failed")).unwrap(), after - at_first);
    assert_consistent(gateway, &line);
    line
}

/// Two connections to one destination cannot leave by the same port: the second wall of a NAT gateway.
#[test]
fn insert_failures_where_nat_has_no_port_left() {
    for rung in rungs() {
        let Some(gateway) = gateway() else { return };
        masquerade_to_ten_ports(&gateway);
        let (mut watch, _) = watch_on(&rung, &gateway, &["--top", "1000"]);
        let unseen = FlowPlan::tcp_syn(ip("10.0.1.2"), 60);
        let seen = FlowPlan::tcp_syn(ip("10.0.1.3"), 40);
        let line = fail(&gateway, &mut watch, &unseen, &seen);
        let of = |source: &str, key: &str| of_source(&line, source, None, key);
        assert_eq!((of("10.0.1.2", "confirmed"), of("10.0.1.2", "transient")), (10, 50), "{line}");
        assert_eq!(
            (of("10.0.1.3", "insert_failed"), of("10.0.1.3", "transient")),
            (40, 40),
            "{line}"
        );
        assert_eq!(
            number(&line, "others.insert_failed") + of("10.0.1.2", "insert_failed"),
            50,
            "{line}"
        );
        // A clash is no long chain; kernels without a limit on chains have no such number.
        assert!(matches!(line["totals"]["chain_too_long"].as_u64(), None | Some(0)), "{line}");
        stop(watch).unwrap();
    }
}

/// A hash far too small: the kernel inserts nothing where a chain is too long (since 5.15).
#[test]
fn insert_failures_where_a_chain_is_too_long() {
    for rung in rungs() {
        let Some(gateway) = gateway() else { return };
        let _limit = GlobalSetting::limit(100_000).unwrap();
        let _buckets = GlobalSetting::buckets(512).unwrap();
        let (mut watch, first) = watch_on(&rung, &gateway, &["--top", "1000"]);
        if first.json["kernel"]["chaintoolong"].is_null() {
            assert_eq!(first.json["totals"]["chain_too_long"], Value::Null, "{}", first.json);
            println!("this kernel has no limit on chains");
            stop(watch).unwrap();
            continue;
        }
        let unseen = FlowPlan::udp(ip("10.0.1.2"), 24_000);
        let seen = FlowPlan::udp(ip("10.0.1.3"), 2000);
        let line = fail(&gateway, &mut watch, &unseen, &seen);
        // Two of the ports that NAT chose may have met as well.
        let of = |key: &str| of_source(&line, "10.0.1.3", None, key);
        assert_eq!(of("insert_failed"), of("transient"), "{line}");
        assert!((1..=of("insert_failed")).contains(&of("chain_too_long")), "{line}");
        let told = (number(&line, "totals.chain_too_long"), number(&line, "kernel.chaintoolong"));
        assert_eq!(told.0, told.1, "{line}");
        stop(watch).unwrap();
    }
}

pub(crate) fn masquerade_to_ten_ports(gateway: &Gateway) {
    let rules = "flush chain inet lab postrouting\n\
         add rule inet lab postrouting oifname \"server\" meta l4proto tcp masquerade to :1024-1033\n";
    let mut nft = Command::new("ip")
        .args(["netns", "exec", gateway.gateway().name(), "nft", "-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success(), "{rules}");
}
