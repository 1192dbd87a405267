//! A flood from made-up addresses that fills the table.

use super::{Cause, Finding, Signs};
use crate::{
    advise::{advice::Datum, wording::percent},
    model::{flood::Flood, protocol},
};

/// Less of the table is not what fills it.
const SHARE_MIN: f64 = 0.25;
/// With so much of the limit it will be trouble, even if the table is not full yet.
const LIMIT_SHARE_MIN: f64 = 0.1;

/// Whether floods have a good part of the table.
pub(super) fn fills_the_table(signs: &Signs<'_>) -> Option<Finding> {
    let floods = signs.case.last.floods.as_ref()?;
    let largest = floods.first()?;
    let of_floods: u64 = floods.iter().map(|flood| flood.entries).fold(0, u64::saturating_add);
    let walked = signs.case.last.census.as_ref()?.census.entries;
    let share = of_floods as f64 / walked.max(1) as f64;
    let of_limit = signs.pressure.map_or(0.0, |pressure| share * pressure.utilization);
    if share < SHARE_MIN || !(signs.is_high() || of_limit >= LIMIT_SHARE_MIN) {
        return None;
    }
    let mut evidence = signs.fullness();
    evidence.extend([
        Datum::count("flood_entries", of_floods, "last walk of the table"),
        Datum::real("flood_share", share, "entries of floods / entries of the last walk"),
        Datum::text("flood_destination", describe(largest), "last walk of the table"),
        Datum::count(
            "flood_sources",
            largest.sources,
            "last walk of the table, an estimate with a standard error of 6 %",
        ),
        Datum::real("flood_half_open_share", largest.half_open_share, "last walk of the table"),
    ]);
    Some(Finding {
        cause: Cause::SpoofedFlood,
        explanation: format!(
            "{}; {of_floods} of the entries ({}) are of a flood to {}, of about {} sources with hardly more than one each, {} of which \
             have never shown to be there: the addresses are made up, and blocking them would hit others.",
            signs.how_full(),
            percent(share),
            describe(largest),
            largest.sources,
            percent(largest.half_open_share)
        ),
        evidence,
    })
}

fn describe(flood: &Flood) -> String {
    let to = flood.destination;
    let port = to.port.map_or_else(String::new, |port| format!(" port {port}"));
    format!("{}{port} {}", to.address, protocol::name(to.protocol))
}
