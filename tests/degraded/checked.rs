//! `check` without hooks and without privilege: it needs neither.

use std::process::Command;

use ctwatch_lab::{FlowPlan, counters, skip};

use crate::nobody::Nobody;
use crate::observed::{ctwatch, gateway, ip, wait_for_entries};

const FLOWS: u64 = 40;

#[test]
fn whoever_fills_the_table_is_named_once_it_is_too_full() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.66"), FLOWS).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, FLOWS);
    let limit = counters::limit().unwrap();
    let half = format!("{}", 50.0 * FLOWS as f64 / limit as f64);
    for (arguments, status, start) in [
        (&["check"][..], 0, "CONNTRACK OK - 40 of "),
        (&["check", "-w", &half], 1, "CONNTRACK WARNING - 40 of "),
        (&["check", "-w", &half, "-c", &half], 2, "CONNTRACK CRITICAL - 40 of "),
    ] {
        // Not even the search for hooks, which takes a debug build longer than a monitoring system waits.
        let arguments = [arguments, &["--attach", "netlink", "-t", "1m"]].concat();
        let arguments = [&arguments[..], &["--netns", gateway.gateway().name()]].concat();
        let output = Command::new(ctwatch()).args(arguments).output().unwrap();
        let line = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(status), "{line}");
        assert!(line.starts_with(start) && line.contains(" | entries=40;"), "{line}");
        assert_eq!(line.contains(", 10.0.1.66 holds 100 % | "), status > 0, "{line}");
    }
}

#[test]
fn a_table_that_fills_soon_is_a_warning() {
    let Some(gateway) = gateway() else { return };
    let arguments = ["check", "--time-to-full", "1h", "--for", "2s", "--attach", "netlink"];
    let arguments = [&arguments[..], &["--netns", gateway.gateway().name()]].concat();
    let child = Command::new(ctwatch())
        .args(&arguments)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Far more in two seconds than would leave the table room for an hour.
    let flows = counters::limit().unwrap() / 1000;
    let rate = std::num::NonZeroU64::new(flows).unwrap();
    let plan = FlowPlan::udp(ip("10.0.1.66"), 3 * flows).at_rate(rate);
    plan.send(gateway.client()).unwrap();
    let output = child.wait_with_output().unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert!(line.starts_with("CONNTRACK WARNING - full in "), "{line}");
}

#[test]
fn it_needs_no_privilege() {
    if let Some(reason) = skip::why_no_gateway() {
        return skip(&reason);
    }
    let output = Nobody::new().run(&["check", "-w", "0"]);
    let line = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert!(line.starts_with("CONNTRACK WARNING - ") && line.contains(" | entries="), "{line}");
}
