//! What the agent serves with all hooks: the kernel's own numbers, and every metric that the dashboard and the alerts ask for.

use std::net::Ipv4Addr;
use std::num::NonZeroU64;
use std::time::Duration;

use ctwatch_lab::counters::{GlobalSetting, conntrack_statistics};
use ctwatch_lab::{Flood, FlowPlan, counters, wait};

use crate::observed::{ctwatch, gateway, ip, number, rung};
use crate::served::{Agent, metric_names, sample};

/// How many entries fit.
const LIMIT: u64 = 6000;
/// Many more buckets than entries: the kernel refuses most.
const BUCKETS: u64 = 65_536;
/// A flood from made-up addresses has a thousand at least; many of them are thrown out for the other flood.
const SPOOFED: u64 = 4000;
const VICTIM: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

/// What some kernels do not tell, by where it stands in a snapshot.
const UNKNOWN_TO_SOME: [(&str, &str); 3] = [
    ("ctwatch_kernel_chaintoolong_total", "/kernel/chaintoolong"),
    ("ctwatch_loss_probe_missed_total", "/loss/probe_missed"),
    ("ctwatch_evicted_by_gc_total", "/totals/evicted_by_gc"),
];

#[test]
fn metrics_have_all_that_dashboard_and_alerts_ask_for_and_are_the_kernels_numbers() {
    let Some(gateway) = gateway() else { return };
    let _buckets = GlobalSetting::buckets(BUCKETS).unwrap();
    let _limit = GlobalSetting::limit(LIMIT).unwrap();
    gateway.do_not_masquerade(VICTIM).unwrap();
    let name = gateway.gateway().name();
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("recording");
    let recording = recording.to_str().unwrap();
    let arguments = ["--netns", name, "--attach", &rung(), "--interval", "500ms", "--census", "1s"];
    let record = ["--top", "20", "--record", recording];
    let mut agent = Agent::start(&ctwatch(), gateway.server(), &[&arguments[..], &record].concat());
    agent.snapshot("the first snapshot", |_| true);
    let before = conntrack_statistics(gateway.gateway()).unwrap();
    FlowPlan::tcp_syn(ip("10.0.1.2"), SPOOFED)
        .to(VICTIM.into(), 443)
        .from_scattered(Ipv4Addr::new(20, 0, 0, 0))
        .send(gateway.client())
        .unwrap();
    FlowPlan::udp(ip("fd00:10::5"), 50).send(gateway.client()).unwrap();
    let plan = FlowPlan::udp(ip("10.0.1.66"), 1_000_000).at_rate(NonZeroU64::new(300).unwrap());
    let flood = Flood::start(gateway.client(), plan).unwrap();

    // While it grows there is a time until it is full.
    let mut met = String::new();
    wait::until(wait::PATIENCE, "a table that grows", || {
        met = agent.get("/metrics").1;
        Ok(met.contains("\nctwatch_time_to_full_seconds{").then_some(()))
    })
    .unwrap();
    let refused = agent.snapshot("refusals", |latest| number(latest, "totals.refused") > 100);
    flood.stop().unwrap();
    let drop = wait::until_quiet(wait::PATIENCE, Duration::from_millis(500), "drop", || {
        Ok(conntrack_statistics(gateway.gateway())?.since(&before).get("drop"))
    })
    .unwrap();
    let walked = |latest: &serde_json::Value| {
        latest["floods"].as_array().is_some_and(|floods| !floods.is_empty())
            && latest["census"]["snat_pools"].as_array().is_some_and(|pools| !pools.is_empty())
    };
    let latest = agent.snapshot("all refusals and a walk of the table", |latest| {
        u64::try_from(number(latest, "totals.refused")) == Ok(drop) && walked(latest)
    });
    let page = agent.get("/metrics").1;
    for (series, value) in [
        (format!("ctwatch_refused_total{{netns=\"{name}\"}}"), drop),
        (format!("ctwatch_kernel_drop_total{{netns=\"{name}\"}}"), drop),
        (format!("ctwatch_entries_limit{{netns=\"{name}\"}}"), LIMIT),
        (format!("ctwatch_drift_entries{{netns=\"{name}\"}}"), 0),
        (
            format!(
                "ctwatch_source_entries{{netns=\"{name}\",source=\"fd00:10::5\",protocol=\"udp\"}}"
            ),
            counters::listed(gateway.gateway(), ip("fd00:10::5")).unwrap(),
        ),
    ] {
        assert_eq!(sample(&page, &series), Some(value as f64), "{series} in {page}");
    }
    met.push_str(&page);
    let asked_for = [
        include_str!("../../integration/grafana/ctwatch.json"),
        include_str!("../../integration/prometheus/ctwatch.rules.yml"),
    ];
    let samples: Vec<&str> = met.lines().filter(|line| !line.starts_with('#')).collect();
    let samples = samples.join("\n");
    let there = metric_names(&samples);
    for metric in asked_for.iter().flat_map(|text| metric_names(text)) {
        let place = UNKNOWN_TO_SOME.iter().find(|(some, _)| *some == metric);
        let is_unknown = place.is_some_and(|(_, place)| latest.pointer(place).unwrap().is_null());
        assert_ne!(there.contains(metric), is_unknown, "{metric}");
    }
    assert_eq!(agent.get("/healthz"), (200, "ok\n".to_owned()), "{refused}");
    assert_eq!(agent.end(), Some(0), "{}", agent.said());
}
