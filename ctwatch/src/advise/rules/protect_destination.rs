//! Protect what a flood from made-up addresses goes to: no list of sources helps there, but the destination is known.

use super::{nft, stateless, tcp_loose};
use crate::advise::{
    advice::{Advice, Datum, Expected, Severity},
    bounds::Bounds,
    case::Case,
    cause::{Cause, Finding},
    verdict::Verdict,
};
use crate::model::{census::destinations::Destination, flood::Flood, protocol};

/// In the JSON.
pub const ID: &str = "protect_destination";
const TCP: u8 = 6;
const UDP: u8 = 17;
/// What is let through to the destination may hold this part of the table.
const PART_OF_TABLE: u64 = 4;
/// Where the timeout of a protocol cannot be read.
const TIMEOUT_S: u32 = 30;

/// Judges a case.
pub fn judge(case: &Case, finding: &Finding, _bounds: &Bounds) -> Verdict {
    if finding.cause != Cause::SpoofedFlood {
        return Verdict::Silent;
    }
    let floods = case.last.floods.iter().flat_map(|floods| floods.iter());
    let advice: Vec<Advice> = floods.map(|flood| advice(case, flood)).collect();
    if advice.is_empty() { Verdict::Silent } else { Verdict::Advise(advice) }
}

/// How a flood is met.
struct Defence {
    what: String,
    how: String,
    risk: String,
    commands: Vec<String>,
    /// Another chain than the target's own.
    further_chain: Option<String>,
}

fn advice(case: &Case, flood: &Flood) -> Advice {
    let Destination { address, port, protocol } = flood.destination;
    let at = port.map_or_else(|| "all".to_owned(), |port| port.to_string());
    let id = format!("protect-{address}-{at}");
    let target = Target::new(case, flood, &id);
    let is_of_acks = case
        .last
        .census
        .as_ref()
        .is_some_and(|now| tcp_loose::picked_up(&now.census) >= flood.entries.div_ceil(2));
    let defence = match (protocol, port) {
        (TCP, Some(_)) if is_of_acks => strict(&target),
        (TCP, Some(_)) => synproxy(&target),
        _ if stateless::service(port, protocol).is_some()
            && !is_translated(case, &flood.destination) =>
        {
            untracked(&target)
        }
        _ => limited(case, flood, &target),
    };
    let prefixes: Vec<String> = flood
        .prefixes
        .iter()
        .map(|prefix| format!("{:.0} % of them in {}", prefix.share * 100.0, prefix.network))
        .collect();
    let from = if prefixes.is_empty() { "all over".to_owned() } else { prefixes.join(", ") };
    let refused = case.totals().refused;
    let mut chains = vec![target.chain.as_str()];
    chains.extend(defence.further_chain.as_deref());
    Advice {
        id,
        rule: ID,
        severity: if refused.is_some_and(|refused| refused > 0) {
            Severity::Critical
        } else {
            Severity::Warning
        },
        what: defence.what,
        why: format!(
            "{} entries lead to {}, of about {} sources ({from}), and {:.0} % of them never became connections. The \
             addresses are made up: a list of them would be out of date at once and cut off people who have sent nothing. \
             {}",
            flood.entries,
            target.name,
            flood.sources,
            flood.half_open_share * 100.0,
            defence.how
        ),
        evidence: vec![
            Datum::count("flood_entries", flood.entries, "floods.entries"),
            Datum::count(
                "flood_sources",
                flood.sources,
                "floods.sources, an estimate with a standard error of 6 %",
            ),
            Datum::real("half_open_share", flood.half_open_share, "floods.half_open_share"),
        ],
        changes: Vec::new(),
        is_unasked: false,
        expected: Expected::default(),
        risk: defence.risk,
        commands: [target.opening(), defence.commands, vec![nft::undo(&chains)]].concat(),
        until: format!(
            "The flood to {} is over: 'ctwatch watch' has no FLOOD line for it any more.",
            target.name
        ),
    }
}

