//! Do not pick up TCP connections in their middle: what an ACK flood lives on, and what synproxy needs.

use crate::advise::{
    advice::{Advice, Change, Datum, Expected, Severity},
    bounds::Bounds,
    case::Case,
    cause::{Cause, Finding},
    settings::TCP_LOOSE,
    verdict::Verdict,
    wording::percent_of,
};
use crate::model::{census::Census, flood::Flood};

/// In the JSON.
pub const ID: &str = "tcp_loose";
const TCP: u8 = 6;
/// Fewer entries are what asymmetric paths leave behind on a quiet day.
const PICKED_UP_MIN: u64 = 1000;
/// They dominate from this share of the table on.
const SHARE_MIN: f64 = 0.5;

/// Judges a case.
pub fn judge(case: &Case, finding: &Finding, _bounds: &Bounds) -> Verdict {
    if case.settings.get(TCP_LOOSE) != Some(1) {
        return Verdict::Silent;
    }
    let picked_up = case.last.census.as_ref().map_or(0, |now| picked_up(&now.census));
    let entries = case.last.census.as_ref().map_or(0, |now| now.census.entries);
    let dominate = picked_up >= PICKED_UP_MIN && picked_up as f64 >= SHARE_MIN * entries as f64;
    let flood = tcp_floods(case).next().filter(|_| finding.cause == Cause::SpoofedFlood);
    if !dominate && flood.is_none() {
        return Verdict::Silent;
    }
    let why = if dominate {
        format!(
            "{picked_up} of {entries} entries ({}) were made by packets from the middle of a connection that nobody has \
             answered, as an ACK flood sends them. Each stays for up to 300 seconds \
             (nf_conntrack_tcp_timeout_unacknowledged).",
            percent_of(picked_up, entries)
        )
    } else {
        "synproxy answers handshakes in place of the server, and needs that the packet which completes one is not taken for \
         a connection of its own."
            .to_owned()
    };
    Verdict::Advise(vec![Advice {
        id: "strict-pickup".to_owned(),
        rule: ID,
        severity: Severity::Warning,
        what: "Make no entries for TCP packets from the middle of a connection.".to_owned(),
        why,
        evidence: vec![
            Datum::count("picked_up", picked_up, "census: unreplied TCP entries in ESTABLISHED"),
            Datum::count("entries_walked", entries, "census.entries"),
        ],
        changes: vec![Change {
            key: TCP_LOOSE.to_owned(),
            from: "1".to_owned(),
            to: "0".to_owned(),
        }],
        is_unasked: false,
        expected: Expected::default(),
        risk: "A connection whose entry is lost is not picked up again: after a flush, a reboot or a failover of this machine \
               all established connections break that a rule wants to see tracked, and so do those of which only one \
               direction passes here. Entries that exist stay for their time."
            .to_owned(),
        commands: vec![format!("sysctl -w {TCP_LOOSE}=0")],
        until: "The flood is over: set it back to 1 then.".to_owned(),
    }])
}

/// Floods of TCP, the largest first.
fn tcp_floods(case: &Case) -> impl Iterator<Item = &Flood> {
    let floods = case.last.floods.iter().flat_map(|floods| floods.iter());
    floods.filter(|flood| flood.destination.protocol == TCP)
}

/// Entries of TCP that a packet from the middle of a connection has made and nobody has answered. Of what is unreplied,
/// all that is not TCP is in the state `unreplied`, and TCP that was opened properly in `SYN_SENT`.
pub(super) fn picked_up(census: &Census) -> u64 {
    let in_state = |state: &str| -> u64 {
        census.states.iter().filter(|numbers| numbers.state == state).map(|n| n.entries).sum()
    };
    let of_tcp = census.unreplied.saturating_sub(in_state("unreplied"));
    of_tcp.saturating_sub(in_state("SYN_SENT")).min(in_state("ESTABLISHED"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        advise::samples::{self, finding},
        model::census::state::StateNumbers,
    };

    fn census(states: &[(&'static str, &'static str, u64)], unreplied: u64) -> Census {
        let states = states.iter().map(|(protocol, state, entries)| StateNumbers {
            protocol: (*protocol).into(),
            state: (*state).into(),
            entries: *entries,
        });
        let states: Vec<StateNumbers> = states.collect();
        Census {
            entries: states.iter().map(|s| s.entries).sum(),
            unreplied,
            states,
            ..Census::default()
        }
    }

    fn judge(census: Census, cause: Cause) -> Verdict {
        let case = samples::with_census(samples::of_sources(&[]), census);
        super::judge(&case, &finding(cause), &Bounds::default())
    }

    #[test]
    fn what_was_picked_up_is_told_from_what_was_opened() {
        let states = [
            ("tcp", "ESTABLISHED", 5000),
            ("tcp", "SYN_SENT", 300),
            ("udp", "unreplied", 700),
            ("icmp", "unreplied", 10),
            ("udp", "replied", 40),
        ];
        assert_eq!(picked_up(&census(&states, 4000 + 300 + 710)), 4000);
        assert_eq!(picked_up(&census(&states, 1010)), 0);
        assert_eq!(picked_up(&census(&states, 0)), 0);
    }

    #[test]
    fn an_ack_flood_ends_where_nothing_is_picked_up() {
        let states = [("tcp", "ESTABLISHED", 50_000), ("udp", "unreplied", 700)];
        let verdict = judge(census(&states, 49_000 + 700), Cause::Growth);
        let Verdict::Advise(advice) = verdict else { panic!("{verdict:?}") };
        let [advice] = advice.as_slice() else { panic!("{advice:?}") };
        assert!(advice.why.contains("49000 of 50700 entries (97 %)"), "{}", advice.why);
        assert_eq!((advice.id.as_str(), advice.is_unasked), ("strict-pickup", false));
        let change = &advice.changes[0];
        assert_eq!(
            (change.key.as_str(), change.from.as_str(), change.to.as_str()),
            (TCP_LOOSE, "1", "0")
        );
        assert!(advice.risk.contains("failover"), "{}", advice.risk);
    }

    #[test]
    fn synproxy_needs_it() {
        let case = samples::with_last(samples::of_sources(&[]), |last| {
            last.floods = crate::output::sample::snapshot().floods;
        });
        let verdict = super::judge(&case, &finding(Cause::SpoofedFlood), &Bounds::default());
        assert!(
            matches!(&verdict, Verdict::Advise(advice) if advice[0].why.contains("synproxy")),
            "{verdict:?}"
        );
        let mut strict = case;
        strict.settings.values.insert(TCP_LOOSE.to_owned(), 0);
        let verdict = super::judge(&strict, &finding(Cause::SpoofedFlood), &Bounds::default());
        assert_eq!(verdict, Verdict::Silent);
    }

    #[test]
    fn without_such_a_flood_there_is_nothing_to_say() {
        let opened = [("tcp", "ESTABLISHED", 50_000), ("tcp", "SYN_SENT", 50_000)];
        assert_eq!(judge(census(&opened, 50_000), Cause::SingleSource), Verdict::Silent);
        let few = [("tcp", "ESTABLISHED", 900)];
        assert_eq!(judge(census(&few, 900), Cause::None), Verdict::Silent);
    }
}
