//! What can be known of the sources where no hook counts them: dumps of the table, ctnetlink events at low
//! rates, and dropped packets that were probably refused.

use std::collections::{HashMap, HashSet};

use ctwatch_common::source::SourceKey;

use super::{
    mode::{Mode, Rung},
    rows::RowReading,
    snapshot::SourceNumbers,
};

/// The state that takes the place of the rows.
#[derive(Debug)]
pub struct SeenByNetlink {
    sources_max: usize,
    held: Option<HashMap<SourceKey, u64>>,
    began: HashMap<SourceKey, u64>,
    ended: HashMap<SourceKey, u64>,
    dropped_seen: HashMap<SourceKey, u64>,
    refused: HashMap<SourceKey, u64>,
    refused_total: u64,
}

impl SeenByNetlink {
    /// Remembers at most so many sources; what is beyond is counted under prefixes.
    pub fn new(sources_max: usize) -> Self {
        Self {
            sources_max,
            held: None,
            began: HashMap::new(),
            ended: HashMap::new(),
            dropped_seen: HashMap::new(),
            refused: HashMap::new(),
            refused_total: 0,
        }
    }

    /// Takes in a dump.
    pub fn held(&mut self, held: HashMap<SourceKey, u64>) {
        self.held = Some(held);
    }

    /// Whether there was a dump, so that entries are known.
    pub fn has_census(&self) -> bool {
        self.held.is_some()
    }

    /// Takes in the beginning of an entry.
    pub fn began(&mut self, source: SourceKey) {
        count(&mut self.began, source, self.sources_max);
    }

    /// Takes in the end of an entry.
    pub fn ended(&mut self, source: SourceKey) {
        count(&mut self.ended, source, self.sources_max);
    }

    /// The numbers of all sources known.
    ///
    /// `dropped` has, as refused, the packets that were dropped with no entry attached. Other rules drop
    /// such packets too, so no more of them are believed than conntrack itself says it dropped
    /// (`kernel_drop`); where there are more, each source is believed in proportion.
    pub fn numbers(
        &mut self,
        netns: u32,
        dropped: &RowReading,
        kernel_drop: Option<u64>,
        mode: &Mode,
    ) -> Vec<SourceNumbers> {
        if mode.sees_refusals() {
            self.believe(netns, dropped, kernel_drop);
        }
        let following = mode.alloc == Rung::Netlink;
        let mut keys: HashSet<SourceKey> = self.refused.keys().copied().collect();
        keys.extend(self.held.iter().flat_map(HashMap::keys));
        keys.extend(self.began.keys().chain(self.ended.keys()));
        let known =
            |counts: &HashMap<SourceKey, u64>, key| Some(counts.get(key).copied().unwrap_or(0));
        keys.iter()
            .map(|key| SourceNumbers {
                key: Some(*key),
                entries: self.held.as_ref().and_then(|held| known(held, key)),
                new: following.then(|| known(&self.began, key)).flatten(),
                ended: following.then(|| known(&self.ended, key)).flatten(),
                refused: mode.sees_refusals().then(|| known(&self.refused, key)).flatten(),
                ..SourceNumbers::default()
            })
            .collect()
    }

    fn believe(&mut self, netns: u32, dropped: &RowReading, kernel_drop: Option<u64>) {
        let fresh: Vec<(SourceKey, u64)> = dropped
            .rows
            .iter()
            .filter(|(key, _)| key.netns == netns)
            .map(|(key, counters)| {
                let seen = self.dropped_seen.insert(*key, counters.refused).unwrap_or(0);
                (*key, counters.refused.saturating_sub(seen))
            })
            .filter(|(_, fresh)| *fresh > 0)
            .collect();
        let sum: u64 = fresh.iter().map(|(_, fresh)| fresh).sum();
        let believable = kernel_drop.unwrap_or(0).saturating_sub(self.refused_total);
        for (key, fresh) in fresh {
            let believed = if sum <= believable {
                fresh
            } else {
                u64::try_from(u128::from(fresh) * u128::from(believable) / u128::from(sum))
                    .unwrap_or(0)
            };
            *self.refused.entry(key).or_default() += believed;
            self.refused_total += believed;
        }
    }
}

fn count(counts: &mut HashMap<SourceKey, u64>, source: SourceKey, sources_max: usize) {
    let key = if counts.len() < sources_max || counts.contains_key(&source) {
        source
    } else {
        source.prefix()
    };
    *counts.entry(key).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{rows::tests::row, source};

    const NETNS: u32 = 5;

    fn mode() -> Mode {
        Mode {
            alloc: Rung::None,
            early_drop: Rung::TracepointBtf,
            free: Rung::None,
            ..Mode::default()
        }
    }

    fn client(last: u8) -> SourceKey {
        source::key(NETNS, format!("10.0.1.{last}").parse().unwrap(), 6)
    }

    fn dropped(counts: &[(SourceKey, u64)]) -> RowReading {
        let mut reading = RowReading::default();
        for (key, refused) in counts {
            reading.add(&row(*key, [0, *refused, 0, 0, 0]));
        }
        reading
    }

    fn refused(numbers: &[SourceNumbers], key: SourceKey) -> Option<u64> {
        numbers.iter().find(|row| row.key == Some(key)).and_then(|row| row.refused)
    }

    #[test]
    fn drops_are_refusals_as_far_as_the_kernel_counted_any() {
        let mut seen = SeenByNetlink::new(100);
        let first = seen.numbers(NETNS, &dropped(&[(client(1), 30)]), Some(30), &mode());
        assert_eq!(refused(&first, client(1)), Some(30));
        let second =
            seen.numbers(NETNS, &dropped(&[(client(1), 60), (client(2), 10)]), Some(50), &mode());
        assert_eq!(refused(&second, client(1)), Some(45));
        assert_eq!(refused(&second, client(2)), Some(5));
    }

    #[test]
    fn drops_of_somebody_elses_rule_are_not_refusals() {
        let mut seen = SeenByNetlink::new(100);
        let numbers = seen.numbers(NETNS, &dropped(&[(client(1), 30)]), Some(0), &mode());
        assert_eq!(refused(&numbers, client(1)), Some(0));
    }

    #[test]
    fn what_is_not_followed_is_not_known() {
        let mut seen = SeenByNetlink::new(100);
        seen.held(HashMap::from([(client(1), 4)]));
        let numbers = seen.numbers(NETNS, &RowReading::default(), Some(0), &mode());
        assert_eq!((numbers[0].entries, numbers[0].new, numbers[0].ended), (Some(4), None, None));
    }

    #[test]
    fn sources_beyond_the_bound_are_counted_under_their_prefix() {
        let mut seen = SeenByNetlink::new(1);
        seen.began(client(1));
        seen.began(client(2));
        seen.began(client(1));
        assert_eq!(seen.began, HashMap::from([(client(1), 2), (client(2).prefix(), 1)]));
    }
}
