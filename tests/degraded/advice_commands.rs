//! The commands that advice gives are what a shell, nft and conntrack take: every rule that gives some is made to, and they are
//! run as they are, twice, in a namespace of their own.

use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;

use ctwatch::advise::advice::Advice;
use ctwatch::advise::cause::Cause;
use ctwatch::advise::settings::TCP_LOOSE;
use ctwatch::model::census::Census;
use ctwatch::model::census::destinations::{Destination, DestinationNumbers};
use ctwatch::model::census::snat::{Pool, PoolNumbers};
use ctwatch::model::census::state::StateNumbers;
use ctwatch_lab::Gateway;

use crate::advice_cases::{advice, case, flood, run};
use crate::observed::{gateway, ip};

#[test]
fn blocks_and_caps_are_taken_by_nft_and_conntrack() {
    let Some(gateway) = gateway() else { return };
    let mut sources: Vec<(IpAddr, u64)> =
        (1..=50).map(|last| (IpAddr::from([10, 0, 2, last]), 20)).collect();
    sources.extend([(ip("10.9.0.66"), 9000), (ip("2001:db8::1"), 8000)]);
    let advice = advice(&case(&sources, Census::default(), Vec::new()), Cause::SingleSource);
    assert_ids(&advice, &["block-source-10.9.0.66", "block-source-2001:db8::/64", "cap-sources"]);
    run(&gateway, &advice);
    let rules = ruleset(&gateway);
    assert!(
        rules.contains("10.9.0.66 counter packets 0 bytes 0 timeout 1h")
            && rules.contains("2001:db8::/64 counter packets 0 bytes 0 timeout 1h"),
        "{rules}"
    );
    assert!(rules.contains("priority raw - 10"), "{rules}");
    // Given twice, they are there once.
    assert_eq!(rules.matches("ip saddr @block4 ").count(), 1, "{rules}");
}

#[test]
fn protection_of_destinations_is_taken_by_nft() {
    let Some(gateway) = gateway() else { return };
    let floods = [
        ("198.51.100.1", Some(443), 6),
        // The gateway's own.
        ("192.0.2.2", Some(80), 6),
        ("2001:db8:100::1", Some(443), 6),
        ("198.51.100.1", Some(53), 17),
        ("2001:db8:100::1", Some(5060), 17),
        ("198.51.100.1", None, 17),
        ("198.51.100.1", None, 1),
    ]
    .map(|(address, port, protocol)| flood(address, port, protocol));
    let advice = advice(&case(&[], Census::default(), floods.to_vec()), Cause::SpoofedFlood);
    assert_ids(
        &advice,
        &[
            "protect-198.51.100.1-443",
            "protect-192.0.2.2-80",
            "protect-2001:db8:100::1-443",
            "protect-198.51.100.1-53",
            "protect-2001:db8:100::1-5060",
            "protect-198.51.100.1-all",
            "protect-198.51.100.1-all",
            "strict-pickup",
        ],
    );
    run(&gateway, &advice);
    let loose = Command::new("ip")
        .args(["netns", "exec", gateway.gateway().name(), "sysctl", "-n", TCP_LOOSE])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&loose.stdout).trim(), "0");
}

#[test]
fn protection_against_acks_is_taken_by_nft() {
    let Some(gateway) = gateway() else { return };
    let state =
        StateNumbers { protocol: "tcp".into(), state: "ESTABLISHED".into(), entries: 60_000 };
    let census =
        Census { entries: 60_000, unreplied: 60_000, states: vec![state], ..Census::default() };
    let flood = flood("198.51.100.1", Some(443), 6);
    let advice = advice(&case(&[], census, vec![flood]), Cause::SpoofedFlood);
    assert_ids(&advice, &["protect-198.51.100.1-443", "strict-pickup"]);
    run(&gateway, &advice);
}

#[test]
fn what_is_not_tracked_is_taken_by_nft() {
    let Some(gateway) = gateway() else { return };
    let server = |address: &str, port| DestinationNumbers {
        destination: Destination { address: ip(address), port: Some(port), protocol: 17 },
        entries: 25_000,
        sources: 100,
        unreplied: 0,
        half_open: 0,
    };
    let pool = |port, protocol| PoolNumbers {
        pool: Pool {
            address: ip("192.0.2.2"),
            destination: Destination { address: ip("198.51.100.9"), port, protocol },
            ports: 64_512,
        },
        ports_used: 64_000,
        utilization: 0.99,
        holders: Vec::new(),
    };
    let census = Census {
        entries: 60_000,
        destinations: vec![server("198.51.100.1", 53), server("2001:db8:100::1", 53)],
        snat_pools: vec![
            pool(Some(443), 6),
            pool(Some(443), 17),
            pool(Some(53), 17),
            pool(None, 1),
        ],
        ..Census::default()
    };
    let mut case = case(&[], census, Vec::new());
    case.facts.addresses.serves_ssh = Some(true);
    let full = Arc::make_mut(&mut case.last);
    (full.table.limit, full.table.utilization) = (Some(60_000), Some(1.0));
    let growth = advice(&case, Cause::Growth);
    assert_ids(&growth, &["add-snat-address-192.0.2.2", "reserve-management", "notrack-53-udp"]);
    run(&gateway, &growth);
    let not_needed: Vec<Advice> = advice(&case, Cause::ConntrackNotNeeded)
        .into_iter()
        .filter(|advice| advice.rule == "not_needed")
        .collect();
    assert_ids(&not_needed, &["stop-tracking"]);
    run(&gateway, &not_needed);
}

#[track_caller]
fn assert_ids(advice: &[Advice], expected: &[&str]) {
    let ids: Vec<&str> = advice.iter().map(|advice| advice.id.as_str()).collect();
    assert_eq!(ids, expected);
}

fn ruleset(gateway: &Gateway) -> String {
    let output = Command::new("ip")
        .args(["netns", "exec", gateway.gateway().name(), "nft", "list", "ruleset"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}
