//! What a doctor tells where it cannot hook, may not look, or finds nothing; its JSON is what the schema says.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use ctwatch_lab::{FlowPlan, Namespace, counters, skip};
use serde_json::Value;

use crate::nobody::Nobody;
use crate::observed::{ctwatch, gateway, ip, wait_for_entries, without_hooks};

const FLOWS: u64 = 30;

#[test]
fn a_gateway_s_rules_and_settings_are_told() {
    let Some(gateway) = gateway() else { return };
    let set = |key: &str, value: &str| gateway.gateway().set_sysctl(key, value).unwrap();
    set("net/netfilter/nf_conntrack_acct", "1");
    set("net/netfilter/nf_conntrack_udp_timeout_stream", "60");
    gateway.add_rules("add rule inet lab forward ct mark 7 accept\n").unwrap();
    FlowPlan::udp(ip("10.0.1.2"), FLOWS).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, FLOWS);
    let arguments = without_hooks(&gateway, &["doctor", "--json", "--for", "500ms"]);
    let output = Command::new(ctwatch()).args(arguments).output().unwrap();
    let report = report(&output);
    assert!(report["looked_s"].as_f64().is_some_and(|seconds| seconds > 0.0), "{report}");
    assert!(report["cause"].is_string() && report["why_no_look"].is_null(), "{report}");
    assert_eq!(report["netns"].as_u64(), gateway.gateway().number().ok(), "{report}");
    assert_eq!(report["netns_name"], gateway.gateway().name(), "{report}");

    let needs = sentence(&report, "need", "nft table inet lab translates");
    for rule in ["masquerade (1 rule)", "ct state (1 rule)", "ct mark (1 rule)"] {
        assert!(needs.contains(rule), "{needs}");
    }
    assert!(sentence(&report, "switches", "acct = 1").contains("128 B more"));
    let timeout = sentence(&report, "timeouts", "udp_timeout_stream is 60 s");
    assert!(timeout.contains("a NAT, which this is, must not go below 120 s"), "{timeout}");
    assert_eq!(evidence(&report, "tables", "entries"), FLOWS, "{report}");
    let limit = counters::limit().unwrap();
    assert_eq!(evidence(&report, "tables", "limit"), limit, "{report}");
    // Nothing was answered, so all of them could be evicted.
    assert_eq!(evidence(&report, "eviction", "evictable"), FLOWS, "{report}");
    // The slab's 256 and accounting's 128.
    assert_eq!(evidence(&report, "memory", "entry_bytes"), 384, "{report}");
    let place = sentence(&report, "place", "this is not the machine's first network namespace");
    assert!(place.contains("nsenter -t 1 -n"), "{place}");
}

#[test]
fn where_nothing_is_tracked_it_tells_the_rest() {
    if let Some(reason) = skip::why_no_gateway() {
        return skip(&reason);
    }
    let name = format!("{}{}-doctor", ctwatch_lab::gateway::PREFIX, std::process::id());
    let empty = Namespace::create(&name).unwrap();
    let output =
        Command::new(ctwatch()).args(["doctor", "--json", "--netns", &name]).output().unwrap();
    empty.delete().unwrap();
    let report = report(&output);
    assert!(report["cause"].is_null() && report["looked_s"].is_null(), "{report}");
    let why = report["why_no_look"].as_str().unwrap();
    assert!(why.contains("nothing is tracked"), "{why}");
    assert_eq!(evidence(&report, "tables", "entries"), 0, "{report}");
    sentence(&report, "need", "no rule of this namespace needs conntrack");
    sentence(&report, "kernel_log", "");
    assert!(!signs(&report, "memory").is_empty(), "{report}");
}

