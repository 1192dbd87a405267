//! A look that ends after a time, or earlier at a signal, and says on the way what cannot be seen.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    look::{self, Interrupts, Look, ModeReport},
    progress::Progress,
};
use crate::{exit::CommandError, model::snapshot::Snapshot, recording::item::Place};

/// A look, and when it ends.
#[derive(Debug)]
pub(super) struct TimedLook<'a> {
    look: Look,
    interrupts: &'a mut Interrupts,
    deadline: Instant,
    is_stopping: bool,
    report: ModeReport,
    progress: Progress,
}

impl<'a> TimedLook<'a> {
    /// Ends `look` after `duration`, and says so.
    pub(super) fn new(look: Look, duration: Duration, interrupts: &'a mut Interrupts) -> Self {
        look::say(&format!("looking for {duration:?}; Ctrl-C ends it earlier"));
        let (deadline, report) = (Instant::now() + duration, ModeReport::default());
        let progress = Progress::begin();
        Self { look, interrupts, deadline, is_stopping: false, report, progress }
    }

    /// The next snapshot, those of one interval one after another; `None` after the last one.
    ///
    /// # Errors
    ///
    /// If it cannot go on.
    pub(super) async fn next(&mut self) -> Result<Option<Arc<Snapshot>>, CommandError> {
        loop {
            tokio::select! {
                biased;
                () = self.interrupts.received(), if !self.is_stopping => self.stop(),
                () = tokio::time::sleep_until(self.deadline), if !self.is_stopping => self.stop(),
                () = self.progress.due() => {
                    let left = self.deadline.saturating_duration_since(Instant::now());
                    self.progress.tell(|looked| {
                        format!("looked for {} s, {} s left", looked.as_secs(), left.as_secs())
                    });
                }
                next = self.look.next() => {
                    let next = next?;
                    if let Some(snapshot) = &next {
                        self.report.tell(snapshot);
                    }
                    return Ok(next);
                }
            }
        }
    }

    /// The place of the last snapshot in its interval.
    pub(super) fn place(&self) -> Place {
        self.look.place()
    }

    /// Whether the last snapshot was the last one of its interval.
    pub(super) fn is_interval_complete(&self) -> bool {
        self.look.is_interval_complete()
    }

    fn stop(&mut self) {
        self.is_stopping = true;
        self.look.stop();
    }
}
