//! A real Prometheus scrapes the agent for the length of a flood: what it has is what the kernel and `watch` say, every panel of
//! the dashboard has data, and the alerts fire.
//!
//! Not all metrics can be had without hooks. So it also scrapes an agent that serves a recording of a flood that was seen with all
//! hooks, `tests/data/flood.ctw`: half a minute on the gateway of `cargo xtask lab` with Debian's 6.12, by `ctwatch record
//! --interval 500ms --top 20 --census 1s --duration 30s --attach fexit`, its table full, and beside its clients 1500 sources of a
//! SYN each (`ctwatch-lab flows --sources 1500 --protocol tcp-syn`). The page is made by the code that is tested here; that live
//! numbers on it are the kernel's with hooks too is shown in the lab (tests/kernel/metrics.rs).

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::path::Path;
use std::process::Command;

use ctwatch_lab::{Flood, FlowPlan, Gateway, Unpacked, counters, skip, wait};
use serde_json::Value;

use crate::observed::{at, ctwatch, gateway, ip, row};
use crate::served::{Agent, get, metric_names};

const DASHBOARD: &str = include_str!("../../integration/grafana/ctwatch.json");
const RULES: &str = include_str!("../../integration/prometheus/ctwatch.rules.yml");
const RULES_TEST: &str = include_str!("../../integration/prometheus/ctwatch.rules.test.yml");
const CONFIGURATION: &str = include_str!("../../integration/prometheus/prometheus.yml");

/// Where Prometheus listens, in a namespace that nothing else is in.
const ADDRESS: &str = "127.0.0.1:9090";
/// And the agent that serves the recording.
const HOOKED: &str = "127.0.0.1:9477";

/// What takes hooks to see, and why; natively these have no samples, and come from the recording alone.
const NEEDS_HOOKS: [(&str, &str); 21] = [
    ("ctwatch_drift_entries", "dumps are the kernel's own count, so there is nothing to compare"),
    ("ctwatch_refused_total", "needs a probe on early_drop, or a tracepoint on dropped packets"),
    ("ctwatch_source_refused_total", "as the total"),
    ("ctwatch_evicted_total", "no event tells why an entry ended"),
    ("ctwatch_evicted_by_gc_total", "as evicted"),
    ("ctwatch_timed_out_total", "as evicted"),
    ("ctwatch_deleted_total", "as evicted"),
    ("ctwatch_closed_total", "as evicted"),
    ("ctwatch_transient_total", "what never got into the table is in no dump and no event"),
    ("ctwatch_insert_failed_total", "the kernel counts these, but not whose they are"),
    ("ctwatch_source_evictions_caused_total", "no event tells for whom an entry was thrown out"),
    ("ctwatch_loss_ring_full_total", "there is no ring"),
    ("ctwatch_loss_map_full_total", "there is no map"),
    ("ctwatch_loss_probe_missed_total", "there are no probes"),
    ("ctwatch_loss_requester_unknown_total", "as refusals"),
    ("ctwatch_loss_unreadable_total", "there are no probes"),
    // Where events come too fast for ctnetlink, or have not begun yet.
    ("ctwatch_new_total", "needs ctnetlink's events, which are given up above 5000 a second"),
    ("ctwatch_source_new_total", "as the total"),
    ("ctwatch_ended_total", "as new"),
    // Where the flood is.
    ("ctwatch_flood_entries", "this flood's source is real"),
    ("ctwatch_kernel_chaintoolong_total", "some kernels do not limit chains"),
];

/// Prometheus, started in the namespace of the gateway's server. Dropping it ends it.
struct Prometheus {
    gateway: Gateway,
    _programs: Unpacked,
}

impl Prometheus {
    fn ask(&self, path: &str) -> anyhow::Result<Value> {
        let (status, body) = get(self.gateway.server(), ADDRESS, path)?;
        anyhow::ensure!(status == 200, "{path}: {status} {body}");
        Ok(serde_json::from_str::<Value>(&body)?["data"].take())
    }

    /// The series of a query at this moment: labels and value, or values where it is a range.
    #[track_caller]
    fn query(&self, query: &str) -> Vec<Value> {
        self.series(&format!("/api/v1/query?query={}", escaped(query)))
    }

    /// The series of a query as a panel asks for them: second by second since `start_s`.
    #[track_caller]
    fn query_since(&self, query: &str, start_s: f64) -> Vec<Value> {
        let end_s = self.now_s();
        let query = escaped(query);
        self.series(&format!(
            "/api/v1/query_range?query={query}&start={start_s}&end={end_s}&step=0.5"
        ))
    }

