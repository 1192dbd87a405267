//! The rules, one file each.

pub mod buckets;
pub mod expectations;
pub mod raise_limit;
pub mod timeouts;

use super::{bounds::Bounds, case::Case, cause::Finding, verdict::Verdict};

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// Its name in JSON.
    pub id: &'static str,
    /// What it is about, in one sentence.
    pub what: &'static str,
    /// Judges a case whose cause is known.
    pub judge: fn(&Case, &Finding, &Bounds) -> Verdict,
}

/// All rules, in the order in which advice is given and should be followed: what stays needlessly goes first, and buckets
/// grow before the limit.
pub const RULES: &[Rule] = &[
    Rule {
        id: timeouts::ID,
        what: "shorten a timeout whose idle entries fill the table",
        judge: timeouts::judge,
    },
    Rule {
        id: buckets::ID,
        what: "as many buckets as the table has entries at its limit",
        judge: buckets::judge,
    },
    Rule {
        id: raise_limit::ID,
        what: "as many entries as the traffic wants and memory allows",
        judge: raise_limit::judge,
    },
    Rule {
        id: expectations::ID,
        what: "enough expectations for the helpers",
        judge: expectations::judge,
    },
];

/// The command that changes a setting of the whole machine, which only the first network namespace can.
fn machine_command(case: &Case, command: String) -> String {
    if case.facts.may_change_machine == Some(false) {
        format!("nsenter -t 1 -n sh -c '{command}'")
    } else {
        command
    }
}

/// Who else sets this, as the end of a sentence; empty if nobody is known to.
fn writers_risk(case: &Case, key: &str) -> String {
    let sets = |keys: &[String]| keys.iter().any(|known| known == key);
    let writer = case.facts.writers.iter().find(|writer| sets(&writer.keys));
    writer.map_or_else(String::new, |writer| {
        format!("; {} sets this too, so that it may not last: {}", writer.who, writer.how)
    })
}
