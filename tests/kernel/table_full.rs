//! A full table: each refusal is charged to whom it happened to, and every event of it is accounted for.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::Duration;

use ctwatch_lab::counters::{GlobalSetting, conntrack_statistics, statistics};
use ctwatch_lab::kernel_log::KernelLog;
use ctwatch_lab::{Ctwatch, FlowPlan, Gateway, address, wait};
use serde_json::Value;

use crate::observed::{
    assert_consistent, assert_lossless, gateway, ip, line_after_now, line_with, number, of_source,
    rungs, start_in, stop, watch_on,
};

/// How many entries fit.
const LIMIT: u64 = 300;

/// Many more buckets than entries: the kernel seeks somebody to evict in eight of them only, so it refuses most.
const BUCKETS: u64 = 16_384;

#[test]
fn table_full_refusals_are_charged_to_their_sources() {
    for rung in rungs() {
        let Some(gateway) = gateway() else { return };
        refusals_are_charged(&rung, &gateway);
    }
}

fn refusals_are_charged(rung: &str, gateway: &Gateway) {
    let _buckets = GlobalSetting::buckets(BUCKETS).unwrap();
    let _limit = GlobalSetting::limit(LIMIT).unwrap();
    let mut log = KernelLog::from_now().unwrap();
    let (mut watch, first) = watch_on(rung, gateway, &["--top", "1000"]);
    assert_eq!(number(&first.json, "table.limit"), i64::try_from(LIMIT).unwrap());
    let events = follow_events(rung, gateway.gateway().name(), "refused", &[]);
    let before = conntrack_statistics(gateway.gateway()).unwrap();
    let before_log = statistics(gateway.gateway()).unwrap();

    // One source after the other, so that the kernel's own counter tells what each of them was refused.
    let plans = [
        FlowPlan::udp(ip("10.0.1.2"), 900),
        FlowPlan::tcp_syn(ip("10.0.1.3"), 400),
        // Slow enough that some refusals are told one by one.
        FlowPlan::icmp_echo(ip("10.0.1.4"), 60).at_rate(NonZeroU64::new(20).unwrap()),
        FlowPlan::udp(ip("fd00:10::5"), 300),
    ];
    let mut refused = BTreeMap::new();
    let mut attempts = 0;
    for plan in &plans {
        let earlier = drops(gateway);
        plan.send(gateway.client()).unwrap();
        attempts += plan.count;
        let later = wait::until_quiet(wait::PATIENCE, Duration::from_millis(200), "drop", || {
            Ok(conntrack_statistics(gateway.gateway())?.get("drop"))
        });
        refused.insert(plan.sources.first().to_string(), later.unwrap() - earlier);
    }
    let after = conntrack_statistics(gateway.gateway()).unwrap().since(&before);
    let drop = after.get("drop");
    assert_eq!(refused.values().sum::<u64>(), drop);
    assert!(refused.values().all(|refused| *refused > 0), "{refused:?}");
    // Nothing else than a full table may have dropped a packet, or the comparison would mean nothing.
    assert_eq!((after.get("insert_failed"), after.get("chaintoolong")), (0, 0), "{after:?}");
    assert_eq!(statistics(gateway.gateway()).unwrap().since(&before_log).get("drop"), drop);

    line_with(&mut watch, "totals.refused", drop);
    let line = line_after_now(&mut watch);
    assert_eq!(number(&line, "totals.refused"), i64::try_from(drop).unwrap(), "{line}");
    assert_eq!(number(&line, "kernel.drop"), i64::try_from(drop).unwrap(), "{line}");
    for plan in &plans {
        let source = plan.sources.first().to_string();
        let (new, was_refused) =
            (of_source(&line, &source, None, "new"), of_source(&line, &source, None, "refused"));
        assert_eq!(u64::try_from(was_refused).unwrap(), refused[&source], "{source} in {line}");
        assert_eq!(u64::try_from(new + was_refused).unwrap(), plan.count, "{source} in {line}");
    }
    assert_eq!(u64::try_from(number(&line, "totals.new")).unwrap() + drop, attempts, "{line}");
    assert_consistent(gateway, &line);
    assert_lossless(&line);
    assert!(log.table_full_lines().unwrap() > 0, "the kernel log does not say \"table full\"");

    let lost_in_ring = u64::try_from(number(&line, "loss.ring_full")).unwrap();
    assert_events(events, &refused, lost_in_ring);
    stop(watch).unwrap();
}

/// Starts `ctwatch events --json` for some kinds with `further` arguments, and waits until it sees everything.
pub(crate) fn follow_events(rung: &str, netns: &str, kinds: &str, further: &[&str]) -> Ctwatch {
    // It prints nothing until something is refused: the probes it attaches are seen by their effect on the kernel.
    let before = probes();
    let events = start_in(netns, rung, &["events", "--json", "--kind", kinds], further);
    wait::until(wait::PATIENCE, "the probes of `ctwatch events`", || {
        Ok((probes() >= before + 3).then_some(()))
    })
    .unwrap();
    wait::until_quiet(wait::PATIENCE, Duration::from_secs(1), "the number of probes", || {
        Ok(probes())
    })
    .unwrap();
    events
}

/// How many links and programs of BPF there are.
pub(crate) fn probes() -> usize {
    aya::programs::loaded_programs().filter(Result::is_ok).count()
}

fn drops(gateway: &Gateway) -> u64 {
    conntrack_statistics(gateway.gateway()).unwrap().get("drop")
}

/// Σ events + suppressed + lost in the ring = refused, and for each source as well. Each source has an event with its
/// packet; one that only tells what was suppressed since has none.
#[track_caller]
fn assert_events(events: Ctwatch, refused: &BTreeMap<String, u64>, lost_in_ring: u64) {
    let mut told: BTreeMap<String, u64> = BTreeMap::new();
    let mut with_packet: BTreeMap<String, u64> = BTreeMap::new();
    let mut lines = stop(events).unwrap();
    let summary = lines.pop().unwrap().json;
    // Where it takes long there is one every ten seconds, each of all so far.
    let is_summary = |event: &Value| event["kind"] == "summary";
    for event in lines.into_iter().map(|line| line.json).filter(|event| !is_summary(event)) {
        assert_eq!(
            (&event["kind"], &event["reason"]),
            (&"refused".into(), &"table_full".into()),
            "{event}"
        );
        let source = event["source"].as_str().unwrap().to_owned();
        if let Some(destination) = event["destination"].as_str() {
            let expected = address::swallowed(ip(&source)).to_string();
            assert_eq!(destination, expected, "{event}");
            *with_packet.entry(source.clone()).or_default() += 1;
        }
        let suppressed = u64::try_from(number(&event, "suppressed")).unwrap();
        *told.entry(source).or_default() += 1 + suppressed;
    }
    let of = |key: &str| summary["refused"][key].as_u64().unwrap();
    assert_eq!(of("events") + of("suppressed"), told.values().sum::<u64>(), "{summary}");
    assert_eq!((of("lost"), &summary["evicted"]), (lost_in_ring, &Value::Null), "{summary}");
    println!("{with_packet:?} events with their packet tell of {told:?}");
    assert_eq!(told.values().sum::<u64>() + lost_in_ring, refused.values().sum::<u64>());
    assert_eq!(&told, refused);
    assert!(with_packet.keys().eq(refused.keys()), "{with_packet:?}");
    // The slow source is below the limit of events a second, so it is told of more than once.
    assert!(with_packet["10.0.1.4"] > 1, "{with_packet:?}");
}
