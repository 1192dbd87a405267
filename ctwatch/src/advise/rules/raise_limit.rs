//! Raises the limit to what the traffic wants, as far as memory allows; refuses to where that helps nobody. It never lowers it.

use super::machine_command;
use crate::advise::{
    advice::{Advice, Change, Datum, Expected, Severity},
    bounds::Bounds,
    case::Case,
    cause::{Cause, Finding},
    pressure::Pressure,
    settings::LIMIT,
    sizing::{
        cost,
        demand::{self, Demand},
    },
    verdict::Verdict,
    wording::{bytes, duration, percent},
};

/// Its name.
pub const ID: &str = "raise_limit";
/// Room beyond what is wanted on average, for peaks that the look did not see (kernel.md: 1.5 to 2 times the peak).
const HEADROOM: u64 = 2;
/// Limits are whole multiples of this, so that as many buckets can be had (see [`cost::BUCKETS_STEP`]).
const LIMIT_STEP: u64 = cost::BUCKETS_STEP;
/// A namespace is busy, and counts for the memory budget, if it holds this share of the limit: one in ten.
const BUSY_PART: u64 = 10;
/// Of the memory that can be had now, entries may take half: others want some too.
const AVAILABLE_PART: u64 = 2;

/// The new limit and what it comes from.
struct Plan {
    limit: u64,
    to: u64,
    pressure: Pressure,
    demand: Option<Demand>,
    wanted: u64,
    budget: Budget,
}

/// Entries that memory allows for.
struct Budget {
    entries: Option<u64>,
    why: String,
    entry_bytes: u64,
    entry_bytes_from: &'static str,
    busy_namespaces: u64,
}

/// The limit that is advised; `None` if none is.
pub fn target(case: &Case, finding: &Finding, bounds: &Bounds) -> Option<u64> {
    plan(case, finding, bounds).ok()?.map(|plan| plan.to)
}

/// Judges.
pub fn judge(case: &Case, finding: &Finding, bounds: &Bounds) -> Verdict {
    match plan(case, finding, bounds) {
        Ok(Some(plan)) => Verdict::Advise(vec![advice(case, &plan)]),
        Ok(None) => Verdict::Silent,
        Err(why) => Verdict::Refuse(why),
    }
}

fn plan(case: &Case, finding: &Finding, bounds: &Bounds) -> Result<Option<Plan>, String> {
    let (Some(limit), Some(pressure)) = (case.settings.limit(), Pressure::of(case)) else {
        return Ok(None);
    };
    if let Some(why) = why_useless(finding.cause) {
        return Err(why.to_owned());
    }
    if !pressure.is_high() {
        return Ok(None);
    }
    let demand = demand::estimate(case);
    let known = demand.and_then(|demand| demand.entries);
    // What is not known is felt for: twice the limit, and another look.
    let base = known.unwrap_or(limit).max(case.entries_max);
    let wanted = base.saturating_mul(HEADROOM).max(LIMIT_STEP).next_multiple_of(LIMIT_STEP);
    if wanted <= limit {
        return Ok(None);
    }
    let budget = budget(case, bounds, limit);
    let affordable = budget.entries.map_or(wanted, |entries| entries / LIMIT_STEP * LIMIT_STEP);
    let to = wanted.min(affordable);
    if to <= limit {
        return Err(format!(
            "{wanted} entries are wanted, but {}; give this machine more memory, allow a larger share with --memory, or lower \
             what is wanted",
            budget.why
        ));
    }
    Ok(Some(Plan { limit, to, pressure, demand, wanted, budget }))
}

