//! What others build on the page stands on: names by the conventions, and a dashboard and alerts that ask for nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde::de::DeserializeOwned;

use super::{tests::text, *};
use crate::output::sample;

/// Numbers of which none is unknown.
fn known<T: DeserializeOwned>(fields: &[Field<T>]) -> T {
    let numbers = fields.iter().map(|field| (field.name.to_owned(), 1.into()));
    serde_json::from_value(serde_json::Value::Object(numbers.collect())).unwrap()
}

/// A page on which nothing is left out.
fn whole_page() -> String {
    let mut snapshot = sample::snapshot();
    snapshot.kernel = known(fields::KERNEL);
    snapshot.loss = known(fields::LOSS);
    snapshot.table = known(fields::TABLE);
    text(vec![snapshot], 0)
}

fn described(page: &str, what: &str) -> BTreeMap<String, String> {
    let lines = page.lines().filter_map(|line| line.strip_prefix(what)?.split_once(' '));
    lines.map(|(name, rest)| (name.to_owned(), rest.to_owned())).collect()
}

/// The names of samples.
fn names(page: &str) -> BTreeSet<&str> {
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    samples.map(|line| line.split(['{', ' ']).next().unwrap()).collect()
}

#[test]
fn names_and_units_are_those_of_the_ecosystem() {
    let page = whole_page();
    let (helps, types) = (described(&page, "# HELP "), described(&page, "# TYPE "));
    assert_eq!(helps.keys().collect::<Vec<_>>(), types.keys().collect::<Vec<_>>());
    for (name, kind) in &types {
        assert!(name.starts_with("ctwatch_") || name.starts_with("process_"), "{name}");
        assert!(helps[name].len() > 10 && !helps[name].contains("null"), "{name}: {}", helps[name]);
        assert!(["counter", "gauge"].contains(&kind.as_str()), "{name} {kind}");
        assert!(!name.ends_with("_total"), "the encoder adds it to {name}");
        for word in name.split('_') {
            // Base units only, and rates are computed by who asks.
            assert!(
                !["s", "ms", "ns", "milliseconds", "percent", "kb", "kilobytes", "per"]
                    .contains(&word),
                "{name}"
            );
            assert!(word.bytes().all(|byte| byte.is_ascii_lowercase()), "{name}");
        }
    }
    for name in names(&page) {
        let counter = name.strip_suffix("_total").filter(|name| types.contains_key(*name));
        let kind = types[counter.unwrap_or(name)].as_str();
        assert_eq!(kind == "counter", counter.is_some(), "{name}");
    }
}

#[test]
fn every_field_is_a_metric_unless_it_is_a_rate() {
    let page = whole_page();
    let names = names(&page);
    fn check<T>(names: &BTreeSet<&str>, prefix: &str, fields: &[Field<T>]) {
        for field in fields {
            let total = if field.kind == Kind::Counter { "_total" } else { "" };
            match name(field.name) {
                Some(name) => {
                    let name = format!("{prefix}_{name}{total}");
                    assert!(names.contains(name.as_str()), "{name}");
                }
                None => assert!(field.name.ends_with("_per_s"), "{}", field.name),
            }
        }
    }
    check(&names, "ctwatch", fields::TABLE);
    check(&names, "ctwatch", fields::SOURCE);
    check(&names, "ctwatch_source", fields::SOURCE);
    check(&names, "ctwatch_kernel", fields::KERNEL);
    check(&names, "ctwatch_loss", fields::LOSS);
    check(&names, "ctwatch_recording", own::RECORDING);
    check(&names, "process", own::PROCESS);
}

#[test]
fn dashboard_and_alerts_ask_for_metrics_that_there_are() {
    let page = whole_page();
    let there = names(&page);
    for file in [
        "grafana/ctwatch.json",
        "prometheus/ctwatch.rules.yml",
        "prometheus/ctwatch.rules.test.yml",
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../integration").join(file);
        let text = fs::read_to_string(path).unwrap();
        let words = text.split(|of: char| !of.is_ascii_alphanumeric() && of != '_');
        let asked_for: BTreeSet<&str> = words
            .filter(|word| word.starts_with("ctwatch_") || word.starts_with("process_"))
            .collect();
        assert!(asked_for.len() >= 8, "{file}: {asked_for:?}");
        let missing: Vec<_> = asked_for.difference(&there).collect();
        assert!(missing.is_empty(), "{file}: {missing:?}");
    }
}

#[test]
fn the_dashboard_leaves_the_choice_of_prometheus_to_whoever_imports_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../integration/grafana/ctwatch.json");
    let dashboard: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(variables.iter().any(|variable| variable["name"] == "DS_PROMETHEUS"
        && variable["type"] == "datasource"
        && variable["query"] == "prometheus"));
    let mut numbers = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(numbers.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let place = &panel["gridPos"];
        assert!(place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24, "{place}");
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{panel}");
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${DS_PROMETHEUS}", "{target}");
            let query = target["expr"].as_str().unwrap();
            assert!(query.contains("=~\"$instance\""), "{query}");
        }
    }
}

#[test]
fn each_alert_says_what_why_and_what_to_do() {
    use clap::CommandFactory as _;
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../integration/prometheus/ctwatch.rules.yml");
    let text = fs::read_to_string(path).unwrap();
    let commands = crate::cli::Cli::command();
    let commands: BTreeSet<&str> =
        commands.get_subcommands().map(clap::Command::get_name).collect();
    let alerts: Vec<&str> = text.split("- alert: ").skip(1).collect();
    assert!(alerts.len() >= 8);
    for alert in alerts {
        for part in ["expr:", "severity:", "summary:", "description:", "action:"] {
            assert!(alert.contains(part), "{part} in {alert}");
        }
        let action = alert.split_once("action:").unwrap().1;
        let mut said = action
            .split("ctwatch ")
            .skip(1)
            .map(|rest| rest.split(|of: char| !of.is_ascii_alphabetic()).next().unwrap());
        assert!(said.clone().count() > 0, "{action}");
        assert!(said.all(|command| commands.contains(command)), "{action}");
    }
}
