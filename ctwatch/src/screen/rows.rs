//! The rows of the table of sources: filtered, rolled up and sorted. Made once a snapshot, or when a key asks for another
//! order; drawing looks at the visible ones only.

use std::collections::HashMap;

use ctwatch_common::source::{FAMILY_IPV4, SourceKey};
use ipnet::IpNet;

use super::{
    columns::{COLUMNS, HELD, Order},
    filter::Filter,
};
use crate::model::{
    snapshot::{Snapshot, SourceNumbers},
    source::{self, QuickHash},
};

/// What is added up into one row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RollUp {
    /// Nothing: a row for each source and protocol.
    #[default]
    None,
    /// All protocols of an address.
    Address,
    /// A /24 of IPv4, a /64 of IPv6.
    Network,
    /// A /16 of IPv4, a /48 of IPv6.
    Site,
}

impl RollUp {
    /// The next wider one, and from the widest back to none.
    pub fn next(self) -> Self {
        match self {
            Self::None => Self::Address,
            Self::Address => Self::Network,
            Self::Network => Self::Site,
            Self::Site => Self::None,
        }
    }

    /// The next narrower one.
    pub fn narrower(self) -> Self {
        match self {
            Self::None | Self::Address => Self::None,
            Self::Network => Self::Address,
            Self::Site => Self::Network,
        }
    }

    /// Its name on the screen; empty for none.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Address => "by address",
            Self::Network => "by /24 and /64",
            Self::Site => "by /16 and /48",
        }
    }

    /// The key of the row that a source is added to.
    fn key(self, key: &SourceKey) -> SourceKey {
        let longest = match (self, key.family) {
            (Self::None, _) => return *key,
            (_, 0) | (Self::Address, _) => u8::MAX,
            (Self::Network, FAMILY_IPV4) => 24,
            (Self::Network, _) => 64,
            (Self::Site, FAMILY_IPV4) => 16,
            (Self::Site, _) => 48,
        };
        let prefix_length = key.prefix_length.min(longest);
        let mask = u128::MAX.checked_shl(128 - u32::from(prefix_length.min(128))).unwrap_or(0);
        let address = (u128::from_be_bytes(key.address) & mask).to_be_bytes();
        SourceKey { address, protocol: 0, prefix_length, ..*key }
    }
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its numbers; rolled up, the sum.
    pub numbers: SourceNumbers,
    /// How many sources they are of.
    pub sources: u32,
}

impl Row {
    /// The network that it stands for; `None` for what belongs to nobody.
    pub fn network(&self) -> Option<IpNet> {
        network(self.numbers.key.as_ref()?)
    }
}

/// The network that a key stands for; `None` for a whole namespace.
pub fn network(key: &SourceKey) -> Option<IpNet> {
    IpNet::new(source::address(key.family, &key.address)?, key.prefix_length).ok()
}

/// What is shown, and in what order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrangement {
    /// Which sources.
    pub filter: Filter,
    /// Added up how.
    pub roll_up: RollUp,
    /// Number of the column that is sorted by.
    pub sorted_by: usize,
    /// Which end comes first.
    pub order: Order,
}

impl Default for Arrangement {
    fn default() -> Self {
        Self {
            filter: Filter::default(),
            roll_up: RollUp::default(),
            sorted_by: HELD,
            order: Order::Descending,
        }
    }
}

/// The rows in their order.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// Sums, where sources are rolled up.
    sums: Option<Vec<Row>>,
    /// Numbers of the sums, or of the snapshot's sources.
    order: Vec<u32>,
}

