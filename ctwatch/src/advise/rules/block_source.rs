//! Block the few sources that fill the table, in front of conntrack: behind it their entries would be made all the same.

use crate::advise::{
    advice::{Advice, Datum, Expected, Severity},
    bounds::Bounds,
    case::Case,
    cause::{Cause, Finding},
    holders::{self, Holder},
    verdict::Verdict,
    wording::{duration, list, percent_of},
};

/// In the JSON.
pub const ID: &str = "block_source";

/// Judges a case.
pub fn judge(case: &Case, finding: &Finding, _bounds: &Bounds) -> Verdict {
    let holders = holders::holders(case);
    match finding.cause {
        Cause::SingleSource => judge_sources(case, &culprits(case, &holders)),
        Cause::SpoofedFlood => Verdict::Refuse(flood(case)),
        Cause::Growth => holders.first().map_or(Verdict::Silent, |most| {
            Verdict::Refuse(format!(
                "No source stands out: the one that holds most, {}, has {} of {} entries ({}).",
                most.name(),
                most.entries,
                case.entries(),
                percent_of(most.entries, case.entries())
            ))
        }),
        _ => Verdict::Silent,
    }
}

/// Those who stand out; if it is not clear who does, the one who holds most.
fn culprits(case: &Case, holders: &[Holder]) -> Vec<Holder> {
    let found = holders::outstanding(holders, case);
    if found.is_empty() { holders.first().copied().into_iter().collect() } else { found }
}

fn judge_sources(case: &Case, culprits: &[Holder]) -> Verdict {
    let spared: Vec<String> =
        culprits.iter().filter_map(|culprit| why_not(case, culprit)).collect();
    let blocked = culprits.iter().filter(|culprit| why_not(case, culprit).is_none());
    let advice: Vec<Advice> = blocked.map(|culprit| advice(case, culprit)).collect();
    match (advice.is_empty(), spared.is_empty()) {
        (false, _) => Verdict::Advise(advice),
        (true, false) => Verdict::Refuse(spared.join(" ")),
        (true, true) => Verdict::Silent,
    }
}

/// Why a source is not blocked, if that is so.
fn why_not(case: &Case, culprit: &Holder) -> Option<String> {
    let name = culprit.name();
    if !culprit.is_one() {
        return Some(format!(
            "{name} is a network whose addresses are not counted one by one: give ctwatch more room with --max-sources."
        ));
    }
    let what = case.facts.addresses.why_spared(&culprit.network)?;
    Some(format!(
        "{name} is {what}: blocking it would cut more than it helps. What opens the connections is found there, \
         with 'ss -tunap'."
    ))
}

fn flood(case: &Case) -> String {
    let floods = case.last.floods.iter().flat_map(|floods| floods.iter());
    let sources = floods.map(|flood| flood.sources).max();
    let about = sources.map_or_else(String::new, |sources| format!("about {sources} "));
    format!(
        "The {about}addresses of the flood are made up, each for a packet or two: blocking them would not slow it down, \
         and would cut off people who have nothing to do with it."
    )
}

fn advice(case: &Case, culprit: &Holder) -> Advice {
    let name = culprit.name();
    let totals = case.totals();
    let refused_of_others =
        totals.refused.zip(culprit.refused).map(|(all, own)| all.saturating_sub(own));
    let evicted_of_others =
        totals.evicted.zip(culprit.evicted).map(|(all, own)| all.saturating_sub(own));
    let others_suffer = refused_of_others.is_some_and(|refused| refused > 0);
    let entry_bytes = case.facts.memory.entry_bytes;
    let freed =
        entry_bytes.and_then(|bytes| i64::try_from(bytes.saturating_mul(culprit.entries)).ok());
    Advice {
        id: format!("block-source-{name}"),
        rule: ID,
        severity: if others_suffer { Severity::Critical } else { Severity::Warning },
        what: format!(
            "Drop what {name} sends before conntrack sees it, for an hour, and end its entries. First make sure that it is \
             no proxy, no NAT and no resolver that many people are behind."
        ),
        why: why(case, culprit, refused_of_others, evicted_of_others),
        evidence: evidence(case, culprit, refused_of_others, evicted_of_others),
        changes: Vec::new(),
        is_unasked: false,
        expected: Expected {
            entries_freed: Some(culprit.entries),
            memory_bytes: freed.map(|bytes| -bytes),
            ..Expected::default()
        },
        risk: risk(case, &name),
        commands: commands(case, culprit),
        until: format!(
            "An hour after the command, when {name} is let in again by itself. If it goes on, give the command again."
        ),
    }
}

