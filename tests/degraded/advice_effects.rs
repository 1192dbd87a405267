//! The commands that advice gives do what it says: real packets go through the gateway afterwards, and the kernel's own count
//! tells. That a source is blocked is shown on a full table, in tests/kernel.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use ctwatch::advise::cause::Cause;
use ctwatch::model::census::Census;
use ctwatch::model::census::destinations::{Destination, DestinationNumbers};
use ctwatch::model::census::snat::{Pool, PoolNumbers};
use ctwatch::model::flood::Flood;
use ctwatch_lab::gateway::CLIENT_SIDE;
use ctwatch_lab::service::{TcpListener, UdpEcho};
use ctwatch_lab::{FlowPlan, Gateway, address, counters, table, wait};

use crate::advice_cases::{advice, case, flood, run};
use crate::observed::{gateway, ip, wait_for_entries};

/// Made-up senders.
const SPOOFED: Ipv4Addr = Ipv4Addr::new(20, 0, 0, 0);

#[test]
fn a_cap_stops_one_source_and_nobody_else() {
    let Some(gateway) = gateway() else { return };
    let mut sources: Vec<(IpAddr, u64)> =
        (1..=50).map(|last| (IpAddr::from([10, 0, 2, last]), 3)).collect();
    sources.push((ip("10.9.0.66"), 9000));
    follow(&gateway, "cap-sources", Cause::SingleSource, &sources, Census::default(), &[]);
    FlowPlan::udp(ip("10.0.1.66"), 400).send(gateway.client()).unwrap();
    FlowPlan::udp(ip("10.0.1.2"), 40).send(gateway.client()).unwrap();
    // Of one /64.
    FlowPlan::udp(ip("fd00:10::1"), 300)
        .from_sources(NonZeroU64::new(10).unwrap())
        .send(gateway.client())
        .unwrap();
    wait_for_entries(&gateway, 100 + 40 + 100);
    assert_eq!(counters::listed(gateway.gateway(), ip("10.0.1.2")).unwrap(), 40);
    assert_eq!(counters::listed(gateway.gateway(), ip("10.0.1.66")).unwrap(), 100);
}

/// A SYN from nowhere makes no entry, and a real connection gets through, translated as before.
#[test]
fn synproxy_keeps_a_flood_out_and_lets_connections_in() {
    let Some(gateway) = gateway() else { return };
    let server = address::SERVER_V4;
    let _listener = TcpListener::start(gateway.server(), 8080).unwrap();
    let to = flood(&server.to_string(), Some(8080), 6);
    let id = format!("protect-{server}-8080");
    follow(&gateway, &id, Cause::SpoofedFlood, &[], Census::default(), &[to]);
    let before = received(&gateway);
    FlowPlan::tcp_syn(ip("10.0.1.2"), 500)
        .to(server.into(), 8080)
        // Addresses that the client's side has a way back to: others are dropped before.
        .from_sources(NonZeroU64::new(250).unwrap())
        .send(gateway.client())
        .unwrap();
    wait::until(wait::PATIENCE, "the SYNs", || {
        Ok((received(&gateway) >= before + 500).then_some(()))
    })
    .unwrap();
    assert_eq!(counters::entries(gateway.gateway()).unwrap(), 0);
    let open = FlowPlan::tcp_handshake(ip("10.0.3.3"), 3)
        .to(server.into(), 8080)
        .send(gateway.client())
        .unwrap();
    wait_for_entries(&gateway, 3);
    let entries = table::entries(gateway.gateway()).unwrap();
    assert!(entries.iter().all(|entry| entry.state == "ESTABLISHED"), "{entries:?}");
    let outside = address::OUTSIDE_V4.to_string();
    assert!(entries.iter().all(|entry| entry.answered_to == outside), "{entries:?}");
    drop(open);
}

#[test]
fn what_has_no_way_back_and_what_is_too_much_makes_no_entry() {
    let Some(gateway) = gateway() else { return };
    let victim = Ipv4Addr::new(198, 51, 100, 7);
    let to = flood(&victim.to_string(), Some(5060), 17);
    // 1500 entries of room, a quarter of them for the destination, in 30 seconds: 12 a second.
    let sources = [(ip("10.9.0.66"), 1500)];
    follow(
        &gateway,
        "protect-198.51.100.7-5060",
        Cause::SpoofedFlood,
        &sources,
        Census::default(),
        &[to],
    );
    let before = received(&gateway);
    let plan = FlowPlan::udp(ip("10.0.1.2"), 1000).to(victim.into(), 5060);
    plan.clone().from_scattered(SPOOFED).send(gateway.client()).unwrap();
    wait::until(wait::PATIENCE, "the flood", || {
        Ok((received(&gateway) >= before + 1000).then_some(()))
    })
    .unwrap();
    assert_eq!(counters::entries(gateway.gateway()).unwrap(), 0);
    plan.send(gateway.client()).unwrap();
    let entries = wait::until_quiet(wait::PATIENCE, Duration::from_millis(200), "entries", || {
        counters::entries(gateway.gateway())
    })
    .unwrap();
    assert!((1..100).contains(&entries), "{entries}");
    // To another port everything passes.
    FlowPlan::udp(ip("10.0.1.2"), 300).to(victim.into(), 5061).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, entries + 300);
}

