//! Ends the entries of sources that are kept out, so that the table has room at once and not when their timeouts are over.
//! It must not end an entry of anybody else, nor keep the gateway from its work.
//!
//! A source is the address of an entry's first packet, before any translation: the one that ctwatch counts under. Zone and
//! protocol do not matter, nor whether the gateway forwards the connection or ends it itself.
//!
//! The table is listed once. An address with many entries is then left to the kernel, which walks the table by itself and ends
//! all of the address; the others are ended one by one, as are all where the kernel cannot do it, or would end the entries of
//! others: that is tried, see [`proven`]. The kernel compares whole addresses, and has no mask for networks.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::IpAddr,
    ops::ControlFlow,
    time::Instant,
};

use ipnet::IpNet;

use super::purge::{ENTRIES_AT_ONCE, pause};
use crate::{
    conntrack::{
        dump::{DumpSocket, Reply},
        entry::Entry,
        one_entry::{OneEntry, Wanted},
        socket::ConntrackSocketError,
    },
    host::namespace::NetworkNamespace,
};

/// From so many entries of an address on it is left to the kernel: to end so many one by one, with their pause, takes
/// about as long as two walks of a table of 65,536 buckets.
pub const IN_KERNEL_FROM: usize = 256;

/// Why entries of sources cannot be ended.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// They cannot be listed; none was ended.
    #[error(
        "the entries of blocked sources cannot be listed, and none was ended: they stay until their timeouts end them"
    )]
    List(#[source] ConntrackSocketError),
    /// The kernel did not answer any more.
    #[error(
        "ending the entries of blocked sources was broken off after {} of {}: the others stay until their timeouts end them",
        report.ended(), report.listed
    )]
    BrokenOff {
        /// What was done until then; how many are left was not counted.
        report: EndedReport,
        /// What failed.
        source: ConntrackSocketError,
    },
}

/// What became of the entries of sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndedReport {
    /// Entries that the sources had at first.
    pub listed: u64,
    /// Entries that the kernel ended by itself, as counted right before.
    pub in_kernel: u64,
    /// Entries that were ended one by one.
    pub one_by_one: u64,
    /// Entries that ended by themselves meanwhile, or were ended by somebody else.
    pub gone: u64,
    /// Entries that the sources have at last: made meanwhile, or refused to end.
    pub left: u64,
}

impl EndedReport {
    /// Entries that were ended.
    pub fn ended(&self) -> u64 {
        self.in_kernel + self.one_by_one
    }
}

/// Ends the entries of these addresses and networks in a namespace. Blocks: for some µs an entry of the table, and for some
/// 20 µs an entry that is ended one by one, and as long again in pauses.
///
/// What the sources open meanwhile is not waited for, but counted as left: they should be kept out before.
///
/// # Errors
///
/// [`EndError::List`], which without the module nf_conntrack_netlink says how to load it; [`EndError::BrokenOff`].
pub fn end_entries(
    namespace: &NetworkNamespace,
    sources: &[IpNet],
) -> Result<EndedReport, EndError> {
    let sources = Sources::new(sources);
    let by_address = list(namespace, &sources).map_err(EndError::List)?;
    let mut report = EndedReport { listed: count(&by_address), ..EndedReport::default() };
    match end_all(namespace, &by_address, &mut report) {
        Ok(()) => {}
        Err(source) => return Err(EndError::BrokenOff { report, source }),
    }
    if report.listed > 0 {
        match list(namespace, &sources) {
            Ok(left) => report.left = count(&left),
            Err(source) => return Err(EndError::BrokenOff { report, source }),
        }
    }
    Ok(report)
}

/// Some 80 bytes an entry.
type ByAddress = BTreeMap<IpAddr, Vec<OneEntry>>;

fn count(by_address: &ByAddress) -> u64 {
    by_address.values().map(|entries| entries.len() as u64).sum()
}

fn list(
    namespace: &NetworkNamespace,
    sources: &Sources,
) -> Result<ByAddress, ConntrackSocketError> {
    let mut by_address = ByAddress::new();
    let each = |entry: &Entry| {
        let Entry { original, zone, id, .. } = *entry;
        if sources.contains(original.source) {
            let of_address = by_address.entry(original.source).or_default();
            of_address.push(OneEntry { original, zone, id });
        }
        ControlFlow::Continue(())
    };
    DumpSocket::open_in(namespace)?.dump(each)?;
    Ok(by_address)
}

