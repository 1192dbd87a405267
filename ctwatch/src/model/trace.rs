//! Entries from before the start, exactly, even while entries come and go.
//!
//! From before the first hook was attached until the table has been dumped, every beginning and end of an
//! entry is seen. An entry is from before the start if the first that is seen of it is its end, or if it is in
//! the dump and nothing is seen of it: no reading of counters comes into it, so there is nothing to be raced.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, BuildHasherDefault, Hasher},
    net::IpAddr,
};

use ctwatch_common::source::SourceKey;
use ipnet::IpNet;

use super::{
    census::{Tally, Walk, entry::WalkedEntry},
    moment::Moment,
};

use super::source::BySource;

/// What tells one entry from another: the tuple of its first packet. Zones are not told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The source, and with it namespace and protocol.
    pub source: SourceKey,
    /// The destination address, before translation.
    pub destination: IpAddr,
    /// Source port, or the identifier of an ICMP query.
    pub source_port: u16,
    /// Destination port, or type and code of an ICMP message.
    pub destination_port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    Began,
    Ended,
}

/// Beginnings and ends, as they are seen.
#[derive(Debug)]
pub struct Trace {
    first: HashMap<Flow, First>,
    flows_max: usize,
    incomplete: bool,
}

/// Entries of one or more dumps, each counted once. Flows are kept as 64-bit fingerprints: two of a million
/// are the same with a probability of 3 in 10⁸.
///
/// Taking an entry in must cost little beside what the kernel takes to tell of it: so the hash is a fast one, seeded
/// anew for each process, and is not hashed again.
#[derive(Debug, Default)]
pub struct Listed {
    held: BySource<u64>,
    hasher: foldhash::quality::RandomState,
    fingerprints: HashSet<u64, BuildHasherDefault<AsItIs>>,
    tally: Tally,
}

/// The hash of a fingerprint, which is a hash already.
#[derive(Clone, Copy, Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        // Not what a `u64` calls, and still some hash of the bytes.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Listed {
    /// Another dump begins: its census is of it alone. Destinations are counted of these sources only, if that is said.
    pub fn begin_walk(&mut self, destinations_of: Option<IpNet>) {
        self.tally = Tally::new(destinations_of);
    }

    /// Adds an entry of a dump, and takes it into the dump's census.
    pub fn walk(&mut self, entry: &WalkedEntry) {
        self.add(&entry.flow);
        self.tally.add(entry);
    }

    /// The census of the last dump, which was over at `at`. There is one for each dump.
    pub fn take_walk(&mut self, at: Moment) -> Walk {
        std::mem::take(&mut self.tally).end(at)
    }

    /// Adds an entry of a dump; one that is in it already changes nothing.
    pub fn add(&mut self, flow: &Flow) {
        if self.fingerprints.insert(self.hasher.hash_one(flow)) {
            *self.held.entry(flow.source).or_default() += 1;
        }
    }

    /// Entries by source, when nothing else is wanted any more.
    pub fn into_held(self) -> HashMap<SourceKey, u64> {
        self.held.into_iter().collect()
    }

    fn has(&self, flow: &Flow) -> bool {
        self.fingerprints.contains(&self.hasher.hash_one(flow))
    }
}

impl Trace {
    /// Keeps at most so many flows; with more it is incomplete.
    pub fn new(flows_max: usize) -> Self {
        Self { first: HashMap::new(), flows_max, incomplete: false }
    }

    /// An entry began.
    pub fn began(&mut self, flow: Flow) {
        self.saw(flow, First::Began);
    }

    /// An entry ended.
    pub fn ended(&mut self, flow: Flow) {
        self.saw(flow, First::Ended);
    }

