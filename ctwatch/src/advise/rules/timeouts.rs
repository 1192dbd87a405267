//! Advises a shorter timeout where the entries that it would have ended are what fills the table; the gentlest one that
//! suffices, and never one below what the RFCs ask of a NAT unless that is allowed.
//!
//! The ids are `shorten-` and the kernel's name with dashes, as in `shorten-tcp-timeout-close-wait`.

use crate::advise::{
    advice::{Advice, Amount, Change, Datum, Expected, Severity},
    bounds::Bounds,
    case::Case,
    cause::{Cause, Finding},
    pressure::Pressure,
    settings::PREFIX,
    timeouts::{TIMEOUTS, Timeout, by_name},
    verdict::Verdict,
    what_if::WhatIf,
};
use crate::model::census::Census;

/// The rule's name in JSON.
pub const ID: &str = "timeouts";

/// From this share of the limit on it is worth while, and below it no more is needed.
const PRESSED_FROM: f64 = 0.7;
/// A timeout that ends less than this share of the table is not advised, unless it is the cause: entries that have just been
/// made are not idle yet, and will be.
const SHARE_MIN: f64 = 0.05;
/// Beyond so many times its default a timeout has been raised by somebody; then it is reset first, whatever the pressure.
const FAR_ABOVE_DEFAULT: u32 = 2;
/// The stages of the longest timeout, each some fifth of the one before: what kube-proxy sets, a quarter of that, and what
/// RFC 5382 asks for at least.
const ESTABLISHED_STAGES_S: [u32; 3] = [86_400, 21_600, 7440];
/// What guides tell everybody to set.
const ESTABLISHED_OF_GUIDES_S: u32 = 54_000;
const ESTABLISHED: &str = "tcp_timeout_established";

/// A timeout that would end something, at one of its stages.
struct Candidate {
    timeout: &'static Timeout,
    from_s: u32,
    to_s: u32,
    what_if: WhatIf,
}

/// Judges all timeouts together: as few are advised as suffice, those first that end most.
pub fn judge(case: &Case, finding: &Finding, bounds: &Bounds) -> Verdict {
    let Some(walk) = &case.last.census else { return Verdict::Silent };
    let pressed = is_pressed(case);
    if let Some(count @ 1..) = case.facts.timeouts_of_rules {
        let why = format!(
            "rules have {count} timeouts of their own ('ct timeout' of nft, 'nfct timeout'), and no listing shows which entries they \
             are for: how long entries have been idle is not known"
        );
        return if pressed { Verdict::Refuse(why) } else { Verdict::Silent };
    }
    let needed = needed(case);
    let mut candidates: Vec<Candidate> = TIMEOUTS
        .iter()
        .filter_map(|timeout| {
            let ends_min = if is_named(finding, timeout) {
                0
            } else {
                // What ends less than that changes nothing that matters.
                ((walk.census.entries as f64 * SHARE_MIN).ceil() as u64).max(1)
            };
            candidate(case, &walk.census, timeout, (needed, ends_min), bounds)
        })
        .filter(|candidate| pressed || candidate.is_far_above_default())
        .collect();
    candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.what_if.ends));
    let mut ends = 0;
    let mut advice = Vec::new();
    for candidate in &candidates {
        // Enough is enough; but what somebody has raised far is reset in any case.
        if ends < needed || candidate.is_far_above_default() {
            ends += candidate.what_if.ends;
            advice.push(candidate.advice(case, pressed));
        }
    }
    match (advice.is_empty(), pressed) {
        (false, _) => Verdict::Advise(advice),
        (true, true) => Verdict::Refuse(refusal(case, &walk.census)),
        (true, false) => Verdict::Silent,
    }
}

/// Whether it is the timeout that the finding names.
fn is_named(finding: &Finding, timeout: &Timeout) -> bool {
    let is_it = |datum: &Datum| {
        datum.name == "timeout"
            && matches!(&datum.amount, Amount::Text(name) if name == timeout.name)
    };
    finding.cause == Cause::LingeringState && finding.evidence.iter().any(is_it)
}

fn is_pressed(case: &Case) -> bool {
    Pressure::of(case)
        .is_some_and(|pressure| pressure.utilization >= PRESSED_FROM || pressure.is_high())
}

