//! The commands that advice gives are what a shell, nft and conntrack take: every rule that gives some is made to, and they are
//! run as they are, twice, in a namespace of their own.

use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;

use ctwatch::advise::advice::Advice;
use ctwatch::advise::bounds::Bounds;
use ctwatch::advise::case::Case;
use ctwatch::advise::cause::{Cause, Finding};
use ctwatch::advise::facts::Facts;
use ctwatch::advise::rules::RULES;
use ctwatch::advise::settings::{Settings, TCP_LOOSE};
use ctwatch::advise::verdict::Verdict;
use ctwatch::model::census::Census;
use ctwatch::model::census::destinations::{Destination, DestinationNumbers};
use ctwatch::model::census::snat::{Pool, PoolNumbers};
use ctwatch::model::census::state::StateNumbers;
use ctwatch::model::flood::Flood;
use ctwatch::model::loss::Loss;
use ctwatch::model::mode::Mode;
use ctwatch::model::snapshot::{CensusNow, KernelStatistics, Snapshot, SourceNumbers, Table};
use ctwatch::model::source;
use ctwatch_lab::{Gateway, skip};

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
        rules.contains("10.9.0.66 timeout 1h") && rules.contains("2001:db8::/64 timeout 1h"),
        "{rules}"
    );
    assert!(rules.contains("priority raw - 10"), "{rules}");
    // Given twice, they are there once.
    assert_eq!(rules.matches("ip saddr @blocked4").count(), 1, "{rules}");
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
    let loose = std::process::Command::new("ip")
        .args(["netns", "exec", gateway.gateway().name(), "sysctl", "-n", TCP_LOOSE])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&loose.stdout).trim(), "0");
}

#[test]
fn protection_against_acks_is_taken_by_nft() {
    let Some(gateway) = gateway() else { return };
    let state = StateNumbers { protocol: "tcp".into(), state: "ESTABLISHED", entries: 60_000 };
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

/// What the rules that give commands of nft say of a case; further rules have tests of their own.
fn advice(case: &Case, cause: Cause) -> Vec<Advice> {
    const OF_NFT: [&str; 8] = [
        "block_source",
        "source_cap",
        "protect_destination",
        "tcp_loose",
        "notrack",
        "management_reserve",
        "snat_ports",
        "not_needed",
    ];
    let finding = Finding { cause, explanation: String::new(), evidence: Vec::new() };
    let rules = RULES.iter().filter(|rule| OF_NFT.contains(&rule.id));
    let verdicts = rules.map(|rule| (rule.judge)(case, &finding, &Bounds::default()));
    verdicts
        .filter_map(|verdict| match verdict {
            Verdict::Advise(advice) => Some(advice),
            _ => None,
        })
        .flatten()
        .collect()
}

#[track_caller]
fn assert_ids(advice: &[Advice], expected: &[&str]) {
    let ids: Vec<&str> = advice.iter().map(|advice| advice.id.as_str()).collect();
    assert_eq!(ids, expected);
}

/// Runs every command as a person would. A kernel without a feature that one needs is said as a skip.
#[track_caller]
fn run(gateway: &Gateway, advice: &[Advice]) {
    for command in [advice, advice].concat().iter().flat_map(|advice| &advice.commands) {
        let output = Command::new("ip")
            .args(["netns", "exec", gateway.gateway().name(), "sh", "-c", command])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        // `conntrack -D` ends with 1 if it deleted nothing.
        let nothing_to_delete =
            command.starts_with("conntrack -D") && said.contains("0 flow entries");
        if command.contains("synproxy") && said.contains("Operation not supported") {
            skip("this kernel has no synproxy for nft (CONFIG_NFT_SYNPROXY)");
            continue;
        }
        assert!(output.status.success() || nothing_to_delete, "{command}: {said}");
    }
}

fn ruleset(gateway: &Gateway) -> String {
    let output = Command::new("ip")
        .args(["netns", "exec", gateway.gateway().name(), "nft", "list", "ruleset"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn flood(address: &str, port: Option<u16>, protocol: u8) -> Flood {
    Flood {
        destination: Destination { address: ip(address), port, protocol },
        entries: 60_000,
        sources: 59_000,
        unreplied_share: 1.0,
        half_open_share: 1.0,
        prefixes: Vec::new(),
    }
}

/// A case of sources with what they hold, a walk of the table, and floods.
fn case(sources: &[(IpAddr, u64)], census: Census, floods: Vec<Flood>) -> Case {
    let numbers = |entries| SourceNumbers { entries: Some(entries), ..SourceNumbers::default() };
    let row = |(source, entries): &(IpAddr, u64)| SourceNumbers {
        key: Some(source::key(1, *source, 17)),
        ..numbers(*entries)
    };
    let entries = sources.iter().map(|(_, entries)| entries).sum();
    let last = Arc::new(Snapshot {
        wall_ns: 0,
        netns: 1,
        netns_name: None,
        interval_s: 1.0,
        table: Table { entries, ..Table::default() },
        totals: numbers(entries),
        sources: sources.iter().map(row).collect(),
        others: SourceNumbers::default(),
        prefixes: None,
        census: Some(CensusNow { age_s: 0.5, census: Arc::new(census) }),
        floods: Some(Arc::from(floods)),
        kernel: KernelStatistics::default(),
        drift_entries: None,
        witness: None,
        sums: None,
        loss: Loss::default(),
        mode: Arc::new(Mode::default()),
        events: Vec::new(),
    });
    let mut settings = Settings::default();
    settings.values.insert(TCP_LOOSE.to_owned(), 1);
    let mut facts = Facts::default();
    facts.addresses.own = Some(vec![ip("192.0.2.2")]);
    let first = Arc::clone(&last);
    Case { seconds: 10.0, first, last, entries_max: entries, settings, facts }
}