/// Where a flood goes, as rules and sentences have it.
struct Target {
    name: String,
    chain: String,
    /// The rule's part that matches its packets.
    matched: String,
    /// The hook that packets pass behind conntrack: to this machine, or through it.
    hook: &'static str,
}

impl Target {
    fn new(case: &Case, flood: &Flood, id: &str) -> Self {
        let Destination { address, port, protocol } = flood.destination;
        let family = nft::family(address);
        let protocol_name = protocol::name(protocol);
        let (name, matched) = match port {
            Some(port) => (
                format!("{address} port {port} {protocol_name}"),
                format!("{family} daddr {address} {protocol_name} dport {port}"),
            ),
            None => (
                format!("{address} {protocol_name}"),
                format!("{family} daddr {address} meta l4proto {protocol}"),
            ),
        };
        let is_own = case.facts.addresses.is_own(address) == Some(true);
        let hook = if is_own { "input" } else { "forward" };
        Self { name, chain: nft::name(id), matched, hook }
    }

    /// A chain before conntrack that drops what no answer could go back to.
    fn opening(&self) -> Vec<String> {
        let [chain, empty] = nft::chain(&self.chain, "prerouting", nft::RAW);
        let no_way_back = "fib saddr . iif oif missing counter drop";
        vec![
            nft::table(),
            chain,
            empty,
            nft::rule(&self.chain, &format!("{} {no_way_back}", self.matched)),
        ]
    }
}

const NO_WAY_BACK: &str = "The first rule drops packets to it that came in where no answer would go out (as rp_filter=1 does \
                           for all), which also hits real ones if paths here are asymmetric.";

fn synproxy(target: &Target) -> Defence {
    let behind = format!("{}-after", target.chain);
    let [chain, empty] = nft::chain(&behind, target.hook, -1);
    Defence {
        what: format!("Let this machine answer handshakes to {} itself (synproxy), before it makes an entry.", target.name),
        how: "A SYN is then not tracked but answered with a cookie, and an entry is made once the cookie comes back, which \
              nobody can do whose address is made up."
            .to_owned(),
        risk: format!(
            "Windows and options are negotiated by this machine: give synproxy the mss and wscale that the server itself \
             offers. It cannot be used where this machine translates the destination. {NO_WAY_BACK} It needs \
             'strict-pickup', which the commands include."
        ),
        commands: vec![
            nft::rule(&target.chain, &format!("{} tcp flags syn notrack", target.matched)),
            chain,
            empty,
            nft::rule(
                &behind,
                &format!(
                    "{} ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm",
                    target.matched
                ),
            ),
            nft::rule(&behind, &format!("{} ct state invalid counter drop", target.matched)),
            "sysctl -w net.ipv4.tcp_syncookies=1 net.ipv4.tcp_timestamps=1".to_owned(),
            "sysctl -w net.netfilter.nf_conntrack_tcp_loose=0".to_owned(),
        ],
        further_chain: Some(behind),
    }
}

/// Against packets from the middle of connections that there never were.
fn strict(target: &Target) -> Defence {
    let behind = format!("{}-after", target.chain);
    let [chain, empty] = nft::chain(&behind, target.hook, -1);
    Defence {
        what: format!(
            "Make no entries for packets to {} from the middle of a connection, and drop them.",
            target.name
        ),
        how: "The flood is of such packets (ACK), not of handshakes.".to_owned(),
        risk: format!("See 'strict-pickup', which the commands include. {NO_WAY_BACK}"),
        commands: vec![
            "sysctl -w net.netfilter.nf_conntrack_tcp_loose=0".to_owned(),
            chain,
            empty,
            nft::rule(&behind, &format!("{} ct state invalid counter drop", target.matched)),
        ],
        further_chain: Some(behind),
    }
}

