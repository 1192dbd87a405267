//! `ctwatch audit` on every rung that this kernel has, all at the same time, while a scenario runs: each must find that
//! every identity holds. It must not judge what the scenario is about.

use ctwatch_lab::counters::{self, Statistics, conntrack_statistics};
use ctwatch_lab::{Ctwatch, Gateway, wait};
use serde_json::Value;

use crate::observed::{number, rungs, start_attached, stop};

/// The identities that must be there and checked, whatever the kernel.
const IDENTITIES: [&str; 11] = [
    "held",
    "refused",
    "evicted",
    "evictions_caused",
    "ends",
    "insert_failed",
    "sums",
    "witness_new",
    "witness_refused",
    "witness_ended",
    "events",
];

/// What one scenario did, by the kernel's own counters and by each audit.
pub(crate) struct Audited {
    /// What the kernel counted meanwhile (`conntrack -S`).
    pub(crate) kernel: Statistics,
    audits: Vec<(String, Value)>,
}

impl Audited {
    /// One side of an identity, which all audits agree on.
    #[track_caller]
    pub(crate) fn left(&self, id: &str) -> u64 {
        self.sum(&[id])
    }

    /// The sum of one side of some identities, which all audits agree on: they end one after another, and the garbage
    /// collector may throw entries out meanwhile.
    #[track_caller]
    pub(crate) fn sum(&self, ids: &[&str]) -> u64 {
        let sum = |audit| ids.iter().map(|id| number(identity(audit, id), "left")).sum::<i64>();
        let mut sums = self.audits.iter().map(|(_, audit)| sum(audit));
        let first = sums.next().unwrap();
        assert!(sums.all(|sum| sum == first), "{ids:?}: {:?}", self.audits);
        u64::try_from(first).unwrap()
    }
}

/// Runs `scenario` on the gateway under the audit of every rung, and asserts that each identity holds on each.
#[track_caller]
pub(crate) fn audited(gateway: &Gateway, scenario: impl FnOnce(&Gateway)) -> Audited {
    let audits: Vec<(String, Ctwatch)> = rungs()
        .into_iter()
        .map(|rung| {
            let mut audit =
                start_attached(gateway, &rung, &["audit", "--json", "--for", "10m"], &[]);
            audit.hear(wait::PATIENCE, "looking for").unwrap();
            (rung, audit)
        })
        .collect();
    let before = conntrack_statistics(gateway.gateway()).unwrap();
    scenario(gateway);
    at_rest(gateway);
    let kernel = conntrack_statistics(gateway.gateway()).unwrap().since(&before);
    let audits = audits.into_iter().map(|(rung, audit)| {
        let mut lines = stop(audit).unwrap();
        let audit = lines.pop().unwrap().json;
        assert_holds(&rung, &audit);
        (rung, audit)
    });
    Audited { kernel, audits: audits.collect() }
}

/// As [`audited`], but ends while packets still come: what moves while it is read must not look wrong.
#[track_caller]
pub(crate) fn audited_under_fire(gateway: &Gateway, seconds: u64) {
    let duration = format!("{seconds}s");
    let audits: Vec<(String, Ctwatch)> = rungs()
        .into_iter()
        .map(|rung| {
            let command = ["audit", "--json", "--for", &duration];
            let audit = start_attached(gateway, &rung, &command, &[]);
            (rung, audit)
        })
        .collect();
    for (rung, audit) in audits {
        let ended = audit.ended(wait::PATIENCE).unwrap();
        let audit = &ended.lines[0].json;
        println!("{rung}: {audit}");
        assert_eq!(
            (ended.status.code(), &audit["holds"]),
            (Some(0), &true.into()),
            "{rung}: {audit}"
        );
        let checked = audit["identities"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|identity| !identity["holds"].is_null());
        assert!(checked.count() >= IDENTITIES.len() - 1, "{rung}: {audit}");
    }
}

/// Waits until nothing is under way any more.
pub(crate) fn at_rest(gateway: &Gateway) {
    let settle = std::time::Duration::from_millis(200);
    wait::until_quiet(wait::PATIENCE, settle, "the table", || {
        let entries = counters::entries(gateway.gateway())?;
        Ok((entries, conntrack_statistics(gateway.gateway())?))
    })
    .unwrap();
}

#[track_caller]
fn assert_holds(rung: &str, audit: &Value) {
    assert_eq!(audit["holds"], true, "{rung}: {audit}");
    for id in IDENTITIES {
        assert_eq!(identity(audit, id)["holds"], true, "{rung}, {id}: {audit}");
    }
    let identities = audit["identities"].as_array().unwrap();
    let said: Vec<String> = identities
        .iter()
        .map(|identity| format!("{} {}={}", identity["id"], identity["left"], identity["right"]))
        .collect();
    println!("{rung}: {}", said.join(", ").replace('"', ""));
}

#[track_caller]
fn identity<'a>(audit: &'a Value, id: &str) -> &'a Value {
    let identities = audit["identities"].as_array().unwrap();
    identities
        .iter()
        .find(|identity| identity["id"] == id)
        .unwrap_or_else(|| panic!("no {id}: {audit}"))
}
