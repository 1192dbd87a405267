//! The latest snapshot of each namespace, and since when it is the latest.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::model::{own::Recording, snapshot::Snapshot};

/// After so many intervals without a snapshot the collector is taken to hang.
const INTERVALS_MISSED_MAX: u32 = 3;
/// Whatever the interval: a walk of a large table takes seconds.
const SLACK: Duration = Duration::from_secs(10);

/// The latest snapshots; a value, handed on as a whole.
#[derive(Clone, Debug, Default)]
pub struct Latest {
    snapshots: BTreeMap<u32, Arc<Snapshot>>,
    recording: Option<Recording>,
    /// When they came; until then since when one is to be expected.
    since: Option<Instant>,
}

/// Whether snapshots come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Health {
    /// There can be none yet: nothing is tracked so far, or it has only begun to look.
    Waiting,
    /// They come.
    Fine,
    /// There has been none for so long.
    Stalled(Duration),
}

impl Latest {
    /// It has begun to look at this moment.
    pub fn begun(now: Instant) -> Self {
        Self { since: Some(now), ..Self::default() }
    }

    /// With the snapshots of one more interval; namespaces that are not among them are gone.
    pub fn of_interval(
        snapshots: Vec<Arc<Snapshot>>,
        recording: Option<Recording>,
        now: Instant,
    ) -> Self {
        let snapshots = snapshots.into_iter().map(|snapshot| (snapshot.netns, snapshot));
        Self { snapshots: snapshots.collect(), recording, since: Some(now) }
    }

    /// What became of the recording, if there is to be one.
    pub fn recording(&self) -> Option<Recording> {
        self.recording
    }

    /// The snapshots, by the number of their namespace.
    pub fn snapshots(&self) -> impl Iterator<Item = &Arc<Snapshot>> {
        self.snapshots.values()
    }

    /// How it is at this moment, where one is expected each `interval`.
    pub fn health(&self, now: Instant, interval: Duration) -> Health {
        let Some(since) = self.since else { return Health::Waiting };
        let age = now.saturating_duration_since(since);
        if age > interval * INTERVALS_MISSED_MAX + SLACK {
            Health::Stalled(age)
        } else if self.snapshots.is_empty() {
            Health::Waiting
        } else {
            Health::Fine
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;

    #[test]
    fn a_collector_that_hands_over_nothing_is_stalled() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        assert_eq!(Latest::default().health(start, second), Health::Waiting);
        let begun = Latest::begun(start);
        assert_eq!(begun.health(start + 13 * second, second), Health::Waiting);
        assert_eq!(begun.health(start + 14 * second, second), Health::Stalled(14 * second));
        let latest = Latest::of_interval(vec![Arc::new(sample::snapshot())], None, start);
        assert_eq!(latest.health(start + 13 * second, second), Health::Fine);
        assert_eq!(latest.health(start + 14 * second, second), Health::Stalled(14 * second));
        assert_eq!(latest.snapshots().count(), 1);
    }
}
