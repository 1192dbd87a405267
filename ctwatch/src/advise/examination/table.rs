//! What the table is like now, why, and what to do about it.

use super::{Look, Sign, Subject};
use crate::advise::{
    advice::{Datum, Severity},
    cause::Cause,
    settings::{EXPECTATIONS, LIMIT},
    wording::{duration, percent},
};

/// From this share of a limit on somebody should look.
const HIGH: f64 = 0.8;
/// Namespaces are named up to this number, the fullest first.
const NAMED_MAX: usize = 20;

/// The cause and its explanation.
pub(super) fn verdict(subject: &Subject) -> Vec<Sign> {
    let look = match &subject.look {
        Ok(look) => look,
        Err(why) if !subject.facts.modules.is_loaded => {
            return vec![Sign::info(format!("nothing is tracked on this machine: {why}"))];
        }
        Err(why) => {
            return vec![Sign::unknown(format!("why the table fills was not looked for: {why}"))];
        }
    };
    let finding = &look.diagnosis.finding;
    let severity = match finding.cause {
        Cause::None | Cause::ConntrackNotNeeded => Severity::Info,
        _ if is_refusing(look) => Severity::Critical,
        _ => Severity::Warning,
    };
    let sentence = format!("{}: {}", finding.cause.name().replace('_', " "), finding.explanation);
    let mut signs = vec![Sign::new(severity, sentence, finding.evidence.clone())];
    let missing = &look.case.last.mode.degraded;
    if !missing.is_empty() {
        let seen = format!("this was seen without all hooks: {}", missing.join("; "));
        signs.push(Sign::unknown(seen));
    }
    signs
}

fn is_refusing(look: &Look) -> bool {
    let kernel = look.case.kernel();
    [look.case.totals().refused, kernel.drop, kernel.insert_failed]
        .into_iter()
        .flatten()
        .any(|lost| lost > 0)
}

/// Entries, limit and buckets of each namespace.
pub(super) fn tables(subject: &Subject) -> Vec<Sign> {
    let Some(settings) = subject.settings else {
        let not_loaded = !subject.facts.modules.is_loaded;
        return if not_loaded {
            vec![Sign::info("there is no table: connection tracking (nf_conntrack) is not loaded")]
        } else {
            vec![Sign::unknown("conntrack's settings in /proc/sys/net/netfilter cannot be read")]
        };
    };
    let (limit, buckets) = (settings.limit(), settings.buckets());
    let mut signs = Vec::new();
    if let Some(entries) = subject.entries() {
        signs.push(table("this namespace", entries, limit, buckets, subject));
    }
    let mut others: Vec<_> =
        subject.facts.namespaces.iter().filter(|other| other.netns != subject.netns).collect();
    others.sort_by_key(|other| std::cmp::Reverse(other.entries));
    for other in others.iter().take(NAMED_MAX) {
        let sentence = format!("namespace {}: {}", other.name, of_limit(other.entries, limit));
        let datum = Datum::count("entries", other.entries, "nf_conntrack_count in that namespace");
        signs.push(Sign::new(of_utilization(other.entries, limit), sentence, vec![datum]));
    }
    let unnamed = others.len().saturating_sub(NAMED_MAX);
    if unnamed > 0 {
        signs.push(Sign::info(format!("{unnamed} further namespaces hold fewer each")));
    }
    signs
}

