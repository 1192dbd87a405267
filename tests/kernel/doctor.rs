//! What a doctor tells of a real gateway: the kernel's log to the last line, the modules in an order in which they really can be
//! removed, expectations; and that looking loads nothing.

use std::num::NonZeroU64;

use ctwatch_lab::counters::{GlobalSetting, conntrack_statistics, entries, statistics};
use ctwatch_lab::kernel_log::KernelLog;
use ctwatch_lab::modules::{ConntrackUnused, is_conntrack_loaded};
use ctwatch_lab::{FlowPlan, Gateway, GatewayPlan, address, wait};
use serde_json::Value;

use crate::observed::{ctwatch, gateway, ip, rung, start_attached};

const LIMIT: u64 = 300;
/// Many more buckets than entries, so that most packets are refused at a full table.
const BUCKETS: u64 = 16_384;

#[test]
fn doctor_tells_the_kernel_s_log_to_the_last_line() {
    let Some(gateway) = gateway() else { return };
    let _buckets = GlobalSetting::buckets(BUCKETS).unwrap();
    let _limit = GlobalSetting::limit(LIMIT).unwrap();
    let before = LogLines::of(&examine(&gateway));
    let mut log = KernelLog::from_now().unwrap();
    let mut seen = LogLines::default();
    let mut flows = 0;
    // What was suppressed is logged with the first line of the next five seconds.
    wait::until(wait::PATIENCE, "lines that were suppressed", || {
        FlowPlan::udp(ip("10.0.1.2"), 200).starting_at(flows).send(gateway.client())?;
        flows += 200;
        for line in log.lines()? {
            seen.full += u64::from(line.contains("table full") && line.contains("dropping packet"));
            let suppressed = line.strip_prefix("net_ratelimit: ");
            let suppressed = suppressed.and_then(|line| line.strip_suffix(" callbacks suppressed"));
            seen.suppressed += suppressed.map_or(Ok(0), str::parse::<u64>)?;
        }
        Ok((seen.suppressed > 0 && seen.full > 1).then_some(()))
    })
    .unwrap();
    let report = examine(&gateway);
    // The lines of the last flows may have come after the lab's own look.
    for line in log.lines().unwrap() {
        assert!(!line.contains("callbacks suppressed"), "{line}");
        seen.full += u64::from(line.contains("table full"));
    }
    let after = LogLines::of(&report);
    assert_eq!(after.full - before.full, seen.full, "{report}");
    assert_eq!(after.suppressed - before.suppressed, seen.suppressed, "{report}");
    let ago = evidence(&report, "kernel_log", "last_full_s_ago").as_u64().unwrap();
    assert!(ago <= wait::PATIENCE.as_secs(), "{report}");

    let table = sign(&report, "tables", "this namespace");
    // The garbage collector may throw some out of a table that is full.
    let entries = table["evidence"]["entries"]["value"].as_u64().unwrap();
    assert!((LIMIT * 9 / 10..=LIMIT).contains(&entries), "{report}");
    let severity = if entries == LIMIT { "critical" } else { "warning" };
    assert_eq!(table["severity"], severity, "{report}");
    let drop = conntrack_statistics(gateway.gateway()).unwrap().get("drop");
    let told = evidence(&report, "statistics", "drop");
    assert!(drop > 0 && *told == drop, "{drop} in {report}");
    // None of them was answered, so all could be evicted.
    let refused = evidence(&report, "eviction", "refused_at_full").as_f64().unwrap();
    let least = (-16.0 * LIMIT as f64 / BUCKETS as f64).exp() - 0.001;
    let most = (-16.0 * 0.9 * LIMIT as f64 / BUCKETS as f64).exp() + 0.001;
    assert!((least..most).contains(&refused), "{report}");
    let load = evidence(&report, "chains", "load").as_f64().unwrap();
    assert!((load - 2.0 * entries as f64 / BUCKETS as f64).abs() < 0.001, "{report}");
}

#[test]
fn doctor_tells_the_order_in_which_modules_can_be_removed() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.2"), 3).send(gateway.client()).unwrap();
    let before = std::fs::read_to_string("/proc/modules").unwrap();
    let report = examine(&gateway);
    assert_eq!(loaded(&before), loaded(&std::fs::read_to_string("/proc/modules").unwrap()));
    let needs = sign(&report, "need", "nft table inet lab translates");
    let sentence = needs["sentence"].as_str().unwrap();
    assert!(sentence.contains("masquerade (1 rule)") && sentence.contains("ct state (1 rule)"));
    let order = evidence(&report, "modules", "removal_order").as_str().unwrap();
    let order: Vec<&str> = order.split(' ').collect();
    assert_eq!(order.last(), Some(&"nf_conntrack"), "{order:?}");
    for needed in ["nft_masq", "nf_nat", "nft_ct"] {
        assert!(order.contains(&needed), "{needed} in {order:?}");
    }
    // Held by the rules above.
    let held = sign(&report, "modules", "held by rules")["sentence"].as_str().unwrap();
    assert!(held.contains("nft_masq") || held.contains("nft_nat"), "{held}");
    assert!(!held.contains("nf_conntrack ("), "its own hooks are not told as a user: {held}");

    gateway.stop_translating().unwrap();
    let unused = ConntrackUnused::in_order(&order).unwrap();
    assert!(!is_conntrack_loaded());
    let report = examine(&gateway);
    assert!(!is_conntrack_loaded(), "looking has loaded conntrack: {report}");
    assert!(report["cause"].is_null() && report["looked_s"].is_null(), "{report}");
    sign(&report, "verdict", "nothing is tracked on this machine");
    sign(&report, "modules", "nf_conntrack is not loaded, and nothing was loaded to look");
    drop(unused);
    assert!(is_conntrack_loaded());
    gateway.translate(GatewayPlan::default().timeout_s).unwrap();
}

