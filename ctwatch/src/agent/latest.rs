//! The latest snapshot of each namespace, and since when it is the latest.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::model::snapshot::Snapshot;

/// After so many intervals without a snapshot the collector is taken to hang.
const INTERVALS_MISSED_MAX: u32 = 3;
/// Whatever the interval: a walk of a large table takes seconds.
const SLACK: Duration = Duration::from_secs(10);

/// The latest snapshots; a value, handed on as a whole.
#[derive(Clone, Debug, Default)]
pub struct Latest {
    snapshots: BTreeMap<u32, Arc<Snapshot>>,
    taken: Option<Instant>,
}

/// Whether snapshots come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Health {
    /// There has been none yet: nothing is tracked so far.
    Waiting,
    /// They come.
    Fine,
    /// There has been none for so long.
    Stalled(Duration),
}

impl Latest {
    /// With the snapshots of one more interval; namespaces that are not among them are gone.
    pub fn of_interval(snapshots: Vec<Arc<Snapshot>>, now: Instant) -> Self {
        let snapshots = snapshots.into_iter().map(|snapshot| (snapshot.netns, snapshot));
        Self { snapshots: snapshots.collect(), taken: Some(now) }
    }

    /// The snapshots, by the number of their namespace.
    pub fn snapshots(&self) -> impl Iterator<Item = &Arc<Snapshot>> {
        self.snapshots.values()
    }

    /// How it is at this moment, where one is expected each `interval`.
    pub fn health(&self, now: Instant, interval: Duration) -> Health {
        let Some(taken) = self.taken else { return Health::Waiting };
        let age = now.saturating_duration_since(taken);
        if age > interval * INTERVALS_MISSED_MAX + SLACK {
            Health::Stalled(age)
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
        let latest = Latest::of_interval(vec![Arc::new(sample::snapshot())], start);
        assert_eq!(latest.health(start + 13 * second, second), Health::Fine);
        assert_eq!(latest.health(start + 14 * second, second), Health::Stalled(14 * second));
        assert_eq!(latest.snapshots().count(), 1);
    }
}