/// How many entries fewer there should be.
fn needed(case: &Case) -> u64 {
    let enough = case.settings.limit().map(|limit| (limit as f64 * PRESSED_FROM) as u64);
    // Without a limit, or where it only grows, what matters at all.
    let matters = (case.entries() as f64 * SHARE_MIN) as u64;
    enough.map_or(matters, |enough| case.entries().saturating_sub(enough).max(matters)).max(1)
}

/// The gentlest stage that ends as many as needed, or else as many as any; none if that is less than `ends_min`.
fn candidate(
    case: &Case,
    census: &Census,
    timeout: &'static Timeout,
    (needed, ends_min): (u64, u64),
    bounds: &Bounds,
) -> Option<Candidate> {
    let from_s = case.settings.timeout_s(timeout.name)?;
    let at = |to_s| {
        let what_if = WhatIf::of_timeout(census, &case.settings, timeout, to_s)?;
        Some(Candidate { timeout, from_s, to_s, what_if })
    };
    let least_s = timeout.least_advised_s(case.facts.translates_sources, bounds);
    let stages: Vec<Candidate> =
        stages(timeout, from_s, least_s).into_iter().filter_map(at).collect();
    let most = stages.iter().map(|stage| stage.what_if.ends).max()?;
    let wanted = needed.min(most);
    let find = || stages.into_iter().find(|stage| stage.what_if.ends >= wanted);
    (most >= ends_min).then(find).flatten()
}

/// To what it may be shortened, the gentlest first.
fn stages(timeout: &Timeout, from_s: u32, least_s: u32) -> Vec<u32> {
    let stages = if from_s > timeout.default_s.saturating_mul(FAR_ABOVE_DEFAULT) {
        vec![timeout.default_s.max(least_s)]
    } else if timeout.name == ESTABLISHED {
        ESTABLISHED_STAGES_S.to_vec()
    } else {
        vec![timeout.default_s, from_s / 2, from_s / 4, least_s]
    };
    let mut stages: Vec<u32> =
        stages.into_iter().filter(|stage| (least_s..from_s).contains(stage)).collect();
    stages.sort_unstable_by(|one, other| other.cmp(one));
    stages.dedup();
    stages
}

impl Candidate {
    fn is_far_above_default(&self) -> bool {
        self.from_s > self.timeout.default_s.saturating_mul(FAR_ABOVE_DEFAULT)
    }

    fn advice(&self, case: &Case, pressed: bool) -> Advice {
        let Self { timeout, from_s, to_s, what_if } = self;
        let name = timeout.name;
        let id = format!("shorten-{}", name.replace('_', "-"));
        let severity = match (case.totals().refused, pressed) {
            (Some(1..), _) => Severity::Critical,
            (_, true) => Severity::Warning,
            (_, false) => Severity::Info,
        };
        let entry_bytes = case
            .facts
            .memory
            .entry_bytes
            .map(|bytes| bytes.saturating_add(case.facts.memory.extension_bytes.unwrap_or(0)));
        let memory_bytes =
            entry_bytes.and_then(|bytes| i64::try_from(bytes.checked_mul(what_if.ends)?).ok());
        Advice {
            severity,
            what: match what_if.ends {
                0 => format!("set {name} from {from_s} to {to_s} s"),
                ends => format!(
                    "set {name} from {from_s} to {to_s} s, and end the {ends} entries that would have ended by now"
                ),
            },
            why: self.why(case),
            evidence: self.evidence(case),
            changes: vec![Change {
                key: format!("{PREFIX}{name}"),
                from: from_s.to_string(),
                to: to_s.to_string(),
            }],
            is_unasked: false,
            expected: Expected {
                entries_freed: Some(what_if.ends),
                memory_bytes: memory_bytes.map(|bytes| -bytes),
                refused_share: None,
                further: vec![
                    Datum::count(
                        "entry_seconds_saved_per_day",
                        what_if.entry_seconds_per_day(),
                        "entries_freed x 86400, if the table goes on as it was found",
                    ),
                    Datum::count(
                        "entries_undecided",
                        what_if.undecided,
                        "entries of which a listing does not tell how long they are idle; they are not ended",
                    ),
                ],
            },
            risk: format!(
                "{}; the setting can be taken back, an entry that was ended cannot",
                timeout.risk
            ),
            commands: self.commands(&id),
            until: format!(
                "the table holds less than {:.0} % of its limit without these entries, or is used otherwise",
                PRESSED_FROM * 100.0
            ),
            id,
            rule: ID,
        }
    }

