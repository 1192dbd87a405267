//! Do not track a stateless service that holds much of the table: without entries there is nothing to fill.

use std::collections::BTreeMap;

use super::{nft, protect_destination::is_translated, stateless};
use crate::advise::{
    advice::{Advice, Datum, Expected, Severity},
    bounds::Bounds,
    case::Case,
    cause::{Cause, Finding},
    verdict::Verdict,
    wording::{list, percent_of},
};
use crate::model::{census::destinations::DestinationNumbers, protocol};

/// In the JSON.
pub const ID: &str = "notrack";
/// A service dominates from this share of the table on.
const SHARE_MIN: f64 = 0.2;
/// In an all but empty table nothing dominates.
const ENTRIES_MIN: u64 = 1000;

/// Judges a case.
pub fn judge(case: &Case, finding: &Finding, _bounds: &Bounds) -> Verdict {
    let Some(now) = &case.last.census else { return Verdict::Silent };
    // Where one source or made-up ones do it, that is what has to end; where nothing is wrong, nothing has.
    if matches!(finding.cause, Cause::None | Cause::SingleSource | Cause::SpoofedFlood) {
        return Verdict::Silent;
    }
    let mut services: BTreeMap<(u16, u8), Vec<DestinationNumbers>> = BTreeMap::new();
    for numbers in &now.census.destinations {
        let destination = &numbers.destination;
        if let Some(port) = destination.port
            && stateless::service(destination.port, destination.protocol).is_some()
        {
            services.entry((port, destination.protocol)).or_default().push(*numbers);
        }
    }
    let entries = now.census.entries;
    let (mut advised, mut refused) = (Vec::new(), Vec::new());
    for (service, servers) in &services {
        let held =
            |of: &[DestinationNumbers]| of.iter().map(|numbers| numbers.entries).sum::<u64>();
        let dominates =
            |held: u64| held >= ENTRIES_MIN && held as f64 >= SHARE_MIN * entries as f64;
        let (translated, free): (Vec<_>, Vec<_>) =
            servers.iter().copied().partition(|numbers| is_translated(case, &numbers.destination));
        if dominates(held(&free)) {
            advised.push(advice(case, *service, &free, held(&free), entries));
        } else if dominates(held(servers)) {
            refused.push(format!(
                "{} of {entries} entries are of {}, but {} of these are translated here, and what is not tracked is not \
                 translated. A resolver of your own, in front of the translation, has the same effect.",
                held(servers),
                name(*service),
                held(&translated)
            ));
        }
    }
    match (advised.is_empty(), refused.is_empty()) {
        (false, _) => Verdict::Advise(advised),
        (true, false) => Verdict::Refuse(refused.join(" ")),
        (true, true) => Verdict::Silent,
    }
}

fn name((port, protocol): (u16, u8)) -> String {
    let service = stateless::service(Some(port), protocol).unwrap_or("a service");
    format!("{service} ({} port {port})", protocol::name(protocol))
}

fn advice(
    case: &Case,
    service: (u16, u8),
    servers: &[DestinationNumbers],
    held: u64,
    entries: u64,
) -> Advice {
    let (port, protocol) = service;
    let protocol_name = protocol::name(protocol);
    let id = format!("notrack-{port}-{protocol_name}");
    let addresses: Vec<String> =
        servers.iter().map(|numbers| numbers.destination.address.to_string()).collect();
    let entry_bytes = case.facts.memory.entry_bytes;
    let freed = entry_bytes.and_then(|bytes| i64::try_from(bytes.saturating_mul(held)).ok());
    Advice {
        rule: ID,
        severity: Severity::Warning,
        what: format!("Do not track {} to and from {}.", name(service), list(&addresses)),
        why: format!(
            "{held} of {entries} entries ({}) are of it. Each of its packets stands for itself, and none of these was seen to \
             be translated, so the entries serve nothing.",
            percent_of(held, entries)
        ),
        evidence: vec![
            Datum::count("service_entries", held, "census.destinations.entries"),
            Datum::count("entries_walked", entries, "census.entries"),
        ],
        changes: Vec::new(),
        is_unasked: false,
        expected: Expected {
            entries_freed: Some(held),
            memory_bytes: freed.map(|bytes| -bytes),
            ..Expected::default()
        },
        risk: "Rules that accept by the state of a connection do not see these packets any more: accept them by port first, in \
             both directions. Check that no rule translates their destination: what is not tracked is not translated. \
             Entries that are there end with their timeouts."
            .to_owned(),
        commands: commands(&id, service, servers),
        until: "The service moves to another address, or its packets are to be translated."
            .to_owned(),
        id,
    }
}

