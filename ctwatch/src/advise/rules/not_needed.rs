//! Do without connection tracking where nothing needs it: how, and in which order; ctwatch never does it.

use super::nft;
use crate::advise::{
    advice::{Advice, Datum, Expected, Severity},
    bounds::Bounds,
    case::Case,
    cause::{Cause, Finding},
    facts::{Modules, User},
    verdict::Verdict,
    wording::list,
};

/// In the JSON.
pub const ID: &str = "not_needed";
const CHAIN: &str = "stop-tracking";

/// Judges a case.
pub fn judge(case: &Case, finding: &Finding, _bounds: &Bounds) -> Verdict {
    if finding.cause != Cause::ConntrackNotNeeded || case.facts.translates_sources == Some(true) {
        return Verdict::Silent;
    }
    let users: Vec<String> =
        case.facts.users.iter().map(|User { who, why, .. }| format!("{who} ({why})")).collect();
    let asked_for = if users.is_empty() {
        "What asks for it could not be found in the rules.".to_owned()
    } else {
        format!("What asks for it: {}.", users.join("; "))
    };
    let local = format!("{CHAIN}-local");
    let [chain, empty] = nft::chain(CHAIN, "prerouting", nft::RAW);
    let [chain_local, empty_local] = nft::chain(&local, "output", nft::RAW);
    let entries = case.entries();
    let entry_bytes = case.facts.memory.entry_bytes;
    let freed = entry_bytes.and_then(|bytes| i64::try_from(bytes.saturating_mul(entries)).ok());
    Verdict::Advise(vec![Advice {
        id: CHAIN.to_owned(),
        rule: ID,
        severity: Severity::Info,
        what: "Stop tracking connections: first by rule, and when that has proved itself by removing what asks for it and \
               then the modules."
            .to_owned(),
        why: format!("Nothing that was found needs to know connections, and {entries} are tracked. {asked_for}"),
        evidence: vec![
            Datum::count("entries", entries, "table.entries"),
            Datum::text("users", users.join("; "), "rules and modules"),
        ],
        changes: Vec::new(),
        is_unasked: false,
        expected: Expected {
            entries_freed: Some(entries),
            memory_bytes: freed.map(|bytes| -bytes),
            ..Expected::default()
        },
        risk: format!(
            "If something needs it after all (translation, rules by 'ct state', a service that makes its own rules), that \
             stops working at once. {}",
            removal(&case.facts.modules)
        ),
        commands: vec![
            nft::table(),
            chain,
            empty,
            chain_local,
            empty_local,
            nft::rule(CHAIN, "notrack"),
            nft::rule(&local, "notrack"),
            nft::undo(&[CHAIN, &local]),
        ],
        until: "A rule or a service is added that needs connections to be tracked.".to_owned(),
    }])
}

/// How to take the modules away: never done here, as what needs them stops working.
fn removal(modules: &Modules) -> String {
    if modules.is_built_in {
        return "Conntrack is built into this kernel and cannot be removed from it.".to_owned();
    }
    let names: Vec<String> = modules.removal_order.iter().map(|used| used.name.clone()).collect();
    if names.is_empty() {
        return "In which order its modules can be removed could not be read.".to_owned();
    }
    format!(
        "Remove modules only at a console, each with 'modprobe -r', in this order: {}. The kernel refuses one that is still \
         in use.",
        list(&names)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advise::{
        facts::ModuleUse,
        samples::{self, finding},
    };

    fn case() -> Case {
        samples::of_sources(&[("10.9.0.1", 6, 100, 0)])
    }

    #[test]
    fn it_says_what_asks_for_it_and_in_which_order_to_do_without() {
        let verdict = judge(&case(), &finding(Cause::ConntrackNotNeeded), &Bounds::default());
        let Verdict::Advise(advice) = verdict else { panic!("{verdict:?}") };
        let [advice] = advice.as_slice() else { panic!("{advice:?}") };
        assert!(
            advice.why.contains("100 are tracked") && advice.why.contains("could not be found"),
            "{}",
            advice.why
        );
        assert!(advice.risk.contains("could not be read"), "{}", advice.risk);
        assert!(
            advice.changes.is_empty()
                && !advice.commands.iter().any(|command| command.contains("modprobe"))
        );
    }

    #[test]
    fn modules_are_removed_in_their_order_or_not_at_all() {
        let module = |name: &str| ModuleUse { name: name.to_owned(), used_by: Vec::new(), held: 0 };
        let removal_order = ["nft_ct", "nf_conntrack"].map(module).to_vec();
        let said = removal(&Modules { removal_order, is_loaded: true, is_built_in: false });
        assert!(said.contains("nft_ct and nf_conntrack."), "{said}");
        let said = removal(&Modules { is_built_in: true, ..Modules::default() });
        assert!(said.contains("built into this kernel"), "{said}");
    }

    #[test]
    fn where_it_is_needed_or_nobody_says_otherwise_it_is_silent() {
        let mut nat = case();
        nat.facts.translates_sources = Some(true);
        let verdict = judge(&nat, &finding(Cause::ConntrackNotNeeded), &Bounds::default());
        assert_eq!(verdict, Verdict::Silent);
        assert_eq!(judge(&case(), &finding(Cause::Growth), &Bounds::default()), Verdict::Silent);
    }
}
