//! Connections are tracked, and nothing needs it.

use super::{Cause, Finding, Signs};
use crate::advise::advice::Datum;

/// Whether that is so, as far as everybody who may need it is known.
pub(super) fn by_anybody(signs: &Signs<'_>) -> Option<Finding> {
    let facts = &signs.case.facts;
    let is_so =
        facts.are_users_known && facts.users.is_empty() && facts.translates_sources == Some(false);
    (is_so && signs.case.entries_max > 0).then(|| Finding {
        cause: Cause::ConntrackNotNeeded,
        explanation: format!(
            "{} connections are tracked, and neither a rule nor a program is known that needs it: it could be done without.",
            signs.case.entries_max
        ),
        evidence: vec![
            Datum::count("entries_max", signs.case.entries_max, "nf_conntrack_count, the most of the look"),
            Datum::count("users", 0, "rules of nft and iptables, modules, programs"),
        ],
    })
}
