//! Renders what reading a large table once takes; it measures nothing.

use super::measurement::Results;
use super::table::{grouped, label, signed};

/// What everything is compared with.
const PEER: &str = "conntrack_list";

/// The table, with what it needs to be understood.
pub(super) fn markdown(results: &Results, release: &str) -> String {
    let least = |workload, configuration: &str| results.least(&[workload], configuration);
    let entries = least("list_all", PEER).map_or(0, |least| signed(least.units));
    let mut lines = vec![
        format!(
            "Instructions of a program that reads a table of {} entries once, its start, its end and the kernel included, on Linux {release}, the least of {} repeats:\n",
            grouped(entries),
            results.repeats
        ),
        "| | in all | with one entry | for each entry | in all, of `conntrack -L` |".to_owned(),
        "|---|---:|---:|---:|---:|".to_owned(),
    ];
    let peer = least("list_all", PEER).map(|least| signed(least.process));
    for configuration in &results.configurations {
        let (Some(one), Some(all)) =
            (least("list_one", configuration), least("list_all", configuration))
        else {
            continue;
        };
        let (one, all) = (signed(one.process), signed(all.process));
        let share = peer.map(|peer| format!("{} %", all * 100 / peer.max(1)));
        lines.push(format!(
            "| {} | {} | {} | {} | {} |",
            once(configuration),
            grouped(all),
            grouped(one),
            grouped((all - one) / entries.max(1)),
            share.unwrap_or_default()
        ));
    }
    for ((workload, configuration), kb) in &results.peaks_kb {
        let table = if workload == "memory_one" { "one entry" } else { "all entries" };
        lines.push(format!(
            "\nMost memory of {} with {table}: {} kB.",
            once(configuration),
            grouped(signed(*kb))
        ));
    }
    lines.join("\n")
}

fn once(configuration: &str) -> &str {
    if configuration == PEER { "`conntrack -L`" } else { label(configuration) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_compared_with_conntrack() {
        let line = |workload: &str, configuration: &str, units: u64, process: u64| {
            format!(
                "ctwatch-bench: workload={workload} configuration={configuration} repeat=1 units={units} seconds=0 instructions={process} process_instructions={process} worker_instructions=0\n"
            )
        };
        let console = line("list_one", PEER, 1, 1_000)
            + &line("list_one", "ctwatch_fexit", 1, 5_000)
            + &line("list_all", PEER, 100, 21_000)
            + &line("list_all", "ctwatch_fexit", 100, 10_000)
            + "ctwatch-bench: peak_kb=9000 configuration=ctwatch_fexit workload=memory_all\n";
        let text = markdown(&Results::parse(&console).unwrap(), "6.12");
        assert!(text.contains("| `conntrack -L` | 21 000 | 1 000 | 200 | 100 % |"), "{text}");
        assert!(text.contains("| `ctwatch watch`, fexit | 10 000 | 5 000 | 50 | 47 % |"), "{text}");
        assert!(
            text.ends_with("Most memory of `ctwatch watch`, fexit with all entries: 9 000 kB.")
        );
    }
}