#[test]
fn a_service_that_is_not_tracked_is_answered_without_entries() {
    let Some(gateway) = gateway() else { return };
    let server = address::SERVER_V4;
    let _echo = UdpEcho::start(gateway.server(), 53).unwrap();
    let destination = Destination { address: server.into(), port: Some(53), protocol: 17 };
    let numbers =
        DestinationNumbers { destination, entries: 5000, sources: 1, unreplied: 0, half_open: 0 };
    let census = Census { entries: 5000, destinations: vec![numbers], ..Census::default() };
    follow(&gateway, "notrack-53-udp", Cause::Growth, &[], census, &[]);
    let before = received(&gateway);
    FlowPlan::udp(ip("10.0.1.2"), 200).to(server.into(), 53).send(gateway.client()).unwrap();
    wait::until(wait::PATIENCE, "the questions", || {
        Ok((received(&gateway) >= before + 200).then_some(()))
    })
    .unwrap();
    assert_eq!(counters::entries(gateway.gateway()).unwrap(), 0);
    FlowPlan::udp(ip("10.0.1.2"), 20).to(server.into(), 54).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, 20);
}

#[test]
fn ssh_to_the_gateway_needs_no_entry() {
    let Some(gateway) = gateway() else { return };
    let _sshd = TcpListener::start(gateway.gateway(), 22).unwrap();
    let _other = TcpListener::start(gateway.gateway(), 80).unwrap();
    // Any rule for what comes in makes the kernel track it.
    gateway
        .add_rules("table inet local {\n chain input {\n type filter hook input priority 0\n ct state new accept\n }\n}\n")
        .unwrap();
    follow(&gateway, "reserve-management", Cause::Growth, &[], Census::default(), &[]);
    let to = |port| FlowPlan::tcp_handshake(ip("10.0.1.2"), 2).to(address::OUTSIDE_V4.into(), port);
    let ssh = to(22).send(gateway.client()).unwrap();
    assert_eq!((ssh.flows, counters::entries(gateway.gateway()).unwrap()), (2, 0));
    let other = to(80).starting_at(10).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, 2);
    drop((ssh, other));
}

#[test]
fn ports_of_source_nat_are_free_sooner() {
    let Some(gateway) = gateway() else { return };
    let destination = Destination { address: ip("198.51.100.9"), port: Some(53), protocol: 17 };
    let pool = PoolNumbers {
        pool: Pool { address: address::OUTSIDE_V4.into(), destination, ports: 64_512 },
        ports_used: 64_000,
        utilization: 0.99,
        holders: Vec::new(),
    };
    let census = Census { snat_pools: vec![pool], ..Census::default() };
    let id = format!("add-snat-address-{}", address::OUTSIDE_V4);
    follow(&gateway, &id, Cause::SnatPorts, &[], census, &[]);
    let plan = |port| FlowPlan::udp(ip("10.0.1.2"), 50).to(destination.address, port);
    plan(53).send(gateway.client()).unwrap();
    plan(54).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, 100);
    // The lab's own timeout is ten minutes; a listing reaps what has expired.
    wait::until(wait::PATIENCE, "the end of those to port 53", || {
        let entries = table::entries(gateway.gateway())?;
        let of = |port| entries.iter().filter(|entry| entry.destination_port == port).count();
        Ok((of(53) == 0 && of(54) == 50).then_some(()))
    })
    .unwrap();
}

#[test]
fn where_tracking_has_stopped_there_are_no_entries() {
    let Some(gateway) = gateway() else { return };
    follow(&gateway, "stop-tracking", Cause::ConntrackNotNeeded, &[], Census::default(), &[]);
    let before = received(&gateway);
    FlowPlan::udp(ip("10.0.1.2"), 100).send(gateway.client()).unwrap();
    wait::until(wait::PATIENCE, "the packets", || {
        Ok((received(&gateway) >= before + 100).then_some(()))
    })
    .unwrap();
    assert_eq!(counters::entries(gateway.gateway()).unwrap(), 0);
}

/// Runs the commands of the advice with this id, of a case like this.
#[track_caller]
fn follow(
    gateway: &Gateway,
    id: &str,
    cause: Cause,
    sources: &[(IpAddr, u64)],
    census: Census,
    floods: &[Flood],
) {
    let mut case = case(sources, census, floods.to_vec());
    case.facts.addresses.serves_ssh = Some(true);
    let full = Arc::make_mut(&mut case.last);
    (full.table.limit, full.table.utilization) = (Some(full.table.entries), Some(1.0));
    let mut all = advice(&case, cause);
    all.retain(|advice| advice.id == id);
    assert_eq!(all.len(), 1, "{id}");
    run(gateway, &all);
}

/// Packets that the gateway has had from its clients.
fn received(gateway: &Gateway) -> u64 {
    counters::link(gateway.gateway(), CLIENT_SIDE).unwrap().received
}
