//! The columns of the sources: what each shows, how wide it is, and what it sorts by. A new one is a row in [`COLUMNS`].

use std::fmt::Write as _;

use ctwatch_common::source::SourceKey;

use super::rows::Row;
use crate::{
    model::{snapshot::Table, source},
    output::json::protocol_of,
};

/// One column.
#[derive(Debug)]
pub struct Column {
    /// Its heading.
    pub title: &'static str,
    /// Characters that it takes, without the space before it; the first column takes what is left.
    pub width: u16,
    /// The lower, the longer it stays as the screen gets narrower.
    pub priority: u8,
    /// What `?` says of it.
    pub help: &'static str,
    /// What is shown.
    pub text: fn(&Row, &Table) -> String,
    /// What is sorted by.
    pub sort_by: fn(&Row) -> u128,
    /// The order at first.
    pub order: Order,
}

/// An order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The least first.
    Ascending,
    /// The most first.
    Descending,
}

impl Order {
    /// The other one.
    pub fn reversed(self) -> Self {
        match self {
            Self::Ascending => Self::Descending,
            Self::Descending => Self::Ascending,
        }
    }
}

/// The column that is sorted by at first.
pub const HELD: usize = 2;

/// All of them, from the left.
pub const COLUMNS: &[Column] = &[
    Column {
        title: "SOURCE",
        width: 15,
        priority: 0,
        help: "address, or the prefix that stands for it",
        text: |row, _| row.numbers.key.as_ref().map_or_else(|| "other".to_owned(), source::text),
        sort_by: |row| row.numbers.key.as_ref().map_or(u128::MAX, address),
        order: Order::Ascending,
    },
    Column {
        title: "PROTO",
        width: 6,
        priority: 3,
        help: "protocol; rolled up, how many sources",
        text: |row, _| match (row.sources, &row.numbers.key) {
            (1, Some(key)) if key.protocol != 0 || key.family == 0 => protocol_of(key),
            (sources, _) => sources.to_string(),
        },
        sort_by: |row| match &row.numbers.key {
            Some(key) if row.sources == 1 => key.protocol.into(),
            _ => row.sources.into(),
        },
        order: Order::Ascending,
    },
    Column {
        title: "HELD",
        width: 8,
        priority: 1,
        help: "entries held now",
        text: |row, _| count(row.numbers.entries),
        sort_by: |row| row.numbers.entries.unwrap_or(0).into(),
        order: Order::Descending,
    },
    Column {
        title: "NEW/S",
        width: 8,
        priority: 2,
        help: "entries made a second",
        text: |row, _| rate(row.numbers.new_per_s),
        sort_by: |row| millis(row.numbers.new_per_s),
        order: Order::Descending,
    },
    Column {
        title: "REFUSED/S",
        width: 10,
        priority: 4,
        help: "packets refused a second, as the table was full",
        text: |row, _| rate(row.numbers.refused_per_s),
        sort_by: |row| millis(row.numbers.refused_per_s),
        order: Order::Descending,
    },
    Column {
        title: "REFUSED",
        width: 9,
        priority: 6,
        help: "packets refused since the start",
        text: |row, _| count(row.numbers.refused),
        sort_by: |row| row.numbers.refused.unwrap_or(0).into(),
        order: Order::Descending,
    },
    Column {
        title: "SHARE",
        width: 7,
        priority: 5,
        help: "of all entries",
        text: |row, table| share(row.numbers.entries, table.entries),
        sort_by: |row| row.numbers.entries.unwrap_or(0).into(),
        order: Order::Descending,
    },
    Column {
        title: "CAUSED",
        width: 8,
        priority: 7,
        help: "entries of anybody thrown out for it since the start",
        text: |row, _| count(row.numbers.evictions_caused),
        sort_by: |row| row.numbers.evictions_caused.unwrap_or(0).into(),
        order: Order::Descending,
    },
    Column {
        title: "EVICTED",
        width: 8,
        priority: 8,
        help: "its entries thrown out for anybody since the start",
        text: |row, _| count(row.numbers.evicted),
        sort_by: |row| row.numbers.evicted.unwrap_or(0).into(),
        order: Order::Descending,
    },
    Column {
        title: "SILENT",
        width: 8,
        priority: 9,
        help: "its entries that nobody had answered, at the last walk",
        text: |row, _| count(row.numbers.unreplied),
        sort_by: |row| row.numbers.unreplied.unwrap_or(0).into(),
        order: Order::Descending,
    },
    Column {
        title: "ENTRY-S",
        width: 9,
        priority: 10,
        help: "entries held times seconds, since the start",
        text: |row, _| short(row.numbers.entry_seconds),
        sort_by: |row| millis(row.numbers.entry_seconds),
        order: Order::Descending,
    },
];

