//! Whom a list names on a full table: exactly those who fill it while others are refused, and never who must be spared.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::num::NonZeroU64;
use std::process::{Command, Output};

use ctwatch_lab::counters::GlobalSetting;
use ctwatch_lab::service::TcpListener;
use ctwatch_lab::{Flood, FlowPlan, Gateway, counters, wait};

use crate::observed::{ctwatch, gateway, ip, rung};

/// How many entries a flood from made-up addresses fills.
const SPOOFED: u64 = 8000;
const LIMIT: u64 = 2000;
/// Many more buckets than entries: the kernel seeks somebody to evict in eight of them only, so it refuses most.
const BUCKETS: u64 = 65_536;
const ABUSER: &str = "10.0.1.66";
/// Eight addresses of a customer's /64, none of which stands out.
const ABUSER6: &str = "fd00:10:0:7::1";
const PREFIX6: &str = "fd00:10:0:7::/64";
const PER_S: u64 = 400;
const OTHERS: u64 = 30;
const ENTRIES_OF_OTHERS: u64 = 5;
const ROUTER: &str = "10.255.0.2";
const VICTIM: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

#[test]
fn blocklist_names_exactly_those_who_fill_the_table_of_both_families() {
    let Some(gateway) = gateway() else { return };
    let full = full_of(&gateway, &[ABUSER, ABUSER6]);
    let output = blocklist(&gateway, &["--format", "plain"]);
    println!("{}{}", String::from_utf8_lossy(&output.stdout), said(&output));
    assert_eq!(listed(&output), [ABUSER, PREFIX6].map(str::to_owned).into());
    let text = String::from_utf8_lossy(&output.stdout);
    let has_harmed = |why: &str| why.contains("of others ") && why.contains(" refused");
    assert!(blocks(&text).all(|(_, why)| has_harmed(why)), "{text}");

    // nft takes what it is given, and holds the same.
    let output = blocklist(&gateway, &["--format", "nft"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let file = std::env::temp_dir().join("ctwatch-blocklist.nft");
    std::fs::write(&file, &output.stdout).unwrap();
    let name = gateway.gateway().name();
    let nft = |arguments: &[&str]| {
        let command = [&["netns", "exec", name, "nft"], arguments].concat();
        let output = Command::new("ip").args(command).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    nft(&["-f", file.to_str().unwrap()]);
    let rules = nft(&["list", "table", "inet", "ctwatch"]);
    for source in [ABUSER, PREFIX6] {
        let element = source.strip_suffix("/64").unwrap_or(source);
        assert!(rules.contains(element), "{element}: {rules}");
    }
    assert!(!rules.contains("10.0.2."), "{rules}");
    full.stop();
}

#[test]
fn blocklist_spares_the_operator_and_the_router_and_says_why() {
    let Some(gateway) = gateway() else { return };
    let _listening = TcpListener::start(gateway.gateway(), 22).unwrap();
    let operator = FlowPlan::tcp_handshake(ip(ABUSER), 1).to(ip("10.255.0.1"), 22);
    let connected = operator.send(gateway.client()).unwrap();
    let full = full_of(&gateway, &[ABUSER, ROUTER]);
    let output = blocklist(&gateway, &["--format", "plain"]);
    println!("{}", said(&output));
    assert!(listed(&output).is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    for (source, why) in [
        (ABUSER, "it is at the other end of an SSH connection to this machine"),
        (ROUTER, "it is a router that this machine's routes lead to"),
    ] {
        let line = format!("spared {source}: {why}");
        assert!(said(&output).contains(&line), "{line}: {}", said(&output));
    }
    full.stop();
    drop(connected);
}

#[test]
fn blocklist_of_a_spoofed_flood_names_nobody_and_says_what_would_help() {
    let Some(gateway) = gateway() else { return };
    let _buckets = GlobalSetting::buckets(BUCKETS).unwrap();
    let _limit = GlobalSetting::limit(SPOOFED).unwrap();
    gateway.do_not_masquerade(VICTIM).unwrap();
    others(OTHERS * ENTRIES_OF_OTHERS).send(gateway.client()).unwrap();
    let flood = FlowPlan::tcp_syn(ip("10.0.1.2"), 1_000_000)
        .to(VICTIM.into(), 443)
        .from_scattered(Ipv4Addr::new(20, 0, 0, 0))
        .at_rate(NonZeroU64::new(1500).unwrap());
    let flood = Flood::start(gateway.client(), flood).unwrap();
    full(&gateway, SPOOFED);
    let output = blocklist(&gateway, &["--format", "plain"]);
    println!("{}", said(&output));
    assert!(listed(&output).is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    for part in ["go to 198.51.100.7 port 443 (tcp)", "made up", "ctwatch advise"] {
        assert!(said(&output).contains(part), "{part}: {}", said(&output));
    }
    flood.stop().unwrap();
}

/// What keeps a table full, and others asking in vain.
struct Full {
    _settings: [GlobalSetting; 2],
    floods: Vec<Flood>,
}

impl Full {
    fn stop(self) {
        for flood in self.floods {
            flood.stop().unwrap();
        }
    }
}

/// A full table: these sources go on flooding it, and thirty others that were there before go on asking.
fn full_of(gateway: &Gateway, abusers: &[&str]) -> Full {
    let settings = [GlobalSetting::buckets(BUCKETS).unwrap(), GlobalSetting::limit(LIMIT).unwrap()];
    others(OTHERS * ENTRIES_OF_OTHERS).send(gateway.client()).unwrap();
    let start = |plan: FlowPlan, per_s| {
        let plan = plan.at_rate(NonZeroU64::new(per_s).unwrap());
        Flood::start(gateway.client(), plan).unwrap()
    };
    let flood = |source: &&str| {
        let plan = FlowPlan::udp(ip(source), 1_000_000);
        let is_customer = source.contains(':');
        let many = NonZeroU64::new(8).unwrap();
        start(if is_customer { plan.from_sources(many) } else { plan }, PER_S)
    };
    let mut floods: Vec<Flood> = abusers.iter().map(flood).collect();
    full(gateway, LIMIT);
    floods.push(start(others(1_000_000).starting_at(10_000), 20));
    Full { _settings: settings, floods }
}

fn full(gateway: &Gateway, limit: u64) {
    wait::until(4 * wait::PATIENCE, "a full table", || {
        Ok((counters::entries(gateway.gateway())? >= limit).then_some(()))
    })
    .unwrap();
}

fn others(flows: u64) -> FlowPlan {
    FlowPlan::udp(ip("10.0.2.1"), flows).from_sources(NonZeroU64::new(OTHERS).unwrap())
}

fn blocklist(gateway: &Gateway, further: &[&str]) -> Output {
    let (rung, name) = (rung(), gateway.gateway().name());
    let basis = ["blocklist", "--for", "6s", "--netns", name, "--attach", &rung];
    Command::new(ctwatch()).args(basis).args(further).output().unwrap()
}

/// Who is on a list.
#[track_caller]
fn listed(output: &Output) -> BTreeSet<String> {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
    let text = String::from_utf8_lossy(&output.stdout);
    blocks(&text).map(|(source, _)| source.to_owned()).collect()
}

/// The lines of a list in plain format: each source, and what is said of it.
fn blocks(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().filter_map(|line| line.split_once('#'));
    lines.map(|(source, why)| (source.trim(), why)).filter(|(source, _)| !source.is_empty())
}

fn said(output: &Output) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(&output.stderr)
}
