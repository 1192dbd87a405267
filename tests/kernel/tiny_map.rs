//! A map far too small for the sources: their prefixes take over, and the totals stay exact.

use std::num::NonZeroU64;

use ctwatch_lab::{FlowPlan, counters};

use crate::observed::{
    assert_consistent, gateway, ip, line_after_now, line_with, number, rows, stop, watch,
};

#[test]
fn tiny_map_counts_on_prefixes() {
    let Some(gateway) = gateway() else { return };
    let (mut watch, _first) = watch(&gateway, &["--top", "1000", "--max-sources", "8"]);
    let many = |count| NonZeroU64::new(count).unwrap();
    let plans = [
        FlowPlan::udp(ip("10.0.1.1"), 400).from_sources(many(200)),
        FlowPlan::tcp_syn(ip("10.0.2.1"), 300).from_sources(many(100)),
        FlowPlan::udp(ip("fd00:10:0:1::1"), 200).from_sources(many(50)),
        // A source that got its row first, and one that never will.
        FlowPlan::udp(ip("10.0.1.1"), 10).starting_at(5000),
        FlowPlan::icmp_echo(ip("10.0.9.9"), 90),
    ];
    for plan in &plans {
        plan.send(gateway.client()).unwrap();
    }
    line_with(&mut watch, "totals.new", 1000);
    let full = line_after_now(&mut watch);
    assert_eq!(number(&full, "totals.new"), 1000, "{full}");
    assert_eq!(number(&full, "totals.entries"), 1000, "{full}");
    let prefixes: Vec<&str> = rows(&full)
        .filter_map(|row| row["source"].as_str())
        .filter(|source| source.contains('/'))
        .collect();
    assert!(!prefixes.is_empty(), "no prefix took over: {full}");
    assert!(
        prefixes.iter().all(|prefix| prefix.ends_with("/24") || prefix.ends_with("/64")),
        "{full}"
    );
    assert!(number(&full, "loss.map_full") > 0, "{full}");
    assert_consistent(&gateway, &full);

    // Ends are charged where the starts were: everything comes to nothing, and nothing below it.
    counters::flush_source(gateway.gateway(), ip("10.0.9.9")).unwrap();
    assert_consistent(&gateway, &line_after_now(&mut watch));
    counters::flush(gateway.gateway()).unwrap();
    let empty = line_after_now(&mut watch);
    assert_eq!(number(&empty, "totals.ended"), 1000, "{empty}");
    for row in rows(&empty) {
        assert_eq!(number(row, "entries"), 0, "{empty}");
        assert_eq!(number(row, "new"), number(row, "ended"), "{empty}");
    }
    assert_consistent(&gateway, &empty);
    stop(watch).unwrap();
}
