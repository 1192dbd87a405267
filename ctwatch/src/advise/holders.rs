//! What each address holds and asks for, over all its protocols, and who stands out among them. IPv6 goes by the /64, as
//! whoever has an address has all of them.

use std::{cmp::Reverse, collections::BTreeMap, net::IpAddr};

use ctwatch_common::source::FAMILY_IPV6;
use ipnet::IpNet;

use super::case::Case;
use crate::model::source::{self, CUSTOMER_IPV6};

/// Who stands out holds, or asks for, at least this share of all.
const SHARE_MIN: f64 = 0.1;
/// And so many times as much as the next one who does not.
const TIMES_MIN: u64 = 4;
/// Nobody stands out with fewer entries, or packets that ask for one.
const COUNT_MIN: u64 = 64;
/// More than this are not a few.
const FEW: usize = 8;

/// One address, or one prefix that has no room for its addresses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Holder {
    /// Who.
    pub network: IpNet,
    /// Entries held.
    pub entries: u64,
    /// Entries made during the look; `None` if the mode does not see them.
    pub new: Option<u64>,
    /// Packets refused during the look; `None` if the mode does not see them.
    pub refused: Option<u64>,
    /// Its entries that were thrown out for somebody's packet; `None` if the mode does not see them.
    pub evicted: Option<u64>,
}

impl Holder {
    /// Whether it is one address, or one customer's /64, and not a crowd that is counted together.
    pub fn is_one(&self) -> bool {
        match self.network {
            IpNet::V4(network) => network.prefix_len() == 32,
            IpNet::V6(network) => network.prefix_len() >= CUSTOMER_IPV6,
        }
    }

    /// As nft, conntrack and people write it: an address, or a prefix.
    pub fn name(&self) -> String {
        match self.network {
            IpNet::V4(network) if network.prefix_len() == 32 => network.addr().to_string(),
            network => network.to_string(),
        }
    }

    /// Its address, of a prefix the first.
    pub fn address(&self) -> IpAddr {
        self.network.addr()
    }

    /// Packets that asked for an entry during the look, as far as they are seen.
    pub fn asked(&self) -> u64 {
        self.new.unwrap_or(0).saturating_add(self.refused.unwrap_or(0))
    }
}

/// All that are listed, the one that holds most first.
pub fn holders(case: &Case) -> Vec<Holder> {
    let mut by_network: BTreeMap<IpNet, Holder> = BTreeMap::new();
    for row in &case.last.sources {
        let Some(key) = &row.key else { continue };
        let Some(address) = source::address(key.family, &key.address) else { continue };
        let length = if key.family == FAMILY_IPV6 {
            key.prefix_length.min(CUSTOMER_IPV6)
        } else {
            key.prefix_length
        };
        let Ok(network) = IpNet::new(address, length).map(|network| network.trunc()) else {
            continue;
        };
        let sum = by_network.entry(network).or_insert(Holder {
            network,
            entries: 0,
            new: None,
            refused: None,
            evicted: None,
        });
        sum.entries = sum.entries.saturating_add(row.entries.unwrap_or(0));
        sum.new = both(sum.new, row.new);
        sum.refused = both(sum.refused, row.refused);
        sum.evicted = both(sum.evicted, row.evicted);
    }
    let mut holders: Vec<Holder> = by_network.into_values().collect();
    holders.sort_by_key(|holder| Reverse((holder.entries, holder.asked())));
    holders
}

/// The few that hold, or ask for, far more than all others, the one that holds most first.
pub fn outstanding(holders: &[Holder], case: &Case) -> Vec<Holder> {
    let totals = case.totals();
    let asked_by_all = totals.new.unwrap_or(0).saturating_add(totals.refused.unwrap_or(0));
    let of_held = few_above_a_gap(holders, |holder| holder.entries, case.entries());
    let of_asked = few_above_a_gap(holders, Holder::asked, asked_by_all);
    let stands_out = |holder: &&Holder| {
        of_held.is_some_and(|least| holder.entries >= least)
            || of_asked.is_some_and(|least| holder.asked() >= least)
    };
    holders.iter().filter(stands_out).copied().collect()
}