fn why(
    case: &Case,
    culprit: &Holder,
    refused_of_others: Option<u64>,
    evicted_of_others: Option<u64>,
) -> String {
    let mut why = format!(
        "It holds {} of {} entries ({})",
        culprit.entries,
        case.entries(),
        percent_of(culprit.entries, case.entries())
    );
    if let Some(new) = case.per_s(culprit.new) {
        why += &format!(", opens {new:.0} a second");
    }
    if let Some(refused) = case.per_s(culprit.refused).filter(|refused| *refused > 0.0) {
        why += &format!(" and is refused {refused:.0} a second");
    }
    why += ".";
    let mut harm = Vec::new();
    if let Some(refused) = refused_of_others.filter(|refused| *refused > 0) {
        harm.push(format!("{refused} packets of others were refused"));
    }
    if let Some(evicted) = evicted_of_others.filter(|evicted| *evicted > 0) {
        harm.push(format!("{evicted} entries of others were thrown out"));
    }
    let looked = duration(case.seconds);
    if !harm.is_empty() {
        why += &format!(" In the {looked} of the look {}.", list(&harm));
    } else if refused_of_others.is_some() {
        why += &format!(" Nobody else was refused in the {looked} of the look.");
    } else {
        why += " Who is refused cannot be seen in this mode.";
    }
    why
}

fn risk(case: &Case, name: &str) -> String {
    let unknown = if case.facts.addresses.are_known() {
        ""
    } else {
        " This machine's own addresses and its routers could not be read: check that it is none of them."
    };
    format!(
        "All that {name} sends through or to this machine is dropped, SSH included, and its open connections break.{unknown}"
    )
}

fn evidence(
    case: &Case,
    culprit: &Holder,
    refused_of_others: Option<u64>,
    evicted_of_others: Option<u64>,
) -> Vec<Datum> {
    let mut evidence = vec![
        Datum::count("entries", culprit.entries, "sources.entries, all protocols"),
        Datum::count("entries_of_all", case.entries(), "table.entries"),
    ];
    for (name, count, from) in [
        ("new", culprit.new, "sources.new over the look"),
        ("refused", culprit.refused, "sources.refused over the look"),
        ("refused_of_others", refused_of_others, "totals.refused - sources.refused"),
        ("evicted_of_others", evicted_of_others, "totals.evicted - sources.evicted"),
    ] {
        evidence.extend(count.map(|count| Datum::count(name, count, from)));
    }
    evidence
}