fn table(
    name: &str,
    entries: u64,
    limit: Option<u64>,
    buckets: Option<u64>,
    subject: &Subject,
) -> Sign {
    let mut sentence = format!("{name}: {}", of_limit(entries, limit));
    let mut evidence = vec![Datum::count("entries", entries, "nf_conntrack_count")];
    if let Some(limit) = limit {
        evidence.push(Datum::count("limit", limit, LIMIT));
    }
    if let Some(buckets) = buckets {
        sentence.push_str(&format!(
            ", {buckets} buckets (limit and buckets are the machine's: each namespace may hold as many, and all share the buckets)"
        ));
        evidence.push(Datum::count("buckets", buckets, "nf_conntrack_buckets"));
    }
    if let Some(case) = subject.case() {
        let growth = case.growth_per_s();
        evidence.push(Datum::real("growth_per_s", growth, "entries at both ends of the look"));
        let room = limit.map(|limit| limit.saturating_sub(entries) as f64);
        if let Some(room) = room.filter(|room| growth >= 1.0 && *room > 0.0) {
            sentence.push_str(&format!(
                "; it grows by {growth:.0} entries/s and would be full in {}",
                duration(room / growth)
            ));
        }
        let refused = case.per_s(case.totals().refused);
        if let Some(refused) = refused.filter(|refused| *refused > 0.0) {
            sentence.push_str(&format!("; {refused:.0} packets/s are refused an entry now"));
            evidence.push(Datum::real(
                "refused_per_s",
                refused,
                "totals.refused of 'watch --json'",
            ));
        }
    }
    Sign::new(of_utilization(entries, limit), sentence, evidence)
}

fn of_limit(entries: u64, limit: Option<u64>) -> String {
    match limit {
        Some(limit) => {
            format!("{entries} of {limit} entries ({})", percent(entries as f64 / limit as f64))
        }
        None => format!("{entries} entries, no limit"),
    }
}

fn of_utilization(entries: u64, limit: Option<u64>) -> Severity {
    match limit.map(|limit| entries as f64 / limit as f64) {
        Some(utilization) if utilization >= 1.0 => Severity::Critical,
        Some(utilization) if utilization >= HIGH => Severity::Warning,
        _ => Severity::Info,
    }
}

/// Expectations, of which helpers make one for each connection that they foresee.
pub(super) fn expectations(subject: &Subject) -> Vec<Sign> {
    let max = subject.settings.and_then(|settings| settings.get(EXPECTATIONS));
    let Some(max) = max.and_then(|max| u64::try_from(max).ok()) else { return Vec::new() };
    let limit = Datum::count("expectations_max", max, EXPECTATIONS);
    let Some(held) = subject.facts.expectations else {
        let sentence = format!(
            "of {max} expectations it cannot be told how many are held: this kernel or user cannot list them"
        );
        return vec![Sign::unknown(sentence).with(limit)];
    };
    let sentence =
        format!("{held} of {max} expectations of helpers (FTP, SIP and their like) are held");
    let held = Datum::count("expectations", held, "/proc/net/nf_conntrack_expect");
    vec![Sign::new(
        of_utilization(subject.facts.expectations.unwrap_or(0), Some(max)),
        sentence,
        vec![held, limit],
    )]
}

/// What to do next.
pub(super) fn next(subject: &Subject) -> Vec<Sign> {
    let Ok(look) = &subject.look else {
        let loaded = subject.facts.modules.is_loaded;
        let sentence = if loaded {
            "run 'ctwatch doctor' as root on the gateway, or with --netns NAME for a namespace that tracks connections"
        } else {
            "there is nothing to do: a gateway that translates loads conntrack by its rules; 'modprobe nf_conntrack' would load it, and track nothing before a rule asks for it"
        };
        return vec![Sign::info(sentence)];
    };
    let diagnosis = look.diagnosis;
    let mut signs: Vec<Sign> = diagnosis
        .advice
        .iter()
        .map(|advice| {
            let how = if advice.changes.is_empty() {
                "'ctwatch advise' says how".to_owned()
            } else {
                format!("'ctwatch apply {}' shows it, with --yes it does it", advice.id)
            };
            let sentence = format!("{}: {}; {how}", advice.id, advice.what);
            Sign::new(advice.severity, sentence, Vec::new())
        })
        .collect();
    signs.extend(
        diagnosis
            .refused
            .iter()
            .map(|refused| Sign::info(format!("not {}: {}", refused.rule, refused.why))),
    );
    if diagnosis.advice.is_empty() {
        signs.push(Sign::info(format!(
            "there is no advice after {}; 'ctwatch advise --for 1m' looks for longer, 'ctwatch watch' shows who holds the table",
            duration(look.case.seconds)
        )));
    } else {
        signs.push(Sign::info(
            "'ctwatch advise' has the evidence, the risk and the commands of each; 'ctwatch rollback' takes back what was applied",
        ));
    }
    signs
}
