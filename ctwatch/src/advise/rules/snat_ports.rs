//! Give source NAT more ports: its second wall, which no limit of the table moves.

use std::{collections::BTreeMap, net::IpAddr};

use super::nft;
use crate::advise::{
    advice::{Advice, Datum, Expected, Severity},
    bounds::Bounds,
    case::Case,
    cause::{Cause, Finding},
    verdict::Verdict,
    wording::{list, percent_of},
};
use crate::model::{census::snat::PoolNumbers, protocol};

/// In the JSON.
pub const ID: &str = "snat_ports";
const TCP: u8 = 6;
const UDP: u8 = 17;
/// From here on the kernel finds a free port less and less surely, as it tries a limited number
/// (`nf_nat_l4proto_unique_tuple`, net/netfilter/nf_nat_core.c).
const SCARCE: f64 = 0.8;
/// And here it fails.
const EXHAUSTED: f64 = 0.95;

/// Judges a case.
pub fn judge(case: &Case, finding: &Finding, _bounds: &Bounds) -> Verdict {
    let Some(now) = &case.last.census else { return Verdict::Silent };
    let scarce = now.census.snat_pools.iter().filter(|pool| pool.utilization >= SCARCE);
    let mut by_address: BTreeMap<IpAddr, Vec<&PoolNumbers>> = BTreeMap::new();
    for pool in scarce {
        by_address.entry(pool.pool.address).or_default().push(pool);
    }
    if by_address.is_empty() {
        return Verdict::Silent;
    }
    let advice = by_address.iter().map(|(address, pools)| advice(case, finding, *address, pools));
    Verdict::Advise(advice.collect())
}

fn advice(case: &Case, finding: &Finding, address: IpAddr, pools: &[&PoolNumbers]) -> Advice {
    let fullest = pools.iter().map(|pool| pool.utilization).fold(0.0, f64::max);
    let is_critical = fullest >= EXHAUSTED || finding.cause == Cause::SnatPorts;
    let said: Vec<String> = pools.iter().map(|pool| sentence(pool)).collect();
    let failed = case.kernel().insert_failed.unwrap_or(0);
    let failed = if failed > 0 {
        format!(" The kernel could not insert {failed} entries during the look.")
    } else {
        String::new()
    };
    let mut evidence = Vec::new();
    if let Some(pool) = pools.first() {
        evidence.extend([
            Datum::text("snat_address", address.to_string(), "census.snat_pools.address"),
            Datum::count("ports_used", pool.ports_used, "census.snat_pools.ports_used"),
            Datum::count("ports", pool.pool.ports.into(), "ports of their class that there are"),
        ]);
    }
    evidence.extend(
        case.kernel().insert_failed.map(|failed| {
            Datum::count("insert_failed", failed, "kernel.insert_failed over the look")
        }),
    );
    Advice {
        id: format!("add-snat-address-{address}"),
        rule: ID,
        severity: if is_critical { Severity::Critical } else { Severity::Warning },
        what: format!(
            "Translate to more addresses than {address} alone. A rule with 'masquerade' has only the one of its interface: \
             write 'snat ip to FIRST-LAST' instead, with addresses that are yours. Each adds as many ports again."
        ),
        why: format!("{}{failed} A larger table does not help: it is ports that are missing.", said.join(" ")),
        evidence,
        changes: Vec::new(),
        is_unasked: false,
        expected: Expected::default(),
        risk: "Whoever lets your clients in by their address has to learn the new ones. 'random-fully' adds no port: it only \
               spreads which are taken, so that fewer connections ask for the same one at the same time. The timeouts below \
               are for these destinations only, and for connections made from now on."
            .to_owned(),
        commands: commands(address, pools),
        until: format!("Less than {:.0} % of the ports towards these destinations are taken.", SCARCE * 100.0),
    }
}

fn sentence(pool: &PoolNumbers) -> String {
    let destination = pool.pool.destination;
    let port = destination.port.map_or_else(String::new, |port| format!(" port {port}"));
    let holders = pool.holders.iter().map(|holder| {
        format!(
            "{} holds {} ({})",
            holder.source,
            holder.ports_used,
            percent_of(holder.ports_used, pool.ports_used)
        )
    });
    let holders: Vec<String> = holders.collect();
    let holders = if holders.is_empty() { String::new() } else { format!(": {}", list(&holders)) };
    format!(
        "Towards {}{port} {} {} of {} ports are taken{holders}.",
        destination.address,
        protocol::name(destination.protocol),
        pool.ports_used,
        pool.pool.ports
    )
}

