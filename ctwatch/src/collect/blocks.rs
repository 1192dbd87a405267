//! Listings of who is blocked or capped, where somebody wants to know when that changes: one after another on a thread of their
//! own, and never too many of them.

use std::time::Duration;

use tokio::{task::JoinHandle, time::Instant};

use super::roster::Roster;
use crate::{
    change::firewall::{self, FirewallError, caps::Capped, listing::Blocked},
    clock,
    host::namespace::{NamespaceTarget, NetworkNamespace},
    model::{blocked::Listed, moment::Moment, observation::Observation},
    probe::error::sentence,
};

/// Time between two looks: a block lasts for minutes.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// After a look there is a pause of so many times what it took.
const PAUSE_FACTOR: u32 = 20;

/// Looks, one at a time.
#[derive(Debug)]
pub(super) struct BlockWatch {
    running: Option<(Instant, JoinHandle<Vec<Looked>>)>,
    next: Instant,
}

/// What was seen in one namespace.
#[derive(Debug)]
pub(super) struct Looked {
    netns: u32,
    at: Moment,
    listed: Result<Vec<Listed>, FirewallError>,
}

impl BlockWatch {
    /// Has seen nothing yet.
    pub(super) fn new() -> Self {
        Self { running: None, next: Instant::now() }
    }

    /// Begins to look if it is time for it.
    pub(super) fn look(&mut self, roster: &mut Roster) {
        if self.running.is_some() || Instant::now() < self.next {
            return;
        }
        let targets: Vec<(u32, NamespaceTarget)> =
            roster.each().map(|tracked| (tracked.netns, tracked.target.clone())).collect();
        let look = move || {
            targets.into_iter().filter_map(|(netns, target)| look_into(netns, &target)).collect()
        };
        self.running = Some((Instant::now(), tokio::task::spawn_blocking(look)));
    }

    /// Waits for the look that is running; for ever if none is. Safe to be dropped and called again.
    pub(super) async fn finished(&mut self) -> Vec<Looked> {
        let Some((began, running)) = &mut self.running else {
            return std::future::pending().await;
        };
        let looked = running.await;
        let took = began.elapsed();
        self.running = None;
        self.next = Instant::now() + LOOK_INTERVAL.max(took * PAUSE_FACTOR);
        // The task is never cancelled and does not panic; if it did, the next one would tell.
        looked.unwrap_or_default()
    }
}

/// Hands on what has changed.
pub(super) fn take(looked: Vec<Looked>, roster: &mut Roster) {
    for Looked { netns, at, listed } in looked {
        let Some(tracked) = roster.of(netns) else { continue };
        match listed {
            Ok(listed) => {
                for event in tracked.blocks.compare(netns, at, listed) {
                    tracked.aggregator.observe(Observation::Event(event));
                }
            }
            Err(error) => {
                let why = format!("blocks and caps cannot be seen, because {}", sentence(&error));
                if !tracked.mode.degraded.contains(&why) {
                    tracked.miss(why);
                }
            }
        }
    }
}

/// Looks into a namespace; `None` if it is gone.
fn look_into(netns: u32, target: &NamespaceTarget) -> Option<Looked> {
    let namespace = NetworkNamespace::open(target).ok()?;
    if namespace.inode() != netns {
        return None;
    }
    let listed = firewall::read(&namespace).map(|listing| {
        let blocks = listing.blocks.into_iter().map(of_block);
        blocks.chain(listing.caps.held.into_iter().map(of_cap)).collect()
    });
    Some(Looked { netns, at: clock::now(), listed })
}

fn of_block(Blocked { network, left_s, note, dropped }: Blocked) -> Listed {
    Listed {
        network,
        entries_max: None,
        left_s,
        by_and_why: note.map(|note| (note.by, note.why)),
        dropped_packets: dropped.map(|dropped| dropped.packets),
    }
}

fn of_cap(Capped { network, entries_max, left_s, note, dropped, .. }: Capped) -> Listed {
    Listed {
        network,
        entries_max: Some(entries_max),
        left_s,
        by_and_why: note.map(|note| (note.by, note.why)),
        dropped_packets: Some(dropped.packets),
    }
}
