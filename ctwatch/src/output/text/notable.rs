//! The lines after the sources: floods, prefixes and ports of source NAT, where there is something notable.

use std::fmt::Write as _;

use crate::model::{
    census::{destinations::Destination, snat::PoolNumbers},
    flood::{Flood, PrefixShare},
    prefix::Prefix,
    protocol,
    snapshot::{Snapshot, Table},
};

/// Lines of each kind: the sources above are what is looked for.
const LINES_MAX: usize = 3;
/// A pool of ports is told of from here on: there is still time to do something.
const POOL_FROM_UTILIZATION: f64 = 0.5;
/// Prefixes that are named in the line of a flood.
const PREFIXES_OF_A_FLOOD: usize = 2;

/// Nothing, or some lines, each with its end.
pub fn lines(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    for line in snapshot.floods.iter().flat_map(|floods| floods.iter()).take(LINES_MAX).map(flood) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    }
    // One source is in the table above already.
    let prefixes = snapshot.prefixes.iter().flatten().filter(|prefix| prefix.sources > 1);
    for prefix in prefixes.take(LINES_MAX) {
        let _ = writeln!(text, "{}", self::prefix(prefix, &snapshot.table));
    }
    let pools = snapshot.census.iter().flat_map(|census| &census.census.snat_pools);
    let full = pools.filter(|pool| pool.utilization >= POOL_FROM_UTILIZATION);
    for pool in full.take(LINES_MAX) {
        let _ = writeln!(text, "{}", self::pool(pool));
    }
    text
}

fn flood(flood: &Flood) -> String {
    let Flood { destination, entries, sources, .. } = flood;
    let mut lines =
        format!("FLOOD > {}: {entries} entries of ~{sources} sources", place(destination));
    for PrefixShare { network, share } in flood.prefixes.iter().take(PREFIXES_OF_A_FLOOD) {
        let _ = write!(lines, "\n      {:.0} % of them in {network}", share * 100.0);
    }
    lines
}

fn prefix(prefix: &Prefix, table: &Table) -> String {
    let Prefix { network, entries, sources, .. } = prefix;
    let share =
        if table.entries > 0 { *entries as f64 * 100.0 / table.entries as f64 } else { 0.0 };
    format!("prefix {network}: {entries} entries of {sources} sources, {share:.1} %")
}

fn pool(numbers: &PoolNumbers) -> String {
    let PoolNumbers { pool, ports_used, utilization, .. } = numbers;
    format!(
        "ports {} > {}: {ports_used} of {}, {:.0} %",
        pool.address,
        place(&pool.destination),
        pool.ports,
        utilization * 100.0
    )
}

fn place(destination: &Destination) -> String {
    let protocol = protocol::name(destination.protocol);
    match destination.port {
        Some(port) => format!("{} port {port} {protocol}", destination.address),
        None => format!("{} {protocol}", destination.address),
    }
}
