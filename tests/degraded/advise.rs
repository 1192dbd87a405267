//! Advice where no hook is on conntrack: the keys that programs rely on, the status, the text, and that nothing is made up of
//! what cannot be seen.

use std::net::Ipv4Addr;
use std::process::{Command, Output};

use ctwatch_lab::service::TcpListener;
use ctwatch_lab::{FlowPlan, Gateway, counters, skip};
use serde_json::Value;

use crate::observed::{at, ctwatch, degraded, gateway, ip, wait_for_entries, without_hooks};

pub(crate) const VICTIM: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
/// More takes too long to make.
const FLOWS_MAX: u64 = 60_000;

#[test]
fn a_flood_has_advice_and_status_three() {
    let Some(gateway) = flooded() else { return };
    let output = advise(&gateway, &["--json", "--check"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["cause"], "spoofed_flood", "{line}");
    assert_keys(&line);
    let ids: Vec<&str> =
        items(&line, "advice").map(|advice| advice["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&"protect-198.51.100.7-53"), "{ids:?}");
    assert!(ids.iter().all(|id| said.contains(id)), "{ids:?} are not all in {said}");
    let blocked = items(&line, "refused_advice").find(|refused| refused["rule"] == "block_source");
    assert!(
        blocked.is_some_and(|refused| refused["why"].as_str().unwrap().contains("made up")),
        "{line}"
    );

    // What the mode does not see is no evidence, and neither is a 0 in its place.
    let seen = watched(&gateway);
    for (key, evidence) in [("totals.refused", "refused"), ("totals.new", "new")] {
        let is_there = items(&line, "advice")
            .map(|advice| &advice["evidence"])
            .chain([&line["evidence"]])
            .any(|data| !data[evidence].is_null());
        assert!(!is_there || at(&seen, key).is_number(), "{evidence} in {line}, {key} in {seen}");
    }
    assert_eq!(line["degraded"].as_array().map(Vec::len), Some(degraded(&seen).len()), "{line}");
    assert!(!degraded(&seen).is_empty(), "{seen}");
}

#[test]
fn the_text_fits_a_small_terminal_and_says_the_cause_first() {
    let Some(gateway) = flooded() else { return };
    let output = advise(&gateway, &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    // The commands are of no use anywhere else.
    let shell = format!("nsenter --net={}", gateway.gateway().path().display());
    assert!(said.contains(&shell), "{said}");
    let text = String::from_utf8(output.stdout).unwrap();
    let cause = text.find("CAUSE: spoofed_flood").unwrap();
    let first = text.find("1. protect-198.51.100.7-53").unwrap();
    let refused = text.find("NOT ADVISED").unwrap();
    assert!(cause < first && first < refused, "{text}");
    let is_command = |line: &str| {
        ["nft", "sysctl", "conntrack", "#"]
            .iter()
            .any(|program| line.get(12..).is_some_and(|rest| rest.starts_with(program)))
    };
    for line in text.lines() {
        assert!(line.chars().count() <= 80 || is_command(line), "{line}");
    }
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn where_nothing_is_wrong_the_status_is_fine() {
    let Some(gateway) = gateway() else { return };
    // Connections that are in use, of which no timeout is unusual.
    let _listener = TcpListener::start(gateway.server(), 8080).unwrap();
    let open = FlowPlan::tcp_handshake(ip("10.0.1.2"), 100).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, 100);
    let output = advise(&gateway, &["--json", "--check"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&line["cause"], items(&line, "advice").count()), (&"none".into(), 0), "{line}");
    drop(open);
}

/// A gateway whose table a flood from made-up addresses has filled to a part.
pub(crate) fn flooded() -> Option<Gateway> {
    let gateway = gateway()?;
    let flood = flood_of_a_part_of_the_table()?;
    gateway.do_not_masquerade(VICTIM).unwrap();
    flood.send(gateway.client()).unwrap();
    wait_for_entries(&gateway, flood.count);
    Some(gateway)
}

/// So many connections that they are worth a word; none, which is said as a skip, where that takes too many.
pub(crate) fn flood_of_a_part_of_the_table() -> Option<FlowPlan> {
    // A tenth of the limit is.
    let flows = counters::limit().unwrap() / 8;
    if flows > FLOWS_MAX {
        skip(
            "the limit of this machine's table is too high to fill a part of it, and only the machine's own namespace can change it",
        );
        return None;
    }
    Some(spoofed_flood(flows))
}

/// From made-up addresses to one victim, which must not be masqueraded.
pub(crate) fn spoofed_flood(flows: u64) -> FlowPlan {
    FlowPlan::udp(ip("10.0.1.2"), flows)
        .to(VICTIM.into(), 53)
        .from_scattered(Ipv4Addr::new(20, 0, 0, 0))
}

fn advise(gateway: &Gateway, further: &[&str]) -> Output {
    let arguments = without_hooks(gateway, &["advise", "--for", "1s"]);
    Command::new(ctwatch()).args(arguments).args(further).output().unwrap()
}

fn watched(gateway: &Gateway) -> Value {
    let arguments = without_hooks(gateway, &["watch", "--json", "--once"]);
    let output = Command::new(ctwatch()).args(arguments).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn items<'a>(line: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    line[key].as_array().unwrap().iter()
}

/// What other programs rely on.
#[track_caller]
fn assert_keys(line: &Value) {
    assert_eq!(line["schema"], 1, "{line}");
    let strings = |object: &Value, keys: &[&str]| {
        for key in keys {
            assert!(object[key].is_string(), "{key} in {object}");
        }
    };
    strings(line, &["ts", "cause", "explanation"]);
    assert!(line["netns"].is_u64() && line["evidence"].is_object(), "{line}");
    for advice in items(line, "advice") {
        strings(advice, &["id", "rule", "severity", "what", "why", "risk", "until"]);
        assert!(advice["evidence"].is_object() && advice["unasked"].is_boolean(), "{advice}");
        for change in items(advice, "changes") {
            strings(change, &["key", "from", "to"]);
        }
        for key in ["entries_freed", "memory_bytes"] {
            let value = advice["expected"].get(key);
            assert!(
                value.is_some_and(|value| value.is_null() || value.is_i64()),
                "{key} in {advice}"
            );
        }
        assert!(items(advice, "commands").all(Value::is_string), "{advice}");
    }
    for refused in items(line, "refused_advice") {
        strings(refused, &["rule", "why"]);
    }
}