    #[track_caller]
    fn series(&self, path: &str) -> Vec<Value> {
        let data = self.ask(path).unwrap();
        data["result"].as_array().unwrap().clone()
    }

    #[track_caller]
    fn now_s(&self) -> f64 {
        self.ask("/api/v1/query?query=time()").unwrap()["result"][0].as_f64().unwrap()
    }
}

fn escaped(query: &str) -> String {
    query
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn programs() -> Option<(Gateway, Unpacked)> {
    if let Some(reason) = Unpacked::why_not() {
        skip(&reason);
        return None;
    }
    let gateway = gateway()?;
    let unpacked = Unpacked::enter(gateway.server()).unwrap();
    Some((gateway, unpacked))
}

#[test]
fn promtool_finds_no_fault_with_the_rules_and_they_do_what_they_should() {
    let Some((_gateway, programs)) = programs() else { return };
    programs.write("/rules/ctwatch.rules.yml", RULES).unwrap();
    programs.write("/rules/ctwatch.rules.test.yml", RULES_TEST).unwrap();
    let checked =
        programs.run_well("promtool", &["check", "rules", "/rules/ctwatch.rules.yml"], "").unwrap();
    let alerts = RULES.matches("- alert: ").count();
    assert!(checked.contains(&format!("SUCCESS: {alerts} rules found")), "{checked}");
    programs.run_well("promtool", &["test", "rules", "/rules/ctwatch.rules.test.yml"], "").unwrap();
    // A rule that nobody tested may never fire.
    for alert in RULES.split("- alert: ").skip(1).map(|rest| rest.lines().next().unwrap()) {
        assert!(RULES_TEST.contains(&format!("\"{alert}\"")), "{alert}");
    }
}

#[test]
fn what_prometheus_has_is_what_watch_says_for_the_length_of_a_flood() {
    let Some((gateway, mut programs)) = programs() else { return };
    let name = gateway.gateway().name().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("recording");
    let recording = recording.to_str().unwrap();
    let look = ["--netns", &name, "--attach", "netlink", "--interval", "250ms", "--census", "1s"];
    let record = ["--record", recording, "--top", "20", "--floor", "1"];
    let mut live = Agent::start(&ctwatch(), gateway.server(), &[&look[..], &record].concat());
    let targets = format!("\"{}\", \"{HOOKED}\"", live.address);
    let configuration =
        CONFIGURATION.replace("\"127.0.0.1:9476\"", &targets).replace("15s", "500ms");
    assert!(configuration.contains(&targets) && configuration.contains("interval: 500ms"));
    let configuration = format!("global: {{evaluation_interval: 500ms}}\n{configuration}");
    programs.write("/etc/ctwatch/prometheus.yml", &configuration).unwrap();
    programs.write("/etc/ctwatch/ctwatch.rules.yml", RULES).unwrap();
    let arguments = [
        "--config.file=/etc/ctwatch/prometheus.yml",
        "--storage.tsdb.path=/data",
        &format!("--web.listen-address={ADDRESS}"),
    ];
    programs.start("prometheus", &arguments, "/log").unwrap();
    let page = programs.run_well("promtool", &["check", "metrics"], &live.get("/metrics").1);
    assert_eq!(page.unwrap(), "", "promtool has nothing to say of the page");

    let prometheus = Prometheus { gateway, _programs: programs };
    let gateway = &prometheus.gateway;
    // It takes up targets up to five seconds after its start (`updatert`, discovery/manager.go).
    wait::until(wait::PATIENCE, "Prometheus and its first round", || {
        let targets = prometheus.ask("/api/v1/query?query=up");
        let is_known = |data: &Value| data["result"].as_array().is_some_and(|up| up.len() == 2);
        Ok(targets.is_ok_and(|data| is_known(&data)).then_some(()))
    })
    .unwrap();
    live.snapshot("the first snapshot", |_| true);
    let start_s = prometheus.now_s();
    let flood = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/flood.ctw");
    let from = ["--from", flood.to_str().unwrap(), "--speed", "4x", "--listen", HOOKED];
    let _hooked = Agent::start(&ctwatch(), gateway.server(), &from);
    let rate = NonZeroU64::new(400).unwrap();
    let plan = FlowPlan::udp(ip("10.0.1.66"), 2000).at_rate(rate);
    FlowPlan::tcp_syn(ip("10.0.1.2"), 30).send(gateway.client()).unwrap();
    Flood::start(gateway.client(), plan).unwrap().finish().unwrap();
    let entries = counters::entries(gateway.gateway()).unwrap();
    assert_eq!(entries, 2030);

    // Nothing moves any more: all three have the same numbers, and the kernel.
    let latest = live.snapshot("all entries", |latest| {
        [at(latest, "table.entries"), at(latest, "totals.entries"), at(latest, "census.entries")]
            .iter()
            .all(|number| **number == entries)
    });
    let of_live = format!("instance=\"{}\"", live.address);
    wait::until(wait::PATIENCE, "the same numbers in Prometheus", || {
        // Rounds that were answered before may still be what is known of some.
        let page = live.get("/metrics").1;
        let known = prometheus.query(&format!("{{__name__=~\"ctwatch_.+\", {of_live}}}"));
        Ok(differences(&page, &known).is_empty().then_some(()))
    })
    .unwrap_or_else(|error| {
        let known = prometheus.query(&format!("{{__name__=~\"ctwatch_.+\", {of_live}}}"));
        panic!("{error}: {:?}", differences(&live.get("/metrics").1, &known))
    });
    let output = Command::new(ctwatch())
        .args(["watch", "--json", "--once", "--netns", &name, "--attach", "netlink"])
        .output()
        .unwrap();
    let watched: Value = serde_json::from_slice(&output.stdout).unwrap();
    let held = |source, protocol| row(&watched, source, protocol).unwrap()["entries"].clone();
    for (query, number) in [
        (format!("ctwatch_entries{{{of_live}}}"), at(&watched, "table.entries").clone()),
        (format!("ctwatch_entries_limit{{{of_live}}}"), at(&watched, "table.limit").clone()),
        (
            format!("ctwatch_source_entries{{{of_live}, source=\"10.0.1.66\"}}"),
            held("10.0.1.66", "udp"),
        ),
        (
            format!("ctwatch_source_entries{{{of_live}, source=\"10.0.1.2\"}}"),
            held("10.0.1.2", "tcp"),
        ),
        (
            format!(
                "sum(ctwatch_source_entries{{{of_live}}} or ctwatch_others_entries{{{of_live}}})"
            ),
            at(&latest, "totals.entries").clone(),
        ),
    ] {
        let known = prometheus.query(&query);
        assert_eq!(known[0]["value"][1], number.to_string(), "{query}: {known:?}");
    }

    every_panel_has_data(&prometheus, start_s, &live);
    alerts_fire(&prometheus, start_s);
    assert_eq!(live.end(), Some(0), "{}", live.said());
    every_scrape_is_a_line_of_watch(&prometheus, recording, &of_live);
}

/// The samples of a page that Prometheus knows otherwise or not at all, and those that it knows and the page has not. What moves
/// though nothing happens is left out.
fn differences(page: &str, known: &[Value]) -> Vec<String> {
    let moves = [
        "ctwatch_snapshot_timestamp_seconds",
        "ctwatch_census_age_seconds",
        "ctwatch_recording_",
        "ctwatch_source_entry_seconds",
        "ctwatch_entry_seconds",
        "ctwatch_others_entry_seconds",
    ];
    let stays = |series: &String| !moves.iter().any(|moving| series.starts_with(moving));
    let of_page = page.lines().filter(|line| line.starts_with("ctwatch_")).map(|line| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let mut labels: Vec<&str> = labels.trim_end_matches('}').split(',').collect();
        labels.retain(|label| !label.is_empty() && !label.ends_with("=\"\""));
        labels.sort_unstable();
        format!("{name}{{{}}} {}", labels.join(","), value.parse::<f64>().unwrap())
    });
    let of_page: BTreeSet<String> = of_page.filter(stays).collect();
    let of_known = known.iter().map(|series| {
        let labels = series["metric"].as_object().unwrap();
        let mut pairs: Vec<String> = labels
            .iter()
            .filter(|(name, _)| !["__name__", "instance", "job"].contains(&name.as_str()))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.sort_unstable();
        let value: f64 = series["value"][1].as_str().unwrap().parse().unwrap();
        format!("{}{{{}}} {value}", labels["__name__"].as_str().unwrap(), pairs.join(","))
    });
    let of_known: BTreeSet<String> = of_known.filter(stays).collect();
    of_page.symmetric_difference(&of_known).cloned().collect()
}