/// Shows the rules to change, and meanwhile frees ports sooner that nobody uses any more.
fn commands(address: IpAddr, pools: &[&PoolNumbers]) -> Vec<String> {
    let mut commands = vec!["nft -a list ruleset | grep -E 'masquerade|snat' || true".to_owned()];
    let family = nft::family(address);
    let suffix = if family == "ip" { "4" } else { "6" };
    let [chain, empty] = nft::chain("snat-ports", "prerouting", nft::AFTER_CONNTRACK);
    let mut begun = false;
    for pool in pools {
        let destination = pool.pool.destination;
        let Some(port) = destination.port else { continue };
        let (name, policy) = match destination.protocol {
            TCP => ("short-tcp", "syn_sent : 20, fin_wait : 30, close_wait : 60, time_wait : 30"),
            UDP => ("short-udp", "unreplied : 10"),
            _ => continue,
        };
        if !begun {
            commands.extend([nft::table(), chain.clone(), empty.clone()]);
            begun = true;
        }
        let protocol = protocol::name(destination.protocol);
        let object = format!("{name}{suffix}");
        let definition = format!(
            "nft 'add ct timeout inet ctwatch {object} {{ protocol {protocol}; l3proto {family}; policy = {{ {policy} }}; }}'"
        );
        if !commands.contains(&definition) {
            commands.push(definition);
        }
        commands.push(nft::rule(
            "snat-ports",
            &format!(
                "{family} daddr {} {protocol} dport {port} ct timeout set \"{object}\"",
                destination.address
            ),
        ));
    }
    if begun {
        commands.push(nft::undo(&["snat-ports"]));
    }
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
            snat::{Holder, Pool},
        },
    };

    fn pool(address: &str, port: Option<u16>, protocol: u8, ports_used: u64) -> PoolNumbers {
        let destination = Destination { address: ip("198.51.100.1"), port, protocol };
        PoolNumbers {
            pool: Pool { address: ip(address), destination, ports: 64_512 },
            ports_used,
            utilization: ports_used as f64 / 64_512.0,
            holders: vec![Holder { source: ip("10.9.0.66"), ports_used: ports_used / 2 }],
        }
    }

    fn judge(pools: Vec<PoolNumbers>, cause: Cause) -> Verdict {
        let census = Census { snat_pools: pools, ..Census::default() };
        let case = samples::with_census(samples::of_sources(&[]), census);
        super::judge(&case, &finding(cause), &Bounds::default())
    }

    #[test]
    fn an_exhausted_pool_needs_another_address() {
        let pools = vec![
            pool("192.0.2.2", Some(443), 6, 64_000),
            pool("192.0.2.2", Some(53), 17, 60_000),
            pool("192.0.2.3", None, 1, 55_000),
            pool("192.0.2.4", Some(443), 6, 1000),
        ];
        let verdict = judge(pools, Cause::Growth);
        let Verdict::Advise(advice) = verdict else { panic!("{verdict:?}") };
        let [first, second] = advice.as_slice() else { panic!("{advice:?}") };
        assert_eq!(
            (first.id.as_str(), first.severity),
            ("add-snat-address-192.0.2.2", Severity::Critical)
        );
        for part in [
            "198.51.100.1 port 443 tcp 64000 of 64512 ports",
            "10.9.0.66 holds 32000 (50 %)",
            "does not help",
        ] {
            assert!(first.why.contains(part), "{part}: {}", first.why);
        }
        let commands = first.commands.join("\n");
        for part in ["short-tcp4", "short-udp4", "udp dport 53 ct timeout set \"short-udp4\""] {
            assert!(commands.contains(part), "{part}: {commands}");
        }
        assert_eq!(
            (second.id.as_str(), second.severity),
            ("add-snat-address-192.0.2.3", Severity::Warning)
        );
        assert_eq!(second.commands.len(), 1, "{:?}", second.commands);
    }

    #[test]
    fn the_cause_makes_it_critical_and_room_makes_it_silent() {
        let scarce = || vec![pool("192.0.2.2", Some(443), 6, 55_000)];
        for (cause, severity) in
            [(Cause::SnatPorts, Severity::Critical), (Cause::None, Severity::Warning)]
        {
            let verdict = judge(scarce(), cause);
            assert!(
                matches!(&verdict, Verdict::Advise(advice) if advice[0].severity == severity),
                "{verdict:?}"
            );
        }
        assert_eq!(
            judge(vec![pool("192.0.2.2", Some(443), 6, 40_000)], Cause::Growth),
            Verdict::Silent
        );
        let not_walked = samples::with_last(samples::of_sources(&[]), |last| last.census = None);
        let verdict = super::judge(&not_walked, &finding(Cause::SnatPorts), &Bounds::default());
        assert_eq!(verdict, Verdict::Silent);
    }
}
