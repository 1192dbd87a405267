//! Sets the buckets of the hash table: about as many as entries fit, never more. More shorten chains, fewer let a full table find
//! somebody to evict.

use super::{machine_command, raise_limit};
use crate::advise::{
    advice::{Advice, Change, Datum, Expected, Severity},
    bounds::Bounds,
    case::Case,
    cause::{Cause, Finding},
    pressure::Pressure,
    settings::{BUCKETS, HASHSIZE},
    sizing::{
        chains::{self, ChainLimit},
        cost, eviction,
    },
    verdict::Verdict,
    wording::percent,
};

/// Its name.
pub const ID: &str = "buckets";
/// Buckets by limit below which it is worth the stall to have more: 4 links to a bucket of a full table. Kernels have had one
/// bucket for each entry by default since 5.15, and one for four before.
const LIMIT_BY_BUCKETS_MAX: u64 = 2;
/// From here on a lost insertion is more than one in a thousand.
const LOSS_BAD: f64 = 1e-3;
/// A full table may refuse so much more for the sake of shorter chains.
const REFUSED_MORE_MAX: f64 = 0.01;

/// The change, and what it comes from.
struct Plan {
    from: u64,
    to: u64,
    /// The limit that it is made for.
    limit: u64,
    chain_limit: Option<ChainLimit>,
    entries_of_machine: u64,
    too_long: u64,
    evictable: Option<u64>,
    is_full: bool,
}

/// Judges.
pub fn judge(case: &Case, finding: &Finding, bounds: &Bounds) -> Verdict {
    let (Some(from), Some(limit_now)) = (case.settings.buckets(), case.settings.limit()) else {
        return Verdict::Silent;
    };
    let limit = raise_limit::target(case, finding, bounds).unwrap_or(limit_now);
    let plan = Plan {
        from,
        to: cost::buckets_at_most(limit),
        limit,
        chain_limit: case.insertions().chain_limit(),
        entries_of_machine: case.entries_of_machine(),
        too_long: case.kernel().chaintoolong.unwrap_or(0),
        evictable: case.evictable(),
        is_full: limit == limit_now
            && Pressure::of(case).is_some_and(|pressure| pressure.is_full()),
    };
    if !plan.is_worth_it(finding, bounds) {
        return Verdict::Silent;
    }
    if let Some(why) = plan.why_not(bounds) {
        return Verdict::Refuse(why);
    }
    Verdict::Advise(vec![plan.advice(case)])
}

impl Plan {
    fn grows(&self) -> bool {
        self.to > self.from
    }

    fn is_worth_it(&self, finding: &Finding, bounds: &Bounds) -> bool {
        if self.grows() {
            let is_short = self.from.saturating_mul(LIMIT_BY_BUCKETS_MAX) < self.limit;
            return is_short || finding.cause == Cause::BucketsTooSmall;
        }
        let is_large = finding.cause == Cause::BucketsTooLarge
            || (bounds.allow_lowering && self.from > self.limit);
        self.to < self.from && is_large
    }

    fn why_not(&self, bounds: &Bounds) -> Option<String> {
        let stall_ms = self.stall_ms();
        if stall_ms > bounds.stall_ms_max {
            return Some(format!(
                "{} buckets for {} would be right, but the kernel would stand still for about {stall_ms:.0} ms while it moves {} entries, \
                 more than the {:.0} ms allowed: do it when fewer than {:.0} entries are held, or allow it with --stall",
                self.to,
                self.from,
                self.entries_of_machine,
                bounds.stall_ms_max,
                self.entries_of_machine as f64 * bounds.stall_ms_max / stall_ms
            ));
        }
        let evictable = self.evictable?;
        let [now, then] = [self.from, self.to].map(|of| eviction::refused_share(evictable, of));
        // Shorter chains are a comfort; a refused connection is none.
        (self.grows() && self.is_full && self.too_long == 0 && then > now + REFUSED_MORE_MAX).then(|| {
            format!(
                "{} buckets would be right for the limit, but the table is full, and with as many it would refuse {} of all \
                 packets that ask for an entry, and not {}: make room first",
                self.to,
                percent(then),
                percent(now)
            )
        })
    }

    fn stall_ms(&self) -> f64 {
        cost::resize_stall_ms(self.entries_of_machine)
    }

    /// The share of insertions that fails at this load: of the kernel's limit, or of the worse one if that is not known.
    fn loss(&self, load: f64) -> f64 {
        self.chain_limit.unwrap_or(ChainLimit::Short).insert_loss(load)
    }

    fn full_load(&self, buckets: u64) -> f64 {
        chains::load(self.limit.max(self.entries_of_machine), buckets)
    }

    fn advice(&self, case: &Case) -> Advice {
        let Self { from, to, .. } = self;
        let memory = (*to as i64 - *from as i64).saturating_mul(8);
        Advice {
            id: "set-buckets".to_owned(),
            rule: ID,
            severity: self.severity(),
            what: format!("set the hash table from {from} to {to} buckets"),
            why: if self.grows() { self.why_more() } else { self.why_fewer(case) },
            evidence: self.evidence(case),
            changes: vec![Change {
                key: HASHSIZE.to_owned(),
                from: from.to_string(),
                to: to.to_string(),
            }],
            // Fewer buckets are somebody's decision: chains become longer for good.
            is_unasked: self.grows(),
            expected: self.expected(memory),
            risk: format!(
                "no entry is made or ended on the whole machine for about {:.1} ms, and a few packets of known connections may be \
                 taken for new ones meanwhile{}",
                self.stall_ms(),
                if self.grows() {
                    ""
                } else {
                    "; should the limit be raised later, the buckets have to grow with it"
                }
            ),
            commands: vec![machine_command(
                case,
                format!("echo {to} > /sys/module/nf_conntrack/parameters/hashsize"),
            )],
            until: format!(
                "the limit is no longer {}; and the machine starts anew, unless it is made to last",
                self.limit
            ),
        }
    }

