//! Looks how others fare right before a block and right after it. It keeps nobody from blocking: what cannot be seen in time
//! is not known.

use std::{collections::BTreeSet, iter, sync::Arc, time::Duration};

use ipnet::IpNet;
use tokio::time::{Instant, timeout_at};

use super::{
    look::{self, Interrupts, Look, Pace, Patience},
    watch::REMEMBERED_SOURCES,
};
use crate::{
    change::firewall::effect::Seen,
    cli::LookArguments,
    exit::CommandError,
    model::{
        event::Kinds,
        limits::{Limits, SortBy},
        snapshot::{Snapshot, SourceNumbers},
        source::address,
    },
};

const INTERVAL: Duration = Duration::from_millis(250);
/// How long is looked before, once the hooks are there.
const BEFORE: Duration = Duration::from_secs(1);
/// How long is looked after.
const AFTER: Duration = Duration::from_secs(3);

/// A look at some sources and at all others.
pub(super) struct EffectLook {
    look: Look,
    sources: BTreeSet<IpNet>,
    last: Arc<Snapshot>,
    /// What was seen before.
    pub(super) before: Seen,
}

/// How the look before went.
pub(super) enum Begun {
    /// It goes on.
    Looking(Box<EffectLook>),
    /// It could not be looked, for this reason.
    Blind(String),
    /// A signal ended it.
    Interrupted,
}

impl EffectLook {
    /// Begins, and looks for a moment.
    ///
    /// # Errors
    ///
    /// The arguments are wrong.
    pub(super) async fn begin(
        arguments: &LookArguments,
        sources: BTreeSet<IpNet>,
        within: Duration,
        interrupts: &mut Interrupts,
    ) -> Result<Begun, CommandError> {
        let put_off = Instant::now() + within;
        let limits = Limits {
            listed_sources: usize::MAX,
            sort_by: SortBy::Entries,
            kinds: Kinds::NONE,
            events: 0,
            remembered_sources: REMEMBERED_SOURCES,
            only: None,
            census_every: None,
        };
        let pace = Pace { interval: INTERVAL, census_patience: INTERVAL };
        let begun = Look::begin(arguments, pace, limits, Patience::End, interrupts);
        let mut look = match timeout_at(put_off, begun).await {
            Err(_) => return Ok(Begun::Blind("it takes too long to attach".to_owned())),
            Ok(Ok(None)) => return Ok(Begun::Interrupted),
            Ok(Ok(Some(look))) => look,
            Ok(Err(error @ CommandError::Usage(_))) => return Err(error),
            Ok(Err(error)) => return Ok(Begun::Blind(error.to_string())),
        };
        let mut first: Option<Arc<Snapshot>> = None;
        let deadline = put_off.min(Instant::now() + BEFORE);
        let mut last = None;
        loop {
            let next = tokio::select! {
                biased;
                () = interrupts.received() => return Ok(Begun::Interrupted),
                next = timeout_at(deadline, look.next()) => next,
            };
            match next {
                Err(_) => break,
                Ok(Ok(Some(snapshot))) => {
                    first.get_or_insert_with(|| Arc::clone(&snapshot));
                    // In a mode that does not see refusals there is nothing to wait for.
                    let is_blind = snapshot.totals.refused.is_none();
                    last = Some(snapshot);
                    if is_blind {
                        break;
                    }
                }
                Ok(Ok(None)) => return Ok(Begun::Blind("it ended".to_owned())),
                Ok(Err(error)) => return Ok(Begun::Blind(error.to_string())),
            }
        }
        let Some((first, last)) = first.zip(last) else {
            return Ok(Begun::Blind("it takes too long to read the table".to_owned()));
        };
        let before = seen(&first, &last, &sources);
        Ok(Begun::Looking(Box::new(Self { look, sources, last, before })))
    }

    /// Looks a while longer, or until a signal comes; `None` if nothing was seen.
    pub(super) async fn after(mut self, interrupts: &mut Interrupts) -> Option<Seen> {
        look::say("looking what it does for 3s; Ctrl-C ends that, the block stays");
        let since_ns = crate::clock::now().wall_ns;
        let deadline = Instant::now() + AFTER;
        let mut first: Option<Arc<Snapshot>> = None;
        loop {
            let next = tokio::select! {
                biased;
                () = interrupts.received() => break,
                next = timeout_at(deadline, self.look.next()) => next,
            };
            match next {
                Ok(Ok(Some(snapshot))) => {
                    // The interval in which it was blocked is of both times.
                    if first.is_none() && snapshot.wall_ns >= since_ns {
                        first = Some(Arc::clone(&snapshot));
                    }
                    self.last = snapshot;
                }
                Err(_) | Ok(Ok(None) | Err(_)) => break,
            }
        }
        let first = first.filter(|first| first.wall_ns < self.last.wall_ns)?;
        Some(seen(&first, &self.last, &self.sources))
    }
}

/// What was seen from one snapshot to another.
fn seen(first: &Snapshot, last: &Snapshot, sources: &BTreeSet<IpNet>) -> Seen {
    const NS_PER_S: f64 = 1e9;
    let seconds = (last.wall_ns - first.wall_ns) as f64 / NS_PER_S;
    let refused = refused_of_others(first, sources).zip(refused_of_others(last, sources));
    let per_s = refused
        .filter(|_| seconds > 0.0)
        .map(|(first, last)| last.saturating_sub(first) as f64 / seconds);
    Seen {
        seconds,
        refused_of_others_per_s: per_s,
        entries_of_sources: sum(last, sources, |row| row.entries),
        entries: last.table.entries,
        limit: last.table.limit,
    }
}

fn refused_of_others(snapshot: &Snapshot, sources: &BTreeSet<IpNet>) -> Option<u64> {
    let own = sum(snapshot, sources, |row| row.refused)?;
    Some(snapshot.totals.refused?.saturating_sub(own))
}

/// What all rows of the sources have together; `None` if the mode does not see it.
fn sum(
    snapshot: &Snapshot,
    sources: &BTreeSet<IpNet>,
    of: fn(&SourceNumbers) -> Option<u64>,
) -> Option<u64> {
    of(&snapshot.totals)?;
    let is_theirs = |row: &&SourceNumbers| {
        let network = row
            .key
            .and_then(|key| IpNet::new(address(key.family, &key.address)?, key.prefix_length).ok());
        iter::successors(network, IpNet::supernet).any(|network| sources.contains(&network))
    };
    Some(snapshot.sources.iter().filter(is_theirs).filter_map(of).sum())
}
