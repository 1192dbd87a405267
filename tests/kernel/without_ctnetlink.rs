//! A stock gateway: nobody has loaded nf_conntrack_netlink, and looking must not load it. Entries from before the start
//! are then listed through /proc.

use std::error::Error as _;
use std::fs;
use std::process::Command;

use ctwatch::change::source_entries::{EndError, end_entries};
use ctwatch_lab::{FlowPlan, wait};

use crate::observed::{ctwatch, gateway, ip, number, of_source, rows};

const MODULE: &str = "nf_conntrack_netlink";

#[test]
fn without_ctnetlink_the_baseline_comes_from_proc_and_no_module_is_loaded() {
    let Some(gateway) = gateway() else { return };
    let _unloaded = Unloaded::now();
    FlowPlan::udp(ip("10.0.1.2"), 700).send(gateway.client()).unwrap();
    FlowPlan::icmp_echo(ip("10.0.1.3"), 40).send(gateway.client()).unwrap();
    FlowPlan::udp(ip("fd00:10::5"), 30).send(gateway.client()).unwrap();
    let arguments = ["watch", "--json", "--once", "--netns", gateway.gateway().name()];
    let ended = ctwatch_lab::Ctwatch::run(&ctwatch(), &arguments, wait::PATIENCE).unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""));
    let line = &ended.lines[0].json;
    for (source, entries) in [("10.0.1.2", 700), ("10.0.1.3", 40), ("fd00:10::5", 30)] {
        assert_eq!(of_source(line, source, None, "entries"), entries, "{source} in {line}");
    }
    assert_eq!(rows(line).count(), 3, "{line}");
    assert_eq!(number(line, "drift_entries"), 0, "{line}");
    assert!(!is_loaded(), "looking has loaded {MODULE}");
}

#[test]
fn without_ctnetlink_no_entry_is_ended_and_no_module_loaded() {
    let Some(gateway) = gateway() else { return };
    let _unloaded = Unloaded::now();
    FlowPlan::udp(ip("10.0.1.2"), 7).send(gateway.client()).unwrap();
    let namespace = crate::idle_entries::namespace(&gateway);
    let refused = end_entries(&namespace, &["10.0.1.2/32".parse().unwrap()]).unwrap_err();
    assert!(matches!(refused, EndError::List(_)), "{refused}");
    assert!(refused.source().unwrap().to_string().contains("'modprobe nf_conntrack_netlink'"));
    assert!(!is_loaded(), "ending has loaded {MODULE}");
}

/// The module is out for as long as this lives.
pub(crate) struct Unloaded;

impl Unloaded {
    pub(crate) fn now() -> Self {
        let unloaded = Self;
        busybox(&["rmmod", MODULE]);
        assert!(!is_loaded());
        unloaded
    }
}

impl Drop for Unloaded {
    fn drop(&mut self) {
        let list = fs::read_to_string("/etc/modules.list").unwrap();
        let name = format!("/{MODULE}.ko");
        busybox(&["insmod", list.lines().find(|path| path.ends_with(&name)).unwrap()]);
    }
}

fn is_loaded() -> bool {
    fs::read_to_string("/proc/modules").unwrap().lines().any(|line| line.starts_with(MODULE))
}

fn busybox(arguments: &[&str]) {
    let status = Command::new("busybox").args(arguments).status().unwrap();
    assert!(status.success(), "busybox {arguments:?}");
}