/// Panels as a person sees them: with all gateways and namespaces, over the time of this test.
fn every_panel_has_data(prometheus: &Prometheus, start_s: f64, live: &Agent) {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries: Vec<(&str, String)> = panels
        .iter()
        .flat_map(|panel| {
            let targets = panel["targets"].as_array().into_iter().flatten();
            targets.map(|target| {
                let query = target["expr"].as_str().unwrap();
                let query = query.replace("$__rate_interval", "2s").replace("$__range", "1m");
                (panel["title"].as_str().unwrap(), query)
            })
        })
        .collect();
    assert!(queries.len() > 40, "{} queries", queries.len());
    let data = |query: &str, instance: &str| {
        let query = query.replace("$instance", instance).replace("$netns", ".+");
        assert!(!query.contains('$'), "{query}");
        prometheus.query_since(&query, start_s)
    };
    for (panel, query) in &queries {
        wait::until(wait::PATIENCE, &format!("data for {panel}: {query}"), || {
            let gateways = format!("{}|{HOOKED}", live.address);
            Ok((!data(query, &gateways).is_empty()).then_some(()))
        })
        .unwrap_or_else(|error| {
            panic!(
                "{error}; scrapes: {:?}",
                prometheus.query_since(&format!("up{{instance=\"{HOOKED}\"}}"), start_s)
            )
        });
        if data(query, &live.address).is_empty() {
            let why = NEEDS_HOOKS.iter().find(|(metric, _)| metric_names(query).contains(metric));
            assert!(why.is_some(), "nothing without hooks for {panel}: {query}");
        }
    }
}