impl Rows {
    /// Arranges the sources of a snapshot.
    pub fn of(snapshot: &Snapshot, arrangement: &Arrangement) -> Self {
        let Arrangement { filter, roll_up, sorted_by, order } = arrangement;
        let is_shown = |numbers: &SourceNumbers| {
            filter.is_empty() || numbers.key.as_ref().is_some_and(|key| filter.matches(key))
        };
        let shown = (0_u32..).zip(&snapshot.sources).filter(|(_, numbers)| is_shown(numbers));
        let sort_by = COLUMNS.get(*sorted_by).map(|column| column.sort_by);
        let sort_key = |row: &Row| sort_by.map_or(0, |sort_by| sort_by(row));
        let (sums, mut keyed): (Option<Vec<Row>>, Vec<(u128, u32)>) = match roll_up {
            RollUp::None => {
                let keyed = shown
                    .map(|(number, numbers)| {
                        (sort_key(&Row { numbers: *numbers, sources: 1 }), number)
                    })
                    .collect();
                (None, keyed)
            }
            _ => {
                let sums = rolled_up(shown.map(|(_, numbers)| numbers), *roll_up);
                let keyed = (0..).zip(&sums).map(|(number, row)| (sort_key(row), number)).collect();
                (Some(sums), keyed)
            }
        };
        // Equals stay in the order of the snapshot, which is by what they hold.
        match order {
            Order::Ascending => keyed.sort_unstable(),
            Order::Descending => {
                keyed.sort_unstable_by_key(|(key, number)| (std::cmp::Reverse(*key), *number));
            }
        }
        Self { sums, order: keyed.into_iter().map(|(_, number)| number).collect() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The row at a position, of the snapshot that they were made of.
    pub fn at(&self, snapshot: &Snapshot, position: usize) -> Option<Row> {
        let number = usize::try_from(*self.order.get(position)?).ok()?;
        match &self.sums {
            Some(sums) => sums.get(number).copied(),
            None => Some(Row { numbers: *snapshot.sources.get(number)?, sources: 1 }),
        }
    }

    /// Where the row of a key is.
    pub fn position(&self, snapshot: &Snapshot, key: &SourceKey) -> Option<usize> {
        let is_it = |numbers: Option<&SourceNumbers>| {
            numbers.is_some_and(|numbers| numbers.key.as_ref() == Some(key))
        };
        self.order.iter().position(|number| {
            let number = usize::try_from(*number).unwrap_or(usize::MAX);
            match &self.sums {
                Some(sums) => is_it(sums.get(number).map(|row| &row.numbers)),
                None => is_it(snapshot.sources.get(number)),
            }
        })
    }
}

fn rolled_up<'a>(shown: impl Iterator<Item = &'a SourceNumbers>, roll_up: RollUp) -> Vec<Row> {
    let mut positions: HashMap<SourceKey, usize, QuickHash> = HashMap::default();
    let mut sums: Vec<Row> = Vec::new();
    for numbers in shown {
        let Some(key) = &numbers.key else { continue };
        let key = roll_up.key(key);
        match positions.get(&key).and_then(|position| sums.get_mut(*position)) {
            Some(sum) => {
                sum.numbers.include(numbers);
                sum.sources += 1;
            }
            None => {
                positions.insert(key, sums.len());
                sums.push(Row {
                    numbers: SourceNumbers { key: Some(key), ..*numbers },
                    sources: 1,
                });
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;

    fn snapshot(sources: &[(&str, u8, u64)]) -> Snapshot {
        let mut snapshot = sample::snapshot();
        let numbers = snapshot.sources[0];
        snapshot.sources = sources
            .iter()
            .map(|(address, protocol, held)| SourceNumbers {
                key: Some(source::key(1, address.parse().unwrap(), *protocol)),
                entries: Some(*held),
                ..numbers
            })
            .collect();
        snapshot
    }

    fn shown(snapshot: &Snapshot, arrangement: &Arrangement) -> Vec<(String, u64)> {
        let rows = Rows::of(snapshot, arrangement);
        (0..rows.len())
            .map(|position| {
                let row = rows.at(snapshot, position).unwrap();
                let key = row.numbers.key.unwrap();
                assert_eq!(rows.position(snapshot, &key), Some(position));
                (source::text(&key), row.numbers.entries.unwrap())
            })
            .collect()
    }

    #[test]
    fn sources_are_sorted_filtered_and_rolled_up() {
        let snapshot = snapshot(&[
            ("10.0.1.2", 17, 50),
            ("10.0.1.2", 6, 40),
            ("10.0.1.3", 6, 45),
            ("10.0.2.3", 6, 20),
            ("2001:db8::1", 6, 10),
            ("2001:db8:0:1::1", 6, 5),
        ]);
        let with = |roll_up, filter: &str, sorted_by, order| {
            let filter = filter.parse().unwrap();
            shown(&snapshot, &Arrangement { filter, roll_up, sorted_by, order })
        };
        let named = |rows: &[(&str, u64)]| -> Vec<(String, u64)> {
            rows.iter().map(|(name, held)| ((*name).to_owned(), *held)).collect()
        };
        let most_first = with(RollUp::None, "tcp 10.", HELD, Order::Descending);
        assert_eq!(most_first, named(&[("10.0.1.3", 45), ("10.0.1.2", 40), ("10.0.2.3", 20)]));
        let by_address = with(RollUp::Address, "10.", HELD, Order::Descending);
        assert_eq!(by_address, named(&[("10.0.1.2", 90), ("10.0.1.3", 45), ("10.0.2.3", 20)]));
        let networks = with(RollUp::Network, "", 0, Order::Ascending);
        let expected = [
            ("10.0.1.0/24", 135),
            ("10.0.2.0/24", 20),
            ("2001:db8::/64", 10),
            ("2001:db8:0:1::/64", 5),
        ];
        assert_eq!(networks, named(&expected));
        let sites = with(RollUp::Site, "", HELD, Order::Ascending);
        assert_eq!(sites, named(&[("2001:db8::/48", 15), ("10.0.0.0/16", 155)]));
    }

    #[test]
    fn every_column_sorts_both_ways() {
        let snapshot = snapshot(&[("10.0.1.2", 17, 50), ("10.0.1.1", 6, 70), ("10.0.1.3", 1, 60)]);
        for (sorted_by, column) in COLUMNS.iter().enumerate() {
            let mut arrangement = Arrangement { sorted_by, ..Arrangement::default() };
            for order in [Order::Ascending, Order::Descending] {
                arrangement.order = order;
                let rows = Rows::of(&snapshot, &arrangement);
                let keys: Vec<u128> =
                    (0..3).map(|at| (column.sort_by)(&rows.at(&snapshot, at).unwrap())).collect();
                match order {
                    Order::Ascending => assert!(keys.is_sorted(), "{sorted_by}"),
                    Order::Descending => assert!(keys.iter().rev().is_sorted(), "{sorted_by}"),
                }
            }
        }
    }
}
