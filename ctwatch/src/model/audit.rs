//! The identities by which ctwatch's numbers can be held against the kernel's and against each other: both sides
//! of each, and whether it holds.
//!
//! Numbers move while they are read. Each side is therefore known as what it was before and what it was after
//! everything else was read, and an identity holds if both sides can have been the same; at rest that is exact.

use serde::{Deserialize, Serialize};

use super::{counters::Counters, fields, snapshot::Snapshot};

/// Sums over the rows at one reading, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sums {
    /// Entries held before the start, and what came and went since: at the first reading the least, at the second
    /// the most that it can have been between the two. `None` until it is known.
    pub held: Option<i64>,
    /// The sources of this namespace.
    pub sources: Counters,
    /// What belongs to no source.
    pub nobody: Counters,
    /// What had been counted when the kernel's own counts were first read: at the first reading the least, at the
    /// second the most that it can have been.
    pub before_kernel: Counters,
    /// What hooks missed and is credited to this namespace.
    pub credited: Counters,
    /// The rows of all namespaces, what is credited included.
    pub all_rows: Counters,
    /// The per-CPU totals over all namespaces, what is credited included.
    pub all_cpus: Counters,
}

/// What was seen from the start to the end.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The last snapshot.
    pub last: &'a Snapshot,
    /// Refusals told by events, those included that an event says were suppressed.
    pub refusals_told: u64,
}

/// One identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its stable name.
    pub id: &'static str,
    /// Both sides in words.
    pub what: &'static str,
    /// Both sides, or why they are not known.
    pub sides: Result<Sides, String>,
}

/// Both sides in numbers, as near to each other as they can have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sides {
    /// The left one.
    pub left: i64,
    /// The right one.
    pub right: i64,
    /// What to know about it.
    pub note: Option<String>,
}

impl Identity {
    /// Whether it holds; `None` if it could not be checked.
    pub fn holds(&self) -> Option<bool> {
        self.sides.as_ref().ok().map(|sides| sides.difference() == 0)
    }
}

impl Sides {
    /// What the left side has more.
    pub fn difference(&self) -> i64 {
        self.left.saturating_sub(self.right)
    }
}

/// All identities, checked.
pub fn audit(case: &Case<'_>) -> Vec<Identity> {
    let check = |rule: &Rule| Identity {
        id: rule.id,
        what: rule.what,
        sides: (rule.check)(case).map(Spans::sides),
    };
    RULES.iter().map(check).collect()
}

/// Whether all of them hold that could be checked; `None` if none could.
pub fn all_hold(identities: &[Identity]) -> Option<bool> {
    identities.iter().filter_map(Identity::holds).reduce(|all, one| all && one)
}

struct Rule {
    id: &'static str,
    what: &'static str,
    check: fn(&Case<'_>) -> Result<Spans, String>,
}

/// From what to what each side can have been.
struct Spans {
    left: [i64; 2],
    right: [i64; 2],
    note: Option<String>,
}

impl Spans {
    fn new(left: [i64; 2], right: [i64; 2]) -> Self {
        Self { left: ordered(left), right: ordered(right), note: None }
    }

