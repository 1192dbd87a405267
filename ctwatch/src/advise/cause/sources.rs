//! One source, or a few, that hold or ask for most of the table.

use super::{Cause, Finding, Signs};
use crate::advise::{
    advice::Datum,
    holders::{self, Holder},
    wording::percent,
};

/// Whoever has half of everything decides what becomes of the table; without them there is room.
const SHARE_MIN: f64 = 0.5;
/// More names than this say no more.
const NAMED: usize = 3;

/// Whether those who stand out have most of the entries, or of what is asked for.
pub(super) fn fill_the_table(signs: &Signs<'_>) -> Option<Finding> {
    if !signs.is_high() {
        return None;
    }
    let case = signs.case;
    let all = holders::holders(case);
    let few = holders::outstanding(&all, case);
    let first = few.first()?;
    let sum = |amount: fn(&Holder) -> u64| few.iter().map(amount).fold(0, u64::saturating_add);
    let share = |part: u64, of: u64| part as f64 / of.max(1) as f64;
    let held_share = share(sum(|holder| holder.entries), case.entries());
    let asked_share = share(sum(Holder::asked), signs.asked);
    if held_share.max(asked_share) < SHARE_MIN {
        return None;
    }
    let refused_share = share(sum(|holder| holder.refused.unwrap_or(0)), signs.refused);
    let others: Vec<Holder> = all.iter().filter(|holder| !few.contains(holder)).copied().collect();
    let usual = holders::percentile(&others, 0.5).unwrap_or(0);
    let names: Vec<String> = few.iter().take(NAMED).map(Holder::name).collect();
    let mut evidence = signs.fullness();
    evidence.extend([
        Datum::text(
            "sources",
            names.join(", "),
            "hooks on __nf_conntrack_alloc and nf_conntrack_free",
        ),
        Datum::count("sources_outstanding", few.len() as u64, "sources far above the next one"),
        Datum::count("sources_all", all.len() as u64, "sources listed, IPv6 by /64"),
        Datum::count("entries_of_first", first.entries, "entries held now"),
        Datum::count("entries_usual", usual, "median of the other sources"),
        Datum::real("entries_share", held_share, "their entries / all entries"),
        Datum::real("asked_share", asked_share, "their new and refused / all, over the look"),
        Datum::real("refused_share", refused_share, "their refused / all refused, over the look"),
    ]);
    Some(Finding {
        cause: Cause::SingleSource,
        explanation: format!(
            "{}; {} {} {} of the entries and asked for {} of the new ones, where each of the {} others holds {usual} (the median). If \
             this is a proxy or a router with many people behind it, they are the ones to look for.",
            signs.how_full(),
            names.join(", "),
            if few.len() == 1 { "holds" } else { "hold" },
            percent(held_share),
            percent(asked_share),
            others.len()
        ),
        evidence,
    })
}
