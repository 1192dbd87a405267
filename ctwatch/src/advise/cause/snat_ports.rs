//! The ports of source NAT: used up towards one destination, whatever the table holds.

use super::{Cause, Finding, Signs};
use crate::{
    advise::{advice::Datum, wording::percent},
    model::{census::snat::PoolNumbers, protocol},
};

/// Above this share the kernel has to try long for a free port, and soon gives up (`nf_nat_l4proto_unique_tuple`,
/// net/netfilter/nf_nat_core.c, tries 128 of them at random).
const USED_UP: f64 = 0.95;
/// Now and then two packets of one connection race each other; a share of all that asked is no accident.
const CLASHES_SHARE_MIN: f64 = 0.01;
const CLASHES_MIN: u64 = 10;

/// Whether connections fail because no port is left, or hardly any is.
pub(super) fn are_used_up(signs: &Signs<'_>) -> Option<Finding> {
    let fullest = fullest_pool(signs).filter(|pool| pool.utilization >= USED_UP);
    let found = signs.case.kernel().found.unwrap_or(0);
    // A rule may narrow the ports to a range that no entry shows: then only the failures tell, where sources are translated
    // at all. The kernel does not count each tuple that TCP finds taken (`nf_nat_used_tuple_harder`, since 6.0).
    let clashes_min = (CLASHES_SHARE_MIN * signs.asked as f64).max(CLASHES_MIN as f64);
    let is_of_nat = fullest_pool(signs).is_some() || found >= signs.clashes;
    let fails = signs.clashes as f64 >= clashes_min && is_of_nat;
    let is_nearer = |pool: &PoolNumbers| {
        signs.pressure.is_none_or(|pressure| pool.utilization >= pressure.utilization)
    };
    if signs.clashes < signs.refused || !(fails || fullest.is_some_and(is_nearer)) {
        return None;
    }
    let mut evidence = vec![
        Datum::count(
            "insert_failed",
            signs.clashes,
            "insert_failed - chaintoolong, /proc/net/stat/nf_conntrack, over the look",
        ),
        Datum::count(
            "found",
            found,
            "tuples that NAT found taken, /proc/net/stat/nf_conntrack, over the look",
        ),
    ];
    let mut explanation = String::new();
    if let Some(pool) = fullest {
        evidence.extend([
            Datum::text("pool", describe(pool), "last walk of the table"),
            Datum::count("ports_used", pool.ports_used, "last walk of the table"),
            Datum::real("ports_utilization", pool.utilization, "ports used / ports of the class"),
        ]);
        explanation = format!(
            "{} of {} ports of source NAT are taken {}. ",
            pool.ports_used,
            pool.pool.ports,
            describe(pool)
        );
        if let Some(holder) = pool.holders.first() {
            evidence.extend([
                Datum::text("holder", holder.source.to_string(), "last walk of the table"),
                Datum::count("holder_ports", holder.ports_used, "last walk of the table"),
            ]);
            explanation.push_str(&format!("Most are {}'s: {}. ", holder.source, holder.ports_used));
        }
    }
    if fails {
        explanation.push_str(&format!(
            "{} of {} new connections ({}) failed because the port that source NAT gave them was taken, while the table has room{}.",
            signs.clashes,
            signs.asked,
            percent(signs.clashes as f64 / signs.asked.max(1) as f64),
            if fullest.is_some() { "" } else { ": its rule allows only a few ports" }
        ));
    } else {
        explanation.push_str("New connections there will fail, while the table has room.");
    }
    Some(Finding {
        cause: Cause::SnatPorts,
        explanation: explanation.trim_end().to_owned(),
        evidence,
    })
}

fn fullest_pool<'a>(signs: &Signs<'a>) -> Option<&'a PoolNumbers> {
    signs.case.last.census.as_ref()?.census.snat_pools.first()
}

fn describe(pool: &PoolNumbers) -> String {
    let to = pool.pool.destination;
    let port = to.port.map_or_else(String::new, |port| format!(" port {port}"));
    format!("from {} to {}{port} {}", pool.pool.address, to.address, protocol::name(to.protocol))
}
