//! Too few buckets: chains so long that entries are lost, or that each look-up is slow.

use super::{Cause, Finding, Signs};
use crate::advise::{
    advice::Datum,
    settings::BUCKETS,
    sizing::chains::{self, ChainLimit},
    wording::percent,
};

/// From here on a look-up walks four entries on average to find nothing, each a miss of the cache, and the old limit on chains
/// loses one entry in twenty.
const LOAD_MAX: f64 = 8.0;

/// Whether entries are lost because chains are too long, and not fewer than a full table refuses.
pub(super) fn lose_entries(signs: &Signs<'_>) -> Option<Finding> {
    if signs.too_long == 0 || signs.too_long < signs.refused {
        return None;
    }
    let insertions = signs.case.insertions();
    let lost = signs.too_long as f64 / insertions.tried.max(1) as f64;
    let entries = signs.case.entries_of_machine();
    let buckets = signs.case.settings.buckets()?;
    let mut evidence = evidence(signs);
    evidence.push(Datum::real(
        "insert_loss",
        lost,
        "chaintoolong / insertions tried, over the look",
    ));
    Some(Finding {
        cause: Cause::BucketsTooSmall,
        explanation: format!(
            "{} of {} new connections ({}) were dropped because a hash chain was too long, while the table has room: {entries} entries share \
             {buckets} buckets, {:.1} links to a bucket. The log says nothing of it.",
            signs.too_long,
            insertions.tried,
            percent(lost),
            insertions.load
        ),
        evidence,
    })
}

/// Whether chains are long, though nothing is lost.
pub(super) fn are_long(signs: &Signs<'_>) -> Option<Finding> {
    let buckets = signs.case.settings.buckets()?;
    let entries = signs.case.entries_of_machine();
    let load = chains::load(entries, buckets);
    (load >= LOAD_MAX).then(|| Finding {
        cause: Cause::BucketsTooSmall,
        explanation: format!(
            "{entries} entries share {buckets} buckets, {load:.1} links to a bucket: each new connection walks as many before \
             it is known to be new. {}",
            match signs.case.insertions().chain_limit() {
                Some(limit) => format!(
                    "At this load {} of new connections are lost.",
                    percent(limit.insert_loss(load))
                ),
                None => format!(
                    "If this kernel has the old limit on chains, of 8 to 31 links, {} of new connections are lost.",
                    percent(ChainLimit::Short.insert_loss(load))
                ),
            }
        ),
        evidence: evidence(signs),
    })
}

fn evidence(signs: &Signs<'_>) -> Vec<Datum> {
    let insertions = signs.case.insertions();
    let mut evidence = vec![
        Datum::count("chaintoolong", signs.too_long, "/proc/net/stat/nf_conntrack, over the look"),
        Datum::count(
            "entries_of_machine",
            signs.case.entries_of_machine(),
            "nf_conntrack_count of all namespaces, which share the buckets",
        ),
        Datum::real("load", insertions.load, "2 x entries of all namespaces / buckets"),
        Datum::real(
            "insert_loss_short_limit",
            ChainLimit::Short.insert_loss(insertions.load),
            "Poisson model, chains of 8 to 31",
        ),
        Datum::real(
            "insert_loss_long_limit",
            ChainLimit::Long.insert_loss(insertions.load),
            "Poisson model, chains of 50 to 79",
        ),
    ];
    evidence.extend(
        signs.case.settings.buckets().map(|buckets| Datum::count("buckets", buckets, BUCKETS)),
    );
    evidence
}
