//! Renders what keeping many sources out takes; it measures nothing.

use super::measurement::Results;
use super::table::{BASE, each, grouped, signed};

/// What is compared, and the names of what was measured of it.
const FAMILIES: [(&str, [&str; 3]); 2] = [
    ("IPv4 addresses", ["load_v4", "innocent_v4", "blocked_v4"]),
    ("IPv6 networks (/64)", ["load_v6", "innocent_v6", "blocked_v6"]),
];
/// How the ways are called.
const WAYS: [(&str, &str); 3] = [
    (BASE, "nobody is kept out"),
    ("sets", "`ctwatch block --file`"),
    ("rules", "a rule for each"),
];
/// The ways to end the entries of a source.
const ENDS: [(&str, &str); 3] = [
    ("block_keep", "`ctwatch block --keep-entries`"),
    ("block", "`ctwatch block`"),
    ("conntrack_delete", "`conntrack -D -s`"),
];

/// The tables, with what they need to be understood.
pub(super) fn markdown(results: &Results, release: &str) -> String {
    let sources = results.least(&["load_v4"], "sets").map_or(0, |least| signed(least.units));
    let mut lines = vec![
        format!(
            "Instructions that keeping {} sources out takes on Linux {release} with one processor, the least of {} repeats. A packet of others is the first of a connection, and is forwarded; a packet of a blocked source is dropped where one would have been forwarded. Both with everything that handles them, from the sender on.\n",
            grouped(sources),
            results.repeats
        ),
        "| | | to load the list | for each source | a packet of others | added | a packet of a blocked source |".to_owned(),
        "|---|---|---:|---:|---:|---:|---:|".to_owned(),
    ];
    for (what, [load, innocent, blocked]) in FAMILIES {
        let path =
            |workload, way| results.least(&[workload], way).map(|least| each(least.path, &least));
        let base = path(innocent, BASE);
        for (way, label) in WAYS {
            let (Some(others), Some(dropped), Some(base)) =
                (path(innocent, way), path(blocked, way), base)
            else {
                continue;
            };
            let load = results.least(&[load], way).map(|least| {
                (grouped(signed(least.process)), grouped(each(least.process, &least)))
            });
            let (load, each_source) = load.unwrap_or_default();
            let added = if way == BASE { String::new() } else { added(others, base) };
            let (others, dropped) = (grouped(others), grouped(dropped));
            lines.push(format!(
                "| {what} | {label} | {load} | {each_source} | {others} | {added} | {dropped} |"
            ));
        }
    }
    lines.extend(ends(results));
    lines.join("\n")
}

/// How much more, and how many times as much in all.
fn added(with: i64, base: i64) -> String {
    format!("{} (× {:.2})", grouped(with - base), with as f64 / base.max(1) as f64)
}

fn ends(results: &Results) -> Vec<String> {
    let Some(peer) = results.least(&["end_source"], "conntrack_delete") else { return Vec::new() };
    let mut lines = vec![
        format!(
            "\nInstructions to end the {} entries of a source beside as many of another one, the programs and the kernel included:\n",
            grouped(signed(peer.units))
        ),
        "| | in all | for each entry |".to_owned(),
        "|---|---:|---:|".to_owned(),
    ];
    for (name, label) in ENDS {
        let Some(least) = results.least(&["end_source"], name) else { continue };
        let (all, of_entry) = (signed(least.process), each(least.process, &least));
        lines.push(format!("| {label} | {} | {} |", grouped(all), grouped(of_entry)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_compared_with_nobody_kept_out() {
        let line = |workload: &str, way: &str, units: u64, instructions: u64, process: u64| {
            format!(
                "ctwatch-bench: workload={workload} configuration={way} repeat=1 units={units} seconds=10 instructions={instructions} process_instructions={process} worker_instructions=0\n"
            )
        };
        let console = line("innocent_v4", "none", 10, 300_000, 0)
            + &line("blocked_v4", "none", 10, 310_000, 0)
            + &line("load_v4", "sets", 100, 5_000_000, 5_000_000)
            + &line("innocent_v4", "sets", 10, 303_000, 0)
            + &line("blocked_v4", "sets", 10, 100_000, 0)
            + &line("end_source", "conntrack_delete", 20, 4_000, 4_000);
        let text = markdown(&Results::parse(&console).unwrap(), "6.12");
        assert!(text.contains("keeping 100 sources out takes on Linux 6.12"), "{text}");
        assert!(text.contains("| nobody is kept out |  |  | 30 000 |  | 31 000 |"), "{text}");
        let sets =
            "| `ctwatch block --file` | 5 000 000 | 50 000 | 30 300 | 300 (× 1.01) | 10 000 |";
        assert!(text.contains(sets), "{text}");
        assert!(text.ends_with("| `conntrack -D -s` | 4 000 | 200 |"), "{text}");
    }
}
