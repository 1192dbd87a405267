//! How long the chains of the hash table are, and how many insertions fail because one is too long.
//!
//! An entry is linked twice, once for each direction (`__nf_conntrack_hash_insert`, net/netfilter/nf_conntrack_core.c), and the
//! hash spreads them evenly, so the length of a chain has a Poisson distribution about the load λ. Kernels since 5.15
//! insert nothing into a chain that is longer than a limit drawn anew for each insertion; either of the two fails it
//! (`__nf_conntrack_confirm`). Which limit a kernel has is not told by its version, as the second one was backported.

use std::ops::RangeInclusive;

/// Links of an entry in the hash table.
const LINKS: f64 = 2.0;
/// Above this load a chain is as good as always too long, and the sums below need not be made.
const LOAD_HOPELESS: f64 = 300.0;
/// Likelier by this factor is taken for certain.
const CERTAIN: f64 = 100.0;

/// The load λ: links by buckets, over the entries of all namespaces, which share the table; 0 without buckets.
pub fn load(entries_of_machine: u64, buckets: u64) -> f64 {
    if buckets == 0 { 0.0 } else { LINKS * entries_of_machine as f64 / buckets as f64 }
}

/// How long a chain may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainLimit {
    /// As long as it gets: Linux up to 5.14.
    Endless,
    /// 8 to 31: Linux 5.15 to 6.2 ("netfilter: refuse insertion if chain has grown too large").
    Short,
    /// 50 to 79: Linux 6.3, and updates of earlier ones since March 2023 ("netfilter: conntrack: adopt safer max chain
    /// length").
    Long,
}

impl ChainLimit {
    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Endless => "none",
            Self::Short => "8 to 31",
            Self::Long => "50 to 79",
        }
    }

    fn drawn(self) -> Option<RangeInclusive<u32>> {
        match self {
            Self::Endless => None,
            Self::Short => Some(8..=31),
            Self::Long => Some(50..=79),
        }
    }

    /// The share of insertions that fail at this load.
    pub fn insert_loss(self, load: f64) -> f64 {
        let Some(drawn) = self.drawn() else { return 0.0 };
        let limits = f64::from(drawn.end() - drawn.start() + 1);
        // The walk counts a link after it has compared, and with "greater than": two more fit than the limit says.
        let fails = |limit: u32| either(tail(limit + 2, load));
        drawn.map(fails).sum::<f64>() / limits
    }
}

/// What was seen of insertions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Insertions {
    /// The load meanwhile.
    pub load: f64,
    /// Insertions that were tried.
    pub tried: u64,
    /// Those that failed at a long chain (`chaintoolong`); `None` if this kernel has no such counter.
    pub too_long: Option<u64>,
}

impl Insertions {
    /// The limit that this kernel has, if what was seen tells: the one that explains it much better. A kernel that
    /// does not count long chains has none.
    pub fn chain_limit(&self) -> Option<ChainLimit> {
        let Some(too_long) = self.too_long else { return Some(ChainLimit::Endless) };
        let log_likelihood = |limit: ChainLimit| {
            let expected =
                (limit.insert_loss(self.load) * self.tried as f64).max(f64::MIN_POSITIVE);
            too_long as f64 * expected.ln() - expected
        };
        let ahead = log_likelihood(ChainLimit::Short) - log_likelihood(ChainLimit::Long);
        match ahead {
            ahead if ahead > CERTAIN.ln() => Some(ChainLimit::Short),
            ahead if ahead < -CERTAIN.ln() => Some(ChainLimit::Long),
            _ => None,
        }
    }
}

/// The probability that one of two chains does what each does with this probability.
fn either(probability: f64) -> f64 {
    probability * (2.0 - probability)
}

/// The probability that a chain has `least` links or more.
fn tail(least: u32, load: f64) -> f64 {
    if load.is_nan() || load <= 0.0 {
        return 0.0;
    }
    if load >= LOAD_HOPELESS {
        return 1.0;
    }
    let log_factorial: f64 = (2..=least).map(|number| f64::from(number).ln()).sum();
    let mut term = (f64::from(least) * load.ln() - load - log_factorial).exp();
    let (mut sum, mut links) = (0.0, f64::from(least));
    // Terms grow up to the load, and then fall faster and faster.
    while links <= load || term > sum * f64::EPSILON {
        sum += term;
        links += 1.0;
        term *= load / links;
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Loads, and what was computed and measured for them on kernels with either limit: 2.5 % at 43 and 99.3 % at 86 are
    /// measurements on 6.18.
    #[test]
    fn losses_are_those_of_the_kernel() {
        let near = |found: f64, expected: f64, by: f64| {
            assert!((found - expected).abs() <= by * expected, "{found} and not {expected}");
        };
        for (load, short, long) in [
            (2.0, 5e-6, 0.0),
            (4.0, 1e-3, 0.0),
            (8.0, 0.053, 0.0),
            (16.0, 0.39, 1e-13),
            (24.0, 0.73, 6e-8),
            (36.0, 0.99, 1.3e-3),
            (43.0, 1.0, 0.025),
            (86.0, 1.0, 0.993),
        ] {
            near(ChainLimit::Short.insert_loss(load), short, 0.07);
            if long > 1e-12 {
                near(ChainLimit::Long.insert_loss(load), long, 0.05);
            } else {
                assert!(ChainLimit::Long.insert_loss(load) < 1e-12, "{load}");
            }
            assert!(ChainLimit::Endless.insert_loss(load).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn the_load_counts_each_entry_twice() {
        assert!((load(11_008, 512) - 43.0).abs() < 1e-9);
        assert!(load(1, 0).abs() < f64::EPSILON);
    }

    #[test]
    fn the_limit_is_the_one_that_explains_what_was_seen() {
        let seen = |load, tried, too_long| Insertions { load, tried, too_long }.chain_limit();
        // Nothing failed where the short limit fails one in twenty.
        assert_eq!(seen(8.0, 1000, Some(0)), Some(ChainLimit::Long));
        assert_eq!(seen(8.0, 1000, Some(53)), Some(ChainLimit::Short));
        // One in forty fails where the short limit fails all.
        assert_eq!(seen(43.0, 1000, Some(25)), Some(ChainLimit::Long));
        // The long limit hardly ever fails here.
        assert_eq!(seen(4.0, 10_000, Some(9)), Some(ChainLimit::Short));
        // Too few to tell, or both say the same.
        assert_eq!(seen(8.0, 10, Some(0)), None);
        assert_eq!(seen(2.0, 10_000, Some(0)), None);
        assert_eq!(seen(200.0, 10_000, Some(10_000)), None);
        assert_eq!(seen(0.0, 0, Some(0)), None);
        assert_eq!(seen(43.0, 1000, None), Some(ChainLimit::Endless));
    }

    proptest! {
        #[test]
        fn losses_are_shares_and_grow_with_the_load(load in 0.0..2000.0_f64, more in 0.0..50.0_f64) {
            for limit in [ChainLimit::Short, ChainLimit::Long] {
                let (loss, of_more) = (limit.insert_loss(load), limit.insert_loss(load + more));
                prop_assert!((0.0..=1.0).contains(&loss), "{}", loss);
                prop_assert!(of_more >= loss - 1e-9, "{} then {}", loss, of_more);
            }
            prop_assert!(
                ChainLimit::Short.insert_loss(load) >= ChainLimit::Long.insert_loss(load) - 1e-9
            );
        }
    }
}
