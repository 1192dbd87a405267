//! Ends the entries that a shorter timeout would already have ended, exactly those that [`what_if`](crate::advise::what_if)
//! counts, one by one; it must not end one that has been used meanwhile, nor keep the gateway from its work.
//!
//! It is done in two steps: the idle entries are listed while the old timeouts are in force, as only then a listing says how
//! long an entry has been idle; they are ended after the new ones are set. Right before its end each entry is asked for
//! again: if it is another one, is in another state, or has not just as much less left as time has passed, it is left alone.
//! What remains is the time between that answer and the end, two system calls: a packet that comes within these
//! microseconds is a packet of a connection that was idle for longer than its timeout, and finds no entry.
//!
//! The kernel cannot do it by itself: it filters what it ends or lists by addresses, protocol, mark, status and zone
//! (`ctnetlink_alloc_filter`, net/netfilter/nf_conntrack_netlink.c), and by no time left. The number of an entry does not
//! suffice either, see [`OneEntry::id`].

use std::{
    collections::HashMap,
    iter,
    net::IpAddr,
    ops::ControlFlow,
    thread,
    time::{Duration, Instant},
};

use crate::{
    advise::{
        advice::Change,
        settings::{PREFIX, Settings},
        timeouts::{TIMEOUTS, Timeout, by_name},
        what_if::{Fate, Outlooks, with_timeout},
    },
    conntrack::{
        dump::{DumpSocket, Reply},
        entry::Entry,
        one_entry::{OneEntry, Wanted},
        policies,
        socket::ConntrackSocketError,
    },
    host::{namespace::NetworkNamespace, settings},
    model::census::remaining::Kind,
};

/// After so many entries there is a pause of as long as they took: conntrack, and what else the machine does, has half of
/// one processor at least.
pub(super) const ENTRIES_AT_ONCE: usize = 256;
/// What the kernel lists of an entry is in its buffer for some time before it is read; rounding takes a second more.
const SLACK_S: u32 = 2;

/// A change of timeouts whose idle entries are to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgePlan {
    before: Settings,
    after: Settings,
}

impl PurgePlan {
    /// From these settings, which are in force, to other timeouts.
    pub fn new<'a>(
        before: &Settings,
        timeouts: impl IntoIterator<Item = (&'a Timeout, u32)>,
    ) -> Self {
        let set = |settings, (timeout, seconds)| with_timeout(&settings, timeout, seconds);
        let after = timeouts.into_iter().fold(before.clone(), set);
        Self { before: before.clone(), after }
    }

    /// The timeouts among the changes of an advice; `None` if it changes none.
    pub fn of_changes(before: &Settings, changes: &[Change]) -> Option<Self> {
        let timeout = |change: &Change| {
            let timeout = by_name(change.key.strip_prefix(PREFIX)?)?;
            Some((timeout, change.to.parse().ok()?))
        };
        let plan = Self::new(before, changes.iter().filter_map(timeout));
        (plan.before != plan.after).then_some(plan)
    }
}

/// Why idle entries cannot be ended.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    /// They cannot be listed; none was ended.
    #[error("the idle entries cannot be listed, and none was ended")]
    List(#[source] ConntrackSocketError),
    /// Rules have timeouts of their own; none was ended.
    #[error(
        "rules have {0} timeouts of their own ('ct timeout' of nft, 'nfct timeout'), and no listing shows which entries they          are for: how long entries have been idle is not known, and none was ended"
    )]
    OtherTimeouts(u64),
    /// No socket to end them; none was ended.
    #[error("there is no way to end entries, and none was ended")]
    Open(#[source] ConntrackSocketError),
    /// The kernel did not answer any more.
    #[error("ending idle entries was broken off after {} of {}", report.ended, report.idle)]
    BrokenOff {
        /// What was done until then.
        report: PurgeReport,
        /// What failed.
        source: ConntrackSocketError,
    },
}

