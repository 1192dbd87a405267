//! Dumps of the table, one at a time on a thread of their own, and never too many of them.
//!
//! A dump costs the kernel some microseconds for each entry, so after one there is a pause of at least 20
//! times what it took.

use std::collections::HashMap;

use ctwatch_common::source::SourceKey;
use tokio::{task::JoinHandle, time::Instant};

use crate::{
    conntrack::{dump::DumpSocket, socket::ConntrackSocketError},
    model::rows::RowReading,
};

/// After a dump there is a pause of so many times what it took.
const PAUSE_FACTOR: u32 = 20;

/// How many entries each source holds, by one dump.
#[derive(Debug)]
pub(super) struct Dumped {
    /// Entries by source.
    pub(super) held: HashMap<SourceKey, u64>,
    /// The rows just before.
    pub(super) before: RowReading,
    /// Messages that could not be decoded.
    pub(super) decode_errors: u64,
}

type Finished = (DumpSocket, Result<(HashMap<SourceKey, u64>, u64), ConntrackSocketError>);

/// Takes dumps of one namespace.
#[derive(Debug)]
pub(super) struct CensusTaker {
    netns: u32,
    socket: Option<DumpSocket>,
    running: Option<Running>,
    next_allowed: Instant,
}

#[derive(Debug)]
struct Running {
    task: JoinHandle<Finished>,
    before: RowReading,
    started: Instant,
}

impl CensusTaker {
    /// Takes dumps with this socket.
    pub(super) fn new(netns: u32, socket: DumpSocket) -> Self {
        Self { netns, socket: Some(socket), running: None, next_allowed: Instant::now() }
    }

    /// Whether a dump may begin now.
    pub(super) fn is_allowed(&self) -> bool {
        self.socket.is_some() && Instant::now() >= self.next_allowed
    }

    /// Begins a dump if none is running; `before` are the rows as they are now.
    pub(super) fn begin(&mut self, before: RowReading) {
        if let Some(socket) = self.socket.take() {
            let netns = self.netns;
            let task = tokio::task::spawn_blocking(move || dump(socket, netns));
            self.running = Some(Running { task, before, started: Instant::now() });
        }
    }

    /// Waits for the dump that is running; for ever if none is. Safe to be dropped and called again.
    ///
    /// # Errors
    ///
    /// If the dump failed; another may be begun later.
    pub(super) async fn finished(&mut self) -> Result<Dumped, ConntrackSocketError> {
        let Some(running) = &mut self.running else { return std::future::pending().await };
        let result = (&mut running.task).await;
        let duration = running.started.elapsed();
        let before = std::mem::take(&mut running.before);
        self.running = None;
        self.next_allowed = Instant::now() + duration * PAUSE_FACTOR;
        // The task is never cancelled and does not panic; if it did, there would be no more dumps.
        let Ok((socket, counted)) = result else { return std::future::pending().await };
        self.socket = Some(socket);
        let (held, decode_errors) = counted?;
        Ok(Dumped { held, before, decode_errors })
    }
}

fn dump(mut socket: DumpSocket, netns: u32) -> Finished {
    let mut held: HashMap<SourceKey, u64> = HashMap::new();
    let report =
        socket.dump(|entry| *held.entry(entry.original.source_key(netns)).or_default() += 1);
    (socket, report.map(|report| (held, report.decode_errors)))
}
