//! How likely it is that a full table refuses a packet although something in it could be evicted.
//!
//! At a full table the kernel looks at eight neighbouring buckets only, and throws out all entries of the first in which it finds one
//! that is not assured (`early_drop`, net/netfilter/nf_conntrack_core.c). The more buckets, the fewer entries in eight.

/// Links to entries that are looked at, for each entry by bucket: eight buckets (`NF_CT_EVICTION_RANGE`) and two links.
const LINKS_LOOKED_AT: f64 = 16.0;
const LINKS: f64 = 2.0;

/// The probability that a packet which finds the table full is refused: exp(−16·E/B); 0 without buckets.
pub fn refused_when_full(evictable: u64, buckets: u64) -> f64 {
    if buckets == 0 { 0.0 } else { (-LINKS_LOOKED_AT * per_bucket(evictable, buckets)).exp() }
}

/// The share of all packets asking for an entry that is refused while the table stays full. It is less than
/// [`refused_when_full`], as whoever evicts several entries at once makes room for the next ones too.
pub fn refused_share(evictable: u64, buckets: u64) -> f64 {
    if evictable == 0 {
        return if buckets == 0 { 0.0 } else { 1.0 };
    }
    let refused = refused_when_full(evictable, buckets);
    let links = LINKS * per_bucket(evictable, buckets);
    // Of a Poisson distribution without zero. Nearly nothing in each bucket is one where there is any.
    let victims = if links < 1e-9 { 1.0 } else { links / -(-links).exp_m1() };
    refused / (1.0 + (1.0 - refused) * (victims - 1.0))
}

/// The most buckets with which at most this share (more than 0, less than 1) of packets at a full table is refused.
pub fn buckets_for(evictable: u64, refused_max: f64) -> u64 {
    let buckets = LINKS_LOOKED_AT * evictable as f64 / -refused_max.ln();
    if buckets.is_finite() { buckets.max(0.0) as u64 } else { 0 }
}

fn per_bucket(evictable: u64, buckets: u64) -> f64 {
    evictable as f64 / buckets as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The evictable share of a full table, buckets by limit, and the share that is refused.
    #[test]
    fn what_is_refused_depends_on_buckets_and_evictable_entries() {
        for (evictable, buckets, expected) in [
            (5, 25, 0.04),
            (5, 100, 0.45),
            (5, 400, 0.82),
            (10, 25, 0.002),
            (10, 100, 0.20),
            (10, 400, 0.67),
            (20, 100, 0.04),
            (20, 400, 0.45),
            (30, 100, 0.008),
            (30, 400, 0.30),
            (100, 400, 0.02),
        ] {
            let refused = refused_when_full(evictable, buckets);
            assert!((refused - expected).abs() < 0.005, "{evictable} of {buckets}: {refused}");
        }
    }

    /// A table of 2000 evictable entries on 6.18: of all packets 88 %, 12 % and none were refused.
    #[test]
    fn of_all_packets_as_many_are_refused_as_were_measured() {
        for (buckets, measured) in [(262_144, 0.88), (16_384, 0.12), (2048, 0.0)] {
            let share = refused_share(2000, buckets);
            assert!((share - measured).abs() < 0.01, "{buckets}: {share}");
        }
        assert!((refused_share(0, 512) - 1.0).abs() < f64::EPSILON);
        assert!(refused_share(10, 0).abs() < f64::EPSILON);
    }

    proptest! {
        #[test]
        fn shares_are_bounded_and_grow_with_the_buckets(
            evictable in 0_u64..10_000_000,
            buckets in 1_u64..10_000_000,
            more in 0_u64..10_000_000,
        ) {
            for of in [refused_when_full, refused_share] {
                let (share, of_more) = (of(evictable, buckets), of(evictable, buckets + more));
                prop_assert!((0.0..=1.0).contains(&share), "{}", share);
                prop_assert!(of_more >= share - 1e-12, "{} then {}", share, of_more);
                prop_assert!(of(evictable + more, buckets) <= share + 1e-12);
            }
            prop_assert!(refused_share(evictable, buckets) <= refused_when_full(evictable, buckets) + 1e-12);
        }

        #[test]
        fn so_many_buckets_refuse_no_more(evictable in 1_u64..10_000_000, refused_max in 0.001..0.9_f64) {
            let buckets = buckets_for(evictable, refused_max);
            prop_assert!(buckets == 0 || refused_when_full(evictable, buckets) <= refused_max + 1e-9);
            prop_assert!(refused_when_full(evictable, buckets + 1) >= refused_max - 1e-9);
        }
    }
}
