//! What would end now if timeouts were shorter: a pure function of what each entry has left. The purge of idle entries
//! asks the same function, so what is foretold is what is ended.
//!
//! An entry is given a timeout by each of its packets, and a changed setting touches none that exists. What it has left
//! says how long it has been idle, if it is known which timeout it was given; but a listing does not always show that:
//! TCP in a state of five days may have been given the five minutes of `tcp_timeout_max_retrans` instead. So all ways in
//! which the kernel may have come to what is left are gone through ([`Outlook`]), and an entry ends only if it does by
//! each of them. The others are undecided: they end by themselves within that shorter time, or are in use.
//!
//! What no listing shows is not known here either: an entry that was given an earlier value of the setting, lower than
//! today's, seems to have been idle for longer than it was. So the setting must have held for at least the new timeout;
//! then also such an entry has been idle for longer than that. And an entry for which a rule has a timeout of its own
//! (nft `ct timeout`, iptables `CT --timeout`) seems idle if that is shorter.

use std::{cmp::Reverse, collections::HashMap, net::IpAddr, str::FromStr};

use super::{
    settings::{PREFIX, Settings},
    timeouts::{self, Timeout, by_name},
};
use crate::model::{
    census::{
        Census,
        bounded::Bounded,
        entry::WalkedEntry,
        remaining::{Kind, RemainingOfKind},
    },
    source,
};

/// Seconds of a day, which turns entries that are not held into entry-seconds a day.
const DAY_S: u64 = 86_400;
/// What TCP has left when it comes back from a flow table, unless set (`NF_FLOWTABLE_TCP_PICKUP_TIMEOUT`,
/// net/netfilter/nf_flow_table_core.c, up to 5.12; since then what its state has, less 30 s).
const TCP_FROM_FLOW_TABLE_S: u32 = 120;
/// The same of UDP.
const UDP_FROM_FLOW_TABLE_S: u32 = 30;

/// A kernel of 1000 ticks a second keeps no longer ones (`proc_dointvec_jiffies` refuses what does not fit in an `int`).
const SECONDS_MAX: u32 = 2_147_483;
/// Sources that are counted, in 4 MB.
const LOSERS_MAX: usize = 65_536;

/// What becomes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It would have ended already.
    Ends,
    /// It would still be there.
    Stays,
    /// A listing does not tell.
    Undecided,
}

/// The timeouts that entries of one kind may have been given: each as it is, and as it would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    given: Vec<(u32, u32)>,
}

impl Outlook {
    /// What entries of a kind may have been given; `None` if this kernel has no such timeout, or none that can be set.
    ///
    /// Of TCP see the end of `nf_conntrack_tcp_packet` (net/netfilter/nf_conntrack_proto_tcp.c), of UDP
    /// `nf_conntrack_udp_packet`: up to 5.12 an entry is assured with the first packet that follows an answer, but is
    /// given `udp_timeout` for its first two seconds. GRE keeps for its life what it finds when it is made
    /// (`nf_conntrack_gre_packet`).
    pub fn of(kind: Kind, before: &Settings, after: &Settings) -> Option<Self> {
        let both = |name| Some((before.timeout_s(name)?, after.timeout_s(name)?));
        let name = timeouts::of_kind(kind)?.name;
        let plain = both(name)?;
        let mut given = vec![plain];
        match kind {
            Kind::Tcp { is_unreplied, .. } => {
                let is_established = name == ESTABLISHED;
                for name in [MAX_RETRANS, UNACKNOWLEDGED] {
                    // Both only where they are shorter; and what they are unless set may have been given before they were set.
                    given.extend(both(name).map(|other| shorter(plain, other)));
                    let unset = by_name(name)?.default_s;
                    given.push(shorter(plain, (unset, unset)));
                }
                if is_established {
                    // A reset that does not fit exactly leaves the state alone.
                    given.extend(both(CLOSE));
                    given.push((TCP_FROM_FLOW_TABLE_S, TCP_FROM_FLOW_TABLE_S));
                }
                if is_established && is_unreplied {
                    let cap = both(UNACKNOWLEDGED)?;
                    given.iter_mut().for_each(|given| *given = shorter(*given, cap));
                }
            }
            Kind::Udp { is_assured: true } => {
                given.extend(both("udp_timeout"));
                given.push((UDP_FROM_FLOW_TABLE_S, UDP_FROM_FLOW_TABLE_S));
            }
            _ => {}
        }
        given.sort_unstable();
        given.dedup();
        Some(Self { given })
    }

