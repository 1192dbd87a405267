//! A plan for a person: as a diff, as commands for a shell, and what has become of it.

use std::fmt::Write as _;

use super::wrap::wrap;
use crate::change::{
    guard::Objection,
    plan::{Choice, Plan, PlannedAdvice},
    purge::PurgeReport,
    record::{Measured, PlannedChange},
};

/// What belongs to a heading stands under it, this far in.
const INDENT: usize = 3;

/// The plan: what would be done now, what speaks against it, and what else could be chosen.
pub fn plan(plan: &Plan, choice: &Choice, objections: &[Objection]) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "CAUSE: {}", plan.cause);
    wrap(&mut text, "", INDENT, &plan.explanation);
    let is_chosen = |advice: &&PlannedAdvice| choice.ids.contains(&advice.id);
    let chosen: Vec<&PlannedAdvice> = plan.advice.iter().filter(is_chosen).collect();
    if chosen.is_empty() {
        text.push_str("\nNOTHING TO CHANGE without being asked for by its id\n");
    } else {
        text.push_str("\nPLAN, nothing is changed yet\n");
        for advice in &chosen {
            wrap(&mut text, "", INDENT, &format!("{}: {}", advice.id, advice.what));
            wrap(&mut text, "", INDENT, &format!("risk: {}", advice.risk));
        }
        text.push('\n');
        diff(&mut text, &choice.changes);
        text.push_str("\nTHE SAME BY HAND, in this order\n");
        choice.changes.iter().for_each(|change| by_hand(&mut text, change));
    }
    if !objections.is_empty() {
        text.push_str("\nWHAT SPEAKS AGAINST IT, so that --yes will refuse\n");
    }
    for objection in objections {
        wrap(&mut text, "", INDENT, &objection.to_string());
    }
    let others: Vec<&PlannedAdvice> =
        plan.advice.iter().filter(|advice| !is_chosen(advice)).collect();
    if !others.is_empty() {
        text.push_str("\nONLY WHEN ASKED FOR BY ID\n");
    }
    for advice in others {
        wrap(&mut text, "", INDENT, &format!("{}: {}", advice.id, advice.what));
        if advice.changes.is_empty() {
            wrap(&mut text, "", INDENT, "by hand only, see 'ctwatch advise'");
        }
        diff(&mut text, &advice.changes);
    }
    text
}

fn diff(text: &mut String, changes: &[PlannedChange]) {
    for PlannedChange { key, from, to } in changes {
        let _ = writeln!(text, "{:INDENT$}- {key} = {from}\n{:INDENT$}+ {key} = {to}", "", "");
    }
}

fn by_hand(text: &mut String, change: &PlannedChange) {
    let PlannedChange { key, to, .. } = change;
    let _ = match key.split_once('.') {
        Some(("nf_conntrack", parameter)) => writeln!(
            text,
            "{:INDENT$}echo {to} > /sys/module/nf_conntrack/parameters/{parameter}",
            ""
        ),
        _ => writeln!(text, "{:INDENT$}sysctl -w {key}={to}", ""),
    };
}

/// What was done.
pub fn done(set: u64, choice: &Choice) -> String {
    let mut text = format!("change set {set} is in force, each value read back:\n");
    diff(&mut text, &choice.changes);
    text
}

/// What became of idle entries.
pub fn purged(report: &PurgeReport) -> String {
    let PurgeReport { idle, ended, refreshed, gone, failed, beyond_cap, undecided } = report;
    format!(
        "purged: {ended} of {idle} idle entries ended, {refreshed} were used meanwhile and stay, {gone} had ended by \
         themselves, {failed} the kernel kept; {beyond_cap} more are beyond --purge-max; of {undecided} it cannot be told \
         whether they are idle, so they stay\n"
    )
}

