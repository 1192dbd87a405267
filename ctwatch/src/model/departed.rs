//! What the rows of namespaces that are gone have counted. The kernel gives the number of such a namespace to a new one,
//! which must not be charged with it.

use std::collections::HashSet;

use ctwatch_common::source::SourceKey;

use super::{counters::Counters, rows::RowReading, source::BySource};

/// The namespaces that are gone, as far as they have left something.
#[derive(Clone, Debug, Default)]
pub struct Departed {
    /// Those that have left rows, and whose number is nobody else's yet.
    numbers: HashSet<u32>,
    /// What rows will have counted of them in the end.
    counted: BySource<Counters>,
}

impl Departed {
    /// A namespace is gone. Each of its keys has counted this much and holds so many entries, which the kernel ends
    /// by and by.
    pub fn leave(
        &mut self,
        netns: u32,
        keys: impl IntoIterator<Item = (SourceKey, Counters, i64)>,
    ) {
        self.numbers.insert(netns);
        for (key, counted, held) in keys {
            let held = u64::try_from(held).unwrap_or(0);
            let in_the_end = Counters { ended: counted.ended + held, ..counted };
            // The namespace may have had a predecessor.
            self.counted.entry(key).or_default().add(&in_the_end);
        }
    }

    /// A namespace with this number is there. No other could have it before all entries of its predecessor had ended,
    /// so `rows`, as they are now, have all that these count of that.
    pub fn come(&mut self, netns: u32, rows: &RowReading) {
        self.numbers.remove(&netns);
        self.counted.retain(|key, _| key.netns != netns || rows.rows.contains_key(key));
    }

    /// Whether a namespace that is gone has this number, and no other.
    pub fn has(&self, netns: u32) -> bool {
        self.numbers.contains(&netns)
    }

    /// Whether there is anything to be given up.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Whether a part of what this row counts, or will count, is not its namespace's.
    pub fn shares(&self, key: &SourceKey) -> bool {
        self.counted.contains_key(key)
    }

    /// What a row has counted beyond that.
    pub fn beyond(&self, key: &SourceKey, counters: &Counters) -> Counters {
        self.counted.get(key).map_or(*counters, |counted| counters.since(counted))
    }

    /// Takes what is not theirs off the rows of a namespace; returns how much that was.
    pub fn take_off(&self, rows: &mut RowReading) -> Counters {
        let mut taken = Counters::default();
        for key in self.counted.keys() {
            if let Some(counters) = rows.rows.get_mut(key) {
                let beyond = self.beyond(key, counters);
                taken.add(&counters.since(&beyond));
                *counters = beyond;
            }
        }
        taken
    }

    /// A row was given up that had counted this much: how much of it was that of those who are gone.
    pub fn give_up(&mut self, key: &SourceKey, counters: &Counters) -> Counters {
        let Some(counted) = self.counted.get_mut(key) else { return Counters::default() };
        let theirs = counters.since(&counters.since(counted));
        *counted = counted.since(&theirs);
        if counted.is_zero() {
            self.counted.remove(key);
        }
        theirs
    }

    /// Forgets those of which there is no row any more; `rows` are those of nobody who is looked at.
    pub fn forget(&mut self, rows: &BySource<Counters>) {
        if self.numbers.is_empty() {
            return;
        }
        let left: HashSet<u32> = rows.keys().map(|key| key.netns).collect();
        let forgotten: HashSet<u32> = self.numbers.difference(&left).copied().collect();
        self.numbers.retain(|netns| !forgotten.contains(netns));
        self.counted.retain(|key, _| !forgotten.contains(&key.netns));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{rows::tests::row, source};

    const NETNS: u32 = 7;

    fn client(last: u8) -> SourceKey {
        source::key(NETNS, format!("10.0.1.{last}").parse().unwrap(), 17)
    }

    /// Rows of attempts and ends.
    fn reading(rows: &[(SourceKey, u64, u64)]) -> RowReading {
        let mut reading = RowReading::default();
        rows.iter().for_each(|(key, new, ended)| reading.add(&row(*key, [*new, 0, *ended, 0, 0])));
        reading
    }

    fn departed(keys: &[(SourceKey, u64, u64, i64)]) -> Departed {
        let mut departed = Departed::default();
        let counters = |attempts, ended| Counters { attempts, ended, ..Counters::default() };
        let keys = keys.iter().map(|(key, new, ended, held)| (*key, counters(*new, *ended), *held));
        departed.leave(NETNS, keys);
        departed
    }

    #[test]
    fn a_successor_is_not_charged_with_what_its_number_had_counted() {
        // The first made all that it holds, the second had four more from before the count, the third did nothing.
        let mut departed =
            departed(&[(client(1), 10, 3, 7), (client(2), 1, 0, 5), (client(3), 0, 0, 2)]);
        assert!(departed.has(NETNS) && !departed.has(NETNS + 1));
        // All of it has ended; the row of the third was made by those ends. A fourth is new.
        let mut rows = reading(&[
            (client(1), 15, 11),
            (client(2), 1, 5),
            (client(3), 0, 2),
            (client(4), 2, 0),
        ]);
        let all = rows.grand_total();
        departed.come(NETNS, &rows);
        assert!(!departed.has(NETNS));
        let mut taken = departed.take_off(&mut rows);
        let numbers = |last| {
            let counters = rows.counters(&client(last));
            (counters.attempts, counters.ended)
        };
        assert_eq!([1, 2, 3, 4].map(numbers), [(5, 1), (0, 0), (0, 0), (2, 0)]);
        taken.add(&rows.grand_total());
        assert_eq!(taken, all, "nothing is lost");
        assert!(departed.shares(&client(1)) && !departed.shares(&client(4)));
    }

    #[test]
    fn a_successor_may_have_a_successor() {
        let mut departed = departed(&[(client(1), 10, 0, 10)]);
        departed.come(NETNS, &reading(&[(client(1), 14, 10)]));
        let own = Counters { attempts: 4, ..Counters::default() };
        departed.leave(NETNS, [(client(1), own, 4)]);
        let now = Counters { attempts: 17, ended: 15, ..Counters::default() };
        let beyond = departed.beyond(&client(1), &now);
        assert_eq!((beyond.attempts, beyond.ended), (3, 1));
    }

    #[test]
    fn what_a_row_that_was_given_up_had_counted_is_not_taken_off_another() {
        let mut departed = departed(&[(client(1), 10, 4, 6)]);
        let counters = |attempts, ended| Counters { attempts, ended, ..Counters::default() };
        // Two ends are still to come when the row is given up; the next row of the same key gets them.
        assert_eq!(departed.give_up(&client(1), &counters(10, 8)), counters(10, 8));
        assert_eq!(departed.beyond(&client(1), &counters(3, 3)), counters(3, 1));
        assert_eq!(departed.give_up(&client(1), &counters(3, 3)), counters(0, 2));
        assert!(!departed.shares(&client(1)));
        assert_eq!(departed.give_up(&client(1), &counters(1, 1)), Counters::default());
    }

    #[test]
    fn it_is_forgotten_with_its_last_row() {
        let mut departed = departed(&[(client(1), 10, 0, 10)]);
        departed.forget(&reading(&[(client(1), 10, 9)]).rows);
        assert!(departed.has(NETNS));
        departed.forget(&BySource::default());
        assert!(departed.is_empty() && !departed.shares(&client(1)));
    }
}
