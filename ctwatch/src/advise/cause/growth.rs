//! Everybody needs more than there is: the table is full or fills, and nobody and nothing else is to blame.

use super::{Cause, Finding, Signs};
use crate::advise::{advice::Datum, holders, sizing::demand, wording::duration};

/// Whether the table is full, nearly full, or will be within minutes.
pub(super) fn fills_the_table(signs: &Signs<'_>) -> Option<Finding> {
    if !signs.is_high() {
        return None;
    }
    let all = holders::holders(signs.case);
    let most = all.first().map_or(0, |holder| holder.entries);
    let mut evidence = signs.fullness();
    evidence.extend([
        Datum::count("sources", all.len() as u64, "sources listed, IPv6 by /64"),
        Datum::count("entries_of_first", most, "entries held now"),
        Datum::count(
            "entries_usual",
            holders::percentile(&all, 0.5).unwrap_or(0),
            "median of the sources",
        ),
    ]);
    let demand = demand::estimate(signs.case);
    let mut wanted = String::new();
    if let Some(demand) = demand {
        evidence.push(Datum::real(
            "flows_per_s",
            demand.flows.estimated_per_s,
            "(new + refused)/s; a refused SYN is taken to come again until it gets in, at most seven times",
        ));
        if let (Some(lifetime), Some(entries)) = (demand.lifetime, demand.entries) {
            evidence.extend([
                Datum::real(
                    "lifetime_s",
                    lifetime.mean_s,
                    "entry_seconds / (ended - evicted - transient)",
                ),
                Datum::count(
                    "demand_entries",
                    entries,
                    "flows_per_s x lifetime_s, no less than entries_max",
                ),
            ]);
            wanted = format!(
                " They open {:.0} flows a second, each of which holds an entry for {}: that wants {entries} entries.",
                demand.flows.estimated_per_s,
                duration(lifetime.mean_s)
            );
        }
    }
    Some(Finding {
        cause: Cause::Growth,
        explanation: format!(
            "{}; {} sources share it, none of which stands out (the largest holds {most}), and no timeout is too long.{wanted}",
            signs.how_full(),
            all.len()
        ),
        evidence,
    })
}