fn untracked(target: &Target) -> Defence {
    let answers = target.matched.replace("daddr", "saddr").replace("dport", "sport");
    let back = format!("{}-back", target.chain);
    let hook = if target.hook == "input" { "output" } else { "prerouting" };
    let [chain, empty] = nft::chain(&back, hook, nft::RAW);
    Defence {
        what: format!("Do not track what goes to {} and comes from there.", target.name),
        how: "Each packet of that service stands for itself, so nothing is lost.".to_owned(),
        risk: format!(
            "Rules that accept by the state of a connection do not see these packets: accept them by port. It must not be \
             used where this machine translates them. {NO_WAY_BACK}"
        ),
        commands: vec![
            nft::rule(&target.chain, &format!("{} notrack", target.matched)),
            chain,
            empty,
            nft::rule(&back, &format!("{answers} notrack")),
        ],
        further_chain: Some(back),
    }
}

fn limited(case: &Case, flood: &Flood, target: &Target) -> Defence {
    let (timeout, timeout_s) = timeout(case, &flood.destination);
    let room = case.last.table.limit.unwrap_or_else(|| case.entries()) / PART_OF_TABLE;
    let rate = (room / u64::from(timeout_s.max(1))).max(1);
    Defence {
        what: format!("Let at most {rate} packets a second to {} reach conntrack.", target.name),
        how: format!(
            "With a timeout of {timeout_s} s ({timeout}) {rate} a second can hold no more than a quarter of the table."
        ),
        risk: format!(
            "Packets of real users of that destination are dropped with the others, as nothing tells them apart: it saves \
             everybody else. {NO_WAY_BACK}"
        ),
        commands: vec![nft::rule(
            &target.chain,
            &format!(
                "{} limit rate over {rate}/second burst {rate} packets counter drop",
                target.matched
            ),
        )],
        further_chain: None,
    }
}

/// The timeout of an entry that nobody answers.
fn timeout(case: &Case, destination: &Destination) -> (&'static str, u32) {
    let name = match (destination.protocol, destination.address) {
        (TCP, _) => "tcp_timeout_syn_sent",
        (UDP, _) => "udp_timeout",
        (1, _) => "icmp_timeout",
        (58, _) => "icmpv6_timeout",
        _ => "generic_timeout",
    };
    (name, case.settings.timeout_s(name).unwrap_or(TIMEOUT_S))
}

