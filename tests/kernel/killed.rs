//! Killed without a chance to clean up: the kernel takes everything back, and the next start finds a clean machine.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::path::Path;

use ctwatch_lab::{Flood, FlowPlan, wait};

use crate::observed::{
    assert_consistent, assert_lossless, gateway, ip, line_after_now, number, of_source, stop, watch,
};

/// Everything of BPF that exists in the kernel, by id.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Existing {
    programs: BTreeSet<u32>,
    maps: BTreeSet<u32>,
    links: BTreeSet<u32>,
    probes: BTreeSet<String>,
}

impl Existing {
    fn now() -> Self {
        Self {
            programs: aya::programs::loaded_programs()
                .flatten()
                .map(|program| program.id())
                .collect(),
            maps: aya::maps::loaded_maps().flatten().map(|map| map.id()).collect(),
            links: aya::programs::loaded_links().flatten().map(|link| link.id()).collect(),
            probes: probes(),
        }
    }
}

/// The kprobes that the kernel lists, without their addresses; none where the kernel has no debugfs.
fn probes() -> BTreeSet<String> {
    let text = std::fs::read_to_string("/sys/kernel/debug/kprobes/list").unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(_address, probe)| probe.trim().to_owned())
        .collect()
}

#[test]
fn killed_in_a_flood_it_leaves_nothing() {
    let Some(gateway) = gateway() else { return };
    let before = Existing::now();
    let rate_per_s = NonZeroU64::new(1000).unwrap();
    let flood =
        Flood::start(gateway.client(), FlowPlan::udp(ip("10.0.1.66"), 100_000).at_rate(rate_per_s))
            .unwrap();
    wait::until(wait::PATIENCE, "the flood", || Ok((flood.flows_so_far() > 0).then_some(())))
        .unwrap();

    let (mut first, line) = watch(&gateway, &[]);
    first
        .find(wait::PATIENCE, "counts", |line| {
            Ok((number(&line.json, "totals.new") > 0).then_some(()))
        })
        .unwrap();
    let during = Existing::now();
    assert!(during.programs.len() >= before.programs.len() + 3, "{during:?}; {}", line.json);
    assert!(during.maps.len() > before.maps.len(), "{during:?}");
    assert!(
        during.links.len() > before.links.len()
            || probes().iter().any(|probe| probe.contains("nf_conntrack"))
            || !Path::new("/sys/kernel/debug/kprobes").exists()
    );
    let killed = first.kill().unwrap();
    assert_eq!(killed.status.code(), None);

    // The kernel frees after a grace period, while the flood goes on.
    let mut left = before.clone();
    let clean = wait::until(wait::PATIENCE, "the end of every program, map and link", || {
        left = Existing::now();
        Ok((left == before).then_some(()))
    });
    assert!(clean.is_ok(), "before {before:?}, left {left:?}");
    let pinned = std::fs::read_dir("/sys/fs/bpf").map_or(0, |entries| entries.flatten().count());
    assert_eq!(pinned, 0, "something is pinned in /sys/fs/bpf");

    let made = flood.stop().unwrap().flows;
    let (mut second, _line) = watch(&gateway, &["--top", "1000"]);
    FlowPlan::tcp_syn(ip("10.0.1.2"), 50).send(gateway.client()).unwrap();
    second
        .find(wait::PATIENCE, "50 new", |line| {
            Ok((number(&line.json, "totals.new") == 50).then_some(()))
        })
        .unwrap();
    let line = line_after_now(&mut second);
    assert_eq!(
        of_source(&line, "10.0.1.66", None, "entries"),
        i64::try_from(made).unwrap(),
        "{line}"
    );
    assert_eq!(of_source(&line, "10.0.1.2", None, "new"), 50, "{line}");
    assert_consistent(&gateway, &line);
    assert_lossless(&line);
    stop(second).unwrap();
}
