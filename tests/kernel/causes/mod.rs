//! Causes that are known because the scenario makes them: the right one is named, the right thing advised, what does not help
//! refused; and where advice is followed, the effect is what was foretold.

mod growth;
mod hash;
mod lingering;
mod walls;
mod who;

use std::num::NonZeroU64;
use std::time::Duration;

use ctwatch_lab::counters::{GlobalSetting, conntrack_statistics};
use ctwatch_lab::{Ctwatch, Flood, FlowPlan, Gateway, counters, wait};
use serde_json::Value;

use crate::observed::{ctwatch, ip, rung};

/// How far the effect of advice may be from what was foretold.
const PREDICTION_WITHIN: f64 = 0.2;

/// Limit and buckets of the machine, as they were before when this goes.
struct Table {
    _buckets: GlobalSetting,
    _limit: GlobalSetting,
}

impl Table {
    fn of(limit: u64, buckets: u64) -> Self {
        Self {
            _buckets: GlobalSetting::buckets(buckets).unwrap(),
            _limit: GlobalSetting::limit(limit).unwrap(),
        }
    }
}

/// The diagnosis of `ctwatch advise` after three seconds, which a recording of the same look gives again.
fn advise(gateway: &Gateway) -> Value {
    let (netns, rung) = (gateway.gateway().name(), rung());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("look").to_str().unwrap().to_owned();
    let place = ["--netns", netns, "--attach", rung.as_str(), "--record", &file];
    let diagnosis = diagnosis_of(&place);
    assert_eq!(diagnosis_of(&["--from", &file]), diagnosis);
    println!("{}: {}", text(&diagnosis["cause"]), text(&diagnosis["explanation"]));
    diagnosis
}

#[track_caller]
fn diagnosis_of(further: &[&str]) -> Value {
    let arguments = [&["advise", "--json", "--for", "3s"], further].concat();
    let ended = Ctwatch::run(&ctwatch(), &arguments, 4 * wait::PATIENCE).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(ended.lines.len(), 1);
    ended.lines[0].json.clone()
}

/// The same while the flows of `plan` are being made, as many a second.
fn advise_during(gateway: &Gateway, plan: FlowPlan, rate_per_s: u64) -> Value {
    let rate = NonZeroU64::new(rate_per_s).unwrap();
    let flood = Flood::start(gateway.client(), plan.at_rate(rate)).unwrap();
    let diagnosis = advise(gateway);
    assert!(!flood.is_over(), "the flood ended before the look did");
    flood.stop().unwrap();
    diagnosis
}

/// UDP from `sources` sources of the network of `first`, taking turns.
fn crowd(first: &str, sources: u64, flows: u64) -> FlowPlan {
    FlowPlan::udp(ip(first), flows).from_sources(NonZeroU64::new(sources).unwrap())
}

fn wait_for_entries(gateway: &Gateway, least: u64) {
    wait::until(wait::PATIENCE, &format!("{least} entries"), || {
        Ok((counters::entries(gateway.gateway())? >= least).then_some(()))
    })
    .unwrap();
}

#[track_caller]
fn assert_cause(diagnosis: &Value, cause: &str) {
    assert_eq!(diagnosis["cause"], cause, "{diagnosis}");
}

/// The advice with this id.
#[track_caller]
fn advice<'a>(diagnosis: &'a Value, id: &str) -> &'a Value {
    let all = diagnosis["advice"].as_array().unwrap();
    let found = all.iter().find(|advice| advice["id"] == id);
    found.unwrap_or_else(|| panic!("no {id} in {diagnosis}"))
}

/// That a rule gives no advice but the reason why it does not; the reason.
#[track_caller]
fn refusal(diagnosis: &Value, rule: &str) -> String {
    let refused = diagnosis["refused_advice"].as_array().unwrap();
    let found = refused.iter().find(|refused| refused["rule"] == rule);
    let advised = diagnosis["advice"].as_array().unwrap();
    assert!(advised.iter().all(|advice| advice["rule"] != rule), "{rule} in {diagnosis}");
    text(&found.unwrap_or_else(|| panic!("{rule} is not refused in {diagnosis}"))["why"])
}

/// A number that something is concluded from.
#[track_caller]
fn evidence(of: &Value, name: &str) -> f64 {
    let value = &of["evidence"][name]["value"];
    value.as_f64().unwrap_or_else(|| panic!("{name} is {value} in {of}"))
}

/// Makes the changes of a piece of advice, each of which must begin at what there is. Returns what the last one is set to.
#[track_caller]
fn follow(gateway: &Gateway, advice: &Value) -> u64 {
    let mut set = 0;
    for change in advice["changes"].as_array().unwrap() {
        let key = text(&change["key"]);
        let path = if key == "nf_conntrack.hashsize" {
            "/sys/module/nf_conntrack/parameters/hashsize".to_owned()
        } else {
            format!("/proc/sys/{}", key.replace('.', "/"))
        };
        let is_machine_s = ["hashsize", "_max"].iter().any(|end| key.ends_with(end));
        let write = || {
            let is = std::fs::read_to_string(&path)?;
            assert_eq!(is.trim(), text(&change["from"]), "{change}");
            Ok(std::fs::write(&path, text(&change["to"]))?)
        };
        if is_machine_s { write() } else { gateway.gateway().within(write) }.unwrap();
        set = text(&change["to"]).parse().unwrap();
    }
    set
}

/// Sends flows and returns the share of them that a counter of the kernel says was lost meanwhile.
fn lost(gateway: &Gateway, plan: &FlowPlan, counter: &str) -> f64 {
    let read = || Ok(conntrack_statistics(gateway.gateway())?.get(counter));
    let settle = Duration::from_millis(100);
    let before = wait::until_quiet(wait::PATIENCE, settle, counter, read).unwrap();
    plan.send(gateway.client()).unwrap();
    let after = wait::until_quiet(wait::PATIENCE, settle, counter, read).unwrap();
    (after - before) as f64 / plan.count as f64
}

/// What was measured is what was foretold; both are printed beside what was before.
#[track_caller]
fn assert_foretold(what: &str, before: f64, predicted: f64, after: f64) {
    println!("{what}: before {before:.4}, predicted {predicted:.4}, after {after:.4}");
    let within = (PREDICTION_WITHIN * predicted).max(1e-9);
    assert!((after - predicted).abs() <= within, "{what}: {after} and not {predicted}");
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}