    /// Whether the change makes a difference.
    pub fn differs(&self) -> bool {
        self.given.iter().any(|(before, after)| before != after)
    }

    /// Whether an entry may have so many whole seconds left because a packet gave it a new timeout within the last
    /// `since_s`.
    pub fn may_be_refreshed(&self, remaining_s: u32, since_s: u32) -> bool {
        let within = |given: u32| {
            (given.saturating_sub(since_s).saturating_sub(1)..=given).contains(&remaining_s)
        };
        self.given.iter().filter(|(before, after)| before != after).any(|(_, after)| within(*after))
    }

    /// What becomes of an entry that has so many whole seconds left. The kernel rounds down (`nf_ct_expires`), so one that
    /// ends has been idle for no less than the new timeout.
    pub fn fate(&self, remaining_s: u32) -> Fate {
        let (mut ends, mut stays) = (false, false);
        for (before, after) in self.given.iter().filter(|(before, _)| remaining_s <= *before) {
            let has_ended = before.checked_sub(*after).is_some_and(|less| remaining_s < less);
            ends |= has_ended;
            stays |= !has_ended;
        }
        match (ends, stays) {
            (true, false) => Fate::Ends,
            (false, true) => Fate::Stays,
            // More left than anything gives it, or it depends.
            _ => Fate::Undecided,
        }
    }
}

/// The outlook of each kind of entry under a change of timeouts.
#[derive(Clone, Debug)]
pub struct Outlooks {
    before: Settings,
    after: Settings,
    known: HashMap<Kind, Option<Outlook>>,
}

impl Outlooks {
    /// Under the change from `before` to `after`.
    pub fn new(before: &Settings, after: &Settings) -> Self {
        Self { before: before.clone(), after: after.clone(), known: HashMap::new() }
    }

    /// That of a kind; `None` if the change makes no difference to it.
    pub fn of(&mut self, kind: Kind) -> Option<&Outlook> {
        let outlook = || Outlook::of(kind, &self.before, &self.after).filter(Outlook::differs);
        self.known.entry(kind).or_insert_with(outlook).as_ref()
    }
}

const ESTABLISHED: &str = "tcp_timeout_established";
const CLOSE: &str = "tcp_timeout_close";
const MAX_RETRANS: &str = "tcp_timeout_max_retrans";
const UNACKNOWLEDGED: &str = "tcp_timeout_unacknowledged";

/// The shorter one, before and after.
fn shorter(one: (u32, u32), other: (u32, u32)) -> (u32, u32) {
    (one.0.min(other.0), one.1.min(other.1))
}

/// Settings in which one timeout has another value.
pub fn with_timeout(settings: &Settings, timeout: &Timeout, seconds: u32) -> Settings {
    let mut settings = settings.clone();
    settings.values.insert(format!("{PREFIX}{}", timeout.name), seconds.into());
    settings
}

/// A timeout, and what it might be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Question {
    /// Which.
    pub timeout: &'static Timeout,
    /// To how many seconds it would be set.
    pub seconds: u32,
}

impl FromStr for Question {
    type Err = String;

    /// `tcp_timeout_close_wait=60`, or with the kernel's whole name.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, seconds) = text
            .split_once('=')
            .ok_or("a timeout and a number of seconds, as in tcp_timeout_close_wait=60")?;
        let name = name.strip_prefix(PREFIX).unwrap_or(name);
        let timeout = by_name(name).ok_or_else(|| {
            let names: Vec<&str> = timeouts::TIMEOUTS.iter().map(|timeout| timeout.name).collect();
            format!("there is no timeout '{name}': there are {}", names.join(", "))
        })?;
        let seconds = seconds.parse().ok().filter(|seconds| (1..=SECONDS_MAX).contains(seconds));
        let seconds = seconds.ok_or("a timeout is a number of seconds from 1 to 2147483")?;
        Ok(Self { timeout, seconds })
    }
}