    fn why(&self, case: &Case) -> String {
        let Self { timeout, from_s, to_s, what_if } = self;
        let mut why = format!(
            "{} of {} entries are governed by {}, and {} of them have been idle for more than {to_s} s",
            what_if.entries,
            case.entries(),
            timeout.name,
            what_if.ends
        );
        if self.is_far_above_default() {
            why += &format!(
                "; it is {from_s} s, {:.0} times the kernel's default of {} s",
                f64::from(*from_s) / f64::from(timeout.default_s.max(1)),
                timeout.default_s
            );
        }
        why += ". A shorter timeout alone does not touch entries that exist: the idle ones stay for what they have left, and those \
                that are used, or made from now on, get the new one";
        if what_if.undecided > 0 {
            why += &format!(
                ". {} more may be idle or in use, which a listing does not tell; they are left alone",
                what_if.undecided
            );
        }
        why
    }

    fn evidence(&self, case: &Case) -> Vec<Datum> {
        let Self { timeout, from_s, what_if, .. } = self;
        let file = format!("/proc/sys/net/netfilter/nf_conntrack_{}", timeout.name);
        let walk = "the last walk of the table";
        let age_s = case.last.census.as_ref().map_or(0.0, |walk| walk.age_s);
        vec![
            Datum::count("timeout_s", (*from_s).into(), file),
            Datum::count(
                "default_s",
                timeout.default_s.into(),
                "net/netfilter/nf_conntrack_proto_*.c",
            ),
            Datum::count("entries_governed", what_if.entries, walk),
            Datum::count("entries_idle", what_if.ends, "timeout_s less what each has left"),
            Datum::real("walk_age_s", age_s, "census.age_s"),
        ]
    }

    fn commands(&self, id: &str) -> Vec<String> {
        let Self { timeout, from_s, to_s, .. } = self;
        let mut commands = vec![
            format!("sysctl -w {PREFIX}{}={to_s}", timeout.name),
            format!("ctwatch apply {id} --yes --purge  # sets it, and ends the idle entries"),
        ];
        if let Some(which) = conntrack_selection(timeout.name) {
            let idle = from_s - to_s;
            commands.push(format!(
                "conntrack -L {which} | awk '$3 < {idle}'  # shows the idle ones; conntrack -D {which} -s ADDRESS ends those of a \
                 source, also the ones in use"
            ));
        }
        commands
    }
}

/// How the program conntrack is told of the entries that a timeout governs; `None` where it cannot tell them.
fn conntrack_selection(name: &str) -> Option<String> {
    if let Some(state) = name.strip_prefix("tcp_timeout_") {
        let is_state = !matches!(state, "max_retrans" | "unacknowledged");
        return is_state.then(|| format!("-p tcp --state {}", state.to_uppercase()));
    }
    Some(match name {
        "udp_timeout" => "-p udp".to_owned(),
        "udp_timeout_stream" => "-p udp -u ASSURED".to_owned(),
        "icmp_timeout" => "-p icmp".to_owned(),
        "icmpv6_timeout" => "-f ipv6 -p icmpv6".to_owned(),
        "gre_timeout" | "gre_timeout_stream" => "-p gre".to_owned(),
        _ => return None,
    })
}

fn refusal(case: &Case, census: &Census) -> String {
    let established = || {
        let timeout = by_name(ESTABLISHED)?;
        let from_s = case.settings.timeout_s(ESTABLISHED)?;
        let what_if = WhatIf::of_timeout(census, &case.settings, timeout, ESTABLISHED_OF_GUIDES_S)?;
        (from_s > ESTABLISHED_OF_GUIDES_S).then(|| {
            format!(
                ": {ESTABLISHED} = {ESTABLISHED_OF_GUIDES_S}, as guides say, would end {} of {} entries now, and {} s is what it is",
                what_if.ends, census.entries, from_s
            )
        })
    };
    format!(
        "no timeout that may be set here would have ended {:.0} % of the table: the entries are in use, or younger than any \
         such timeout{}",
        SHARE_MIN * 100.0,
        established().unwrap_or_default()
    )
}

#[cfg(test)]
mod tests;