fn commands(case: &Case, culprit: &Holder) -> Vec<String> {
    let name = culprit.name();
    let share = percent_of(culprit.entries, case.entries());
    vec![
        format!("ctwatch block {name} --for 1h --why 'held {share} of the entries'"),
        format!("# to undo it: ctwatch unblock {name}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advise::samples::{self, finding};

    fn judge(case: &Case, cause: Cause) -> Verdict {
        super::judge(case, &finding(cause), &Bounds::default())
    }

    fn advised(verdict: Verdict) -> Vec<Advice> {
        match verdict {
            Verdict::Advise(advice) => advice,
            other => panic!("{other:?}"),
        }
    }

    fn refused(verdict: Verdict) -> String {
        match verdict {
            Verdict::Refuse(why) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_one_who_fills_the_table_is_blocked_before_conntrack() {
        let mut sources = samples::crowd(50, 20);
        sources.extend([("10.9.0.66", 17, 9000, 500), ("10.9.0.1", 6, 30, 77)]);
        let advice = advised(judge(&samples::of_sources(&sources), Cause::SingleSource));
        let [advice] = advice.as_slice() else { panic!("{advice:?}") };
        assert_eq!(
            (advice.id.as_str(), advice.severity),
            ("block-source-10.9.0.66", Severity::Critical)
        );
        for part in [
            "9000 of 10030 entries (90 %)",
            "900 a second",
            "refused 50 a second",
            "77 packets of others",
        ] {
            assert!(advice.why.contains(part), "{part}: {}", advice.why);
        }
        assert!(advice.what.contains("proxy"), "{}", advice.what);
        assert_eq!(advice.expected.entries_freed, Some(9000));
        assert_eq!(advice.expected.memory_bytes, Some(-9000 * 256));
        assert!(advice.changes.is_empty() && !advice.is_unasked);
        assert_eq!(
            advice.commands,
            [
                "ctwatch block 10.9.0.66 --for 1h --why 'held 90 % of the entries'",
                "# to undo it: ctwatch unblock 10.9.0.66"
            ]
        );
    }

    #[test]
    fn of_ipv6_the_whole_customer_is_blocked() {
        let mut sources = samples::crowd(50, 20);
        sources.extend([("2001:db8::1", 17, 4000, 0), ("2001:db8::2", 17, 4000, 0)]);
        let advice = advised(judge(&samples::of_sources(&sources), Cause::SingleSource));
        let [advice] = advice.as_slice() else { panic!("{advice:?}") };
        assert_eq!(
            (advice.id.as_str(), advice.severity),
            ("block-source-2001:db8::/64", Severity::Warning)
        );
        assert!(advice.why.contains("Nobody else was refused"), "{}", advice.why);
        assert!(advice.commands[0].starts_with("ctwatch block 2001:db8::/64 "), "{advice:?}");
    }

    #[test]
    fn nobody_is_blocked_whom_that_would_hurt() {
        let one = |address| samples::of_sources(&[(address, 17, 9000, 0)]);
        for (address, why) in [("10.0.0.1", "this machine itself"), ("192.0.2.1", "router")] {
            let said = refused(judge(&one(address), Cause::SingleSource));
            assert!(said.contains(why) && said.contains(address), "{said}");
        }
        let mut unknown = one("10.9.0.66");
        unknown.facts.addresses = Default::default();
        let advice = advised(judge(&unknown, Cause::SingleSource));
        assert!(advice[0].risk.contains("could not be read"), "{}", advice[0].risk);
        let flood = samples::with_last(samples::of_sources(&[]), |last| {
            last.floods = crate::output::sample::snapshot().floods;
        });
        let said = refused(judge(&flood, Cause::SpoofedFlood));
        assert!(said.contains("98765") && said.contains("made up"), "{said}");
        let said = refused(judge(&samples::of_sources(&samples::crowd(50, 20)), Cause::Growth));
        assert!(said.contains("20 of 1000 entries (2.0 %)"), "{said}");
    }

    #[test]
    fn a_network_without_room_for_its_addresses_is_no_culprit() {
        let case = samples::with_last(samples::of_sources(&[("10.9.0.66", 17, 9000, 0)]), |last| {
            for row in &mut last.sources {
                row.key = row.key.map(|key| key.prefix());
            }
        });
        let said = refused(judge(&case, Cause::SingleSource));
        assert!(said.contains("10.9.0.0/24") && said.contains("--max-sources"), "{said}");
    }

    #[test]
    fn what_the_mode_does_not_see_is_not_told() {
        let case = samples::with_last(samples::of_sources(&[("10.9.0.66", 17, 9000, 0)]), |last| {
            for row in last.sources.iter_mut().chain([&mut last.totals]) {
                (row.new, row.refused, row.evicted) = (None, None, None);
            }
        });
        let advice = advised(judge(&case, Cause::SingleSource));
        let why = &advice[0].why;
        assert!(!why.contains("a second") && why.contains("cannot be seen"), "{why}");
        let names: Vec<&str> = advice[0].evidence.iter().map(|datum| datum.name).collect();
        assert_eq!(names, ["entries", "entries_of_all"]);
    }

    #[test]
    fn there_is_nothing_to_say_of_other_causes() {
        let case = samples::of_sources(&[("10.9.0.66", 17, 9000, 0)]);
        for cause in [Cause::None, Cause::LingeringState, Cause::SnatPorts, Cause::Memory] {
            assert_eq!(judge(&case, cause), Verdict::Silent);
        }
        assert_eq!(judge(&samples::of_sources(&[]), Cause::SingleSource), Verdict::Silent);
    }
}
