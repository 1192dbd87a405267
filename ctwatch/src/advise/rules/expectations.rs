//! Raises how many expectations the helpers of FTP, SIP and the like may hold.

use super::machine_command;
use crate::advise::{
    advice::{Advice, Change, Datum, Expected, Severity},
    bounds::Bounds,
    case::Case,
    cause::{Cause, Finding},
    settings::EXPECTATIONS,
    verdict::Verdict,
};

/// Its name.
pub const ID: &str = "expectations";
/// A step, as nothing tells how many more are wanted: those that find no room are not counted.
const STEP: i64 = 2;
/// The slab object of one (`struct nf_conntrack_expect`).
const EXPECTATION_BYTES: i64 = 256;

/// Judges.
pub fn judge(case: &Case, finding: &Finding, _bounds: &Bounds) -> Verdict {
    let Some(limit) = case.settings.get(EXPECTATIONS).filter(|limit| *limit > 0) else {
        return Verdict::Silent;
    };
    if finding.cause != Cause::Expectations {
        return Verdict::Silent;
    }
    let to = limit.saturating_mul(STEP);
    let memory = (to - limit).saturating_mul(EXPECTATION_BYTES);
    let mut evidence = vec![Datum::count("expectations_max", limit.unsigned_abs(), EXPECTATIONS)];
    evidence.extend(
        case.facts
            .expectations
            .map(|held| Datum::count("expectations", held, "/proc/net/nf_conntrack_expect")),
    );
    Verdict::Advise(vec![Advice {
        id: "raise-expectations".to_owned(),
        rule: ID,
        severity: Severity::Critical,
        what: format!("raise the limit of expectations from {limit} to {to}"),
        why: format!(
            "{} of {limit} expectations are held; once they are used up, a helper drops the packet that announces a connection, so that \
             calls and transfers fail",
            case.facts
                .expectations
                .map_or_else(|| "as many as all".to_owned(), |held| held.to_string())
        ),
        evidence,
        changes: vec![Change {
            key: EXPECTATIONS.to_owned(),
            from: limit.to_string(),
            to: to.to_string(),
        }],
        is_unasked: false,
        expected: Expected {
            entries_freed: Some(0),
            memory_bytes: Some(memory),
            refused_share: None,
            further: Vec::new(),
        },
        risk: "each expectation lets in one connection from outside, for as long as its helper says; a client that makes up \
               announcements can use up any limit"
            .to_owned(),
        commands: vec![machine_command(case, format!("sysctl -w {EXPECTATIONS}={to}"))],
        until: "these are used up as well, or the machine starts anew, unless it is made to last"
            .to_owned(),
    }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advise::samples;

    #[test]
    fn it_doubles_where_they_are_the_cause_and_is_silent_elsewhere() {
        let mut case = samples::case(|_| {});
        case.facts.expectations = Some(1020);
        case.facts.may_change_machine = Some(false);
        let finding = |cause| Finding { cause, explanation: String::new(), evidence: Vec::new() };
        let Verdict::Advise(advice) =
            judge(&case, &finding(Cause::Expectations), &Bounds::default())
        else {
            panic!("silent");
        };
        assert_eq!(advice[0].changes[0].to, "2048");
        assert_eq!(
            advice[0].commands,
            ["nsenter -t 1 -n sh -c 'sysctl -w net.netfilter.nf_conntrack_expect_max=2048'"]
        );
        let silent = judge(&case, &finding(Cause::None), &Bounds::default());
        assert_eq!(silent, Verdict::Silent);
    }
}
