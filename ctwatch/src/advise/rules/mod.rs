//! The rules, one file each.

pub mod block_source;
pub mod buckets;
pub mod expectations;
pub mod management_reserve;
mod nft;
pub mod not_needed;
pub mod notrack;
pub mod protect_destination;
pub mod raise_limit;
pub mod reset_writer;
pub mod snat_ports;
pub mod source_cap;
mod stateless;
pub mod tcp_loose;
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

/// All rules, in the order in which advice is given and should be followed. First what stops the cause before conntrack is
/// reached, and what is no matter of the table's size; then what keeps the machine reachable, and entries that need not
/// be there; then values, where else they are set and what they are to be: timeouts, buckets, and the limit only behind
/// them; last what helps against the next time.
pub const RULES: &[Rule] = &[
    Rule {
        id: block_source::ID,
        what: "block the few sources that fill the table, in front of conntrack",
        judge: block_source::judge,
    },
    Rule {
        id: protect_destination::ID,
        what: "protect what a flood from made-up addresses goes to",
        judge: protect_destination::judge,
    },
    Rule {
        id: tcp_loose::ID,
        what: "pick up no TCP connection in its middle, against floods and for synproxy",
        judge: tcp_loose::judge,
    },
    Rule { id: snat_ports::ID, what: "give source NAT more ports", judge: snat_ports::judge },
    Rule {
        id: management_reserve::ID,
        what: "keep SSH to this machine reachable when the table is full",
        judge: management_reserve::judge,
    },
    Rule {
        id: notrack::ID,
        what: "do not track a stateless service that holds much of the table",
        judge: notrack::judge,
    },
    Rule {
        id: reset_writer::ID,
        what: "change a value where somebody else sets it",
        judge: reset_writer::judge,
    },
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
    Rule { id: source_cap::ID, what: "cap what one source may hold", judge: source_cap::judge },
    Rule {
        id: not_needed::ID,
        what: "do without connection tracking where nothing needs it",
        judge: not_needed::judge,
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Blocking comes before anything that makes room, as room is filled at once; and buckets grow before the limit, as long
    /// chains lose entries.
    #[test]
    fn advice_that_is_followed_in_its_order_never_makes_it_worse() {
        let place = |id: &str| RULES.iter().position(|rule| rule.id == id).expect(id);
        let order = ["block_source", "protect_destination", "timeouts", "buckets", "raise_limit"];
        let places = order.map(place);
        assert!(places.is_sorted(), "{places:?}");
        let ids: BTreeSet<&str> = RULES.iter().map(|rule| rule.id).collect();
        assert_eq!(ids.len(), RULES.len());
    }
}
