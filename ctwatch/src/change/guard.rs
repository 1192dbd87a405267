//! What speaks against a change, whatever the advice was: pure, and asked right before it is made, with what the machine is
//! like then.

use super::{
    knob::{Knob, Scope, by_key},
    order::is_lower,
    record::PlannedChange,
};
use crate::advise::{
    bounds::Bounds,
    settings::{EXPECTATIONS, HASHSIZE, LIMIT, PREFIX},
    sizing::cost,
    timeouts::TIMEOUTS,
};

/// Of the memory that can be had now, tables may come to take this part: others want some too.
const AVAILABLE_PART: u64 = 2;
/// A namespace counts for memory if it holds one in so many of what it may.
const BUSY_PART: u64 = 10;

/// What the machine is like right now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Entries of each namespace.
    pub entries: Vec<u64>,
    /// Memory that can be had; `None` if that is not told.
    pub available_bytes: Option<u64>,
    /// Memory of one entry.
    pub entry_bytes: u64,
    /// Of a page.
    pub page_bytes: u64,
    /// Whether values of the whole machine can be written from here.
    pub reaches_machine: bool,
    /// Values that cannot be written, and why, in words.
    pub unwritable: Vec<(String, String)>,
}

/// Why a change is not made.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    /// The kernel would not take the value, or make another one of it.
    #[error("{key} = {to}: {why}")]
    Value {
        /// The value.
        key: String,
        /// What it was to be.
        to: u64,
        /// Why not.
        why: String,
    },
    /// Somebody has raised it.
    #[error(
        "{key} would fall from {from} to {to}, and somebody has raised it: allow it with --allow-lowering"
    )]
    Lowering {
        /// The value.
        key: String,
        /// What it is.
        from: u64,
        /// What it was to be.
        to: u64,
    },
    /// The kernel would stand still for too long.
    #[error(
        "{HASHSIZE}: the kernel would stand still for about {stall_ms} ms while it links {entries} entries anew, more than the {allowed_ms} ms \
         allowed: do it when fewer are held, or allow it with --stall"
    )]
    Stall {
        /// For how long, in milliseconds.
        stall_ms: u64,
        /// Entries of all namespaces.
        entries: u64,
        /// How long it may, in milliseconds.
        allowed_ms: u64,
    },
    /// There is not the memory.
    #[error("{key}: a table that fills up could take {wanted_bytes} bytes more, and {}: choose a smaller value", match .available_bytes { Some(bytes) => format!("only {bytes} can be had now, of which it may take half"), None => "it is not known how much can be had".to_owned() })]
    Memory {
        /// The value.
        key: String,
        /// What it could come to take, in bytes.
        wanted_bytes: u64,
        /// What there is, in bytes.
        available_bytes: Option<u64>,
    },
    /// It is the machine's, and this is not the place.
    #[error(
        "{0} is the whole machine's and cannot be changed from this network namespace or container: do it on the host, in its initial network \
         namespace"
    )]
    NotFromHere(String),
    /// It cannot be written.
    #[error("{key} cannot be written here: {why}")]
    Unwritable {
        /// The value.
        key: String,
        /// Why.
        why: String,
    },
}

impl Objection {
    /// Whether it is the place that is wrong, and not the plan.
    pub fn is_of_place(&self) -> bool {
        matches!(self, Self::NotFromHere(_) | Self::Unwritable { .. })
    }
}

/// Everything that speaks against these changes.
pub fn objections(
    changes: &[PlannedChange],
    surroundings: &Surroundings,
    bounds: &Bounds,
) -> Vec<Objection> {
    let of = |change: &PlannedChange| {
        let Some(knob) = by_key(&change.key) else {
            return vec![value(change, "ctwatch changes no value of that name")];
        };
        let checks = [
            place(&knob, surroundings),
            settled(&knob, change, surroundings),
            lowering(change, bounds),
            stall(change, surroundings, bounds),
            memory(change, surroundings),
        ];
        checks.into_iter().flatten().collect()
    };
    changes.iter().flat_map(of).collect()
}

fn value(change: &PlannedChange, why: &str) -> Objection {
    Objection::Value { key: change.key.clone(), to: change.to, why: why.to_owned() }
}

fn place(knob: &Knob, surroundings: &Surroundings) -> Option<Objection> {
    if knob.scope == Scope::Machine && !surroundings.reaches_machine {
        return Some(Objection::NotFromHere(knob.key.clone()));
    }
    let (key, why) = surroundings.unwritable.iter().find(|(key, _)| *key == knob.key)?;
    Some(Objection::Unwritable { key: key.clone(), why: why.clone() })
}

fn settled(knob: &Knob, change: &PlannedChange, surroundings: &Surroundings) -> Option<Objection> {
    match knob.settled(change.to, surroundings.page_bytes) {
        None => Some(value(change, "the kernel does not take that value, or it means no limit")),
        Some(settled) if settled != change.to => {
            Some(value(change, &format!("the kernel would make {settled} of it: say so")))
        }
        Some(_) => None,
    }
}

/// Sizes are only raised by somebody. Fewer buckets than there are by default do good at times, and advice on them is only
/// followed when it is named. A timeout above the kernel's own was raised by somebody.
fn lowering(change: &PlannedChange, bounds: &Bounds) -> Option<Objection> {
    let was_raised = match change.key.as_str() {
        LIMIT | EXPECTATIONS => true,
        key => {
            let timeout = TIMEOUTS.iter().find(|of| key.strip_prefix(PREFIX) == Some(of.name));
            timeout.is_some_and(|of| change.from > u64::from(of.default_s))
        }
    };
    let PlannedChange { key, from, to } = change;
    (was_raised && is_lower(change) && !bounds.allow_lowering).then(|| Objection::Lowering {
        key: key.clone(),
        from: *from,
        to: *to,
    })
}

