//! How long the entries of each kind have left, second by second: what would end now under a shorter timeout is counted
//! from this. It knows nothing of how long the timeouts are.

use serde::{Deserialize, Serialize};

use super::{entry::WalkedEntry, state::State};

/// Seconds that are counted one by one, over all kinds together, while the table is walked: 4 MB. With the kernel's
/// defaults it takes 436 000 of them.
const SECONDS_MAX: usize = 1 << 20;
/// How many numbers there are of a state of TCP, `enum tcp_conntrack` and one for what is not known.
const TCP_STATES: u8 = 11;
/// See [`Kind::index`].
const KINDS: usize = 2 * TCP_STATES as usize + 7;

/// What of an entry says which timeouts it can have been given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// TCP.
    Tcp {
        /// As `enum tcp_conntrack` numbers it (include/uapi/linux/netfilter/nf_conntrack_tcp.h).
        state: u8,
        /// Nobody has answered.
        is_unreplied: bool,
    },
    /// UDP.
    Udp {
        /// Its packets have gone both ways (`IPS_ASSURED`).
        is_assured: bool,
    },
    /// ICMP.
    Icmp,
    /// ICMPv6.
    Icmpv6,
    /// GRE.
    Gre {
        /// Its packets have gone both ways (`IPS_ASSURED`).
        is_assured: bool,
    },
    /// A protocol without a tracker of its own.
    Generic,
}

impl Kind {
    /// That of an entry; `None` where its protocol has timeouts that a listing does not tell apart, or its state is not
    /// told. SCTP and DCCP do not show their states, UDP-Lite and DCCP have lost their trackers (7.1, 6.17).
    pub fn of(protocol: u8, state: State, is_assured: bool, is_unreplied: bool) -> Option<Self> {
        match (protocol, state) {
            (6, State::Tcp(state)) => {
                Some(Self::Tcp { state: state.min(TCP_STATES - 1), is_unreplied })
            }
            (6 | 33 | 132 | 136, _) => None,
            (17, _) => Some(Self::Udp { is_assured }),
            (1, _) => Some(Self::Icmp),
            (58, _) => Some(Self::Icmpv6),
            (47, _) => Some(Self::Gre { is_assured }),
            _ => Some(Self::Generic),
        }
    }

    fn index(self) -> usize {
        let first_other = 2 * usize::from(TCP_STATES);
        match self {
            Self::Tcp { state, is_unreplied } => 2 * usize::from(state) + usize::from(is_unreplied),
            Self::Udp { is_assured } => first_other + usize::from(is_assured),
            Self::Gre { is_assured } => first_other + 2 + usize::from(is_assured),
            Self::Icmp => first_other + 4,
            Self::Icmpv6 => first_other + 5,
            Self::Generic => first_other + 6,
        }
    }
}

/// Counts entries while the table is walked. One of five days of the kernel's longest timeout takes 1.7 MB.
#[derive(Debug, Default)]
pub struct RemainingCounts {
    kinds: Vec<Option<KindCounts>>,
    seconds: usize,
    without_kind: u64,
}

#[derive(Debug)]
struct KindCounts {
    kind: Kind,
    by_second: Vec<u32>,
    not_told: u64,
    not_counted: u64,
}

impl RemainingCounts {
    /// Counts an entry.
    pub fn add(&mut self, entry: &WalkedEntry) {
        let protocol = entry.flow.source.protocol;
        let Some(kind) = Kind::of(protocol, entry.state, entry.assured, entry.unreplied) else {
            self.without_kind += 1;
            return;
        };
        if self.kinds.is_empty() {
            self.kinds.resize_with(KINDS, || None);
        }
        let Some(place) = self.kinds.get_mut(kind.index()) else { return };
        let counts = place.get_or_insert_with(|| KindCounts {
            kind,
            by_second: Vec::new(),
            not_told: 0,
            not_counted: 0,
        });
        let Some(remaining_s) = entry.remaining_s else {
            counts.not_told += 1;
            return;
        };
        let second = remaining_s as usize;
        if second >= counts.by_second.len() {
            let more = second + 1 - counts.by_second.len();
            if more > SECONDS_MAX - self.seconds {
                counts.not_counted += 1;
                return;
            }
            self.seconds += more;
            counts.by_second.resize(second + 1, 0);
        }
        if let Some(count) = counts.by_second.get_mut(second) {
            *count = count.saturating_add(1);
        }
    }

    /// What was counted, without the seconds that no entry has: at most 8 bytes an entry.
    pub fn end(self) -> RemainingTimes {
        let kinds = self.kinds.into_iter().flatten().map(|counts| {
            let by_second = (0..).zip(counts.by_second).filter(|(_, entries)| *entries > 0);
            RemainingOfKind {
                kind: counts.kind,
                entries_by_second: by_second.collect(),
                not_told: counts.not_told,
                not_counted: counts.not_counted,
            }
        });
        RemainingTimes { kinds: kinds.collect(), without_kind: self.without_kind }
    }
}