    /// Entries from before the start by source; `None` if not everything was seen.
    pub fn held_before(&self, netns: u32, listed: &Listed) -> Option<HashMap<SourceKey, i64>> {
        if self.incomplete {
            return None;
        }
        let mut held: HashMap<SourceKey, i64> = listed
            .held
            .iter()
            .map(|(source, held)| (*source, i64::try_from(*held).unwrap_or(i64::MAX)))
            .collect();
        for (flow, first) in self.first.iter().filter(|(flow, _)| flow.source.netns == netns) {
            let correction = match (first, listed.has(flow)) {
                (First::Began, true) => -1,
                (First::Ended, false) => 1,
                (First::Began, false) | (First::Ended, true) => continue,
            };
            *held.entry(flow.source).or_default() += correction;
        }
        held.retain(|_, held| *held != 0);
        Some(held)
    }

    fn saw(&mut self, flow: Flow, first: First) {
        if self.first.len() < self.flows_max || self.first.contains_key(&flow) {
            self.first.entry(flow).or_insert(first);
        } else {
            self.incomplete = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::source;

    const NETNS: u32 = 8;

    fn flow(client: u8, port: u16) -> Flow {
        Flow {
            source: source::key(NETNS, IpAddr::from([10, 0, 1, client]), 17),
            destination: IpAddr::from([192, 0, 2, 1]),
            source_port: port,
            destination_port: 53,
        }
    }

    fn listed(flows: &[Flow]) -> Listed {
        let mut listed = Listed::default();
        flows.iter().for_each(|flow| listed.add(flow));
        listed
    }

    #[test]
    fn an_entry_is_from_before_if_only_its_end_or_nothing_is_seen_of_it() {
        let mut trace = Trace::new(100);
        let (untouched, ended_after, ended_before, came, came_and_went) =
            (flow(1, 1), flow(1, 2), flow(1, 3), flow(1, 4), flow(1, 5));
        trace.ended(ended_before);
        trace.began(came);
        trace.began(came_and_went);
        trace.ended(came_and_went);
        trace.ended(ended_after);
        let listed = listed(&[untouched, ended_after, came, untouched]);
        let held = trace.held_before(NETNS, &listed).unwrap();
        assert_eq!(held, HashMap::from([(untouched.source, 3)]));
    }

    #[test]
    fn a_tuple_that_is_used_again_is_judged_by_what_came_first() {
        let mut trace = Trace::new(100);
        trace.ended(flow(1, 1));
        trace.began(flow(1, 1));
        let held = trace.held_before(NETNS, &listed(&[flow(1, 1)])).unwrap();
        assert_eq!(held, HashMap::from([(flow(1, 1).source, 1)]));
    }

    #[test]
    fn a_trace_with_too_many_flows_says_so() {
        let mut trace = Trace::new(1);
        trace.began(flow(1, 1));
        trace.ended(flow(1, 1));
        assert!(trace.held_before(NETNS, &Listed::default()).is_some());
        trace.began(flow(1, 2));
        assert!(trace.held_before(NETNS, &Listed::default()).is_none());
    }

    proptest! {
        /// Any history of a table, with a dump that meets each flow at some point of it: what was there before
        /// is found exactly.
        #[test]
        fn whatever_happens_during_the_dump_the_answer_is_exact(
            before in proptest::collection::hash_set(0_u16..40, 0..40),
            steps in proptest::collection::vec(0_u16..40, 0..200),
            dump_at in proptest::collection::vec(0_usize..200, 40),
        ) {
            let mut alive = before.clone();
            let mut trace = Trace::new(1000);
            let mut listed = Listed::default();
            let mut visit = |now: usize, alive: &std::collections::HashSet<u16>| {
                for port in 0..40_u16 {
                    if dump_at[usize::from(port)].min(steps.len()) == now && alive.contains(&port) {
                        listed.add(&flow(1, port));
                    }
                }
            };
            for (now, port) in steps.iter().enumerate() {
                visit(now, &alive);
                if alive.remove(port) {
                    trace.ended(flow(1, *port));
                } else {
                    alive.insert(*port);
                    trace.began(flow(1, *port));
                }
            }
            visit(steps.len(), &alive);
            let held = trace.held_before(NETNS, &listed).unwrap();
            let found = held.get(&flow(1, 0).source).copied().unwrap_or(0);
            prop_assert_eq!(found, i64::try_from(before.len()).unwrap());
        }
    }
}
