//! Which rung the hooks stand on, unasked and asked: the highest that the kernel has, or the one that is named, or nothing.

use ctwatch_lab::{FlowPlan, wait};

use crate::observed::{
    assert_consistent, gateway, ip, line_after_now, line_with, rungs, start_attached, stop,
};

const WATCH: [&str; 4] = ["watch", "--json", "--interval", "250ms"];

#[test]
fn exactness_on_the_highest_rung_unasked() {
    let Some(gateway) = gateway() else { return };
    let mut watch = start_attached(&gateway, "auto", &WATCH, &[]);
    let mode = watch.next(wait::PATIENCE).unwrap().json["mode"].clone();
    assert_eq!(mode["degraded"].as_array().map(Vec::len), Some(0), "{mode}");
    let why_not_higher = mode["why_not_higher"].as_array().unwrap();
    if rungs().iter().any(|rung| rung == "fexit") {
        assert_eq!((&mode["alloc"], why_not_higher.len()), (&"fexit".into(), 0), "{mode}");
    } else {
        assert_eq!((&mode["alloc"], why_not_higher.len()), (&"kprobe".into(), 1), "{mode}");
        let reason = why_not_higher[0].as_str().unwrap();
        assert!(reason.starts_with("no fexit on conntrack: "), "{mode}");
        assert!(reason.contains("CONFIG_DEBUG_INFO_BTF_MODULES"), "{mode}");
    }
    FlowPlan::udp(ip("10.0.1.2"), 20).send(gateway.client()).unwrap();
    line_with(&mut watch, "totals.new", 20);
    assert_consistent(&gateway, &line_after_now(&mut watch));
    stop(watch).unwrap();
}

#[test]
fn exactness_or_nothing_where_a_rung_is_asked_for() {
    let Some(gateway) = gateway() else { return };
    if rungs().iter().any(|rung| rung == "fexit") {
        return;
    }
    let watch = start_attached(&gateway, "fexit", &WATCH, &[]);
    let ended = watch.ended(wait::PATIENCE).unwrap();
    assert_eq!(ended.status.code(), Some(77), "{}", ended.stderr);
    assert!(ended.stderr.contains("no fexit on conntrack"), "{}", ended.stderr);
}