/// Why a larger limit does not help against this cause; `None` if it may.
fn why_useless(cause: Cause) -> Option<&'static str> {
    Some(match cause {
        Cause::SingleSource => {
            "whoever fills this table would fill a larger one as well: stop or cap the source, its neighbours need no more room"
        }
        Cause::SpoofedFlood => {
            "there is no end of made-up addresses, and a larger table fills with them as well: filter the flood before connections \
             are tracked"
        }
        Cause::SnatPorts => {
            "the ports of source NAT are used up, not the table: connections fail at the same number with any limit, until \
             there is another outside address or fewer connections to that destination"
        }
        Cause::BucketsTooSmall => {
            "entries are lost because hash chains are too long; more entries would make them longer: set the buckets first"
        }
        Cause::BucketsTooLarge => {
            "the table has enough that the kernel could evict, and does not find it among so many buckets: set the buckets first"
        }
        Cause::Expectations => {
            "the table of expectations is full, which has a limit of its own (nf_conntrack_expect_max)"
        }
        Cause::Memory => "the kernel has no memory for the entries that are allowed already",
        Cause::ConntrackNotNeeded => {
            "nothing here needs connections to be tracked: do without instead of making room"
        }
        Cause::None | Cause::LingeringState | Cause::Growth => return None,
    })
}

fn budget(case: &Case, bounds: &Bounds, limit: u64) -> Budget {
    let memory = &case.facts.memory;
    let (entry_bytes, entry_bytes_from) = cost::entry_bytes(memory);
    let others = case.facts.namespaces.iter().filter(|other| other.netns != case.last.netns);
    let busy = others.filter(|other| other.entries >= limit / BUSY_PART).count();
    // Every namespace may hold as many entries as the limit says.
    let busy_namespaces = 1 + u64::try_from(busy).unwrap_or(0);
    let of_total = memory.total_bytes.map(|total| {
        let share = (total as f64 * bounds.memory_share_max) as u64;
        let entries = share / entry_bytes.max(1) / busy_namespaces;
        let why = format!(
            "{} of {} hold {entries} of them, at {entry_bytes} B each in {busy_namespaces} busy namespaces",
            percent(bounds.memory_share_max),
            bytes(total)
        );
        (entries, why)
    });
    let of_available = memory.available_bytes.map(|available| {
        let more = available / AVAILABLE_PART / entry_bytes.max(1);
        let entries = case.entries().saturating_add(more);
        (entries, format!("only {} of memory can be had now", bytes(available)))
    });
    let least = of_total.into_iter().chain(of_available).min_by_key(|(entries, _)| *entries);
    let (entries, why) = least.map_or_else(
        || (None, "it is not known how much memory there is".to_owned()),
        |(entries, why)| (Some(entries), why),
    );
    Budget { entries, why, entry_bytes, entry_bytes_from, busy_namespaces }
}

fn advice(case: &Case, plan: &Plan) -> Advice {
    let Plan { limit, to, pressure, .. } = plan;
    let memory = (to - limit)
        .saturating_mul(plan.budget.entry_bytes)
        .saturating_mul(plan.budget.busy_namespaces);
    let severity = if pressure.refused > 0 { Severity::Critical } else { Severity::Warning };
    Advice {
        id: "raise-limit".to_owned(),
        rule: ID,
        severity,
        what: format!("raise the limit from {limit} to {to} entries"),
        why: why(case, plan),
        evidence: evidence(case, plan),
        changes: vec![Change {
            key: LIMIT.to_owned(),
            from: limit.to_string(),
            to: to.to_string(),
        }],
        is_unasked: true,
        expected: expected(case, plan, memory),
        risk: format!(
            "up to {} of kernel memory more if the table fills again, which is never given to anybody else meanwhile; nothing \
             until then",
            bytes(memory)
        ),
        commands: vec![machine_command(case, format!("sysctl -w {LIMIT}={to}"))],
        until: match plan.demand.and_then(|demand| demand.entries) {
            Some(entries) => format!(
                "the traffic wants more than {to} entries instead of {entries}, or the machine starts anew: then the limit is what it \
                 was, unless it is made to last"
            ),
            None => "the next look, which can tell how long entries live; and until the machine starts anew, unless it is made to last"
                .to_owned(),
        },
    }
}

