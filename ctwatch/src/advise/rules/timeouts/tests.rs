//! Which timeout is advised for which table, and when none is.

use std::sync::Arc;

use super::*;
use crate::advise::{
    cause::{Finding, classify},
    facts::Facts,
    settings::{LIMIT, Settings},
    what_if::with_timeout,
};
use crate::model::{
    census::remaining::{Kind, RemainingOfKind, RemainingTimes},
    snapshot::CensusNow,
};
use crate::output::sample;

const CLOSE_WAIT: Kind = Kind::Tcp { state: 5, is_unreplied: false };
const ESTABLISHED_KIND: Kind = Kind::Tcp { state: 3, is_unreplied: false };
const TIME_WAIT: Kind = Kind::Tcp { state: 7, is_unreplied: false };

/// Of each kind so many entries with so much left, in a table that 1000 fit into.
fn case(held: &[(Kind, u32, u32)]) -> Case {
    let entries: u64 = held.iter().map(|(_, _, entries)| u64::from(*entries)).sum();
    let kinds = held.iter().map(|(kind, left_s, entries)| RemainingOfKind {
        kind: *kind,
        entries_by_second: vec![(*left_s, *entries)],
        not_told: 0,
        not_counted: 0,
    });
    let remaining = RemainingTimes { kinds: kinds.collect(), without_kind: 0 };
    let mut last = sample::snapshot();
    last.census = Some(CensusNow {
        age_s: 1.0,
        census: Arc::new(Census { entries, remaining, ..Census::default() }),
    });
    last.table.entries = entries;
    last.totals.refused = Some(0);
    let mut settings = Settings::default();
    settings.values.insert(LIMIT.to_owned(), 1000);
    for timeout in TIMEOUTS {
        settings = with_timeout(&settings, timeout, timeout.default_s);
    }
    let last = Arc::new(last);
    let first = Arc::clone(&last);
    let facts = Facts::default();
    Case { seconds: 10.0, first, last, entries_max: entries, settings, facts }
}

fn with(mut case: Case, name: &str, seconds: u32) -> Case {
    case.settings = with_timeout(&case.settings, by_name(name).unwrap(), seconds);
    case
}

fn judged(case: &Case, bounds: &Bounds) -> Verdict {
    let finding = Finding { cause: Cause::None, explanation: String::new(), evidence: Vec::new() };
    judge(case, &finding, bounds)
}

