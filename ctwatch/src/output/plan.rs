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
    for objection in objections {
        wrap(&mut text, "\nNOT AS IT IS", INDENT, "");
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