/// What is said to a question.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// What was asked.
    pub question: Question,
    /// What the timeout is, in seconds.
    pub from_s: u32,
    /// What would become of the table.
    pub what_if: WhatIf,
    /// The sources that would lose most, and how many entries each.
    pub losers: Vec<(IpAddr, u64)>,
}

/// Whose entries would end, asked entry by entry of a walk.
#[derive(Debug)]
pub struct Losers {
    outlooks: Outlooks,
    entries: Bounded<IpAddr, u64>,
}

impl Losers {
    /// Under a change from `before` to `after`.
    pub fn new(before: &Settings, after: &Settings) -> Self {
        Self { outlooks: Outlooks::new(before, after), entries: Bounded::new(LOSERS_MAX) }
    }

    /// Takes in an entry.
    pub fn add(&mut self, entry: &WalkedEntry) {
        let source = &entry.flow.source;
        let kind = Kind::of(source.protocol, entry.state, entry.assured, entry.unreplied);
        let outlook = kind.and_then(|kind| self.outlooks.of(kind));
        let fate = outlook.zip(entry.remaining_s).map(|(outlook, left)| outlook.fate(left));
        if fate == Some(Fate::Ends)
            && let Some(address) = source::address(source.family, &source.address)
            && let Some(entries) = self.entries.of(address)
        {
            *entries += 1;
        }
    }

    /// The `listed_max` sources that lose most, the most first. One that has a share of what ends is among them, see
    /// [`Bounded`].
    pub fn most(&self, listed_max: usize) -> Vec<(IpAddr, u64)> {
        let mut most: Vec<(IpAddr, u64)> =
            self.entries.iter().map(|(source, entries)| (*source, *entries)).collect();
        most.sort_unstable_by_key(|(source, entries)| (Reverse(*entries), *source));
        most.truncate(listed_max);
        most
    }
}

/// What a change of timeouts would do to the table as it was walked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WhatIf {
    /// Entries of the kinds that the change makes a difference to.
    pub entries: u64,
    /// Of those, entries that would have ended already.
    pub ends: u64,
    /// Of those, entries of which a listing does not tell: they may be in use, and are not ended.
    pub undecided: u64,
}

impl WhatIf {
    /// Of a change from `before` to `after`.
    pub fn of(census: &Census, before: &Settings, after: &Settings) -> Self {
        let mut outlooks = Outlooks::new(before, after);
        let mut sum = Self::default();
        for of_kind in &census.remaining.kinds {
            if let Some(outlook) = outlooks.of(of_kind.kind) {
                sum.include(of_kind, outlook);
            }
        }
        sum
    }

    /// Of one timeout that is set to so many seconds; `None` if this kernel does not have it.
    pub fn of_timeout(
        census: &Census,
        settings: &Settings,
        timeout: &Timeout,
        seconds: u32,
    ) -> Option<Self> {
        settings.timeout_s(timeout.name)?;
        Some(Self::of(census, settings, &with_timeout(settings, timeout, seconds)))
    }

    /// Entry-seconds that are saved in a day, if the table goes on as it was found: entries that would have ended are those
    /// that are not held at any moment (Little's law).
    pub fn entry_seconds_per_day(&self) -> u64 {
        self.ends.saturating_mul(DAY_S)
    }

    fn include(&mut self, of_kind: &RemainingOfKind, outlook: &Outlook) {
        self.entries += of_kind.entries();
        self.undecided += of_kind.not_told + of_kind.not_counted;
        for (remaining_s, entries) in &of_kind.entries_by_second {
            match outlook.fate(*remaining_s) {
                Fate::Ends => self.ends += u64::from(*entries),
                Fate::Undecided => self.undecided += u64::from(*entries),
                Fate::Stays => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