/// What is advised: the id, the value, and how many entries end.
fn advised(case: &Case) -> Vec<(String, String, u64)> {
    match judged(case, &Bounds::default()) {
        Verdict::Advise(advice) => advice
            .into_iter()
            .map(|advice| {
                assert!(!advice.is_unasked && advice.rule == ID, "{advice:?}");
                (advice.id, advice.changes[0].to.clone(), advice.expected.entries_freed.unwrap())
            })
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn one(id: &str, to: u32, ends: u64) -> Vec<(String, String, u64)> {
    vec![(id.to_owned(), to.to_string(), ends)]
}

#[test]
fn a_table_with_room_has_no_advice_and_a_full_one_without_idle_entries_a_refusal() {
    let held = [(ESTABLISHED_KIND, 100_000, 600)];
    assert_eq!(judged(&case(&held), &Bounds::default()), Verdict::Silent);
    let held = [(ESTABLISHED_KIND, 431_000, 900), (ESTABLISHED_KIND, 200, 90)];
    let Verdict::Refuse(why) = judged(&case(&held), &Bounds::default()) else { panic!() };
    assert!(
        why.contains("tcp_timeout_established = 54000") && why.contains("end 0 of 990"),
        "{why}"
    );
    let mut unknown = case(&held);
    Arc::make_mut(&mut unknown.last).census = None;
    assert_eq!(judged(&unknown, &Bounds::default()), Verdict::Silent);
}

#[test]
fn the_gentlest_stage_that_suffices_is_advised() {
    let idle_for = |seconds: u32, entries| (ESTABLISHED_KIND, 432_000 - seconds, entries);
    // 200 too many: those that are idle for more than a day suffice, or not.
    let two_days = case(&[idle_for(10, 400), idle_for(8000, 200), idle_for(170_000, 300)]);
    assert_eq!(advised(&two_days), one("shorten-tcp-timeout-established", 86_400, 300));
    let hours = case(&[idle_for(10, 400), idle_for(8000, 200), idle_for(170_000, 300)]);
    let mut fuller = hours.clone();
    fuller.settings.values.insert(LIMIT.to_owned(), 700);
    assert_eq!(advised(&fuller), one("shorten-tcp-timeout-established", 7440, 500));
}

#[test]
fn a_value_far_above_its_default_is_reset_to_it_even_without_pressure() {
    let held = [(CLOSE_WAIT, 2000, 300), (ESTABLISHED_KIND, 431_000, 100)];
    let calm = with(case(&held), "tcp_timeout_close_wait", 3600);
    assert_eq!(advised(&calm), one("shorten-tcp-timeout-close-wait", 60, 300));
    let Verdict::Advise(advice) = judged(&calm, &Bounds::default()) else { panic!() };
    assert_eq!(advice[0].severity, Severity::Info);
    assert!(advice[0].why.contains("60 times the kernel's default"), "{}", advice[0].why);
    assert_eq!(
        advice[0].commands[2].split("  #").next(),
        Some("conntrack -L -p tcp --state CLOSE_WAIT | awk '$3 < 3540'")
    );
}

/// Entries that have just been made are not idle, but the timeout is what will keep them.
#[test]
fn the_timeout_that_is_the_cause_is_shortened_though_nothing_ends_at_once() {
    let mut full = with(case(&[(CLOSE_WAIT, 3590, 990)]), "tcp_timeout_close_wait", 3600);
    Arc::make_mut(&mut full.last).floods = None;
    Arc::make_mut(&mut full.last).sources.clear();
    let bounds = Bounds::default();
    let finding = classify(&full, &bounds);
    assert_eq!(finding.cause, Cause::LingeringState);
    let Verdict::Advise(advice) = judge(&full, &finding, &bounds) else { panic!() };
    let [advice] = advice.as_slice() else { panic!("{advice:?}") };
    assert_eq!(
        (advice.id.as_str(), advice.changes[0].to.as_str()),
        ("shorten-tcp-timeout-close-wait", "60")
    );
    assert_eq!(advice.expected.entries_freed, Some(0));
    assert!(!advice.what.contains(" end "), "{}", advice.what);
    // Without that cause it would have to end something.
    let nothing = Finding { cause: Cause::None, ..finding };
    assert!(matches!(judge(&full, &nothing, &bounds), Verdict::Refuse(_)));
}

#[test]
fn no_more_timeouts_are_advised_than_suffice() {
    let full =
        case(&[(TIME_WAIT, 50, 500), (Kind::Icmp, 5, 200), (ESTABLISHED_KIND, 431_000, 300)]);
    assert_eq!(advised(&full), one("shorten-tcp-timeout-time-wait", 60, 500));
    let mut fuller = full;
    fuller.settings.values.insert(LIMIT.to_owned(), 500);
    let ids: Vec<String> = advised(&fuller).into_iter().map(|(id, ..)| id).collect();
    assert_eq!(ids, ["shorten-tcp-timeout-time-wait", "shorten-icmp-timeout"]);
}

#[test]
fn none_goes_below_what_the_rfcs_ask_of_a_nat_unless_that_is_allowed() {
    let stream = Kind::Udp { is_assured: true };
    let held = [(stream, 40, 900)];
    let full = case(&held);
    assert!(matches!(judged(&full, &Bounds::default()), Verdict::Refuse(_)));
    let allowed = Bounds { allow_below_rfc: true, ..Bounds::default() };
    let Verdict::Advise(advice) = judged(&full, &allowed) else { panic!() };
    assert_eq!(advice[0].changes[0].to, "60");
    let mut no_nat = full;
    no_nat.facts.translates_sources = Some(false);
    assert_eq!(advised(&no_nat), one("shorten-udp-timeout-stream", 60, 900));
}

#[test]
fn refusals_make_it_critical_and_memory_is_told_where_it_is_known() {
    let mut full = case(&[(TIME_WAIT, 50, 900)]);
    Arc::make_mut(&mut full.last).totals.refused = Some(7);
    full.facts.memory.entry_bytes = Some(256);
    full.facts.memory.extension_bytes = Some(128);
    let Verdict::Advise(advice) = judged(&full, &Bounds::default()) else { panic!() };
    assert_eq!(advice[0].severity, Severity::Critical);
    assert_eq!(advice[0].expected.memory_bytes, Some(-384 * 900));
}

#[test]
fn where_rules_have_timeouts_of_their_own_nobody_knows_what_is_idle() {
    let mut full = case(&[(TIME_WAIT, 50, 900)]);
    full.facts.timeouts_of_rules = Some(0);
    assert_eq!(advised(&full), one("shorten-tcp-timeout-time-wait", 60, 900));
    full.facts.timeouts_of_rules = Some(2);
    let Verdict::Refuse(why) = judged(&full, &Bounds::default()) else { panic!() };
    assert!(why.contains("2 timeouts of their own"), "{why}");
}

/// Every stage of every timeout lies between what is allowed and what it is now.
#[test]
fn stages_go_down_and_not_too_far() {
    for timeout in TIMEOUTS {
        for from_s in [timeout.default_s / 2, timeout.default_s, 10 * timeout.default_s] {
            let least_s = timeout.least_advised_s(None, &Bounds::default());
            let stages = stages(timeout, from_s, least_s);
            assert!(stages.iter().all(|stage| (least_s..from_s).contains(stage)), "{timeout:?}");
            assert!(stages.is_sorted_by(|one, other| one > other), "{stages:?}");
        }
    }
}