/// Whether connections to it are seen to have their source translated.
pub(super) fn is_translated(case: &Case, destination: &Destination) -> bool {
    let census = case.last.census.as_ref().map(|now| &now.census);
    census.is_some_and(|census| {
        census.snat_pools.iter().any(|pool| pool.pool.destination == *destination)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        advise::samples::{self, finding, ip},
        model::{
            census::{
                Census,
                snat::{Pool, PoolNumbers},
                state::StateNumbers,
            },
            flood::PrefixShare,
        },
    };

    fn flood(address: &str, port: Option<u16>, protocol: u8) -> Flood {
        Flood {
            destination: Destination { address: ip(address), port, protocol },
            entries: 60_000,
            sources: 59_000,
            unreplied_share: 1.0,
            half_open_share: 1.0,
            prefixes: Vec::new(),
        }
    }

    fn case(floods: Vec<Flood>) -> Case {
        samples::with_last(samples::of_sources(&[("10.9.0.1", 17, 60_000, 5)]), |last| {
            last.floods = Some(Arc::from(floods));
        })
    }

    fn one(case: &Case) -> Advice {
        match judge(case, &finding(Cause::SpoofedFlood), &Bounds::default()) {
            Verdict::Advise(mut advice) if advice.len() == 1 => advice.remove(0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn handshakes_are_answered_before_an_entry_is_made() {
        let mut flood = flood("198.51.100.1", Some(443), 6);
        flood.prefixes = vec![PrefixShare { network: "10.7.0.0/16".parse().unwrap(), share: 0.12 }];
        let advice = one(&case(vec![flood]));
        assert_eq!(
            (advice.id.as_str(), advice.severity),
            ("protect-198.51.100.1-443", Severity::Critical)
        );
        assert!(
            advice.why.contains("59000 sources (12 % of them in 10.7.0.0/16)"),
            "{}",
            advice.why
        );
        assert!(advice.why.contains("made up"), "{}", advice.why);
        let commands = advice.commands.join("\n");
        for part in [
            "fib saddr . iif oif missing counter drop",
            "tcp flags syn notrack",
            "hook forward priority -1",
            "ct state invalid,untracked synproxy",
            "nf_conntrack_tcp_loose=0",
        ] {
            assert!(commands.contains(part), "{part}: {commands}");
        }
        assert!(!commands.contains("limit rate"), "{commands}");
    }

    #[test]
    fn what_goes_to_this_machine_passes_input() {
        let advice = one(&case(vec![flood("192.0.2.2", Some(443), 6)]));
        assert!(advice.commands.join("\n").contains("hook input priority -1"), "{advice:?}");
    }

    #[test]
    fn an_ack_flood_is_not_a_matter_of_handshakes() {
        let state =
            StateNumbers { protocol: "tcp".into(), state: "ESTABLISHED".into(), entries: 60_000 };
        let census =
            Census { entries: 60_000, unreplied: 60_000, states: vec![state], ..Census::default() };
        let advice =
            one(&samples::with_census(case(vec![flood("198.51.100.1", Some(443), 6)]), census));
        let commands = advice.commands.join("\n");
        assert!(commands.contains("ct state invalid counter drop"), "{commands}");
        assert!(!commands.contains("synproxy"), "{commands}");
    }

    #[test]
    fn a_stateless_service_is_not_tracked_unless_it_is_translated() {
        let dns = || flood("198.51.100.1", Some(53), 17);
        let advice = one(&case(vec![dns()]));
        let commands = advice.commands.join("\n");
        assert!(commands.contains("ip daddr 198.51.100.1 udp dport 53 notrack"), "{commands}");
        assert!(commands.contains("ip saddr 198.51.100.1 udp sport 53 notrack"), "{commands}");
        let pool = PoolNumbers {
            pool: Pool { address: ip("192.0.2.2"), destination: dns().destination, ports: 64_512 },
            ports_used: 1,
            utilization: 0.0,
            holders: Vec::new(),
        };
        let census = Census { snat_pools: vec![pool], ..Census::default() };
        let advice = one(&samples::with_census(case(vec![dns()]), census));
        assert!(!advice.commands.join("\n").contains("notrack"), "{advice:?}");
    }

    #[test]
    fn what_cannot_be_told_apart_is_limited_to_a_part_of_the_table() {
        for flood in [flood("198.51.100.1", Some(5060), 17), flood("2001:db8::1", None, 17)] {
            let advice = one(&case(vec![flood]));
            // A quarter of 60000 in 30 seconds.
            assert!(advice.what.contains("500 packets a second"), "{}", advice.what);
            assert!(
                advice.commands.join("\n").contains("limit rate over 500/second"),
                "{advice:?}"
            );
        }
        let everywhere = one(&case(vec![flood("2001:db8::1", None, 17)]));
        assert_eq!(everywhere.id, "protect-2001:db8::1-all");
        let commands = everywhere.commands.join("\n");
        assert!(commands.contains("ip6 daddr 2001:db8::1 meta l4proto 17"), "{commands}");
        assert!(commands.contains("chain inet ctwatch protect-2001_db8__1-all"), "{commands}");
    }

    #[test]
    fn without_a_flood_there_is_nothing_to_protect() {
        let floods = case(vec![flood("198.51.100.1", Some(443), 6)]);
        assert_eq!(judge(&floods, &finding(Cause::Growth), &Bounds::default()), Verdict::Silent);
        let none = case(Vec::new());
        assert_eq!(
            judge(&none, &finding(Cause::SpoofedFlood), &Bounds::default()),
            Verdict::Silent
        );
    }
}
