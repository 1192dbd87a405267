//! A case and what is said of it, for the tests of what is printed.

use std::sync::Arc;

use crate::{
    advise::{
        Diagnosis,
        advice::{Advice, Change, Datum, Expected, Severity},
        case::Case,
        cause::{Cause, Finding},
        facts::Facts,
        settings::Settings,
        verdict::RefusedAdvice,
    },
    output::sample,
};

/// The look that ended with [`sample::snapshot`].
pub(crate) fn case() -> Case {
    let last = Arc::new(sample::snapshot());
    Case {
        seconds: 10.0,
        first: Arc::clone(&last),
        entries_max: last.table.entries,
        last,
        settings: Settings::default(),
        facts: Facts::default(),
    }
}

/// One piece of advice of each form, and one that is refused.
pub(crate) fn diagnosis() -> Diagnosis {
    let evidence = vec![
        Datum::count("entries", 61_000, "sources of ctwatch"),
        Datum::real("share", 0.984, "entries / table.entries"),
    ];
    let block = Advice {
        id: "block-source-10.0.1.2".to_owned(),
        rule: "block_source",
        severity: Severity::Critical,
        what: "Drop what 10.0.1.2 sends before conntrack sees it.".to_owned(),
        why: "It holds 61000 of 62000 entries, and its packets had 512 entries of others thrown out in ten seconds."
            .to_owned(),
        evidence: evidence.clone(),
        changes: Vec::new(),
        is_unasked: false,
        expected: Expected { entries_freed: Some(61_000), memory_bytes: Some(-15_616_000), ..Expected::default() },
        risk: "Everybody behind that address is cut off.".to_owned(),
        commands: vec![
            "nft add table inet ctwatch".to_owned(),
            "conntrack -D -s 10.0.1.2".to_owned(),
        ],
        until: "It has stopped.".to_owned(),
    };
    let raise = Advice {
        id: "raise-limit".to_owned(),
        rule: "raise_limit",
        severity: Severity::Warning,
        what: "Let more entries in.".to_owned(),
        why: "There is need for 120000 entries.".to_owned(),
        evidence: evidence.clone(),
        changes: vec![Change {
            key: "net.netfilter.nf_conntrack_max".to_owned(),
            from: "65536".to_owned(),
            to: "131072".to_owned(),
        }],
        is_unasked: true,
        expected: Expected {
            entries_freed: Some(0),
            memory_bytes: Some(16_777_216),
            refused_share: Some(0.0),
            further: vec![Datum::real("time_to_full_s", 86.4, "growth")],
        },
        risk: "Memory.".to_owned(),
        commands: vec!["sysctl -w net.netfilter.nf_conntrack_max=131072".to_owned()],
        until: "The table holds more than 100000 entries again.".to_owned(),
    };
    Diagnosis {
        finding: Finding {
            cause: Cause::SingleSource,
            explanation: "10.0.1.2 holds 98 % of the table, which is 250 times as much as the largest of all others."
                .to_owned(),
            evidence,
        },
        advice: vec![block, raise],
        refused: vec![RefusedAdvice {
            rule: "tcp_timeouts",
            why: "No timeout of TCP would end more than 3 of the 62000 entries, because nearly all of them are of UDP."
                .to_owned(),
        }],
    }
}
