//! What the scenarios share: starting ctwatch on a gateway, and reading its lines by key. It must not judge a number that
//! only one scenario cares for.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use ctwatch_lab::ctwatch::{Line, binary};
use ctwatch_lab::{Ctwatch, Gateway, GatewayPlan, Namespace, counters, init, skip, wait};
use serde_json::Value;

/// The interval of every `watch` here.
pub(crate) const INTERVAL: Duration = Duration::from_millis(250);

/// A BPF object to use instead of the one inside ctwatch, where the lab is to try another.
const BPF_OBJECT: &str = "CTWATCH_BPF_OBJECT";

/// Counters that every source, `others` and `totals` have, and that add up.
const COUNTERS: [&str; 13] = [
    "entries",
    "new",
    "refused",
    "ended",
    "confirmed",
    "transient",
    "evicted",
    "timed_out",
    "evicted_by_gc",
    "deleted",
    "closed",
    "evictions_caused",
    "insert_failed",
];

/// A gateway; `None`, said as a skip, where these scenarios must not run: they change what belongs to the whole machine
/// and read a witness that counts every namespace.
pub(crate) fn gateway() -> Option<Gateway> {
    let reason = if init::inside_lab() {
        skip::why_no_gateway()
    } else {
        Some(
            "kernel scenarios run inside the lab's virtual machine: cargo xtask lab test"
                .to_owned(),
        )
    };
    if let Some(reason) = reason {
        skip(&reason);
        return None;
    }
    Some(Gateway::build(&GatewayPlan::default()).unwrap())
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The binary under test.
pub(crate) fn ctwatch() -> PathBuf {
    binary(env!("CARGO_BIN_EXE_ctwatch"))
}

/// The environment variable that names the one rung to test.
const ATTACH: &str = "CTWATCH_ATTACH";

/// Whether scenarios may take as long as they need (`cargo xtask test --all`).
pub(crate) fn is_long() -> bool {
    std::env::var_os("CTWATCH_LONG").is_some()
}

/// What ctwatch has of the machine's memory now, in kB, the rows that it shares with the kernel included (`VmRSS`,
/// Documentation/filesystems/proc.rst).
pub(crate) fn resident_kb(watch: &Ctwatch) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", watch.id())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The rungs of hooks that this kernel has, the highest first; or the one that the lab is to test.
pub(crate) fn rungs() -> Vec<String> {
    let forced = std::env::var(ATTACH).ok();
    // The lab's kernels have conntrack as a module, and the types of modules only since 5.11.
    let fexit = Path::new("/sys/kernel/btf/nf_conntrack").exists().then_some("fexit");
    forced.map_or_else(
        || fexit.into_iter().chain(["kprobe"]).map(str::to_owned).collect(),
        |rung| vec![rung],
    )
}

/// The highest rung.
pub(crate) fn rung() -> String {
    rungs().swap_remove(0)
}

/// Starts `ctwatch watch --json` on the gateway and waits for its first line: from then on everything is counted.
pub(crate) fn watch(gateway: &Gateway, further: &[&str]) -> (Ctwatch, Line) {
    let mut watch = start(gateway, &["watch", "--json", "--interval", "250ms"], further);
    let first = watch.next(wait::PATIENCE).unwrap();
    (watch, first)
}

/// As [`watch`], on a rung that is named.
pub(crate) fn watch_on(rung: &str, gateway: &Gateway, further: &[&str]) -> (Ctwatch, Line) {
    let command = ["watch", "--json", "--interval", "250ms"];
    let mut watch = start_attached(gateway, rung, &command, further);
    let first = watch.next(wait::PATIENCE).unwrap();
    assert_eq!(first.json["mode"]["alloc"], rung, "{}", first.json);
    (watch, first)
}

/// Starts `ctwatch` with `command`, where and how to look, and `further` arguments.
pub(crate) fn start(gateway: &Gateway, command: &[&str], further: &[&str]) -> Ctwatch {
    start_attached(gateway, &rung(), command, further)
}

/// Starts `ctwatch watch --json` on the gateway as if there were no kprobes.
pub(crate) fn start_degraded(gateway: &Gateway) -> Ctwatch {
    start_attached(
        gateway,
        "netlink",
        &["watch", "--json", "--interval", "250ms"],
        &["--top", "1000"],
    )
}

/// Starts `ctwatch` with `command` and `--attach attach`.
pub(crate) fn start_attached(
    gateway: &Gateway,
    attach: &str,
    command: &[&str],
    further: &[&str],
) -> Ctwatch {
    start_in(gateway.gateway().name(), attach, command, further)
}

/// Starts `ctwatch` with `command`, `--netns netns` and `--attach attach`.
pub(crate) fn start_in(netns: &str, attach: &str, command: &[&str], further: &[&str]) -> Ctwatch {
    let object = std::env::var(BPF_OBJECT).ok();
    let mut arguments = [command, &["--netns", netns, "--attach", attach], further].concat();
    if let Some(object) = &object {
        arguments.extend(["--bpf-object", object]);
    }
    Ctwatch::start(&ctwatch(), &arguments).unwrap()
}

/// The number under `path`, as in `totals.new`.
#[track_caller]
pub(crate) fn number(json: &Value, path: &str) -> i64 {
    let found = path.split('.').fold(json, |value, key| &value[key]);
    found.as_i64().unwrap_or_else(|| panic!("{path} is {found} in {json}"))
}

/// The sum over the rows of `source`: over all protocols, or over one.
#[track_caller]
pub(crate) fn of_source(json: &Value, source: &str, protocol: Option<&str>, key: &str) -> i64 {
    rows(json)
        .filter(|row| {
            row["source"] == source && protocol.is_none_or(|protocol| row["protocol"] == protocol)
        })
        .map(|row| number(row, key))
        .sum()
}

/// The rows of the listed sources.
pub(crate) fn rows(json: &Value) -> impl Iterator<Item = &Value> {
    json["sources"].as_array().unwrap().iter()
}

/// Why an entry may have ended: each has one reason.
const REASONS: [&str; 6] =
    ["transient", "evicted", "timed_out", "evicted_by_gc", "deleted", "closed"];

/// What holds in every line at rest: the rows add up to the totals, the totals are the witness, nothing is negative, the
/// table holds what the totals say, no drift.
#[track_caller]
pub(crate) fn assert_consistent(gateway: &Gateway, json: &Value) {
    assert_adds_up(gateway, json);
    assert_eq!(number(json, "totals.evicted"), number(json, "kernel.early_drop"), "{json}");
}

/// As [`assert_consistent`], where victims of evictions may still be on their way as packets: these are seen to end a little
/// later, but not why.
#[track_caller]
pub(crate) fn assert_adds_up(gateway: &Gateway, json: &Value) {
    for key in COUNTERS {
        let sum: i64 = rows(json).map(|row| number(row, key)).sum();
        assert_eq!(
            sum + number(&json["others"], key),
            number(&json["totals"], key),
            "{key} in {json}"
        );
        assert!(rows(json).all(|row| number(row, key) >= 0), "{key} in {json}");
    }
    for numbers in rows(json).chain([&json["others"], &json["totals"]]) {
        let ended: i64 = REASONS.iter().map(|reason| number(numbers, reason)).sum();
        assert_eq!(number(numbers, "ended"), ended, "{numbers} in {json}");
        assert_eq!(
            number(numbers, "confirmed"),
            number(numbers, "new") - number(numbers, "transient"),
            "{numbers} in {json}"
        );
    }
    let failed = number(json, "totals.insert_failed");
    assert_eq!(failed, number(json, "kernel.insert_failed"), "{json}");
    for key in ["new", "refused", "ended"] {
        assert_eq!(number(&json["totals"], key), number(&json["witness"], key), "{key} in {json}");
    }
    let count = i64::try_from(counters::entries(gateway.gateway()).unwrap()).unwrap();
    assert_eq!(number(json, "totals.entries"), count, "{json}");
    assert_eq!(number(json, "table.entries"), count, "{json}");
    assert_eq!(number(json, "drift_entries"), 0, "{json}");
    assert_eq!(json["netns"].as_u64(), gateway.gateway().number().ok(), "{json}");
}

/// Nothing was lost, and the hooks stand on the rung that loses nothing.
#[track_caller]
pub(crate) fn assert_lossless(json: &Value) {
    // A skipped tick is none: a slow machine has them, and the next line tells all the same.
    for key in ["ring_full", "map_full", "decode_errors", "requester_unknown"] {
        assert_eq!(number(&json["loss"], key), 0, "{key} in {json}");
    }
    // Older kernels do not tell how many calls a probe missed.
    assert!(matches!(json["loss"]["probe_missed"].as_u64(), None | Some(0)), "{json}");
    let rung = &json["mode"]["alloc"];
    assert!(rungs().iter().any(|known| rung == known), "{json}");
    assert_eq!((&json["mode"]["early_drop"], &json["mode"]["free"]), (rung, rung), "{json}");
    assert_eq!(json["mode"]["degraded"].as_array().map(Vec::len), Some(0), "{json}");
}

/// Waits for the line in which `path` has reached `expected`. That it has gone further is a failure at once.
#[track_caller]
pub(crate) fn line_with(watch: &mut Ctwatch, path: &str, expected: u64) -> Value {
    let expected = i64::try_from(expected).unwrap();
    let what = format!("{path} = {expected}");
    watch
        .find(wait::PATIENCE, &what, |line| {
            Ok((number(&line.json, path) == expected).then(|| line.json.clone()))
        })
        .unwrap()
}

/// A line that was measured wholly after this call.
#[track_caller]
pub(crate) fn line_after_now(watch: &mut Ctwatch) -> Value {
    watch.forget().unwrap();
    // The first that comes may have been under way already.
    watch.next(wait::PATIENCE).unwrap();
    watch.next(wait::PATIENCE).unwrap().json
}

/// Runs one command of nft in a namespace.
#[track_caller]
pub(crate) fn nft(namespace: &Namespace, command: &str) {
    let status = Command::new("ip")
        .args(["netns", "exec", namespace.name(), "nft", command])
        .status()
        .unwrap();
    assert!(status.success(), "nft {command}");
}

/// Stops ctwatch as Ctrl-C does: it ends well. It may have said that nothing was tracked yet, and nothing else.
#[track_caller]
pub(crate) fn stop(watch: Ctwatch) -> Result<Vec<Line>> {
    let ended = watch.stop()?;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let unexpected = ended.stderr.lines().find(|line| {
        ["nothing is tracked", "--attach netlink was given", "looking for", "events so far"]
            .iter()
            .all(|expected| !line.contains(expected))
    });
    assert_eq!(unexpected, None);
    Ok(ended.lines)
}
