//! Ports of source NAT: how many are taken towards each destination, of how many, and by whom.
//!
//! This is the second wall of a NAT gateway, and raising the limit does not move it. A translated connection needs a
//! tuple of its own, so towards one destination address, port and protocol an address has as many connections
//! as it has ports. How many those are is assumed: the kernel keeps the class of a source port, below 512, below 1024,
//! or above, and takes any of that class (`nf_nat_l4proto_unique_tuple`, net/netfilter/nf_nat_core.c). A rule can
//! narrow that to a range, which no entry shows; and the gateway's own connections from the same address take
//! ports too, which are not counted here.

use std::{cmp::Reverse, collections::HashMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::{
    bounded::Bounded,
    destinations::Destination,
    entry::{SourceNat, WalkedEntry},
};
use crate::model::{protocol, source};

/// Pools that are counted.
const POOLS_MAX: usize = 4096;
/// Pairs of pool and source that are counted.
const HOLDERS_MAX: usize = 65_536;
/// Sources that are named for each pool.
const NAMED_HOLDERS: usize = 5;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// The ports of one address towards one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pool {
    /// The address that sources are translated to.
    pub address: IpAddr,
    /// Where the connections go, after any translation of the destination.
    pub destination: Destination,
    /// How many ports the class has.
    pub ports: u32,
}

/// What is shown of a pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolNumbers {
    /// Which one.
    pub pool: Pool,
    /// Ports that are taken. Every entry of one zone has a port of its own; those of several zones may share one,
    /// and count twice.
    pub ports_used: u64,
    /// Of all that there are.
    pub utilization: f64,
    /// Who holds most of them.
    pub holders: Vec<Holder>,
}

/// Ports of a pool that one source holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The source address.
    pub source: IpAddr,
    /// Its ports.
    pub ports_used: u64,
}

/// All pools that were met.
#[derive(Clone, Debug)]
pub struct SnatPools {
    pools: Bounded<Pool, PoolTally>,
    /// Ports by number of the pool and address, of the family of the pool's; small, as there are many.
    holders: Bounded<(u32, [u8; 16]), u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct PoolTally {
    number: u32,
    ports_used: u64,
}

impl Default for SnatPools {
    fn default() -> Self {
        Self { pools: Bounded::new(POOLS_MAX), holders: Bounded::new(HOLDERS_MAX) }
    }
}

impl SnatPools {
    /// Takes in an entry; one whose source is not translated, or has no port, takes none.
    pub fn add(&mut self, entry: &WalkedEntry) {
        let source = &entry.flow.source;
        let Some(pool) = entry.source_nat.and_then(|nat| pool(source.protocol, &nat)) else {
            return;
        };
        let next_number = u32::try_from(self.pools.len()).unwrap_or(u32::MAX);
        let Some(tally) = self.pools.of(pool) else { return };
        if tally.ports_used == 0 {
            tally.number = next_number;
        }
        tally.ports_used += 1;
        if let Some(ports_used) = self.holders.of((tally.number, source.address)) {
            *ports_used += 1;
        }
    }

    /// The `listed_max` pools of which the largest part is taken, the fullest first.
    pub fn most(&self, listed_max: usize) -> Vec<PoolNumbers> {
        let utilization = |pool: &Pool, used: u64| used as f64 / f64::from(pool.ports);
        let mut fullest: Vec<(&Pool, &PoolTally)> = self.pools.iter().collect();
        fullest.sort_unstable_by(|(a, of_a), (b, of_b)| {
            let (of_a, of_b) = (utilization(a, of_a.ports_used), utilization(b, of_b.ports_used));
            of_b.total_cmp(&of_a).then_with(|| a.cmp(b))
        });
        fullest.truncate(listed_max);
        let mut holders: HashMap<u32, Vec<Holder>> = HashMap::new();
        let families: HashMap<u32, u16> = fullest
            .iter()
            .map(|(pool, tally)| (tally.number, source::key(0, pool.address, 0).family))
            .collect();
        for ((number, address), ports_used) in self.holders.iter() {
            if let Some(family) = families.get(number)
                && let Some(source) = source::address(*family, address)
            {
                let holder = Holder { source, ports_used: u64::from(*ports_used) };
                holders.entry(*number).or_default().push(holder);
            }
        }
        let numbers = |(pool, PoolTally { number, ports_used }): (&Pool, &PoolTally)| {
            let mut holders = holders.remove(number).unwrap_or_default();
            holders.sort_unstable_by_key(|holder| (Reverse(holder.ports_used), holder.source));
            holders.truncate(NAMED_HOLDERS);
            let utilization = utilization(pool, *ports_used);
            PoolNumbers { pool: *pool, ports_used: *ports_used, utilization, holders }
        };
        fullest.into_iter().map(numbers).collect()
    }
}

fn pool(protocol: u8, nat: &SourceNat) -> Option<Pool> {
    let (ports, port) = if protocol::has_ports(protocol) {
        (ports_of_class(nat.port), Some(nat.destination_port))
    } else if matches!(protocol, ICMP | ICMPV6) {
        // Any identifier.
        (65_536, None)
    } else {
        return None;
    };
    let destination = Destination { address: nat.destination, port, protocol };
    Some(Pool { address: nat.address, destination, ports })
}

/// How many ports the class of a port has: 1 to 511, 600 to 1023, or 1024 to 65535.
fn ports_of_class(port: u16) -> u32 {
    match port {
        0..512 => 511,
        512..1024 => 424,
        1024.. => 64_512,
    }
}
