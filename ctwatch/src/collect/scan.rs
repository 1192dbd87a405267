//! Finds the network namespaces of the machine, again and again, on a thread of its own. Which of them are looked at is
//! not decided here.

use std::{collections::HashSet, time::Duration};

use tokio::{task::JoinHandle, time::Instant};

use crate::host::namespace_list::{FoundNamespace, all_namespaces, tracks};

/// Time between two scans, unless something calls for one: each reads a link for every process.
const SCAN_INTERVAL: Duration = Duration::from_secs(2);

/// A namespace that was found.
#[derive(Debug)]
pub(super) struct Seen {
    /// Which.
    pub(super) found: FoundNamespace,
    /// Whether connections are tracked in it, where that was asked for.
    pub(super) tracks: bool,
}

/// Which namespaces to look into for whether they track connections.
#[derive(Debug)]
pub(super) enum LookInto {
    /// None: something else tells.
    None,
    /// All but those with these numbers.
    AllBut(HashSet<u32>),
}

/// Scans, one at a time.
#[derive(Debug)]
pub(super) struct Scanner {
    running: Option<JoinHandle<Vec<Seen>>>,
    next: Instant,
}

impl Scanner {
    /// Has just scanned.
    pub(super) fn new() -> Self {
        Self { running: None, next: Instant::now() + SCAN_INTERVAL }
    }

    /// Whether it is time for the next scan.
    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.next
    }

    /// Begins a scan if none is running.
    pub(super) fn begin(&mut self, look_into: LookInto) {
        if self.running.is_none() {
            self.running = Some(tokio::task::spawn_blocking(move || scan(&look_into)));
        }
    }

    /// Waits for the scan that is running; for ever if none is. Safe to be dropped and called again.
    pub(super) async fn finished(&mut self) -> Vec<Seen> {
        loop {
            let Some(running) = &mut self.running else { return std::future::pending().await };
            let seen = running.await;
            self.running = None;
            self.next = Instant::now() + SCAN_INTERVAL;
            // The task is never cancelled and does not panic; if it did, the next one would tell.
            if let Ok(seen) = seen {
                return seen;
            }
        }
    }
}

/// Scans once.
pub(super) fn scan(look_into: &LookInto) -> Vec<Seen> {
    let seen = |found: FoundNamespace| {
        let tracks = match look_into {
            LookInto::None => false,
            LookInto::AllBut(known) => !known.contains(&found.inode) && tracks(&found.target),
        };
        Seen { found, tracks }
    };
    all_namespaces().into_iter().map(seen).collect()
}
