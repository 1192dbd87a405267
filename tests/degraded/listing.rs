//! The two ways to list the table: they tell the same, leave out the same, and one costs more.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::time::Duration;

use ctwatch::conntrack::{dump::DumpSocket, entry::Tuple, proc_listing::ProcListing};
use ctwatch::host::namespace::{NamespaceTarget, NetworkNamespace};
use ctwatch_lab::{FlowPlan, Gateway, Namespace, counters, skip, wait};

use crate::observed::{gateway, ip, wait_for_entries};

/// Each entry and how often it was listed.
type Entries = HashMap<Tuple, u32>;

#[test]
fn both_ways_list_the_same_entries() {
    let Some((gateway, mut socket, mut file)) = both_ways() else { return };
    let three = NonZeroU64::new(3).unwrap();
    for plan in [
        FlowPlan::udp(ip("10.0.1.2"), 5000),
        FlowPlan::tcp_syn(ip("10.0.1.3"), 300).from_sources(three),
        FlowPlan::icmp_echo(ip("10.0.1.4"), 64),
        FlowPlan::udp(ip("fd00:10::5"), 100).from_sources(three),
        FlowPlan::icmp_echo(ip("fd00:10::6"), 10),
    ] {
        plan.send(gateway.client()).unwrap();
    }
    wait_for_entries(&gateway, 5474);
    let by_ctnetlink = by_ctnetlink(&mut socket).0;
    assert_eq!(by_ctnetlink.values().sum::<u32>(), 5474);
    assert!(by_ctnetlink.values().all(|times| *times == 1));
    assert_eq!(by_procfs(&mut file).0, by_ctnetlink);
    // The file stands at its end now, and can be read again.
    assert_eq!(by_procfs(&mut file).0, by_ctnetlink);
}

#[test]
fn neither_way_lists_another_namespace() {
    let Some((gateway, mut socket, mut file)) = both_ways() else { return };
    let Some(other) = crate::observed::gateway() else { return };
    FlowPlan::udp(ip("10.0.1.2"), 10).send(other.client()).unwrap();
    wait_for_entries(&other, 10);
    FlowPlan::udp(ip("10.0.1.2"), 3).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, 3);
    assert_eq!(by_ctnetlink(&mut socket).0.len(), 3);
    assert_eq!(by_procfs(&mut file).0.len(), 3);
}

#[test]
fn expired_entries_are_left_out_by_both_and_freed() {
    let Some((gateway, mut socket, mut file)) = both_ways() else { return };
    gateway.set_timeout("udp_timeout", 1).unwrap();
    FlowPlan::tcp_syn(ip("10.0.1.3"), 5).send(gateway.client()).unwrap();
    for (list, first) in [("ctnetlink", 0), ("procfs", 200)] {
        FlowPlan::udp(ip("10.0.1.2"), 200).starting_at(first).send(gateway.client()).unwrap();
        // The kernel may free them before they are looked at, but not all at once: it scans with long pauses.
        wait::until(wait::PATIENCE, "that the UDP entries expire", || {
            let listed = match list {
                "ctnetlink" => by_ctnetlink(&mut socket).0,
                _ => by_procfs(&mut file).0,
            };
            Ok((listed.len() == 5).then_some(()))
        })
        .unwrap();
        wait_for_entries(&gateway, 5);
    }
}

#[test]
fn a_hundred_thousand_entries_both_ways() {
    let Some((gateway, mut socket, mut file)) = both_ways() else { return };
    FlowPlan::udp(ip("10.0.1.2"), 100_000).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, 100_000);
    for _ in 0..3 {
        let (entries, took) = by_ctnetlink(&mut socket);
        assert_eq!(entries.len(), 100_000);
        println!("ctnetlink: {} ms", took.as_millis());
        let (entries, took) = by_procfs(&mut file);
        assert_eq!(entries.len(), 100_000);
        println!("procfs: {} ms", took.as_millis());
    }
    assert_eq!(counters::entries(gateway.gateway()).unwrap(), 100_000);
}

fn both_ways() -> Option<(Gateway, DumpSocket, ProcListing)> {
    let gateway = gateway()?;
    let namespace = open(gateway.gateway());
    match (DumpSocket::open_in(&namespace), ProcListing::open_in(&namespace)) {
        (Ok(socket), Ok(file)) => Some((gateway, socket, file)),
        (Err(error), _) => {
            skip(&error.to_string());
            None
        }
        (_, Err(error)) => {
            skip(&error.to_string());
            None
        }
    }
}

pub(crate) fn open(namespace: &Namespace) -> NetworkNamespace {
    NetworkNamespace::open(&NamespaceTarget::Name(namespace.name().to_owned())).unwrap()
}

fn by_ctnetlink(socket: &mut DumpSocket) -> (Entries, Duration) {
    let mut entries = Entries::new();
    let report = socket
        .dump(|entry| {
            *entries.entry(entry.original).or_default() += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(report.decode_errors, 0);
    (entries, report.duration)
}

fn by_procfs(file: &mut ProcListing) -> (Entries, Duration) {
    let mut entries = Entries::new();
    let report = file
        .list(|entry| {
            *entries.entry(entry.original).or_default() += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(report.decode_errors, 0);
    (entries, report.duration)
}