fn end_all(
    namespace: &NetworkNamespace,
    by_address: &ByAddress,
    report: &mut EndedReport,
) -> Result<(), ConntrackSocketError> {
    let mut socket = DumpSocket::open_in(namespace)?;
    let mut kernel = Kernel { namespace, refuses: BTreeSet::new() };
    let mut one_by_one = Vec::new();
    for (address, entries) in by_address {
        let ended = match entries.len() {
            IN_KERNEL_FROM.. => kernel.end(&mut socket, *address)?,
            _ => None,
        };
        match ended {
            Some(ended) => report.in_kernel += ended,
            None => one_by_one.extend(entries),
        }
    }
    for at_once in one_by_one.chunks(ENTRIES_AT_ONCE) {
        let begun = Instant::now();
        for entry in at_once {
            match socket.exchange(entry, Wanted::Ended)? {
                Reply::Done => report.one_by_one += 1,
                Reply::Refused(libc::ENOENT) => report.gone += 1,
                Reply::Refused(_) | Reply::Told(_) => {}
            }
        }
        pause(begun.elapsed());
    }
    Ok(())
}

/// What the kernel ends by itself.
struct Kernel<'a> {
    namespace: &'a NetworkNamespace,
    /// Families of which it cannot, or must not be asked to.
    refuses: BTreeSet<Family>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl Kernel<'_> {
    /// Has it end all entries from an address; how many, or `None` if it ended none.
    fn end(
        &mut self,
        socket: &mut DumpSocket,
        address: IpAddr,
    ) -> Result<Option<u64>, ConntrackSocketError> {
        let family = Family::of(address);
        if self.refuses.contains(&family) {
            return Ok(None);
        }
        let begun = Instant::now();
        if let Some(entries) = proven(self.namespace, address)?
            && socket.exchange_from(address, Wanted::Ended)? == Reply::Done
        {
            pause(begun.elapsed());
            return Ok(Some(entries));
        }
        self.refuses.insert(family);
        Ok(None)
    }
}

/// How many entries there are from an address, if the kernel has shown that it picks them and no others: one that knows no
/// filter lists those of others as well, one whose filter is inverted lists only those. What it would end it finds in the
/// same way as what it lists (`ctnetlink_flush_iterate` and `ctnetlink_dump_table` call `ctnetlink_filter_match`,
/// net/netfilter/nf_conntrack_netlink.c). `None` also if there is no entry from the address any more, which shows nothing.
fn proven(
    namespace: &NetworkNamespace,
    address: IpAddr,
) -> Result<Option<u64>, ConntrackSocketError> {
    let only_from_address = |entry: &Entry| match entry.original.source == address {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    };
    // A socket of its own: it is of no more use if the listing is broken off.
    match DumpSocket::open_in(namespace)?.dump_from(address, only_from_address) {
        Ok(report) if report.entries > 0 && report.decode_errors == 0 => Ok(Some(report.entries)),
        Ok(_) | Err(ConntrackSocketError::BrokenOff | ConntrackSocketError::Refused(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Addresses and networks, to look up whether an address is among them.
struct Sources {
    networks: HashSet<IpNet>,
    lengths: BTreeSet<(Family, u8)>,
}

impl Sources {
    fn new(sources: &[IpNet]) -> Self {
        let networks: HashSet<IpNet> = sources.iter().map(IpNet::trunc).collect();
        let length = |network: &IpNet| (Family::of(network.addr()), network.prefix_len());
        let lengths = networks.iter().map(length).collect();
        Self { networks, lengths }
    }

    fn contains(&self, address: IpAddr) -> bool {
        let family = Family::of(address);
        let lengths = self.lengths.iter().filter(|(of, _)| *of == family);
        lengths
            .filter_map(|(_, length)| IpNet::new(address, *length).ok())
            .any(|network| self.networks.contains(&network.trunc()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_network() -> impl Strategy<Value = IpNet> {
        // Few bits, so that some addresses are within.
        let address = prop_oneof![
            (0..64_u32).prop_map(|bits| IpAddr::from(bits.to_be_bytes())),
            (0..64_u128).prop_map(|bits| IpAddr::from(bits.to_be_bytes())),
        ];
        (address, 0..8_u8).prop_map(|(address, host_bits)| {
            let length = if address.is_ipv4() { 32 } else { 128 };
            IpNet::new(address, length - host_bits).unwrap()
        })
    }

    proptest! {
        #[test]
        fn an_address_is_found_if_it_is_in_a_network(
            networks in prop::collection::vec(any_network(), 0..6),
            other in any_network(),
        ) {
            let address = other.addr();
            let is_in = networks.iter().any(|network| network.contains(&address));
            prop_assert_eq!(Sources::new(&networks).contains(address), is_in);
        }
    }

    #[test]
    fn a_network_holds_all_addresses_of_its_family_and_no_other() {
        let sources = Sources::new(&["0.0.0.0/0".parse().unwrap()]);
        assert!(sources.contains("192.0.2.1".parse().unwrap()));
        assert!(!sources.contains("2001:db8::1".parse().unwrap()));
    }
}
