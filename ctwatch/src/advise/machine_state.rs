//! What a machine was and how it was set at one moment, as far as that matters to the table of one network namespace.

use serde::{Deserialize, Serialize};

use super::{
    facts::{Facts, Unread},
    settings::{BUCKETS, LIMIT, Settings},
};
use crate::model::snapshot::Snapshot;

/// Settings and facts of one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MachineState {
    /// When they were read, in nanoseconds since 1970.
    pub wall_ns: i128,
    /// The network namespace, by inode number.
    pub netns: u32,
    /// How conntrack was set there.
    pub settings: Settings,
    /// What the machine was.
    pub facts: Facts,
}

impl MachineState {
    /// What a snapshot alone tells, where neither settings nor facts were kept: limit and buckets.
    pub fn of_snapshot(snapshot: &Snapshot) -> Self {
        let mut settings = Settings::default();
        for (key, value) in [(LIMIT, snapshot.table.limit), (BUCKETS, snapshot.table.buckets)] {
            if let Some(value) = value.and_then(|value| i64::try_from(value).ok()) {
                settings.values.insert(key.to_owned(), value);
            }
        }
        let unread = Unread {
            what: "timeouts, memory, addresses, rules, files and the kernel's log".into(),
            why: "the recording does not have them".to_owned(),
        };
        let facts = Facts { unread: vec![unread], ..Facts::default() };
        Self { wall_ns: snapshot.wall_ns, netns: snapshot.netns, settings, facts }
    }

    /// Whether anything but the moment is different.
    pub fn differs(&self, other: &Self) -> bool {
        self.netns != other.netns || self.settings != other.settings || self.facts != other.facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;

    #[test]
    fn a_snapshot_tells_limit_and_buckets_and_what_is_not_known_is_said() {
        let mut snapshot = sample::snapshot();
        snapshot.table.buckets = Some(1024);
        let state = MachineState::of_snapshot(&snapshot);
        assert_eq!((state.settings.limit(), state.settings.buckets()), (Some(65_536), Some(1024)));
        assert_eq!(state.facts.unread.len(), 1);
        let later = MachineState { wall_ns: 0, ..state.clone() };
        assert!(!later.differs(&state));
        assert!(MachineState::default().differs(&state));
    }
}
