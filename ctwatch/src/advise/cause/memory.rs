//! Memory: the kernel has none for an entry, and drops the packet without a word in the log.

use super::{Cause, Finding, Signs};
use crate::advise::{
    advice::Datum,
    pressure::NEAR,
    wording::{bytes, percent},
};

/// Below this share of the machine's memory allocations of the network's softirqs begin to fail, as they may not wait for any to be
/// freed (`GFP_ATOMIC`, `__nf_conntrack_alloc`).
const AVAILABLE_LOW: f64 = 0.05;
/// Counters are read one after the other, and a tracker may drop a packet for another reason.
const DROPS_MIN: u64 = 10;
const DROPS_SHARE_MIN: f64 = 0.01;

/// Whether packets are dropped for none of the other reasons, and memory is short.
pub(super) fn is_used_up(signs: &Signs<'_>) -> Option<Finding> {
    let case = signs.case;
    let is_near_limit = signs.pressure.is_some_and(|pressure| pressure.utilization >= NEAR);
    if case.totals().refused.is_none() && is_near_limit {
        // What a full table refuses is not told apart in this mode.
        return None;
    }
    let explained = signs.refused.saturating_add(signs.clashes);
    let unexplained = case.kernel().drop?.saturating_sub(explained);
    let (total, available) = (case.facts.memory.total_bytes?, case.facts.memory.available_bytes?);
    let drops_min = (DROPS_SHARE_MIN * signs.asked as f64).max(DROPS_MIN as f64);
    let is_low = (available as f64) < AVAILABLE_LOW * total as f64;
    (unexplained as f64 >= drops_min && unexplained >= signs.refused && is_low).then(|| Finding {
        cause: Cause::Memory,
        explanation: format!(
            "{unexplained} packets were dropped by connection tracking although the table had room, no port was taken and no chain too \
             long, and only {} of {} of memory ({}) can be had: the kernel gets no memory for entries.",
            bytes(available),
            bytes(total),
            percent(available as f64 / total as f64)
        ),
        evidence: vec![
            Datum::count("drops_unexplained", unexplained, "drop - refused - (insert_failed - chaintoolong), /proc/net/stat/nf_conntrack, over the look"),
            Datum::count("available_bytes", available, "MemAvailable, /proc/meminfo"),
            Datum::count("total_bytes", total, "MemTotal, /proc/meminfo"),
        ],
    })
}
