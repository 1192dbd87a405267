//! The rules, one file each.

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

/// All rules, in the order in which advice is given and should be followed.
pub const RULES: &[Rule] = &[Rule {
    id: timeouts::ID,
    what: "shorten a timeout whose idle entries fill the table",
    judge: timeouts::judge,
}];