/// Which columns fit into `width`, if the names in the first are up to `name_width` long: their numbers, and the width of
/// the first. The one that is sorted by is kept as long as possible.
pub fn fitting(width: u16, name_width: u16, sorted_by: usize) -> (Vec<usize>, u16) {
    let Some((first, further)) = COLUMNS.split_first() else { return (Vec::new(), width) };
    let mut by_priority: Vec<(usize, &Column)> = (1..).zip(further).collect();
    by_priority.sort_by_key(|(number, column)| (*number != sorted_by, column.priority));
    let name_width = name_width.max(first.width);
    let mut left = width.saturating_sub(name_width);
    let mut shown = vec![0];
    for (number, column) in by_priority {
        // With a long name the first columns are worth more than its end.
        let needed = column.width + 1;
        if needed <= left {
            left -= needed;
            shown.push(number);
        } else if shown.len() == 1 && width > needed + first.width {
            left = 0;
            shown.push(number);
        } else {
            break;
        }
    }
    shown.sort_unstable();
    let taken = |number: &usize| COLUMNS.get(*number).map_or(0, |column| column.width + 1);
    let others: u16 = shown.iter().skip(1).map(taken).sum();
    // What is left over goes to the names as far as they need it, so that columns stand close together.
    let first_width = width.saturating_sub(others).min(name_width.max(24));
    (shown, first_width)
}

/// A count, or `-` if it is not known.
pub fn count(count: Option<u64>) -> String {
    count.map_or_else(|| "-".to_owned(), |count| count.to_string())
}

/// A rate, or `-` if it is not known.
pub fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}"))
}

/// A part of a whole in percent, or `-`.
pub fn share(part: Option<u64>, whole: u64) -> String {
    match part {
        Some(part) if whole > 0 => format!("{:.1} %", part as f64 * 100.0 / whole as f64),
        _ => "-".to_owned(),
    }
}

/// A number of any size in seven characters, or `-`.
fn short(number: Option<f64>) -> String {
    let Some(number) = number else { return "-".to_owned() };
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = match number {
        n if n < 1e6 => write!(text, "{n:.0}"),
        n if n < 1e9 => write!(text, "{:.1} M", n / 1e6),
        n => write!(text, "{:.1} G", n / 1e9),
    };
    text
}

fn millis(rate: Option<f64>) -> u128 {
    (rate.unwrap_or(0.0) * 1000.0) as u128
}

/// IPv4 before IPv6, each by its address.
fn address(key: &SourceKey) -> u128 {
    match source::address(key.family, &key.address) {
        Some(std::net::IpAddr::V4(address)) => u32::from(address).into(),
        Some(std::net::IpAddr::V6(address)) => {
            u128::from(address).saturating_add(u128::from(u32::MAX))
        }
        None => u128::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(width: u16, name_width: u16) -> Vec<&'static str> {
        let (shown, first_width) = fitting(width, name_width, HELD);
        let others: u16 = shown.iter().skip(1).map(|number| COLUMNS[*number].width + 1).sum();
        assert!(first_width + others <= width, "{width}");
        shown.iter().map(|number| COLUMNS[*number].title).collect()
    }

    #[test]
    fn the_narrower_the_screen_the_fewer_columns() {
        assert_eq!(titles(40, 9), ["SOURCE", "PROTO", "HELD", "NEW/S"]);
        let eighty =
            ["SOURCE", "PROTO", "HELD", "NEW/S", "REFUSED/S", "REFUSED", "SHARE", "CAUSED"];
        assert_eq!(titles(80, 15), eighty);
        assert_eq!(titles(120, 15).len(), COLUMNS.len());
        // A long IPv6 address is cut before what it holds is.
        assert_eq!(titles(40, 39), ["SOURCE", "HELD"]);
        assert_eq!(titles(1, 39), ["SOURCE"]);
        (0..300).for_each(|width| drop(titles(width, width / 2)));
    }

    #[test]
    fn the_column_that_is_sorted_by_is_shown() {
        let refused = COLUMNS.iter().position(|column| column.title == "ENTRY-S").unwrap();
        assert!(fitting(40, 15, refused).0.contains(&refused));
    }

    #[test]
    fn long_numbers_are_written_short() {
        assert_eq!(short(Some(999_999.0)), "999999");
        assert_eq!(short(Some(2.5e6)), "2.5 M");
        assert_eq!(short(Some(12.34e9)), "12.3 G");
    }
}
