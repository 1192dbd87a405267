//! Cap what one source may hold, at what is far above a normal one, so that the next one who runs wild fills nothing.

use super::nft;
use crate::advise::{
    advice::{Advice, Datum, Expected, Severity},
    bounds::Bounds,
    case::Case,
    cause::{Cause, Finding},
    holders::{self, Holder},
    verdict::Verdict,
    wording::percent_of,
};

/// In the JSON.
pub const ID: &str = "source_cap";
const CHAIN: &str = "cap-sources";
/// The 99th percentile of fewer sources is just the largest of them.
const SOURCES_MIN: usize = 20;
/// A normal source may have a busy day.
const ROOM: u64 = 4;
/// A browser alone opens dozens of connections.
const CAP_MIN: u64 = 100;
/// A cap above this share of the table protects nobody.
const SHARE_MAX: f64 = 0.5;

/// Judges a case.
pub fn judge(case: &Case, finding: &Finding, _bounds: &Bounds) -> Verdict {
    match finding.cause {
        Cause::SingleSource => {}
        Cause::SpoofedFlood => {
            return Verdict::Refuse(
                "The addresses of the flood are made up and hold an entry or two each: no cap stops it that lets a person \
                 through."
                    .to_owned(),
            );
        }
        _ => return Verdict::Silent,
    }
    let holders = holders::holders(case);
    let outstanding = holders::outstanding(&holders, case);
    let normal: Vec<Holder> = holders
        .iter()
        .filter(|holder| holder.is_one() && holder.entries > 0 && !outstanding.contains(holder))
        .copied()
        .collect();
    if normal.len() < SOURCES_MIN {
        return Verdict::Refuse(format!(
            "Besides those that fill the table {} sources hold entries: too few to tell what is normal, which takes \
             {SOURCES_MIN}.",
            normal.len()
        ));
    }
    let Some(p99) = holders::percentile(&normal, 0.99) else { return Verdict::Silent };
    let cap = round_up(p99.saturating_mul(ROOM).max(CAP_MIN));
    let limit = case.last.table.limit.unwrap_or_else(|| case.entries());
    if cap as f64 > limit as f64 * SHARE_MAX {
        return Verdict::Refuse(format!(
            "One normal source in a hundred holds {p99} entries or more: a cap that lets it live ({cap}) is most of the \
             table ({limit})."
        ));
    }
    Verdict::Advise(vec![advice(case, normal.len(), p99, cap)])
}

/// To two digits.
fn round_up(cap: u64) -> u64 {
    let mut step = 1;
    while cap / step >= 100 {
        step *= 10;
    }
    cap.div_ceil(step) * step
}