fn why(case: &Case, plan: &Plan) -> String {
    let pressure = &plan.pressure;
    let mut why = format!(
        "the table held up to {} of {} entries ({})",
        case.entries_max,
        plan.limit,
        percent(pressure.utilization)
    );
    if pressure.refused > 0 {
        why.push_str(&format!(
            " and refused {} packets in {}",
            pressure.refused,
            duration(case.seconds)
        ));
    } else if let Some(seconds) = pressure.time_to_full_s {
        why.push_str(&format!(" and will be full in {}", duration(seconds)));
    }
    match plan.demand {
        Some(Demand { flows, lifetime: Some(lifetime), entries: Some(entries) }) => {
            why.push_str(&format!(
                "; {:.0} flows a second that hold an entry for {} each want {entries}, and this is {:.1} times that",
                flows.estimated_per_s,
                duration(lifetime.mean_s),
                plan.to as f64 / entries.max(1) as f64
            ));
        }
        _ => why.push_str(
            "; too few entries ended of themselves to tell how many are wanted, so this is a step, and another look tells whether it \
             was enough",
        ),
    }
    if plan.to < plan.wanted {
        why.push_str(&format!("; {} would be better, but {}", plan.wanted, plan.budget.why));
    }
    why
}

fn evidence(case: &Case, plan: &Plan) -> Vec<Datum> {
    let mut evidence = vec![
        Datum::count("entries_max", case.entries_max, "nf_conntrack_count, the most of the look"),
        Datum::count("limit", plan.limit, LIMIT),
        Datum::count("refused", plan.pressure.refused, "hook on early_drop, over the look"),
        Datum::real("growth_per_s", case.growth_per_s(), "nf_conntrack_count over the look"),
        Datum::count("entry_bytes", plan.budget.entry_bytes, plan.budget.entry_bytes_from),
        Datum::count("busy_namespaces", plan.budget.busy_namespaces, "entries of all namespaces"),
    ];
    if let Some(demand) = plan.demand {
        let flows = demand.flows;
        evidence.extend([
            Datum::real("flows_per_s", flows.estimated_per_s, "(new + refused)/s; a refused SYN is taken to come again until it gets in, at most seven times"),
            Datum::real("flows_per_s_at_most", flows.most_per_s, "(new + refused)/s, if no refused packet is a repetition"),
        ]);
        if let (Some(lifetime), Some(entries)) = (demand.lifetime, demand.entries) {
            evidence.extend([
                Datum::real(
                    "lifetime_s",
                    lifetime.mean_s,
                    "entry_seconds / (ended - evicted - transient)",
                ),
                Datum::real("lifetime_error", lifetime.error, "1/sqrt(ends), a share"),
                Datum::count(
                    "demand_entries",
                    entries,
                    "flows_per_s x lifetime_s, no less than entries_max",
                ),
            ]);
        }
    }
    evidence.extend(plan.budget.entries.map(|entries| {
        Datum::count("affordable_entries", entries, "MemTotal x --memory, and half of MemAvailable")
    }));
    evidence
}

fn expected(case: &Case, plan: &Plan, memory: u64) -> Expected {
    let entries = plan.demand.and_then(|demand| demand.entries);
    let mut further = Vec::new();
    further.extend(
        entries.map(|entries| {
            Datum::count("entries", entries.min(plan.to), "flows_per_s x lifetime_s")
        }),
    );
    if entries.is_none_or(|entries| entries > plan.to)
        && let Some(demand) = plan.demand
    {
        let ended = case.per_s(case.totals().timed_out).unwrap_or(0.0);
        let growth = demand.flows.estimated_per_s - ended;
        let room = plan.to.saturating_sub(case.entries()) as f64;
        further.extend((growth > 0.0).then(|| {
            Datum::real("full_again_after_s", room / growth, "room / (flows_per_s - timed_out/s)")
        }));
    }
    Expected {
        entries_freed: Some(0),
        memory_bytes: Some(i64::try_from(memory).unwrap_or(i64::MAX)),
        // With room for all that is wanted nobody is refused; where that is not known, until it is full again.
        refused_share: entries.is_none_or(|entries| entries <= plan.to).then_some(0.0),
        further,
    }
}

#[cfg(test)]
mod tests;
