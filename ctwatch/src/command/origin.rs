//! Where snapshots come from: the kernel, or a recording. Whoever shows them does not see a difference.

use std::sync::Arc;

use super::look::Look;
use crate::{
    collect::Interval,
    exit::CommandError,
    model::snapshot::Snapshot,
    recording::{parts::PartsError, player::Player},
};

/// Where snapshots come from.
#[derive(Debug)]
pub enum Origin {
    /// They are made now.
    Kernel(Box<Look>),
    /// They were made earlier.
    Recording(Box<Player>),
}

impl Origin {
    /// The next snapshot, those of one interval one after another; `None` after the last one. Safe to be dropped
    /// and called again.
    ///
    /// # Errors
    ///
    /// If it cannot go on.
    pub async fn next(&mut self) -> Result<Option<Arc<Snapshot>>, CommandError> {
        match self {
            Self::Kernel(look) => look.next().await,
            Self::Recording(player) => player.next().await.map_err(|error| failed(&error)),
        }
    }

    /// The snapshots of the next interval; `None` after the last one. If it is dropped meanwhile those of a recording may be
    /// lost.
    ///
    /// # Errors
    ///
    /// If it cannot go on.
    pub async fn next_interval(&mut self) -> Result<Option<Interval>, CommandError> {
        if let Self::Kernel(look) = self {
            return look.next_interval().await;
        }
        let mut interval = Interval::new();
        while let Some(snapshot) = self.next().await? {
            interval.push(snapshot);
            if self.is_interval_complete() {
                return Ok(Some(interval));
            }
        }
        Ok((!interval.is_empty()).then_some(interval))
    }

    /// Ends it: what has been seen follows, then [`Self::next`] gives `None`.
    pub fn stop(&mut self) {
        match self {
            Self::Kernel(look) => look.stop(),
            Self::Recording(player) => player.stop(),
        }
    }

    /// Whether the last snapshot was the last one of its interval.
    pub fn is_interval_complete(&self) -> bool {
        match self {
            Self::Kernel(look) => look.is_interval_complete(),
            Self::Recording(player) => player.is_interval_complete(),
        }
    }
}

fn failed(error: &PartsError) -> CommandError {
    CommandError::Failed(anyhow::anyhow!(error.to_string()))
}