/// What became of the idle entries. All but `beyond_cap` and `undecided` are among `idle`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PurgeReport {
    /// Entries that were idle for longer than their new timeout when they were listed.
    pub idle: u64,
    /// Of those, entries that were ended.
    pub ended: u64,
    /// Of those, entries that were used since, or that may have been: left alone.
    pub refreshed: u64,
    /// Of those, entries that had ended by themselves, or were ended by somebody else.
    pub gone: u64,
    /// Of those, entries that the kernel refused to end.
    pub failed: u64,
    /// Further idle entries that the cap left out.
    pub beyond_cap: u64,
    /// Entries of which a listing does not tell whether they are idle: left alone.
    pub undecided: u64,
}

/// An entry that was idle for longer than its new timeout.
#[derive(Clone, Copy, Debug)]
struct Idle {
    entry: OneEntry,
    kind: Kind,
    remaining_s: u32,
    listed: Instant,
}

/// Entries that were idle for longer than their new timeouts, as they were listed.
#[derive(Debug)]
pub struct IdleEntries {
    entries: Vec<Idle>,
    before: Settings,
    outlooks: Outlooks,
    beyond_cap: u64,
    undecided: u64,
}

impl IdleEntries {
    /// Lists them, at most `cap`, of some 80 bytes each. The old timeouts must still be in force, and must have been for as
    /// long as the new ones last.
    ///
    /// # Errors
    ///
    /// [`PurgeError::List`]; without the module nf_conntrack_netlink it says how to load it. [`PurgeError::OtherTimeouts`].
    pub fn list(
        namespace: &NetworkNamespace,
        plan: &PurgePlan,
        cap: usize,
    ) -> Result<Self, PurgeError> {
        match policies::count_in(namespace).map_err(PurgeError::List)? {
            0 => {}
            count => return Err(PurgeError::OtherTimeouts(count)),
        }
        let mut socket = DumpSocket::open_in(namespace).map_err(PurgeError::List)?;
        let outlooks = Outlooks::new(&plan.before, &plan.after);
        let mut listed = Self {
            entries: Vec::new(),
            before: plan.before.clone(),
            outlooks,
            beyond_cap: 0,
            undecided: 0,
        };
        let each = |entry: &Entry| {
            listed.add(entry, cap, Instant::now());
            ControlFlow::Continue(())
        };
        socket.dump(each).map_err(PurgeError::List)?;
        Ok(listed)
    }

    /// How many there are, without those beyond the cap.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Idle entries that the cap left out.
    pub fn beyond_cap(&self) -> u64 {
        self.beyond_cap
    }

    /// Entries of which the listing does not tell whether they are idle.
    pub fn undecided(&self) -> u64 {
        self.undecided
    }

    /// How many each source has, the most first.
    pub fn by_source(&self) -> Vec<(IpAddr, u64)> {
        let mut counts: HashMap<IpAddr, u64> = HashMap::new();
        for idle in &self.entries {
            *counts.entry(idle.entry.original.source).or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_unstable_by_key(|(source, entries)| (std::cmp::Reverse(*entries), *source));
        counts
    }

    /// Ends them. Blocks, for some 20 µs an entry and as long again in pauses.
    ///
    /// # Errors
    ///
    /// [`PurgeError::Open`] or [`PurgeError::BrokenOff`].
    pub fn end(mut self, namespace: &NetworkNamespace) -> Result<PurgeReport, PurgeError> {
        let mut report = PurgeReport {
            idle: self.entries.len() as u64,
            beyond_cap: self.beyond_cap,
            undecided: self.undecided,
            ..PurgeReport::default()
        };
        let mut socket = DumpSocket::open_in(namespace).map_err(PurgeError::Open)?;
        let in_force = InForce::now(namespace, &self.before);
        for at_once in self.entries.chunks(ENTRIES_AT_ONCE) {
            let begun = Instant::now();
            for idle in at_once {
                let count = match end(&mut socket, &mut self.outlooks, idle, in_force) {
                    Ok(End::Ended) => &mut report.ended,
                    Ok(End::Refreshed) => &mut report.refreshed,
                    Ok(End::Gone) => &mut report.gone,
                    Ok(End::Failed) => &mut report.failed,
                    Err(source) => return Err(PurgeError::BrokenOff { report, source }),
                };
                *count += 1;
            }
            pause(begun.elapsed());
        }
        Ok(report)
    }

    fn add(&mut self, entry: &Entry, cap: usize, listed: Instant) {
        let walked = entry.walked(0);
        let kind =
            Kind::of(entry.original.protocol, walked.state, walked.assured, walked.unreplied);
        let Some((kind, outlook)) = kind.and_then(|kind| Some((kind, self.outlooks.of(kind)?)))
        else {
            return;
        };
        let remaining_s = walked.remaining_s;
        match (remaining_s, remaining_s.map(|remaining_s| outlook.fate(remaining_s))) {
            (Some(remaining_s), Some(Fate::Ends)) if self.entries.len() < cap => {
                let Entry { original, zone, id, .. } = *entry;
                let entry = OneEntry { original, zone, id };
                self.entries.push(Idle { entry, kind, remaining_s, listed });
            }
            (_, Some(Fate::Ends)) => self.beyond_cap += 1,
            (_, Some(Fate::Stays)) => {}
            (_, Some(Fate::Undecided) | None) => self.undecided += 1,
        }
    }
}

/// Ends the entries that shorter timeouts would already have ended, at most `cap` of them, while the old ones are still in
/// force. To set the new ones between the two steps, see [`IdleEntries`].
///
/// # Errors
///
/// See [`PurgeError`].
pub fn purge(
    namespace: &NetworkNamespace,
    plan: &PurgePlan,
    cap: usize,
) -> Result<PurgeReport, PurgeError> {
    IdleEntries::list(namespace, plan, cap)?.end(namespace)
}

/// Which timeouts are in force while entries are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InForce {
    /// Those from before: an entry that has been used since it was listed has more left than any that is to end.
    Old,
    /// Others, or that is not known: it may have just as much left.
    New,
}

