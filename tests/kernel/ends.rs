//! Why entries ended: thrown out for somebody's packet, and for whose; or never in the table at all.

use ctwatch_lab::counters::{GlobalSetting, conntrack_statistics};
use ctwatch_lab::{FlowPlan, Gateway};

use crate::observed::{
    assert_consistent, gateway, ip, line_after_now, line_with, nft, number, of_source, rungs, stop,
    watch_on,
};

const LIMIT: u64 = 300;
/// As many as the kernel makes at least, so that it finds somebody to throw out for nearly every packet.
const BUCKETS: u64 = 512;

#[test]
fn ends_by_eviction_are_charged_to_victim_and_requester() {
    for rung in rungs() {
        let Some(gateway) = gateway() else { return };
        evictions_are_charged(&rung, &gateway);
    }
}

fn evictions_are_charged(rung: &str, gateway: &Gateway) {
    let _buckets = GlobalSetting::buckets(BUCKETS).unwrap();
    let _limit = GlobalSetting::limit(LIMIT).unwrap();
    let (mut watch, _) = watch_on(rung, gateway, &["--top", "1000"]);
    let before = conntrack_statistics(gateway.gateway()).unwrap();
    FlowPlan::udp(ip("10.0.1.2"), LIMIT).send(gateway.client()).unwrap();
    FlowPlan::tcp_syn(ip("10.0.1.3"), 100).send(gateway.client()).unwrap();
    line_with(&mut watch, "totals.new", {
        let refused = conntrack_statistics(gateway.gateway()).unwrap().since(&before).get("drop");
        LIMIT + 100 - refused
    });
    let line = line_after_now(&mut watch);
    let kernel = conntrack_statistics(gateway.gateway()).unwrap().since(&before);
    let early_drop = i64::try_from(kernel.get("early_drop")).unwrap();
    let of = |source: &str, key: &str| of_source(&line, source, None, key);
    println!(
        "{early_drop} evictions, of them {} of 10.0.1.2 and {} of 10.0.1.3",
        of("10.0.1.2", "evicted"),
        of("10.0.1.3", "evicted")
    );
    assert!(early_drop > 50, "{line}");
    assert_eq!(number(&line, "totals.evicted"), early_drop, "{line}");
    assert_eq!(number(&line, "totals.evictions_caused"), early_drop, "{line}");
    // The first client only filled what was empty: it made nobody leave.
    assert_eq!(of("10.0.1.2", "evictions_caused"), 0, "{line}");
    assert_eq!(of("10.0.1.3", "evictions_caused"), early_drop, "{line}");
    assert_eq!(of("10.0.1.2", "evicted") + of("10.0.1.3", "evicted"), early_drop, "{line}");
    assert!(of("10.0.1.2", "evicted") > of("10.0.1.3", "evicted"), "{line}");
    assert_consistent(gateway, &line);
    stop(watch).unwrap();
}

#[test]
fn ends_of_packets_dropped_by_a_later_rule_are_transient() {
    for rung in rungs() {
        let Some(gateway) = gateway() else { return };
        dropped_packets_are_transient(&rung, &gateway);
    }
}

fn dropped_packets_are_transient(rung: &str, gateway: &Gateway) {
    drop_when_forwarded(gateway, "10.0.1.6");
    let (mut watch, _) = watch_on(rung, gateway, &[]);
    FlowPlan::udp(ip("10.0.1.6"), 250).send(gateway.client()).unwrap();
    FlowPlan::udp(ip("10.0.1.2"), 40).send(gateway.client()).unwrap();
    line_with(&mut watch, "totals.new", 290);
    let line = line_after_now(&mut watch);
    assert_eq!(of_source(&line, "10.0.1.6", None, "transient"), 250, "{line}");
    assert_eq!(of_source(&line, "10.0.1.6", None, "ended"), 250, "{line}");
    assert_eq!(of_source(&line, "10.0.1.6", None, "entries"), 0, "{line}");
    assert_eq!(of_source(&line, "10.0.1.2", None, "transient"), 0, "{line}");
    assert_consistent(gateway, &line);
    stop(watch).unwrap();
}

/// A rule that drops a client's packets after conntrack has seen them; it goes with the gateway.
fn drop_when_forwarded(gateway: &Gateway, source: &str) {
    let chain = "add chain inet late forward { type filter hook forward priority 0 ; }";
    let rule = format!("add rule inet late forward ip saddr {source} drop");
    for command in ["add table inet late", chain, &rule] {
        nft(gateway.gateway(), command);
    }
}
