//! A snapshot or an event as text for a person.

pub mod notable;

use std::fmt::Write as _;

use super::json::{protocol_of, time};
use crate::model::{
    fields::{self, Value},
    snapshot::{Snapshot, SourceNumbers, Table},
    source,
};

/// Wide enough for an IPv4 prefix; the whole row then fits into 80 columns.
const SOURCE_WIDTH: usize = 18;

/// The table line, the sources, what else is notable, and the line that says what was lost; each line ends with a newline.
pub fn snapshot(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ =
        writeln!(text, "{}  {}", time(snapshot.wall_ns), table(&snapshot.table, &snapshot.totals));
    let named: Vec<(String, String, &SourceNumbers)> = snapshot
        .sources
        .iter()
        .filter_map(|numbers| {
            numbers.key.map(|key| (source::text(&key), protocol_of(&key), numbers))
        })
        .collect();
    let width = named.iter().map(|(name, ..)| name.len()).max().unwrap_or(0).max(SOURCE_WIDTH);
    let _ = writeln!(
        text,
        "{:<width$} {:<8} {:>9} {:>8} {:>9} {:>9} {:>7}",
        "SOURCE", "PROTOCOL", "HELD", "NEW/S", "REFUSED/S", "REFUSED", "SHARE"
    );
    for (name, protocol, numbers) in &named {
        let _ = writeln!(text, "{}", row(name, protocol, numbers, &snapshot.table, width));
    }
    if !is_nothing(&snapshot.others) {
        let _ = writeln!(text, "{}", row("others", "", &snapshot.others, &snapshot.table, width));
    }
    text += &notable::lines(snapshot);
    let _ = writeln!(text, "{}", trust(snapshot));
    text
}

/// A line that says which namespace the lines after it are about.
pub fn heading(snapshot: &Snapshot) -> String {
    format!("{} (netns {})\n", snapshot.netns_name.as_deref().unwrap_or("unknown"), snapshot.netns)
}

fn table(table: &Table, totals: &SourceNumbers) -> String {
    let mut text = format!("table {}", table.entries);
    if let Some(limit) = table.limit {
        let _ = write!(text, "/{limit}");
    }
    if let Some(utilization) = table.utilization {
        let _ = write!(text, " ({:.0} %)", utilization * 100.0);
    }
    if let Some(growth_per_s) = table.growth_per_s {
        let _ = write!(text, "  {growth_per_s:+.0}/s");
    }
    if let Some(time_to_full_s) = table.time_to_full_s {
        let _ = write!(text, "  full in {}", time_span(time_to_full_s));
    }
    match totals.refused_per_s {
        Some(refused) if refused > 0.0 => {
            let _ = write!(text, "  REFUSING {refused:.0}/s");
        }
        _ => {}
    }
    text
}

fn row(name: &str, protocol: &str, numbers: &SourceNumbers, table: &Table, width: usize) -> String {
    let share = numbers
        .entries
        .filter(|_| table.entries > 0)
        .map(|held| format!("{:.1} %", held as f64 * 100.0 / table.entries as f64));
    format!(
        "{name:<width$} {protocol:<8} {:>9} {:>8} {:>9} {:>9} {:>7}",
        count(numbers.entries),
        rate(numbers.new_per_s),
        rate(numbers.refused_per_s),
        count(numbers.refused),
        share.unwrap_or_else(unknown),
    )
}

/// What was lost, and how far the sum is from the kernel's count: whether the numbers can be trusted.
fn trust(snapshot: &Snapshot) -> String {
    let lost: Vec<String> = fields::LOSS
        .iter()
        .filter_map(|field| match (field.value)(&snapshot.loss) {
            Value::Count(lost) if lost > 0 => Some(format!("{} {lost}", field.name)),
            _ => None,
        })
        .collect();
    let loss = if lost.is_empty() { "none".to_owned() } else { lost.join(", ") };
    let drift = snapshot
        .drift_entries
        .map_or_else(|| "not known".to_owned(), |drift| format!("{drift} entries"));
    let degraded = if snapshot.mode.degraded.is_empty() { "" } else { "  DEGRADED" };
    format!("loss: {loss}  drift: {drift}{degraded}")
}

fn is_nothing(numbers: &SourceNumbers) -> bool {
    [numbers.entries, numbers.new, numbers.refused, numbers.ended]
        .iter()
        .all(|count| count.unwrap_or(0) == 0)
}

fn count(count: Option<u64>) -> String {
    count.map_or_else(unknown, |count| count.to_string())
}

fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(unknown, |rate| format!("{rate:.0}"))
}

fn unknown() -> String {
    "-".to_owned()
}

fn time_span(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use crate::output::sample;

    #[test]
    fn a_snapshot_reads_as_a_table_of_eighty_columns() {
        let text = super::snapshot(&sample::snapshot());
        assert_eq!(
            text,
            "\
2026-11-23T14:00:00.000Z  table 62000/65536 (95 %)  +410/s  full in 9 s  REFUSING 3/s
SOURCE             PROTOCOL      HELD    NEW/S REFUSED/S   REFUSED   SHARE
10.0.1.2           udp          61000      410         3         7  98.4 %
others                           1000      410         3         7   1.6 %
FLOOD > 198.51.100.1 port 443 tcp: 100000 entries of ~98765 sources
      12 % of them in 10.7.0.0/16
prefix 10.0.1.0/24: 21000 entries of 210 sources, 33.9 %
ports 192.0.2.2 > 198.51.100.1 port 443 udp: 61000 of 64512, 95 %
loss: ring_full 2  drift: 0 entries
"
        );
    }

    #[test]
    fn where_there_are_several_namespaces_each_is_named() {
        assert_eq!(super::heading(&sample::snapshot()), "gateway (netns 1)\n");
    }
}
