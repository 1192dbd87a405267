//! Playing a recording back, at its own pace or another.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    item::Place,
    parts::{Parts, PartsError},
};
use crate::model::snapshot::Snapshot;

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// As many times as fast as it was recorded.
    Times(f64),
    /// As fast as possible.
    Max,
}

/// A recording that is being played.
#[derive(Debug)]
pub struct Player {
    parts: Parts,
    speed: Speed,
    /// When the last interval was due.
    shown: Option<Instant>,
    /// The next one, while it waits for its time.
    next: Option<(Arc<Snapshot>, Place)>,
    place: Place,
    is_stopped: bool,
}

impl Player {
    /// Opens a recording, with its earlier parts as far as they are beside it.
    ///
    /// # Errors
    ///
    /// If it is none, or cannot be read.
    pub fn open(path: &Path, speed: Speed) -> Result<Self, PartsError> {
        let parts = Parts::open(path)?;
        Ok(Self {
            parts,
            speed,
            shown: None,
            next: None,
            place: Place::LastOfInterval,
            is_stopped: false,
        })
    }

    /// What is played.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The time between two snapshots at this speed; zero if they come as fast as possible.
    pub fn interval(&self) -> Duration {
        let Speed::Times(times) = self.speed else { return Duration::ZERO };
        Duration::try_from_secs_f64(self.parts.beginning().interval_s / times).unwrap_or_default()
    }

    /// Plays no more: [`Self::next`] gives `None`.
    pub fn stop(&mut self) {
        self.is_stopped = true;
    }

    /// The next snapshot when its time has come, those of one interval one after another; `None` after the last one. Safe
    /// to be dropped and called again.
    ///
    /// # Errors
    ///
    /// If a part cannot be read. What is damaged is no error, see [`Parts::defects`].
    pub async fn next(&mut self) -> Result<Option<Arc<Snapshot>>, PartsError> {
        if self.is_stopped {
            return Ok(None);
        }
        if self.next.is_none() {
            self.next = self.parts.read()?;
        }
        let Some((snapshot, _)) = &self.next else { return Ok(None) };
        if self.is_interval_complete() {
            let due = self.due(snapshot);
            if let Some(due) = due {
                tokio::time::sleep_until(due).await;
            }
            self.shown = Some(due.unwrap_or_else(Instant::now));
        }
        Ok(self.next.take().map(|(snapshot, place)| {
            self.place = place;
            snapshot
        }))
    }

    /// When a snapshot that begins an interval is to be shown: by the length of its interval, as the clock on the wall may
    /// have been set, and nobody wants to wait for what was not seen. `None` if at once.
    fn due(&self, snapshot: &Snapshot) -> Option<Instant> {
        let Speed::Times(times) = self.speed else { return None };
        let pause = Duration::try_from_secs_f64(snapshot.interval_s / times).ok()?;
        self.shown?.checked_add(pause)
    }

    /// Whether the last snapshot was the last one of its interval.
    pub fn is_interval_complete(&self) -> bool {
        self.place == Place::LastOfInterval
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        output::sample,
        recording::{
            item::Beginning,
            writer::{Bounds, Existing, Writer},
        },
    };

    #[tokio::test(start_paused = true)]
    async fn it_is_played_at_its_own_pace_or_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recording");
        let bounds = Bounds { part_bytes: 1 << 20, parts: 1 };
        let mut writer =
            Writer::create(&path, Existing::Keep, bounds, Beginning::default()).unwrap();
        // Two namespaces each two seconds; in between somebody has set the clock, and one interval makes no sense.
        for (wall_ns, interval_s) in [(0, 2.0), (7_000_000_000_000, 2.0), (5, f64::NAN), (6, 2.0)] {
            let snapshot = Snapshot { wall_ns, interval_s, ..sample::snapshot() };
            for place in [Place::FollowedByOthers, Place::LastOfInterval] {
                writer.add(&snapshot, place, std::time::Instant::now()).unwrap();
            }
        }
        writer.finish().unwrap();
        for (speed, expected_ms) in [
            (Speed::Times(1.0), [0, 0, 2000, 2000, 2000, 2000, 4000, 4000]),
            (Speed::Times(10.0), [0, 0, 200, 200, 200, 200, 400, 400]),
            (Speed::Max, [0; 8]),
        ] {
            let began = Instant::now();
            let mut player = Player::open(&path, speed).unwrap();
            let mut shown_ms = Vec::new();
            while player.next().await.unwrap().is_some() {
                shown_ms.push(began.elapsed().as_millis());
            }
            assert_eq!(shown_ms, expected_ms, "{speed:?}");
        }
    }
}