#[test]
fn without_privilege_it_tells_what_it_can_and_what_it_cannot() {
    if let Some(reason) = skip::why_no_gateway() {
        return skip(&reason);
    }
    let nobody = Nobody::new();
    let report = report(&nobody.run(&["doctor", "--json"]));
    let why = report["why_no_look"].as_str().unwrap();
    assert!(why.contains("CAP_NET_ADMIN"), "{why}");
    let verdict = &signs(&report, "verdict")[0];
    assert!(verdict["severity"].is_null(), "what could not be told is no info: {verdict}");
    assert!(evidence(&report, "tables", "limit") > 0, "{report}");
    let unread: Vec<&Value> = signs(&report, "unread").iter().collect();
    let tells =
        |what: &str| unread.iter().any(|sign| sign["sentence"].as_str().unwrap().contains(what));
    assert!(tells("which rules need connections to be tracked"), "{unread:?}");
    assert!(unread.iter().all(|sign| sign["severity"].is_null()), "{unread:?}");

    let gateway = gateway().unwrap();
    let arguments = ["doctor", "--netns", gateway.gateway().name()];
    let output = nobody.run(&arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(77), "{said}");
    assert!(output.stdout.is_empty() && said.contains("CAP_SYS_ADMIN"), "{said}");
}

#[test]
fn its_text_is_for_eighty_columns() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.2"), FLOWS).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, FLOWS);
    let arguments = without_hooks(&gateway, &["doctor", "--for", "500ms"]);
    let output = Command::new(ctwatch()).args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    for heading in
        ["VERDICT", "TABLES", "HASH CHAINS", "MEMORY", "WHO NEEDS CONNTRACK", "WHAT TO DO"]
    {
        assert!(text.lines().any(|line| line == heading), "{heading} in {text}");
    }
    let too_long = text.lines().find(|line| line.chars().count() > 80);
    // A path or an address may be longer than a line.
    assert!(too_long.is_none_or(|line| !line.trim().contains(' ')), "{too_long:?}");
}

/// The one line, which has the keys that the schema asks for, each of a type that it allows.
#[track_caller]
fn report(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/doctor.schema.json");
    let schema: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert_valid(&schema, &report, "doctor");
    report
}

/// Whether a value is what a schema says, for the words that our schemas are made of.
#[track_caller]
fn assert_valid(schema: &Value, value: &Value, at: &str) {
    if let Some(either) = schema["oneOf"].as_array() {
        let is_null = |schema: &&Value| schema["type"] == "null";
        if value.is_null() && either.iter().any(|schema| is_null(&schema)) {
            return;
        }
        let other = either.iter().find(|schema| !is_null(schema)).unwrap();
        return assert_valid(other, value, at);
    }
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(allowed.contains(value), "{at}: {value} is none of {allowed:?}");
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is_kind = |allowed: &Value| allowed == kind || (allowed == "number" && kind == "integer");
    match &schema["type"] {
        Value::Null => {}
        Value::Array(allowed) => assert!(allowed.iter().any(is_kind), "{at} is {value}"),
        allowed => assert!(is_kind(allowed), "{at} is {value}"),
    }
    for key in schema["required"].as_array().into_iter().flatten() {
        assert!(value.get(key.as_str().unwrap()).is_some(), "{at} has no {key}: {value}");
    }
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        assert_valid(property, &value[key], &format!("{at}.{key}"));
    }
    if schema["additionalProperties"].is_object() {
        for (key, value) in value.as_object().unwrap() {
            assert_valid(&schema["additionalProperties"], value, &format!("{at}.{key}"));
        }
    }
    if schema["items"].is_object() {
        for value in value.as_array().unwrap() {
            assert_valid(&schema["items"], value, &format!("{at}[]"));
        }
    }
}

fn signs<'a>(report: &'a Value, check: &str) -> &'a [Value] {
    let checks = report["checks"].as_array().unwrap();
    let found = checks.iter().find(|found| found["id"] == check);
    found.map_or(&[], |found| found["signs"].as_array().unwrap())
}

/// The sentence of a check that begins so.
#[track_caller]
fn sentence<'a>(report: &'a Value, check: &str, begins: &str) -> &'a str {
    let sentences = signs(report, check).iter().map(|sign| sign["sentence"].as_str().unwrap());
    let found = sentences.into_iter().find(|sentence| sentence.starts_with(begins));
    found.unwrap_or_else(|| panic!("no sign '{begins}' of {check} in {report}"))
}

#[track_caller]
fn evidence(report: &Value, check: &str, key: &str) -> u64 {
    let mut signs = signs(report, check).iter();
    let value = signs.find_map(|sign| sign["evidence"].get(key)?["value"].as_u64());
    value.unwrap_or_else(|| panic!("no {key} of {check} in {report}"))
}
