//! Too many buckets: a full table refuses packets although it has entries that it could evict.

use super::{Cause, Finding, Signs};
use crate::advise::{
    advice::Datum,
    settings::BUCKETS,
    sizing::{cost, eviction},
    wording::percent,
};

/// With less the table is simply full of what must not be evicted.
const EVICTABLE_SHARE_MIN: f64 = 0.05;
/// A full table that refuses less has found nearly all that it could.
const REFUSED_MIN: f64 = 0.05;
/// As many buckets as entries must help by at least this factor, or the buckets are not what is wrong.
const HELPS_BY: f64 = 2.0;

/// Whether the number of buckets is why packets are refused.
pub(super) fn fails(signs: &Signs<'_>) -> Option<Finding> {
    let case = signs.case;
    let (limit, buckets) = (case.settings.limit()?, case.settings.buckets()?);
    let evictable = case.evictable()?;
    let evictable_share = evictable as f64 / case.entries().max(1) as f64;
    let fewer = cost::buckets_at_most(limit);
    if signs.refused == 0 || buckets <= limit || evictable_share < EVICTABLE_SHARE_MIN {
        return None;
    }
    let [now, then] = [buckets, fewer].map(|buckets| eviction::refused_share(evictable, buckets));
    if now < REFUSED_MIN || then > now / HELPS_BY {
        return None;
    }
    let measured = signs.refused as f64 / signs.asked.max(1) as f64;
    let mut evidence = signs.fullness();
    evidence.extend([
        Datum::count("buckets", buckets, BUCKETS),
        Datum::count("evictable", evictable, "last walk of the table: entries - assured"),
        Datum::real("refused_share", measured, "refused / (new + refused), over the look"),
        Datum::real(
            "refused_share_predicted",
            now,
            "exp(-16 x evictable / buckets), less what an eviction of several makes room for",
        ),
        Datum::real("refused_share_with_fewer", then, "the same with as many buckets as the limit"),
    ]);
    Some(Finding {
        cause: Cause::BucketsTooLarge,
        explanation: format!(
            "{} ({}), although {evictable} entries ({}) are not assured and could be evicted: the kernel looks for them in eight of {buckets} \
             buckets only, and with {fewer} it would refuse {}.",
            signs.how_full(),
            percent(measured),
            percent(evictable_share),
            percent(then)
        ),
        evidence,
    })
}
