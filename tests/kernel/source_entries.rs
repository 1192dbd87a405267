//! The entries of a source end, all of them and nobody else's: on kernels that end them by themselves, on those that refuse
//! to, and on those that would end everybody else's.

use std::process::Command;
use std::time::Instant;

use ctwatch::change::source_entries::{EndedReport, IN_KERNEL_FROM, end_entries};
use ctwatch::host::namespace::{NamespaceTarget, NetworkNamespace};
use ctwatch_lab::table::{self, Entry};
use ctwatch_lab::{Flood, FlowPlan, FlowProtocol, Gateway, counters, wait};
use ipnet::IpNet;

use crate::observed::{gateway, ip};

/// More than the kernel is asked for.
const MANY: u64 = IN_KERNEL_FROM as u64 + 144;
/// Since then the kernel ends by a filter ("netfilter: ctnetlink: support CTA_FILTER for flush").
const KERNEL_ENDS: (u32, u32) = (6, 12);

#[test]
fn the_entries_of_an_address_end_whatever_they_are_and_no_others() {
    let Some(gateway) = gateway() else { return };
    let Some(elsewhere) = crate::observed::gateway() else { return };
    gateway.add_rules(ZONES).unwrap();
    let (abuser, neighbour) = (ip("10.0.1.66"), ip("10.0.1.67"));
    for plan in [
        FlowPlan::udp(abuser, MANY),
        // By these the rules above know that they are of a zone.
        FlowPlan::udp(abuser, 30).to(ip("198.51.100.9"), 9000),
        FlowPlan::tcp_syn(abuser, 50),
        FlowPlan::icmp_echo(abuser, 20),
        FlowPlan::new(FlowProtocol::Gre, abuser, 1),
        FlowPlan::new(FlowProtocol::Untracked, abuser, 1),
        FlowPlan::udp(neighbour, MANY),
        FlowPlan::udp(neighbour, 30).to(ip("198.51.100.9"), 9000),
        FlowPlan::tcp_syn(neighbour, 10),
        FlowPlan::new(FlowProtocol::Gre, neighbour, 1),
        FlowPlan::udp(ip("fd00:10::66"), 5),
    ] {
        plan.send(gateway.client()).unwrap();
    }
    let sctp = ["--state", "ESTABLISHED", "--orig-vtag", "1", "--reply-vtag", "2"];
    insert(&gateway, "sctp", "10.0.1.66", "198.51.100.7", &sctp);
    insert(&gateway, "sctp", "10.0.1.67", "198.51.100.7", &sctp);
    // They go to the abuser, and come from somebody else.
    insert(&gateway, "udp", "198.51.100.8", "10.0.1.66", &[]);
    wait_for_entries(&gateway, 2 * MANY + 150);
    assert_eq!(entries(&gateway).iter().filter(|entry| entry.zone == 5).count(), 60);
    FlowPlan::udp(abuser, MANY).send(elsewhere.client()).unwrap();
    wait_for_entries(&elsewhere, MANY);

    let report = assert_ends(&gateway, &["10.0.1.66/32"], MANY + 103);
    assert_eq!(report.in_kernel > 0, is_in_kernel());
    assert_eq!(counters::entries(elsewhere.gateway()).unwrap(), MANY);
    let again = end(&gateway, &["10.0.1.66/32"]);
    assert_eq!(again, EndedReport::default());
}

#[test]
fn the_entries_of_an_ipv6_address_end_though_some_kernels_would_end_all_others() {
    let Some(gateway) = gateway() else { return };
    for plan in [
        FlowPlan::udp(ip("fd00:10::66"), MANY),
        FlowPlan::icmp_echo(ip("fd00:10::66"), 9),
        FlowPlan::tcp_syn(ip("fd00:10::66"), 7),
        FlowPlan::udp(ip("fd00:10::67"), MANY),
        FlowPlan::udp(ip("10.0.1.66"), MANY),
    ] {
        plan.send(gateway.client()).unwrap();
    }
    wait_for_entries(&gateway, 3 * MANY + 16);
    assert_ends(&gateway, &["fd00:10::66/128"], MANY + 16);

    // Where no others are, such a kernel has none to list.
    end(&gateway, &["fd00:10::67/128", "10.0.1.66/32"]);
    FlowPlan::udp(ip("fd00:10::68"), MANY).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, MANY);
    assert_ends(&gateway, &["fd00:10::68/128"], MANY);
}