/// Before, foretold, after, side by side.
pub fn effect(before: &Measured, predicted_share: Option<f64>, after: &Measured) -> String {
    let mut text = String::new();
    let rate = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"));
    let share = |share: Option<f64>| {
        share.map_or_else(|| "-".to_owned(), |share| format!("{:.2} %", share * 100.0))
    };
    let limit =
        |limit: Option<u64>| limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string());
    let mut line = |name: &str, before: &str, predicted: &str, after: &str| {
        let _ = writeln!(text, "{name:<16}{before:>12}{predicted:>12}{after:>12}");
    };
    line("", "BEFORE", "PREDICTED", "AFTER");
    line("entries", &before.entries.to_string(), "", &after.entries.to_string());
    line("limit", &limit(before.limit), "", &limit(after.limit));
    line("new/s", &rate(before.new_per_s), "", &rate(after.new_per_s));
    line("refused/s", &rate(before.refused_per_s), "", &rate(after.refused_per_s));
    line(
        "refused share",
        &share(before.refused_share),
        &share(predicted_share),
        &share(after.refused_share),
    );
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample() -> Plan {
        let limit = json!({"key": "net.netfilter.nf_conntrack_max", "from": 65_536, "to": 131_072});
        let buckets = json!({"key": "nf_conntrack.hashsize", "from": 65_536, "to": 131_072});
        let udp = json!({"key": "net.netfilter.nf_conntrack_udp_timeout", "from": 60, "to": 30});
        let advice = |id: &str, is_unasked: bool, changes: &[&serde_json::Value]| {
            json!({
                "id": id, "what": format!("do {id}"), "risk": "none", "is_unasked": is_unasked, "changes": changes,
                "commands": ["block it"], "refused_share": 0.0,
            })
        };
        let plan = json!({
            "schema": 1,
            "boottime_ns": 1,
            "place": {"boot": "2f9c", "netns": 4_026_531_840_u32, "netns_name": "self", "is_initial": true},
            "cause": "growth",
            "explanation": "more is wanted than fits",
            "before": Measured::default(),
            "entry_bytes": 256,
            "advice": [
                advice("block-source-10.0.1.66", false, &[]),
                advice("raise-limit", true, &[&limit]),
                advice("set-buckets", true, &[&buckets]),
                advice("shorten-udp-timeout", false, &[&udp]),
            ],
        });
        Plan::from_json(plan.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_plan_is_a_diff_commands_and_what_else_there_is() {
        let sample = sample();
        let choice = sample.choose(&[]).unwrap();
        let objection = Objection::NotFromHere("nf_conntrack.hashsize".to_owned());
        let expected = "\
CAUSE: growth
   more is wanted than fits

PLAN, nothing is changed yet
   raise-limit: do raise-limit
   risk: none
   set-buckets: do set-buckets
   risk: none

   - nf_conntrack.hashsize = 65536
   + nf_conntrack.hashsize = 131072
   - net.netfilter.nf_conntrack_max = 65536
   + net.netfilter.nf_conntrack_max = 131072

THE SAME BY HAND, in this order
   echo 131072 > /sys/module/nf_conntrack/parameters/hashsize
   sysctl -w net.netfilter.nf_conntrack_max=131072

WHAT SPEAKS AGAINST IT, so that --yes will refuse
   nf_conntrack.hashsize is the whole machine's and cannot be changed from this
   network namespace or container: do it on the host, in its initial network
   namespace

ONLY WHEN ASKED FOR BY ID
   block-source-10.0.1.66: do block-source-10.0.1.66
   by hand only, see 'ctwatch advise'
   shorten-udp-timeout: do shorten-udp-timeout
   - net.netfilter.nf_conntrack_udp_timeout = 60
   + net.netfilter.nf_conntrack_udp_timeout = 30
";
        assert_eq!(plan(&sample, &choice, &[objection]), expected);
    }

    #[test]
    fn what_is_chosen_is_known_doable_and_without_contradiction() {
        let mut plan = sample();
        let choose = |plan: &Plan, ids: &[&str]| {
            let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
            plan.choose(&ids).map(|choice| choice.ids).map_err(|error| error.to_string())
        };
        assert_eq!(choose(&plan, &[]).unwrap(), ["raise-limit", "set-buckets"]);
        assert_eq!(choose(&plan, &["shorten-udp-timeout"]).unwrap(), ["shorten-udp-timeout"]);
        let unknown = choose(&plan, &["raise"]).unwrap_err();
        assert!(unknown.contains("there is no advice 'raise': there is block-source"), "{unknown}");
        let by_hand = choose(&plan, &["block-source-10.0.1.66"]).unwrap_err();
        assert!(by_hand.ends_with("by hand: block it"), "{by_hand}");
        for advice in &mut plan.advice {
            if advice.id == "set-buckets" {
                advice.changes = vec![PlannedChange {
                    key: "net.netfilter.nf_conntrack_max".to_owned(),
                    from: 65_536,
                    to: 70_000,
                }];
            }
        }
        let conflict = choose(&plan, &[]).unwrap_err();
        assert!(conflict.contains("'raise-limit' and 'set-buckets'"), "{conflict}");
    }
}