    fn severity(&self) -> Severity {
        let refuses = self.is_full && !self.grows();
        if self.too_long > 0 || refuses {
            Severity::Critical
        } else if self.loss(self.full_load(self.from)) >= LOSS_BAD {
            Severity::Warning
        } else {
            Severity::Info
        }
    }

    fn why_more(&self) -> String {
        let load = chains::load(self.entries_of_machine, self.from);
        let mut why = format!(
            "{} entries in {} buckets make chains of {load:.1} links on average, and {:.1} once {} are held",
            self.entries_of_machine,
            self.from,
            self.full_load(self.from),
            self.limit
        );
        if self.too_long > 0 {
            why.push_str(&format!(
                "; {} entries were lost because a chain was too long, without a line in the log",
                self.too_long
            ));
        }
        let [now, full] = [load, self.full_load(self.from)].map(|load| percent(self.loss(load)));
        why.push_str(&match self.chain_limit {
            Some(ChainLimit::Endless) => "; this kernel has no limit on chains, so each look-up only takes longer".to_owned(),
            Some(limit) => format!(
                "; chains of this kernel may have {} links: it loses {now} of new entries now, and {full} in a full table",
                limit.name()
            ),
            None => format!(
                "; if this kernel has the old limit on chains, of 8 to 31 links, it loses {now} of new entries now, and {full} in a \
                 full table"
            ),
        });
        why
    }

    fn why_fewer(&self, case: &Case) -> String {
        let share = |buckets| {
            self.evictable.map_or_else(
                || "an unknown share".to_owned(),
                |evictable| percent(eviction::refused_share(evictable, buckets)),
            )
        };
        format!(
            "a full table looks for somebody to evict in eight buckets only; with {} of {} entries evictable and {} buckets it \
             refuses {} of the packets that ask for an entry, with {} it would refuse {}",
            self.evictable.map_or_else(|| "some".to_owned(), |evictable| evictable.to_string()),
            case.entries(),
            self.from,
            share(self.from),
            self.to,
            share(self.to)
        )
    }

    fn evidence(&self, case: &Case) -> Vec<Datum> {
        let load = chains::load(self.entries_of_machine, self.from);
        let full = self.full_load(self.from);
        let mut evidence = vec![
            Datum::count("buckets", self.from, BUCKETS),
            Datum::count(
                "limit",
                self.limit,
                "net.netfilter.nf_conntrack_max, as it is or as raise-limit makes it",
            ),
            Datum::count(
                "entries_of_machine",
                self.entries_of_machine,
                "nf_conntrack_count of all namespaces",
            ),
            Datum::real("load", load, "2 x entries of all namespaces / buckets"),
            Datum::real("load_when_full", full, "2 x limit / buckets"),
            Datum::text(
                "chain_limit",
                self.chain_limit.map_or("unknown", ChainLimit::name),
                "chaintoolong over the look, against what each limit predicts",
            ),
            Datum::real(
                "insert_loss_short_limit",
                ChainLimit::Short.insert_loss(load),
                "Poisson model, chains of 8 to 31",
            ),
            Datum::real(
                "insert_loss_long_limit",
                ChainLimit::Long.insert_loss(load),
                "Poisson model, chains of 50 to 79",
            ),
            Datum::real(
                "insert_loss_short_limit_when_full",
                ChainLimit::Short.insert_loss(full),
                "Poisson model, chains of 8 to 31",
            ),
            Datum::real(
                "insert_loss_long_limit_when_full",
                ChainLimit::Long.insert_loss(full),
                "Poisson model, chains of 50 to 79",
            ),
            Datum::real("stall_ms", self.stall_ms(), "0.5 us x entries of all namespaces"),
        ];
        evidence.extend(case.kernel().chaintoolong.map(|count| {
            Datum::count("chaintoolong", count, "/proc/net/stat/nf_conntrack, over the look")
        }));
        evidence.extend(self.evictable.map(|count| {
            Datum::count("evictable", count, "last walk of the table: entries - assured")
        }));
        evidence.extend(self.evictable.map(|count| {
            Datum::real(
                "refused_share_when_full",
                eviction::refused_share(count, self.from),
                "exp(-16 x evictable / buckets), less what an eviction of several makes room for",
            )
        }));
        evidence
    }

    fn expected(&self, memory: i64) -> Expected {
        let load = chains::load(self.entries_of_machine, self.to);
        let refused = self.evictable.map(|count| eviction::refused_share(count, self.to));
        Expected {
            entries_freed: Some(0),
            memory_bytes: Some(memory),
            // It says what happens at a full table: while there is room nobody is refused.
            refused_share: refused.filter(|_| self.is_full),
            further: vec![
                Datum::real("load", load, "2 x entries of all namespaces / buckets"),
                Datum::real(
                    "insert_loss",
                    self.loss(load),
                    "Poisson model, of the limit on chains that this kernel has, else of the short one",
                ),
                Datum::real(
                    "insert_loss_when_full",
                    self.loss(self.full_load(self.to)),
                    "the same, with as many entries as the limit",
                ),
                Datum::real("stall_ms", self.stall_ms(), "0.5 us x entries of all namespaces"),
            ],
        }
    }
}

#[cfg(test)]
mod tests;
