//! Where it cannot run: one sentence and status 77, no backtrace.

use std::process::{Command, Output};

use ctwatch_lab::{FlowPlan, skip};

use crate::nobody::Nobody;
use crate::observed::{ctwatch, gateway, has_kprobes, ip, wait_for_entries};

#[test]
fn without_privilege_it_says_what_is_missing() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.2"), 3).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, 3);
    let nobody = Nobody::new();
    for (arguments, missing) in [
        (["watch", "--once", "--netns", "self"], "CAP_NET_ADMIN"),
        (["watch", "--once", "--netns", gateway.gateway().name()], "CAP_SYS_ADMIN"),
        (["events", "--no-wait", "--netns", "self"], "CAP_NET_ADMIN"),
    ] {
        let said = assert_cannot_run(&nobody.run(&arguments));
        assert!(said.contains("permission") && said.contains(missing), "{said}");
    }
}

#[test]
fn without_kprobes_attach_kprobe_says_so() {
    if has_kprobes() {
        return skip("this kernel has kprobes");
    }
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.2"), 3).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, 3);
    // It says so before it has looked for an interval.
    for command in [["watch", "--interval", "1h"].as_slice(), &["events", "--no-wait"], &["audit"]]
    {
        let output = Command::new(ctwatch())
            .args(command)
            .args(["--attach", "kprobe", "--netns", gateway.gateway().name()])
            .output()
            .unwrap();
        let said = assert_cannot_run(&output);
        assert!(said.contains("kprobe"), "{said}");
    }
}

/// Without hooks there is nothing to hold against the kernel's numbers: each identity says why, and so does the status.
#[test]
fn without_hooks_an_audit_checks_nothing() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.2"), 3).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, 3);
    let output = Command::new(ctwatch())
        .args(["audit", "--json", "--for", "200ms", "--attach", "netlink"])
        .args(["--netns", gateway.gateway().name()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(77), "{said}");
    assert!(said.contains("nothing could be checked"), "{said}");
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(line["holds"].is_null(), "{line}");
    let identities = line["identities"].as_array().unwrap();
    assert!(identities.len() >= 9, "{line}");
    for identity in identities {
        let note = identity["note"].as_str().unwrap();
        assert!(identity["holds"].is_null() && note.contains("--attach netlink"), "{identity}");
    }
}

#[track_caller]
fn assert_cannot_run(output: &Output) -> String {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(77), "{said}");
    assert_eq!(output.stdout, b"", "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(!said.contains("panicked") && !said.contains("backtrace"), "{said}");
    said
}