    fn sides(self) -> Sides {
        let [lowest, highest] = self.left;
        let left = self.right[1].clamp(lowest, highest);
        let [lowest, highest] = self.right;
        Sides { left, right: left.clamp(lowest, highest), note: self.note }
    }
}

const RULES: &[Rule] = &[
    Rule {
        id: "held",
        what: "held before the start + new - ended = nf_conntrack_count",
        check: |case| {
            let [before, after] = sums(case)?;
            let known = before.held.zip(after.held);
            let (before, after) =
                known.ok_or("entries from before the start are not known".to_owned())?;
            let count = signed(case.last.table.entries);
            Ok(Spans::new([before, after], [count, count]))
        },
    },
    Rule {
        id: "refused",
        what: "refused = kernel's drop - (insert_failed - chaintoolong)",
        check: refused,
    },
    Rule { id: "evicted", what: "entries evicted = kernel's early_drop", check: evicted },
    Rule {
        id: "evictions_caused",
        what: "entries evicted = evictions caused by known requesters",
        check: |case| {
            Ok(Spans::new(side(case, |c| c.evicted)?, side(case, |c| c.evictions_caused)?))
        },
    },
    Rule {
        id: "ends",
        what: "ended = transient + evicted + timed_out + evicted_by_gc + deleted + closed",
        check: ends,
    },
    Rule {
        id: "insert_failed",
        what: "insertions that failed, of all sources = kernel's insert_failed",
        check: |case| {
            sums(case)?;
            let (totals, kernel) = (&case.last.totals, &case.last.kernel);
            let counted = totals.insert_failed.ok_or("they are not seen by source".to_owned())?;
            let told = signed(kernel.insert_failed.ok_or(UNTOLD)?);
            Ok(Spans::new([signed(counted); 2], [told; 2]))
        },
    },
    Rule {
        id: "sums",
        what: "all counters of listed sources + others = totals",
        check: |case| {
            sums(case)?;
            let Snapshot { sources, others, totals, .. } = case.last;
            let parts: i64 = sources.iter().chain([others]).map(fields::sum_of_counts).sum();
            let whole = fields::sum_of_counts(totals);
            Ok(Spans::new([parts, parts], [whole, whole]))
        },
    },
    Rule {
        id: "witness_new",
        what: "attempts in all rows = attempts by CPU",
        check: |case| witnessed(case, |counters| counters.attempts),
    },
    Rule {
        id: "witness_refused",
        what: "refusals in all rows = refusals by CPU",
        check: |case| witnessed(case, |counters| counters.refused),
    },
    Rule {
        id: "witness_ended",
        what: "ends in all rows = ends by CPU",
        check: |case| witnessed(case, |counters| counters.ended),
    },
    Rule {
        id: "events",
        what: "events + suppressed + lost in the ring = refused by source",
        check: |case| {
            let [before, after] = sums(case)?;
            if case.last.loss.events_dropped > 0 {
                return Err("some events were left out, as there were too many".to_owned());
            }
            if before.sources.refused != after.sources.refused {
                return Err(
                    "packets are just being refused, and their events are under way".to_owned()
                );
            }
            let lost = signed(after.sources.events_lost);
            let refused = signed(after.sources.refused);
            Ok(Spans::new([signed(case.refusals_told) + lost; 2], [refused; 2]))
        },
    },
];

/// Conntrack drops a packet when the table is full, and when its entry cannot be inserted because another has its
/// tuple; in the latter case it counts `insert_failed` too. It counts that alone for a chain that is too long
/// (`chaintoolong`) and for an entry that was deleted before it was inserted (`__nf_conntrack_confirm`,
/// net/netfilter/nf_conntrack_core.c). So refusals are what it dropped, less failed insertions as far as they are not
/// one of these two; how many were the latter no counter tells.
fn refused(case: &Case<'_>) -> Result<Spans, String> {
    let left = since_kernel(case, |counters| counters.refused)?;
    let kernel = &case.last.kernel;
    let dropped = signed(kernel.drop.ok_or(UNTOLD)?);
    let failed = signed(kernel.insert_failed.unwrap_or(0));
    let clashes_or_dying = (failed - signed(kernel.chaintoolong.unwrap_or(0))).max(0);
    let formula = dropped - clashes_or_dying;
    let mut spans = Spans::new(left, [formula, dropped]);
    let refused = spans.left[1].clamp(formula, dropped);
    spans.note = if refused > formula {
        Some(format!("{} entries were deleted before they were inserted", refused - formula))
    } else if spans.left[0] > dropped {
        Some("refusals of entries made through ctnetlink are no drops of the kernel".to_owned())
    } else if spans.left[1] < formula {
        Some("the kernel also counts packets dropped for lack of memory or by protocol".to_owned())
    } else {
        None
    };
    Ok(spans)
}

/// Those with none of the other reasons are closed, so this fails where an end has more than one.
fn ends(case: &Case<'_>) -> Result<Spans, String> {
    sums(case)?;
    let totals = &case.last.totals;
    let reasons = [
        totals.transient,
        totals.evicted,
        totals.timed_out,
        totals.evicted_by_gc,
        totals.deleted,
        totals.closed,
    ];
    let known: Option<Vec<u64>> = reasons.into_iter().collect();
    let known = known.ok_or("not every reason can be seen here".to_owned())?;
    let sum = known.into_iter().fold(0, u64::saturating_add);
    Ok(Spans::new([signed(totals.ended.unwrap_or(0)); 2], [signed(sum); 2]))
}

/// What hooks missed may have been evictions.
fn evicted(case: &Case<'_>) -> Result<Spans, String> {
    let [before, mut after] = since_kernel(case, |counters| counters.evicted)?;
    let early_drop = signed(case.last.kernel.early_drop.ok_or(UNTOLD)?);
    let missed = case.last.loss.probe_missed.unwrap_or(0);
    after = early_drop.clamp(after, after.saturating_add(signed(missed)));
    let mut spans = Spans::new([before, after], [early_drop, early_drop]);
    spans.note = (missed > 0).then(|| format!("hooks missed {missed} calls"));
    Ok(spans)
}

const UNTOLD: &str = "the kernel does not tell";

fn sums<'a>(case: &Case<'a>) -> Result<[&'a Sums; 2], String> {
    let mode = &case.last.mode;
    let why = || mode.degraded.first().map_or("no hooks are attached", String::as_str);
    match &case.last.sums {
        Some([before, after]) => Ok([before, after]),
        None => Err(format!("it takes hooks on conntrack: {}", why())),
    }
}

/// A counter of this namespace, whosever it is, at both readings.
fn side(case: &Case<'_>, counter: fn(&Counters) -> u64) -> Result<[i64; 2], String> {
    let all = |sums: &Sums| {
        [sums.sources, sums.nobody, sums.credited]
            .iter()
            .fold(0_i64, |sum, counters| sum.saturating_add(signed(counter(counters))))
    };
    Ok(sums(case)?.map(all))
}

/// As [`side`], since the kernel's own counts were first read.
fn since_kernel(case: &Case<'_>, counter: fn(&Counters) -> u64) -> Result<[i64; 2], String> {
    let [least, most] = sums(case)?.map(|sums| signed(counter(&sums.before_kernel)));
    let [before, after] = side(case, counter)?;
    Ok([before.saturating_sub(most), after.saturating_sub(least)])
}

fn witnessed(case: &Case<'_>, counter: fn(&Counters) -> u64) -> Result<Spans, String> {
    let [before, after] = sums(case)?;
    let both = |of: fn(&Sums) -> Counters| [before, after].map(|sums| signed(counter(&of(sums))));
    Ok(Spans::new(both(|sums| sums.all_rows), both(|sums| sums.all_cpus)))
}

fn ordered([a, b]: [i64; 2]) -> [i64; 2] {
    [a.min(b), a.max(b)]
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