/// How long all entries have left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RemainingTimes {
    /// Each kind that was met.
    pub kinds: Vec<RemainingOfKind>,
    /// Entries of no kind that is known, see [`Kind::of`].
    pub without_kind: u64,
}

/// How long the entries of a kind have left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemainingOfKind {
    /// Which kind.
    pub kind: Kind,
    /// Whole seconds left, and how many entries have them; ascending, without seconds that none has.
    pub entries_by_second: Vec<(u32, u32)>,
    /// Entries that something else than the timeouts governs, see [`WalkedEntry::remaining_s`].
    pub not_told: u64,
    /// Entries that found no room to be counted by second.
    pub not_counted: u64,
}

impl RemainingOfKind {
    /// All entries of the kind.
    pub fn entries(&self) -> u64 {
        let counted: u64 =
            self.entries_by_second.iter().map(|(_, entries)| u64::from(*entries)).sum();
        counted + self.not_told + self.not_counted
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::model::census::tests::entry;

    const TCP: u8 = 6;
    const UDP: u8 = 17;

    fn of(protocol: u8, state: State, remaining_s: Option<u32>) -> WalkedEntry {
        let entry = entry([10, 0, 0, 1].into(), protocol, [192, 0, 2, 1].into(), (1, 2));
        WalkedEntry { state, remaining_s, ..entry }
    }

    fn counted(entries: impl IntoIterator<Item = WalkedEntry>) -> RemainingTimes {
        let mut counts = RemainingCounts::default();
        entries.into_iter().for_each(|entry| counts.add(&entry));
        counts.end()
    }

    #[test]
    fn each_kind_has_a_place_of_its_own() {
        let mut kinds = vec![Kind::Icmp, Kind::Icmpv6, Kind::Generic];
        for flag in [false, true] {
            kinds.extend([Kind::Udp { is_assured: flag }, Kind::Gre { is_assured: flag }]);
            kinds.extend((0..TCP_STATES).map(|state| Kind::Tcp { state, is_unreplied: flag }));
        }
        let places: BTreeSet<usize> = kinds.iter().map(|kind| kind.index()).collect();
        assert_eq!(places.len(), KINDS);
        assert_eq!(places.last(), Some(&(KINDS - 1)));
    }

    #[test]
    fn what_has_no_timeout_of_its_own_and_what_finds_no_room_is_counted_apart() {
        let far = u32::try_from(SECONDS_MAX).unwrap();
        let times = counted([
            of(UDP, State::Unreplied, Some(3)),
            of(UDP, State::Unreplied, None),
            of(UDP, State::Unreplied, Some(far)),
            of(UDP, State::Unreplied, Some(u32::MAX)),
            of(132, State::Replied, Some(3)),
            of(TCP, State::Offloaded, None),
        ]);
        let [udp] = times.kinds.as_slice() else { panic!("{times:?}") };
        assert_eq!((udp.not_told, udp.not_counted), (1, 2));
        assert_eq!(udp.entries_by_second, [(3, 1)]);
        assert_eq!((udp.entries(), times.without_kind), (4, 2));
    }

    #[test]
    fn the_memory_of_all_kinds_together_is_bounded() {
        let far = u32::try_from(SECONDS_MAX - 1).unwrap();
        let times = counted([
            of(UDP, State::Unreplied, Some(far)),
            of(1, State::Unreplied, Some(0)),
            of(UDP, State::Unreplied, Some(5)),
        ]);
        let kept: Vec<_> = times.kinds.iter().map(|of| (of.kind, of.not_counted)).collect();
        assert_eq!(kept, [(Kind::Udp { is_assured: false }, 0), (Kind::Icmp, 1)]);
    }

    proptest! {
        #[test]
        fn every_entry_is_counted_once_at_its_second(
            table in prop::collection::vec((0_u8..12, any::<bool>(), 0_u32..500), 0..300),
        ) {
            let entries = table.iter().map(|(state, unreplied, remaining_s)| WalkedEntry {
                unreplied: *unreplied,
                ..of(TCP, State::Tcp(*state), Some(*remaining_s))
            });
            let times = counted(entries);
            let mut expected: BTreeMap<(Kind, u32), u32> = BTreeMap::new();
            for (state, is_unreplied, remaining_s) in &table {
                let kind = Kind::Tcp { state: (*state).min(10), is_unreplied: *is_unreplied };
                *expected.entry((kind, *remaining_s)).or_default() += 1;
            }
            let found: BTreeMap<(Kind, u32), u32> = times
                .kinds
                .iter()
                .flat_map(|of| of.entries_by_second.iter().map(|(second, n)| ((of.kind, *second), *n)))
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}