fn stall(
    change: &PlannedChange,
    surroundings: &Surroundings,
    bounds: &Bounds,
) -> Option<Objection> {
    let entries = surroundings.entries.iter().sum();
    let stall_ms = cost::resize_stall_ms(entries);
    (change.key == HASHSIZE && stall_ms > bounds.stall_ms_max).then(|| Objection::Stall {
        stall_ms: stall_ms.ceil() as u64,
        entries,
        allowed_ms: bounds.stall_ms_max as u64,
    })
}

fn memory(change: &PlannedChange, surroundings: &Surroundings) -> Option<Objection> {
    if change.to <= change.from || is_lower(change) {
        return None;
    }
    let more = change.to - change.from;
    let wanted_bytes = match change.key.as_str() {
        LIMIT => {
            let is_busy = |entries: &&u64| **entries >= change.from / BUSY_PART;
            let busy = surroundings.entries.iter().filter(is_busy).count().max(1);
            more.saturating_mul(surroundings.entry_bytes)
                .saturating_mul(u64::try_from(busy).unwrap_or(u64::MAX))
        }
        // The old one is there until the new one is filled.
        HASHSIZE => cost::table_bytes(0, change.to, 0),
        EXPECTATIONS => more.saturating_mul(surroundings.entry_bytes),
        _ => return None,
    };
    let available_bytes = surroundings.available_bytes;
    let is_too_much =
        available_bytes.is_none_or(|available| wanted_bytes > available / AVAILABLE_PART);
    is_too_much.then(|| Objection::Memory {
        key: change.key.clone(),
        wanted_bytes,
        available_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSE_WAIT: &str = "net.netfilter.nf_conntrack_tcp_timeout_close_wait";

    fn surroundings() -> Surroundings {
        Surroundings {
            entries: vec![60_000, 10_000, 5],
            available_bytes: Some(100 << 20),
            entry_bytes: 384,
            page_bytes: 4096,
            reaches_machine: true,
            unwritable: Vec::new(),
        }
    }

    fn found(key: &str, from: u64, to: u64, surroundings: &Surroundings) -> Vec<Objection> {
        let change = PlannedChange { key: key.to_owned(), from, to };
        objections(&[change], surroundings, &Bounds::default())
    }

    #[test]
    fn what_is_sensible_is_not_objected_to() {
        assert_eq!(found(LIMIT, 65_536, 131_072, &surroundings()), []);
        assert_eq!(found(HASHSIZE, 65_536, 131_072, &surroundings()), []);
        assert_eq!(found(CLOSE_WAIT, 60, 30, &surroundings()), []);
    }

    #[test]
    fn a_limit_that_memory_does_not_bear_is_refused() {
        // 65 536 entries of 384 bytes in two busy namespaces are as much as half of what there is.
        let just = Surroundings { available_bytes: Some(2 * 2 * 65_536 * 384), ..surroundings() };
        assert_eq!(found(LIMIT, 65_536, 131_072, &just), []);
        let less = Surroundings { available_bytes: Some(2 * 2 * 65_536 * 384 - 2), ..just.clone() };
        assert!(matches!(found(LIMIT, 65_536, 131_072, &less)[..], [Objection::Memory { .. }]));
        let unknown = Surroundings { available_bytes: None, ..just };
        assert!(matches!(found(LIMIT, 65_536, 131_072, &unknown)[..], [Objection::Memory { .. }]));
    }

    #[test]
    fn the_kernel_must_not_stand_still_for_longer_than_allowed() {
        let busy = Surroundings { entries: vec![60_000, 40_001], ..surroundings() };
        let objections = found(HASHSIZE, 65_536, 131_072, &busy);
        assert!(matches!(
            objections[..],
            [Objection::Stall { stall_ms: 51, entries: 100_001, .. }]
        ));
        // The limit moves no entry.
        assert_eq!(found(LIMIT, 65_536, 65_600, &busy), []);
    }

    #[test]
    fn what_somebody_has_raised_is_not_lowered_unasked() {
        for (key, from, to) in [(LIMIT, 65_536, 32_768), (LIMIT, 0, 65_536), (CLOSE_WAIT, 3600, 60)]
        {
            let objections = found(key, from, to, &surroundings());
            assert!(
                matches!(objections[..], [Objection::Lowering { .. }]),
                "{key}: {objections:?}"
            );
            let change = PlannedChange { key: key.to_owned(), from, to };
            let bounds = Bounds { allow_lowering: true, ..Bounds::default() };
            assert_eq!(super::objections(&[change], &surroundings(), &bounds), []);
        }
    }

    #[test]
    fn values_that_mean_something_else_to_the_kernel_are_refused() {
        for (key, to) in [(LIMIT, 0), (HASHSIZE, 65_000), (CLOSE_WAIT, 0), ("kernel.panic", 1)] {
            let objections = found(key, 100, to, &surroundings());
            assert!(objections.iter().any(|one| matches!(one, Objection::Value { .. })), "{key}");
        }
    }

    #[test]
    fn from_a_child_namespace_only_its_own_values_are_changed() {
        let child = Surroundings { reaches_machine: false, ..surroundings() };
        let objections = found(LIMIT, 65_536, 131_072, &child);
        assert!(objections.iter().all(Objection::is_of_place) && objections.len() == 1);
        assert_eq!(found(CLOSE_WAIT, 60, 30, &child), []);
        let why = (CLOSE_WAIT.to_owned(), "read-only".to_owned());
        let read_only = Surroundings { unwritable: vec![why], ..surroundings() };
        assert!(matches!(
            found(CLOSE_WAIT, 60, 30, &read_only)[..],
            [Objection::Unwritable { .. }]
        ));
    }
}
