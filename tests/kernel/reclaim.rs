//! Rows of sources that hold nothing any more go to sources that come, and no total changes by it.

use ctwatch_lab::{FlowPlan, counters, wait};

use crate::observed::{
    assert_consistent, gateway, ip, line_after_now, line_with, number, of_source, rows, stop, watch,
};

#[test]
fn reclaim_gives_idle_rows_to_new_sources() {
    let Some(gateway) = gateway() else { return };
    let (mut watch, _) = watch(&gateway, &["--max-sources", "8", "--top", "1000"]);
    // More sources than rows: the last ones are counted on prefixes.
    let mut sent = 0;
    for last in 1..=20 {
        let plan = FlowPlan::udp(ip(&format!("10.0.{last}.1")), 10);
        sent += plan.send(gateway.client()).unwrap().flows;
    }
    let full = line_after_now(&mut watch);
    assert_eq!(rows(&full).filter(|row| is_prefix(row)).count(), 12, "{full}");
    counters::flush(gateway.gateway()).unwrap();

    // One flow a try, each from another prefix, as those of one that is counted as such stay on it: as soon as the
    // idle rows are given up a new source gets one of its own.
    let mut newcomer = 100;
    let line = wait::until(wait::PATIENCE, "a row for a new source", || {
        newcomer += 1;
        let source = format!("10.0.{newcomer}.1");
        sent += FlowPlan::udp(ip(&source), 1).send(gateway.client())?.flows;
        let line = line_after_now(&mut watch);
        assert_consistent(&gateway, &line);
        Ok((of_source(&line, &source, None, "new") == 1).then_some(line))
    })
    .unwrap();
    assert_eq!(number(&line, "totals.new"), i64::try_from(sent).unwrap(), "{line}");
    // What the rows had counted is still there, source by source.
    assert_eq!(of_source(&line, "10.0.1.1", None, "new"), 10, "{line}");
    assert_eq!(of_source(&line, "10.0.1.1", None, "ended"), 10, "{line}");

    // It comes again, and is counted under whatever it has now.
    let again = FlowPlan::udp(ip("10.0.1.1"), 7).starting_at(5000);
    sent += again.send(gateway.client()).unwrap().flows;
    line_with(&mut watch, "totals.new", sent);
    assert_consistent(&gateway, &line_after_now(&mut watch));

    counters::flush(gateway.gateway()).unwrap();
    let empty = line_after_now(&mut watch);
    assert_eq!(number(&empty, "totals.ended"), i64::try_from(sent).unwrap(), "{empty}");
    assert!(rows(&empty).all(|row| number(row, "entries") == 0), "{empty}");
    assert_consistent(&gateway, &empty);
    assert_eq!(number(&empty, "witness.difference"), 0, "{empty}");
    stop(watch).unwrap();
}

fn is_prefix(row: &serde_json::Value) -> bool {
    row["source"].as_str().unwrap().contains('/')
}