#[test]
fn the_entries_of_networks_end_and_those_beside_them_stay() {
    let Some(gateway) = gateway() else { return };
    let sixteen = 16.try_into().unwrap();
    for plan in [
        FlowPlan::udp(ip("10.0.1.64"), 160).from_sources(sixteen),
        FlowPlan::tcp_syn(ip("10.0.1.70"), MANY),
        FlowPlan::udp(ip("10.0.1.63"), MANY),
        FlowPlan::udp(ip("10.0.1.80"), 10),
        FlowPlan::udp(ip("fd00:10:0:1::1"), 160).from_sources(sixteen),
        FlowPlan::udp(ip("fd00:10:0:2::1"), MANY),
    ] {
        plan.send(gateway.client()).unwrap();
    }
    let before = 2 * 160 + 3 * MANY + 10;
    wait_for_entries(&gateway, before);
    // Host bits, and a network within another one, make no difference.
    let networks = ["10.0.1.66/28", "10.0.1.64/30", "fd00:10:0:1::/64"];
    let report = assert_ends(&gateway, &networks, 2 * 160 + MANY);
    let of_many = if is_in_kernel() { MANY + 10 } else { 0 };
    assert_eq!(report.in_kernel, of_many, "all of the one address that has many");
}

#[test]
fn what_a_source_opens_meanwhile_is_counted_and_not_waited_for() {
    const ENTRIES: u64 = 2000;
    let Some(gateway) = gateway() else { return };
    for plan in [
        FlowPlan::udp(ip("10.0.1.66"), ENTRIES),
        FlowPlan::udp(ip("fd00:10::66"), ENTRIES),
        FlowPlan::udp(ip("10.0.1.2"), 100),
    ] {
        plan.send(gateway.client()).unwrap();
    }
    wait_for_entries(&gateway, 2 * ENTRIES + 100);
    let plan = FlowPlan::tcp_syn(ip("10.0.1.66"), 1_000_000).at_rate(1000.try_into().unwrap());
    let flood = Flood::start(gateway.client(), plan).unwrap();
    wait::until(wait::PATIENCE, "the first entries of the flood", || {
        Ok((counters::entries(gateway.gateway())? > 2 * ENTRIES + 150).then_some(()))
    })
    .unwrap();
    let report = end(&gateway, &["10.0.1.66/32", "fd00:10::66/128"]);
    flood.stop().unwrap();
    let left = counters::entries(gateway.gateway()).unwrap() - 100;
    assert!(report.ended() >= 2 * ENTRIES + 50, "{report:?}");
    assert!((1..=left).contains(&report.left), "{left} at last, {report:?}");
    assert_eq!(entries(&gateway).iter().filter(|entry| entry.source == "10.0.1.2").count(), 100);
}

/// Ends them while nothing else happens: so many, and every other entry is there as it was before.
#[track_caller]
fn assert_ends(gateway: &Gateway, sources: &[&str], expected: u64) -> EndedReport {
    let before = counters::entries(gateway.gateway()).unwrap();
    let networks = networks(sources);
    let mut others = entries(gateway);
    others.retain(|entry| !networks.iter().any(|network| network.contains(&ip(&entry.source))));
    let report = end(gateway, sources);
    assert_eq!((report.ended(), report.listed), (expected, expected), "{report:?}");
    assert_eq!((report.gone, report.left), (0, 0), "{report:?}");
    assert_eq!(before - counters::entries(gateway.gateway()).unwrap(), expected, "{report:?}");
    assert_eq!(entries(gateway), others);
    report
}

fn end(gateway: &Gateway, sources: &[&str]) -> EndedReport {
    let target = NamespaceTarget::Name(gateway.gateway().name().to_owned());
    let namespace = NetworkNamespace::open(&target).unwrap();
    let begun = Instant::now();
    let report = end_entries(&namespace, &networks(sources)).unwrap();
    println!("{sources:?}: {report:?} in {:?}", begun.elapsed());
    report
}

fn networks(sources: &[&str]) -> Vec<IpNet> {
    sources.iter().map(|source| source.parse().unwrap()).collect()
}

fn entries(gateway: &Gateway) -> Vec<Entry> {
    let mut entries = table::entries(gateway.gateway()).unwrap();
    entries.sort_by_cached_key(|entry| format!("{entry:?}"));
    entries
}

#[track_caller]
fn wait_for_entries(gateway: &Gateway, expected: u64) {
    wait::until(wait::PATIENCE, &format!("{expected} entries"), || {
        Ok((counters::entries(gateway.gateway())? == expected).then_some(()))
    })
    .unwrap();
}

fn insert(gateway: &Gateway, protocol: &str, source: &str, destination: &str, more: &[&str]) {
    let ports = ["--sport", "1024", "--dport", "80", "-t", "600"];
    let arguments = [&["-I", "-p", protocol, "-s", source, "-d", destination], &ports[..], more];
    let conntrack = || Ok(Command::new("conntrack").args(arguments.concat()).output()?);
    let output = gateway.gateway().within(conntrack).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Whether this kernel ends the entries of an IPv4 address by itself.
fn is_in_kernel() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap()) >= KERNEL_ENDS
}

const ZONES: &str = "\
table inet zones {
  chain raw {
    type filter hook prerouting priority -300
    iifname \"clients\" udp dport 9000 ct zone set 5
  }
}
";