#[test]
fn doctor_counts_expectations() {
    let Some(gateway) = gateway() else { return };
    const SOURCES: u64 = 7;
    // A rule that expects a connection for each new one to a port, as a helper does.
    gateway
        .add_rules(
            "table ip expecting {
               ct expectation call {
                 protocol udp
                 dport 9876
                 timeout 10m
                 size 4
                 l3proto ip
               }
               chain forward {
                 type filter hook forward priority 1
                 ip daddr 198.51.100.0/24 udp dport 5060 ct expectation set \"call\"
               }
             }",
        )
        .unwrap();
    let plan = FlowPlan::udp(ip("10.0.1.2"), SOURCES)
        .from_sources(NonZeroU64::new(SOURCES).unwrap())
        .to(address::swallowed(ip("10.0.1.2")), 5060);
    plan.send(gateway.client()).unwrap();
    wait::until(wait::PATIENCE, "entries", || {
        Ok((entries(gateway.gateway())? == SOURCES).then_some(()))
    })
    .unwrap();
    // The kernel's own account: what was made less what is gone. How many that is, is the kernel's business.
    let counters = statistics(gateway.gateway()).unwrap();
    let held = counters.get("expect_create") - counters.get("expect_delete");
    let report = examine(&gateway);
    assert!(held > 0, "{counters:?}");
    assert_eq!(*evidence(&report, "expectations", "expectations"), held, "{report}");
    let max = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_expect_max").unwrap();
    let told = evidence(&report, "expectations", "expectations_max").as_u64().unwrap();
    assert_eq!(told, max.trim().parse::<u64>().unwrap(), "{report}");
}

/// What a doctor tells of the kernel's log.
#[derive(Debug, Default)]
struct LogLines {
    full: u64,
    suppressed: u64,
}

impl LogLines {
    fn of(report: &Value) -> Self {
        let number = |key: &str| match find_evidence(report, "kernel_log", key) {
            Some(value) => value.as_u64().unwrap(),
            // What stands nowhere in the log is not told.
            None => 0,
        };
        Self { full: number("table_full_lines"), suppressed: number("suppressed_lines") }
    }
}

#[track_caller]
fn examine(gateway: &Gateway) -> Value {
    let doctor = start_attached(gateway, &rung(), &["doctor", "--json", "--for", "1s"], &[]);
    let ended = doctor.ended(wait::PATIENCE).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}: {}", ctwatch().display(), ended.stderr);
    let [line] = ended.lines.as_slice() else { panic!("{:?}", ended.lines) };
    line.json.clone()
}

fn signs<'a>(report: &'a Value, check: &str) -> &'a [Value] {
    let checks = report["checks"].as_array().unwrap();
    let found = checks.iter().find(|found| found["id"] == check);
    found.map_or(&[], |found| found["signs"].as_array().unwrap())
}

/// The sign of a check whose sentence begins so.
#[track_caller]
fn sign<'a>(report: &'a Value, check: &str, begins: &str) -> &'a Value {
    let begins_so = |sign: &&Value| sign["sentence"].as_str().unwrap().starts_with(begins);
    let found = signs(report, check).iter().find(begins_so);
    found.unwrap_or_else(|| panic!("no sign '{begins}' of {check} in {report}"))
}

fn find_evidence<'a>(report: &'a Value, check: &str, key: &str) -> Option<&'a Value> {
    signs(report, check).iter().find_map(|sign| sign["evidence"].get(key)?.get("value"))
}

#[track_caller]
fn evidence<'a>(report: &'a Value, check: &str, key: &str) -> &'a Value {
    find_evidence(report, check, key).unwrap_or_else(|| panic!("no {key} of {check} in {report}"))
}

/// The names of the modules, sorted.
fn loaded(modules: &str) -> Vec<&str> {
    let mut names: Vec<&str> =
        modules.lines().filter_map(|line| line.split_whitespace().next()).collect();
    names.sort_unstable();
    names
}
