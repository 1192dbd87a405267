//! Entries that nobody uses any more, kept by a timeout that is longer than it need be.

use super::{Cause, Finding, Signs};
use crate::{
    advise::{
        advice::Datum,
        timeouts::{self, Timeout},
        what_if::WhatIf,
        wording::{duration, percent},
    },
    model::census::{remaining::Kind, state::tcp_name},
};

/// A group of less is not what fills the table.
const SHARE_MIN: f64 = 0.4;
/// Of entries whose timeout is the kernel's own, so many must have been idle for longer than they need be.
const IDLE_SHARE_MIN: f64 = 0.25;

/// Entries that one timeout governs.
struct Group {
    timeout: &'static Timeout,
    kinds: Vec<Kind>,
    entries: u64,
}

/// Whether the timeout that governs most of the entries is too long: set above the kernel's own, or longer than a NAT has
/// to keep what is idle, and much is idle for longer than that.
pub(super) fn fills_the_table(signs: &Signs<'_>) -> Option<Finding> {
    if !signs.is_high() {
        return None;
    }
    let case = signs.case;
    let census = &case.last.census.as_ref()?.census;
    let mut groups: Vec<Group> = Vec::new();
    for of_kind in &census.remaining.kinds {
        let Some(timeout) = timeouts::of_kind(of_kind.kind) else { continue };
        let entries = of_kind.entries();
        match groups.iter_mut().find(|group| group.timeout == timeout) {
            Some(group) => {
                group.entries += entries;
                group.kinds.push(of_kind.kind);
            }
            None => groups.push(Group { timeout, kinds: vec![of_kind.kind], entries }),
        }
    }
    let group = groups.into_iter().max_by_key(|group| group.entries)?;
    let share = group.entries as f64 / census.entries.max(1) as f64;
    let is_s = case.settings.timeout_s(group.timeout.name)?;
    let needed_s = group.timeout.nat_floor_s.unwrap_or(group.timeout.default_s);
    let idle = WhatIf::of_timeout(census, &case.settings, group.timeout, needed_s.min(is_s))?.ends;
    let is_raised = is_s > group.timeout.default_s;
    let is_idle = is_s > needed_s && idle as f64 >= IDLE_SHARE_MIN * group.entries as f64;
    if share < SHARE_MIN || !(is_raised || is_idle) {
        return None;
    }
    let what = describe(&group.kinds);
    let mut evidence = signs.fullness();
    evidence.extend([
        Datum::text("timeout", group.timeout.name, "net.netfilter.nf_conntrack_*"),
        Datum::count("timeout_s", is_s.into(), "net.netfilter.nf_conntrack_*"),
        Datum::count(
            "timeout_default_s",
            group.timeout.default_s.into(),
            "net/netfilter/nf_conntrack_proto_*.c",
        ),
        Datum::text("state", what.clone(), "last walk of the table"),
        Datum::count("entries_of_state", group.entries, "last walk of the table"),
        Datum::real("share_of_state", share, "entries of the state / entries of the last walk"),
        Datum::count(
            "idle_for_longer_than_needed",
            idle,
            "last walk of the table, by what each entry has left",
        ),
    ]);
    let why = if is_raised {
        format!("the kernel's own value is {}", duration(group.timeout.default_s.into()))
    } else {
        format!(
            "{idle} of them have been idle for more than {}, as long as a NAT has to keep them ({})",
            duration(needed_s.into()),
            group.timeout.floor_source
        )
    };
    Some(Finding {
        cause: Cause::LingeringState,
        explanation: format!(
            "{}; {} of the entries are {what}, which {} keeps for {}, and {why}.",
            signs.how_full(),
            percent(share),
            group.timeout.name,
            duration(is_s.into())
        ),
        evidence,
    })
}

/// As people call them; the kinds of one timeout are of one protocol.
fn describe(kinds: &[Kind]) -> String {
    let kind = kinds.first().copied();
    match kind {
        Some(Kind::Tcp { state, .. }) => {
            format!("tcp in {}", tcp_name(state))
        }
        Some(Kind::Udp { is_assured: false }) => "udp that is not assured".to_owned(),
        Some(Kind::Udp { is_assured: true }) => "udp that is assured".to_owned(),
        Some(Kind::Gre { .. }) => "gre".to_owned(),
        Some(Kind::Icmp) => "icmp".to_owned(),
        Some(Kind::Icmpv6) => "icmpv6".to_owned(),
        Some(Kind::Generic) | None => "of protocols without a tracker".to_owned(),
    }
}
