//! What tests of advice share: cases that each make a rule speak, and running its commands as a person would. It must not
//! judge what they do.

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
use ctwatch::model::census::destinations::Destination;
use ctwatch::model::flood::Flood;
use ctwatch::model::loss::Loss;
use ctwatch::model::mode::Mode;
use ctwatch::model::snapshot::{CensusNow, KernelStatistics, Snapshot, SourceNumbers, Table};
use ctwatch::model::source;
use ctwatch_lab::{Gateway, skip};

use crate::observed::{ctwatch, ip};

/// What the rules that give commands of nft say of a case; further rules have tests of their own.
pub(crate) fn advice(case: &Case, cause: Cause) -> Vec<Advice> {
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

/// Runs every command as a person would. A kernel without a feature that one needs is said as a skip.
#[track_caller]
pub(crate) fn run(gateway: &Gateway, advice: &[Advice]) {
    let state = tempfile::tempdir().unwrap();
    let program = ctwatch();
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", program.parent().unwrap().display());
    for command in [advice, advice].concat().iter().flat_map(|advice| &advice.commands) {
        let output = Command::new("ip")
            .args(["netns", "exec", gateway.gateway().name(), "sh", "-c", command])
            .env("PATH", &path)
            .env("CTWATCH_STATE_DIR", state.path().join("state"))
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

pub(crate) fn flood(address: &str, port: Option<u16>, protocol: u8) -> Flood {
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
pub(crate) fn case(sources: &[(IpAddr, u64)], census: Census, floods: Vec<Flood>) -> Case {
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