/// The least amount of those few who are far above the next one; `None` if there are none.
fn few_above_a_gap(holders: &[Holder], amount: fn(&Holder) -> u64, all: u64) -> Option<u64> {
    let mut amounts: Vec<u64> = holders.iter().map(amount).collect();
    amounts.sort_unstable_by_key(|amount| Reverse(*amount));
    let next = |rank: usize| amounts.get(rank).copied().unwrap_or(0);
    (1..=FEW).zip(&amounts).find_map(|(rank, least)| {
        let is_much = *least >= COUNT_MIN && *least as f64 >= SHARE_MIN * all as f64;
        let is_gap = *least >= next(rank).saturating_mul(TIMES_MIN);
        // Several who are all there is do not stand out: there is nobody to compare them with.
        let is_compared = rank == 1 || next(rank) > 0;
        (is_much && is_gap && is_compared).then_some(*least)
    })
}

/// What `share` of the holders holds no more than: the nearest rank; `None` of nobody.
pub fn percentile(holders: &[Holder], share: f64) -> Option<u64> {
    let mut amounts: Vec<u64> = holders.iter().map(|holder| holder.entries).collect();
    amounts.sort_unstable();
    let rank = (share * amounts.len() as f64).ceil() as usize;
    amounts.get(rank.checked_sub(1)?).copied()
}

fn both(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.saturating_add(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advise::samples;

    #[test]
    fn protocols_are_summed_and_ipv6_goes_by_the_customer() {
        let case = samples::of_sources(&[
            ("10.0.1.2", 6, 10, 1),
            ("10.0.1.2", 17, 30, 2),
            ("2001:db8::1", 17, 5, 0),
            ("2001:db8::2", 17, 6, 0),
            ("2001:db8:0:1::1", 17, 7, 0),
        ]);
        let found: Vec<(String, u64, Option<u64>)> =
            holders(&case).iter().map(|h| (h.name(), h.entries, h.refused)).collect();
        let expected = [("10.0.1.2", 40, 3), ("2001:db8::/64", 11, 0), ("2001:db8:0:1::/64", 7, 0)];
        assert_eq!(
            found,
            expected.map(|(name, entries, refused)| (name.to_owned(), entries, Some(refused)))
        );
        assert!(holders(&case).iter().all(Holder::is_one));
    }

    #[test]
    fn who_holds_or_asks_for_far_more_than_all_others_stands_out() {
        let names = |sources: &[(&str, u8, u64, u64)]| {
            let case = samples::of_sources(sources);
            let found = outstanding(&holders(&case), &case);
            found.iter().map(Holder::name).collect::<Vec<_>>()
        };
        let crowd = samples::crowd(100, 20);
        assert!(names(&crowd).is_empty());
        let with = |further: &[(&'static str, u8, u64, u64)]| [crowd.as_slice(), further].concat();
        assert_eq!(names(&with(&[("10.9.0.1", 17, 3000, 0)])), ["10.9.0.1"]);
        assert_eq!(
            names(&with(&[("10.9.0.1", 17, 3000, 0), ("10.9.0.2", 6, 2000, 0)])),
            ["10.9.0.1", "10.9.0.2"]
        );
        // Nothing held, as it is refused all the time.
        assert_eq!(names(&with(&[("10.9.0.1", 17, 3, 5000)])), ["10.9.0.1"]);
        // Twice as much as others is nothing out of the way.
        assert!(
            names(&with(&[
                ("10.9.0.1", 17, 400, 0),
                ("10.9.0.2", 17, 200, 0),
                ("10.9.0.3", 6, 60, 0)
            ]))
            .is_empty()
        );
        // Of a few sources only the one above the gap.
        let few = [("10.0.1.66", 17, 3275, 0), ("10.0.1.2", 6, 523, 0), ("10.0.1.3", 1, 108, 0)];
        assert_eq!(names(&few), ["10.0.1.66"]);
        // All there is.
        assert!(names(&[("10.9.0.1", 17, 400, 0), ("10.9.0.2", 17, 400, 0)]).is_empty());
        // One alone in an idle table.
        assert!(names(&[("10.9.0.1", 17, 40, 0)]).is_empty());
        assert_eq!(names(&[("10.9.0.1", 17, 400, 0)]), ["10.9.0.1"]);
    }

    #[test]
    fn a_percentile_is_what_somebody_holds() {
        let case = samples::of_sources(&samples::crowd(100, 20));
        assert_eq!(percentile(&holders(&case), 0.99), Some(20));
        assert_eq!(percentile(&[], 0.99), None);
        let case = samples::of_sources(&[("10.0.0.1", 6, 1, 0), ("10.0.0.2", 6, 9, 0)]);
        assert_eq!(percentile(&holders(&case), 0.99), Some(9));
        assert_eq!(percentile(&holders(&case), 0.5), Some(1));
    }
}