/// The flood that was recorded refuses packets and fills the table; each alert's query has what it looks at.
fn alerts_fire(prometheus: &Prometheus, start_s: f64) {
    for (alert, state) in [
        ("ConntrackRefusing", "firing"),
        ("ConntrackTableNearlyFull", "pending"),
        ("ConntrackTableFilling", "pending"),
    ] {
        let query = format!(
            "ALERTS{{alertname=\"{alert}\", alertstate=\"{state}\", instance=\"{HOOKED}\"}}"
        );
        wait::until(wait::PATIENCE, &query, || {
            Ok((!prometheus.query_since(&query, start_s).is_empty()).then_some(()))
        })
        .unwrap();
    }
    let groups = prometheus.ask("/api/v1/rules").unwrap();
    let rules = groups["groups"][0]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), RULES.matches("- alert: ").count());
    for rule in rules {
        assert_eq!((&rule["health"], rule["lastError"].as_str()), (&"ok".into(), None), "{rule}");
        for metric in metric_names(rule["query"].as_str().unwrap()) {
            assert!(!prometheus.query_since(metric, start_s).is_empty(), "{metric} in {rule}");
        }
    }
}

/// Each round of scraping has the numbers of one line that `watch --json` would have printed: of the one whose time it has.
fn every_scrape_is_a_line_of_watch(prometheus: &Prometheus, recording: &str, of_live: &str) {
    let output = Command::new(ctwatch()).args(["replay", recording, "--json"]).output().unwrap();
    let lines: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let rounds = |metric: &str| -> Vec<(f64, f64)> {
        let series = prometheus.query(&format!("{metric}{{{of_live}}}[5m]"));
        let values = series[0]["values"].as_array().unwrap().iter();
        values
            .map(|pair| (pair[0].as_f64().unwrap(), pair[1].as_str().unwrap().parse().unwrap()))
            .collect()
    };
    let taken = rounds("ctwatch_snapshot_timestamp_seconds");
    let entries = rounds("ctwatch_entries");
    assert_eq!(taken.len(), entries.len());
    let mut moving = BTreeSet::new();
    for ((scraped, taken_s), (also_scraped, entries)) in taken.into_iter().zip(entries) {
        assert_eq!(scraped, also_scraped);
        let line = lines.iter().find(|line| {
            let time: jiff::Timestamp = line["ts"].as_str().unwrap().parse().unwrap();
            (time.as_nanosecond() as f64 / 1e9 - taken_s).abs() < 0.001
        });
        let line = line.unwrap_or_else(|| panic!("no line of {taken_s}"));
        assert_eq!(at(line, "table.entries").as_f64(), Some(entries), "{line}");
        moving.insert(entries as u64);
    }
    assert!(moving.len() >= 5, "the flood was seen while it went on: {moving:?}");
}
