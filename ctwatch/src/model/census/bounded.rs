//! A table of counts with a bounded number of keys: what is in it is exact, and what is not is known to be small.
//!
//! The kernel lists its table in the order of a keyed hash of the tuple (`hash_conntrack_raw`,
//! net/netfilter/nf_conntrack_core.c), which is no order to anybody outside: whatever has a share of the entries is
//! met soon. So the first keys are kept, each counted from its first entry on, and later ones are not counted at
//! all. Of n keys kept, one with the share s of all entries is missing with a probability of (1 − s)^n.

use std::{collections::HashMap, hash::Hash};

/// The counts.
#[derive(Clone, Debug)]
pub struct Bounded<K, V> {
    counts: HashMap<K, V>,
    keys_max: usize,
    not_counted: u64,
}

impl<K: Eq + Hash, V: Default> Bounded<K, V> {
    /// Keeps at most so many keys.
    pub fn new(keys_max: usize) -> Self {
        Self { counts: HashMap::new(), keys_max, not_counted: 0 }
    }

    /// The count of a key; `None`, which is counted, if there is no room for it.
    pub fn of(&mut self, key: K) -> Option<&mut V> {
        if self.counts.len() >= self.keys_max {
            let count = self.counts.get_mut(&key);
            self.not_counted += u64::from(count.is_none());
            return count;
        }
        Some(self.counts.entry(key).or_default())
    }

    /// All counts, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.counts.iter()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// How often there was no room.
    pub fn not_counted(&self) -> u64 {
        self.not_counted
    }

    /// The counts alone.
    pub fn into_counts(self) -> HashMap<K, V> {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_kept_is_exact_and_nothing_is_lost(
            keys in prop::collection::vec(0_u8..30, 0..300),
            keys_max in 0_usize..40,
        ) {
            let mut bounded: Bounded<u8, u64> = Bounded::new(keys_max);
            for key in &keys {
                if let Some(count) = bounded.of(*key) {
                    *count += 1;
                }
            }
            prop_assert!(bounded.iter().count() <= keys_max);
            for (key, count) in bounded.iter() {
                prop_assert_eq!(*count, keys.iter().filter(|other| *other == key).count() as u64);
            }
            let counted: u64 = bounded.iter().map(|(_, count)| count).sum();
            prop_assert_eq!(counted + bounded.not_counted(), keys.len() as u64);
        }
    }
}