fn advice(case: &Case, sources: usize, p99: u64, cap: u64) -> Advice {
    let limit = case.last.table.limit.unwrap_or_else(|| case.entries());
    let sources = u64::try_from(sources).unwrap_or(u64::MAX);
    let [chain, empty] = nft::chain(CHAIN, "forward", -5);
    let over = |key: &str| format!("{{ {key} ct count over {cap} }} counter drop");
    Advice {
        id: CHAIN.to_owned(),
        rule: ID,
        severity: Severity::Info,
        what: format!("Let no source hold more than {cap} entries, an IPv6 customer by the /64."),
        why: format!(
            "Of {sources} normal sources 99 % hold at most {p99} entries, without those that fill the table. \
             {ROOM} times that, and at least {CAP_MIN}, gives {cap}: {} of the limit. Whoever runs wild next is stopped \
             there by itself.",
            percent_of(cap, limit)
        ),
        evidence: vec![
            Datum::count(
                "normal_sources",
                sources,
                "sources with entries, without those that stand out",
            ),
            Datum::count("entries_p99", p99, "sources.entries, 99th percentile of those"),
            Datum::count("cap", cap, "4 * entries_p99, at least 100, rounded up to two digits"),
        ],
        changes: Vec::new(),
        is_unasked: false,
        expected: Expected::default(),
        risk: "A source with many people behind it, a proxy or another NAT, reaches the cap as well: put it in a rule with \
             'accept' before these. The cap does not help while the table is full, as an entry is asked for before these \
             rules are reached, and it counts what is forwarded only. Beyond 65535 sources at once further ones are not \
             capped."
            .to_owned(),
        commands: vec![
            nft::table(),
            // Without a timeout of its elements, which would forget who holds what, and with 'add', not 'update'.
            nft::set("held4", "type ipv4_addr; size 65535; flags dynamic;"),
            nft::set("held6", "type ipv6_addr; size 65535; flags dynamic;"),
            chain,
            empty,
            nft::rule(CHAIN, &format!("ct state new add @held4 {}", over("ip saddr"))),
            nft::rule(
                CHAIN,
                &format!("ct state new add @held6 {}", over("ip6 saddr & ffff:ffff:ffff:ffff::")),
            ),
            nft::undo(&[CHAIN]),
        ],
        until: format!("Normal sources hold much more than {p99} entries."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advise::samples::{self, finding};

    fn judge(sources: &[(&str, u8, u64, u64)], cause: Cause) -> Verdict {
        super::judge(&samples::of_sources(sources), &finding(cause), &Bounds::default())
    }

    fn with_abuser(
        mut sources: Vec<(&'static str, u8, u64, u64)>,
    ) -> Vec<(&'static str, u8, u64, u64)> {
        sources.push(("10.9.0.66", 17, 60_000, 0));
        sources
    }

    #[test]
    fn the_cap_is_far_above_a_normal_source_and_leaves_the_abuser_out() {
        let verdict = judge(&with_abuser(samples::crowd(50, 61)), Cause::SingleSource);
        let Verdict::Advise(advice) = verdict else { panic!("{verdict:?}") };
        let [advice] = advice.as_slice() else { panic!("{advice:?}") };
        assert_eq!((advice.id.as_str(), advice.severity), ("cap-sources", Severity::Info));
        assert!(advice.why.contains("50 normal sources 99 % hold at most 61"), "{}", advice.why);
        // 244, to two digits.
        assert!(advice.what.contains("more than 250 entries"), "{}", advice.what);
        assert!(advice.risk.contains("while the table is full"), "{}", advice.risk);
        let commands = advice.commands.join("\n");
        assert!(commands.contains("add @held4 { ip saddr ct count over 250 }"), "{commands}");
        assert!(!commands.contains("timeout") && !commands.contains("update"), "{commands}");
    }

    #[test]
    fn a_small_crowd_gets_the_least_cap() {
        let verdict = judge(&with_abuser(samples::crowd(50, 3)), Cause::SingleSource);
        let Verdict::Advise(advice) = verdict else { panic!("{verdict:?}") };
        assert!(advice[0].what.contains("more than 100 entries"), "{}", advice[0].what);
    }

    #[test]
    fn without_knowing_what_is_normal_there_is_no_cap() {
        let verdict = judge(&with_abuser(samples::crowd(5, 61)), Cause::SingleSource);
        let Verdict::Refuse(why) = verdict else { panic!("{verdict:?}") };
        assert!(why.contains("5 sources"), "{why}");
        // Everybody holds three times as much as the one before: there is no normal.
        let mut uneven = samples::crowd(20, 1);
        let addresses = ["10.9.0.1", "10.9.0.2", "10.9.0.3", "10.9.0.4", "10.9.0.5", "10.9.0.6"];
        uneven
            .extend((1..).zip(addresses).map(|(power, address)| (address, 6, 3_u64.pow(power), 0)));
        let verdict = judge(&uneven, Cause::SingleSource);
        let Verdict::Refuse(why) = verdict else { panic!("{verdict:?}") };
        assert!(why.contains("most of the table"), "{why}");
        assert!(
            matches!(judge(&[], Cause::SpoofedFlood), Verdict::Refuse(why) if why.contains("made up"))
        );
    }

    #[test]
    fn there_is_nothing_to_say_of_other_causes() {
        for cause in [Cause::None, Cause::Growth, Cause::LingeringState] {
            assert_eq!(judge(&with_abuser(samples::crowd(50, 61)), cause), Verdict::Silent);
        }
    }

    #[test]
    fn caps_have_two_digits() {
        assert_eq!([99, 100, 244, 1001].map(round_up), [99, 100, 250, 1100]);
    }
}