impl InForce {
    fn now(namespace: &NetworkNamespace, before: &Settings) -> Self {
        let is_old = settings::read_in(namespace).is_ok_and(|now| {
            TIMEOUTS.iter().all(|of| now.timeout_s(of.name) == before.timeout_s(of.name))
        });
        if is_old { Self::Old } else { Self::New }
    }
}

enum End {
    Ended,
    Refreshed,
    Gone,
    Failed,
}

fn end(
    socket: &mut DumpSocket,
    outlooks: &mut Outlooks,
    idle: &Idle,
    in_force: InForce,
) -> Result<End, ConntrackSocketError> {
    let now = match socket.exchange(&idle.entry, Wanted::Told)? {
        Reply::Told(now) => now,
        Reply::Refused(libc::ENOENT) => return Ok(End::Gone),
        Reply::Refused(_) | Reply::Done => return Ok(End::Failed),
    };
    let since_s = u32::try_from(idle.listed.elapsed().as_secs()).unwrap_or(u32::MAX);
    if !is_still_idle(idle, &now, since_s) {
        return Ok(End::Refreshed);
    }
    if in_force == InForce::New {
        let outlook = outlooks.of(idle.kind);
        let may_be = |remaining_s| {
            outlook.is_none_or(|of| of.may_be_refreshed(remaining_s, since_s + SLACK_S))
        };
        if now.timeout_s.is_none_or(may_be) {
            return Ok(End::Refreshed);
        }
    }
    Ok(match socket.exchange(&idle.entry, Wanted::Ended)? {
        Reply::Done => End::Ended,
        Reply::Refused(libc::ENOENT) => End::Gone,
        Reply::Refused(_) | Reply::Told(_) => End::Failed,
    })
}

/// Whether an entry is the one that was listed so long ago, and no packet has given it another timeout since.
fn is_still_idle(idle: &Idle, now: &Entry, since_s: u32) -> bool {
    let walked = now.walked(0);
    let kind = Kind::of(now.original.protocol, walked.state, walked.assured, walked.unreplied);
    let Some(remaining_s) = walked.remaining_s else { return false };
    // It was told rounded down, up to SLACK_S before it was read.
    let most = (idle.remaining_s + 1).saturating_sub(since_s);
    let least = idle.remaining_s.saturating_sub(since_s.saturating_add(SLACK_S + 1));
    now.id == idle.entry.id && kind == Some(idle.kind) && (least..=most).contains(&remaining_s)
}

pub(super) fn pause(length: Duration) {
    let end = Instant::now() + length;
    // Parking may end early.
    for left in iter::repeat_with(|| end.saturating_duration_since(Instant::now())) {
        if left.is_zero() {
            return;
        }
        thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests;
