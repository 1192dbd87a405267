//! How many different addresses there are, in bounded memory, and a fair sample of them.
//!
//! Each address is hashed to a number, and those with the smallest numbers are kept: whether an address is among them
//! does not depend on how often or when it comes. Below the bound that is all of them; above it, how dense the
//! numbers lie says how many there are (Bar-Yossef and others, "Counting distinct elements in a data stream", 2002).

use std::hash::{DefaultHasher, Hasher as _};

use ctwatch_common::source::SourceKey;

/// Addresses that are kept, 24 bytes each.
pub const SAMPLE_MAX: usize = 256;

/// What stands for a set of addresses of one family. Two addresses of the same hash would count as one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DistinctAddresses {
    /// The smallest hashes, in their order. They are looked at for every entry, so nothing else lies between them.
    hashes: Vec<u64>,
    /// Of each hash the address.
    addresses: Vec<[u8; 16]>,
}

impl DistinctAddresses {
    /// Adds the address of a key.
    pub fn add(&mut self, source: &SourceKey) {
        self.insert(hash(&source.address), source.address);
    }

    /// Adds the addresses of another set; the result is that of adding all of both, one by one.
    pub fn include(&mut self, other: &Self) {
        for (hash, address) in other.hashes.iter().zip(&other.addresses) {
            self.insert(*hash, *address);
        }
    }

    /// How many addresses: exact below [`SAMPLE_MAX`], else with a standard error of 6 % (1/√254).
    pub fn count(&self) -> u64 {
        match self.hashes.last() {
            Some(largest) if self.is_sample() => {
                let kept = self.hashes.len() as f64 - 1.0;
                (kept / *largest as f64 * u64::MAX as f64) as u64
            }
            _ => self.hashes.len() as u64,
        }
    }

    /// The addresses that are kept, each as likely as any other.
    pub fn sample(&self) -> impl Iterator<Item = &[u8; 16]> {
        self.addresses.iter()
    }

    fn insert(&mut self, hash: u64, address: [u8; 16]) {
        if self.is_sample() && self.hashes.last().is_some_and(|largest| hash > *largest) {
            return;
        }
        if let Err(place) = self.hashes.binary_search(&hash) {
            self.hashes.insert(place, hash);
            self.hashes.truncate(SAMPLE_MAX);
            self.addresses.insert(place, address);
            self.addresses.truncate(SAMPLE_MAX);
        }
    }

    /// Whether there may be more addresses than are kept.
    fn is_sample(&self) -> bool {
        self.hashes.len() >= SAMPLE_MAX
    }
}

fn hash(address: &[u8; 16]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(address);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, net::Ipv4Addr};

    use proptest::prelude::*;

    use super::*;
    use crate::model::source;

    fn of(addresses: impl IntoIterator<Item = u32>) -> DistinctAddresses {
        let mut distinct = DistinctAddresses::default();
        for address in addresses {
            distinct.add(&source::key(1, Ipv4Addr::from_bits(address).into(), 6));
        }
        distinct
    }

    #[test]
    fn many_addresses_are_estimated_within_four_standard_errors() {
        for count in [1000_u32, 20_000, 300_000] {
            let estimate = of((0..count).map(|address| address.wrapping_mul(77))).count() as f64;
            let error = (estimate / f64::from(count) - 1.0).abs();
            assert!(error < 0.25, "{count}: {estimate}");
        }
    }

    proptest! {
        #[test]
        fn few_addresses_are_counted_exactly(addresses in prop::collection::vec(0_u32..400, 0..600)) {
            let distinct: HashSet<&u32> = addresses.iter().collect();
            prop_assume!(distinct.len() < SAMPLE_MAX);
            prop_assert_eq!(of(addresses.iter().copied()).count(), distinct.len() as u64);
        }

        #[test]
        fn two_sets_together_are_the_set_of_all(
            one in prop::collection::vec(any::<u32>(), 0..600),
            other in prop::collection::vec(any::<u32>(), 0..600),
        ) {
            let mut both = of(one.clone());
            both.include(&of(other.clone()));
            prop_assert_eq!(both, of(one.into_iter().chain(other)));
        }

        #[test]
        fn order_and_repetition_do_not_matter(
            addresses in prop::collection::vec(any::<u32>(), 0..600),
            turn in 0_usize..600,
        ) {
            let mut turned = addresses.clone();
            turned.extend_from_slice(&addresses[..turn.min(addresses.len())]);
            turned.reverse();
            prop_assert_eq!(of(addresses), of(turned));
        }
    }
}
