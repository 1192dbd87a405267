//! Keep SSH to this machine reachable when the table is full: what is not tracked is never refused an entry.

use super::nft;
use crate::advise::{
    advice::{Advice, Datum, Expected, Severity},
    bounds::Bounds,
    case::Case,
    cause::{Cause, Finding},
    verdict::Verdict,
};

/// In the JSON.
pub const ID: &str = "management_reserve";
const CHAIN: &str = "reserve-management";
/// Above this share of the limit it is high time.
const URGENT: f64 = 0.8;
/// Below this, and with nothing wrong, it is not worth a word.
const QUIET: f64 = 0.5;

/// Judges a case.
pub fn judge(case: &Case, finding: &Finding, _bounds: &Bounds) -> Verdict {
    let utilization = case.last.table.utilization.unwrap_or(0.0);
    let refused = case.totals().refused;
    let is_refusing = refused.is_some_and(|refused| refused > 0);
    let is_quiet = finding.cause == Cause::None && utilization < QUIET && !is_refusing;
    let can_fill = case.last.table.limit.is_some();
    // In a namespace that serves no SSH there is nothing to keep.
    if case.facts.addresses.serves_ssh == Some(false) || is_quiet || !can_fill {
        return Verdict::Silent;
    }
    let is_urgent = utilization >= URGENT || is_refusing;
    let refusals = refused.map_or_else(
        || "whether it refuses cannot be seen in this mode".to_owned(),
        |refused| format!("{refused} packets were refused during the look"),
    );
    let unknown = if case.facts.addresses.serves_ssh.is_none() {
        " Whether SSH is served here could not be read."
    } else {
        ""
    };
    let [chain, empty] = nft::chain(CHAIN, "prerouting", nft::RAW);
    let local = format!("{CHAIN}-local");
    let [chain_local, empty_local] = nft::chain(&local, "output", nft::RAW);
    Verdict::Advise(vec![Advice {
        id: CHAIN.to_owned(),
        rule: ID,
        severity: if is_urgent { Severity::Warning } else { Severity::Info },
        what: "Do not track SSH to this machine itself (port 22), so that you still get in when the table is full."
            .to_owned(),
        why: format!(
            "The table is at {:.0} % of its limit, and {refusals}. At a full table a new \
             SSH connection is refused like any other; one that is open stays.{unknown}",
            utilization * 100.0
        ),
        evidence: [
            Some(Datum::real("utilization", utilization, "table.utilization")),
            refused.map(|refused| Datum::count("refused", refused, "totals.refused over the look")),
        ]
        .into_iter()
        .flatten()
        .collect(),
        changes: Vec::new(),
        is_unasked: false,
        expected: Expected::default(),
        risk: "If your rules accept SSH only by the state of a connection, this cuts you off: 'nft list ruleset' must show that \
             port 22 is accepted by itself, in and out. Do it with a second session open. If sshd listens on another port, \
             or port 22 of this machine is forwarded elsewhere, change the port in the rules."
            .to_owned(),
        commands: vec![
            nft::table(),
            chain,
            empty,
            chain_local,
            empty_local,
            nft::rule(CHAIN, "fib daddr type local tcp dport 22 notrack"),
            nft::rule(&local, "tcp sport 22 notrack"),
            nft::undo(&[CHAIN, &local]),
        ],
        until: "It can stay for good.".to_owned(),
    }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advise::samples::{self, finding};

    fn at(utilization: f64, refused: u64, cause: Cause, serves_ssh: Option<bool>) -> Verdict {
        let mut case =
            samples::with_last(samples::of_sources(&[("10.9.0.1", 6, 100, refused)]), |last| {
                last.table.utilization = Some(utilization);
            });
        case.facts.addresses.serves_ssh = serves_ssh;
        judge(&case, &finding(cause), &Bounds::default())
    }

    fn severity(verdict: &Verdict) -> Option<Severity> {
        match verdict {
            Verdict::Advise(advice) => Some(advice[0].severity),
            _ => None,
        }
    }

    #[test]
    fn it_is_urgent_near_the_limit_and_not_worth_a_word_far_from_it() {
        let ssh = Some(true);
        assert_eq!(severity(&at(0.9, 0, Cause::None, ssh)), Some(Severity::Warning));
        assert_eq!(severity(&at(0.2, 7, Cause::SingleSource, ssh)), Some(Severity::Warning));
        assert_eq!(severity(&at(0.6, 0, Cause::None, ssh)), Some(Severity::Info));
        assert_eq!(severity(&at(0.2, 0, Cause::LingeringState, ssh)), Some(Severity::Info));
        assert_eq!(at(0.2, 0, Cause::None, ssh), Verdict::Silent);
    }

    #[test]
    fn where_no_ssh_is_served_there_is_nothing_to_keep() {
        assert_eq!(at(1.0, 7, Cause::SingleSource, Some(false)), Verdict::Silent);
        let verdict = at(1.0, 7, Cause::SingleSource, None);
        let Verdict::Advise(advice) = verdict else { panic!("{verdict:?}") };
        assert!(advice[0].why.contains("could not be read"), "{}", advice[0].why);
        assert!(
            advice[0].why.contains("100 %") && advice[0].why.contains("7 packets"),
            "{}",
            advice[0].why
        );
        assert!(advice[0].risk.contains("cuts you off"), "{}", advice[0].risk);
    }

    #[test]
    fn a_table_without_a_limit_never_fills() {
        let case = samples::with_last(samples::of_sources(&[("10.9.0.1", 6, 100, 0)]), |last| {
            (last.table.limit, last.table.utilization) = (None, None);
        });
        assert_eq!(judge(&case, &finding(Cause::Growth), &Bounds::default()), Verdict::Silent);
    }
}
