//! Putting a collector on a thread of its own, and taking its snapshots.

use std::{io, thread, time::Duration};

use tokio::sync::{mpsc, oneshot, watch};

use crate::collect::{CollectError, CollectOptions, Collector, Interval};

/// Intervals that wait for the reader at most; beyond that they are skipped.
const INTERVALS_WAITING: usize = 4;

/// Why there are no snapshots, or no more.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// There is nothing to collect, or no more.
    #[error(transparent)]
    Collect(#[from] CollectError),
    /// No thread or runtime could be made.
    #[error("cannot start the collector: {0}")]
    Start(#[from] io::Error),
    /// The collector ended by a fault of this program.
    #[error("the collector ended unexpectedly; please report this")]
    Ended,
}

/// A running collector. Dropping it stops it and waits for it; every hook is then detached.
#[derive(Debug)]
pub struct Session {
    intervals: mpsc::Receiver<Interval>,
    stop: Option<oneshot::Sender<()>>,
    pace: watch::Sender<Duration>,
    thread: Option<thread::JoinHandle<Result<(), CollectError>>>,
}

impl Session {
    /// Starts a collector; returns when its hooks are attached and the table has been read once.
    ///
    /// # Errors
    ///
    /// If the table's numbers cannot be read, or no thread can be started.
    pub async fn open(options: CollectOptions) -> Result<Self, SessionError> {
        let (send, intervals) = mpsc::channel(INTERVALS_WAITING);
        let (stop, mut stopped) = oneshot::channel();
        let (ready, started) = oneshot::channel();
        let (pace, paces) = watch::channel(options.interval);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let collect = move || {
            runtime.block_on(async {
                let collector = tokio::select! {
                    biased;
                    // Told to end, or nobody is there any more.
                    _ = &mut stopped => return Ok(()),
                    collector = Collector::start(options) => collector?,
                };
                // The opener may have gone away; then the channel is closed too and run ends at once.
                let _ = ready.send(());
                collector.run(send, stopped, paces).await
            })
        };
        let thread = thread::Builder::new().name("collector".to_owned()).spawn(collect)?;
        let mut session = Self { intervals, stop: Some(stop), pace, thread: Some(thread) };
        match started.await {
            Ok(()) => Ok(session),
            Err(_) => Err(session.join().err().unwrap_or(SessionError::Ended)),
        }
    }

    /// The snapshots of the next interval, none where no namespace tracks anything; `None` after the last one. Safe to be
    /// dropped and called again.
    ///
    /// # Errors
    ///
    /// Why the collector ended, if it did not end because it was told to.
    pub async fn next(&mut self) -> Result<Option<Interval>, SessionError> {
        match self.intervals.recv().await {
            Some(interval) => Ok(Some(interval)),
            None => self.join().map(|()| None),
        }
    }

    /// Lets this much time be between two snapshots from now on. No counter begins anew.
    pub fn set_interval(&self, interval: Duration) {
        // It may have ended already.
        let _ = self.pace.send(interval);
    }

    /// Tells the collector to end. The last interval follows, then [`Self::next`] gives `None`.
    pub fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended already.
            let _ = stop.send(());
        }
    }

    fn join(&mut self) -> Result<(), SessionError> {
        match self.thread.take() {
            Some(thread) => {
                thread.join().map_err(|_| SessionError::Ended)?.map_err(SessionError::Collect)
            }
            None => Ok(()),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.intervals.close();
        self.stop();
        // Whatever it ended with, nobody asks any more.
        let _ = self.join();
    }
}