/// Both directions, whether the server is this machine or behind it.
fn commands(id: &str, (port, protocol): (u16, u8), servers: &[DestinationNumbers]) -> Vec<String> {
    let protocol = protocol::name(protocol);
    let local = format!("{id}-local");
    let [chain, empty] = nft::chain(id, "prerouting", nft::RAW);
    let [chain_local, empty_local] = nft::chain(&local, "output", nft::RAW);
    let mut commands = vec![nft::table(), chain, empty, chain_local, empty_local];
    for server in servers {
        let address = server.destination.address;
        let family = nft::family(address);
        for chain in [id, &local] {
            commands.push(nft::rule(
                chain,
                &format!("{family} daddr {address} {protocol} dport {port} notrack"),
            ));
            commands.push(nft::rule(
                chain,
                &format!("{family} saddr {address} {protocol} sport {port} notrack"),
            ));
        }
    }
    commands.push(nft::undo(&[id, &local]));
    commands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        advise::samples::{self, finding, ip},
        model::census::{
            Census,
            destinations::Destination,
            snat::{Pool, PoolNumbers},
        },
    };

    fn numbers(address: &str, port: u16, entries: u64) -> DestinationNumbers {
        let destination = Destination { address: ip(address), port: Some(port), protocol: 17 };
        DestinationNumbers {
            destination,
            entries,
            sources: 100,
            unreplied: entries,
            half_open: entries,
        }
    }

    fn judge(destinations: Vec<DestinationNumbers>, translated: &[&str], cause: Cause) -> Verdict {
        let pool = |address: &&str| PoolNumbers {
            pool: Pool {
                address: ip("192.0.2.2"),
                destination: Destination { address: ip(address), port: Some(53), protocol: 17 },
                ports: 64_512,
            },
            ports_used: 10,
            utilization: 0.1,
            holders: Vec::new(),
        };
        let census = Census {
            entries: 60_000,
            destinations,
            snat_pools: translated.iter().map(pool).collect(),
            ..Census::default()
        };
        let case = samples::with_census(samples::of_sources(&[]), census);
        super::judge(&case, &finding(cause), &Bounds::default())
    }

    #[test]
    fn servers_of_one_service_are_taken_together_in_both_directions() {
        let servers = vec![
            numbers("198.51.100.1", 53, 9000),
            numbers("2001:db8::53", 53, 8000),
            numbers("198.51.100.9", 443, 40_000),
            numbers("198.51.100.9", 123, 900),
        ];
        let verdict = judge(servers, &[], Cause::Growth);
        let Verdict::Advise(advice) = verdict else { panic!("{verdict:?}") };
        let [advice] = advice.as_slice() else { panic!("{advice:?}") };
        assert_eq!(advice.id, "notrack-53-udp");
        assert!(advice.why.contains("17000 of 60000 entries (28 %)"), "{}", advice.why);
        assert_eq!(advice.expected.entries_freed, Some(17_000));
        let commands = advice.commands.join("\n");
        for part in [
            "notrack-53-udp ip daddr 198.51.100.1 udp dport 53 notrack",
            "notrack-53-udp ip saddr 198.51.100.1 udp sport 53 notrack",
            "notrack-53-udp-local ip6 saddr 2001:db8::53 udp sport 53 notrack",
        ] {
            assert!(commands.contains(part), "{part}: {commands}");
        }
    }

    #[test]
    fn what_is_translated_has_to_be_tracked() {
        let servers =
            || vec![numbers("198.51.100.1", 53, 20_000), numbers("198.51.100.2", 53, 1000)];
        let verdict = judge(servers(), &["198.51.100.1"], Cause::Growth);
        let Verdict::Refuse(why) = verdict else { panic!("{verdict:?}") };
        assert!(why.contains("21000 of 60000") && why.contains("20000 of these"), "{why}");
        let verdict = judge(servers(), &["198.51.100.2"], Cause::Growth);
        assert!(
            matches!(&verdict, Verdict::Advise(advice) if advice[0].expected.entries_freed == Some(20_000))
        );
    }

    #[test]
    fn what_is_small_or_has_another_cause_is_left_alone() {
        assert_eq!(
            judge(vec![numbers("198.51.100.1", 53, 900)], &[], Cause::Growth),
            Verdict::Silent
        );
        for cause in [Cause::None, Cause::SingleSource, Cause::SpoofedFlood] {
            let verdict = judge(vec![numbers("198.51.100.1", 53, 50_000)], &[], cause);
            assert_eq!(verdict, Verdict::Silent);
        }
    }
}
